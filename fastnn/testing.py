"""Checks for layers and models: gradients against differences, and everything else a layer promises.

>>> import fastnn as nn
>>> from fastnn.testing import check_layer
>>> check_layer(nn.Dense(4, activation="tanh"), input_shape=(3,), verbose=False)
"""

import json
import math

import numpy as np

from . import kernels
from ._ext import threads
from .layers.base import from_config, to_config
from .layers.containers import Sequential
from .layers.model import Model


class GradientMismatch(AssertionError):
    """backward and finite differences disagree."""


class GradientReport:
    """What `check_gradients` found.

    Attributes
    ----------
    n_checked, n_kinks : int
        Numbers compared, and how many of those lay on a kink.
    largest : dict of str to float
        The largest relative error by array, `"conv1.weight"`, `"x"`.
    """

    def __init__(self):
        self.n_checked = self.n_kinks = 0
        self.largest: dict[str, float] = {}

    def __repr__(self):
        rows = "".join(f"\n  {name:28s} {error:.1e}" for name, error in self.largest.items())
        return f"gradients: {self.n_checked} compared, {self.n_kinks} on a kink; largest relative error{rows}"


def copy_of(layer, input_shape, dtype, seed=0):
    """A new model of that dtype: a copy of a model, or a model around a copy of a layer, with its values.

    A layer that is not built gets the values that `seed` gives.
    """
    config = to_config(layer)
    if isinstance(layer, Model):
        config["config"] |= {"input_shape": tuple(input_shape), "dtype": str(np.dtype(dtype))}
        model = inner = from_config(config)
    else:
        inner = from_config(config)
        model = Sequential([inner], input_shape, seed=seed, dtype=dtype)
    if layer.workspace is not None:
        model.allocate_parameters()
        for (_, new), (_, old) in zip(inner.walk(), layer.walk(), strict=True):
            for name, parameter in old.own_parameters.items():
                new.own_parameters[name].data[...] = parameter.data
            for name, array in old.own_buffers.items():
                new.own_buffers[name][...] = array
    return model


def run(model, x, dy, training=True):
    """Copies of `y`, `dx` and `{name: gradient}` of one forward and backward pass."""
    model.zero_grad()
    y = model.forward(x, training).copy()
    dx = model.backward(dy).copy()
    model.grad  # noqa: B018 - zeroes what no backward pass has written
    return y, dx, {name: p.grad.copy() for name, p in model.parameters.items() if p.trainable}


def pairs_of(received, expected):
    """`(name, received array, expected array)` of two results of `run`."""
    yield "y", received[0], expected[0]
    yield "dx", received[1], expected[1]
    for name in expected[2]:
        yield name, received[2][name], expected[2][name]


def check_gradients(
    layer, x, loss=None, target=None, training=False, eps=1e-5, rtol=1e-6, n_checks=20, seed=0
):
    """Compare backward with central differences `(L(w + eps) - L(w - eps)) / (2 eps)`, in float64.

    The layer itself is left alone: a copy in float64 is checked. Random layers draw the same numbers in every
    pass. Where the two sides of a difference see different pieces of a function with kinks, eps is made
    smaller; on the kink itself any slope between those of the two sides counts as right.

    Parameters
    ----------
    layer : Layer or Model
    x : ndarray (N, ...)
    loss : Loss, optional
        Without one, the loss is the sum of the outputs times fixed random numbers.
    target : ndarray, optional
        For the loss.
    training : bool
        The mode of the forward passes.
    eps, rtol : float
        The first step, and the largest error relative to the numbers (or to 1 % of the largest gradient).
    n_checks : int or None
        How many elements of each array to check; None means all.
    seed : int

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientMismatch
        With the array, the index and both values.
    """
    x = np.array(x, np.float64)
    model = copy_of(layer, x.shape[1:], "float64", seed)
    rng = np.random.default_rng(seed)
    step = model.workspace.step
    if isinstance(target, np.ndarray) and target.dtype.kind == "f":
        target = target.astype(np.float64)

    def forward():
        model.workspace.step = step  # the masks of dropout stay the same
        return model.forward(x, training)

    if loss is None:
        factors = rng.normal(size=forward().shape)

    def value():
        y = forward()
        return float(np.vdot(factors, y)) if loss is None else loss.evaluate(y, target)

    y = forward()
    if loss is not None:
        loss.forward(y, target)
    model.zero_grad()
    dx = model.backward(factors if loss is None else loss.backward()).copy()
    model.grad  # noqa: B018 - zeroes what no backward pass has written
    pairs = {k: (p.data, p.grad.copy()) for k, p in model.parameters.items() if p.trainable} | {"x": (x, dx)}
    smallest = 0.01 * max([_peak(gradient) for _, gradient in pairs.values()])

    report, center = GradientReport(), value()
    for name, (values, gradient) in pairs.items():
        report.largest[name] = 0.0
        n = values.size if n_checks is None else min(n_checks, values.size)
        for flat in np.sort(rng.choice(values.size, n, replace=False)):
            index = tuple(int(i) for i in np.unravel_index(flat, values.shape))
            analytic = gradient[index]
            error, numeric, kink = _compare(value, center, values, index, analytic, eps, rtol, smallest)
            report.n_checked += 1
            report.n_kinks += kink
            if not error <= rtol:
                raise GradientMismatch(
                    f"{layer.label()}: gradient of {name}{list(index)}: expected {numeric:.10g} by "
                    f"differences. Received: {analytic:.10g} from backward, relative error {error:.1e} "
                    f"above rtol={rtol:g}"
                )
            report.largest[name] = max(report.largest[name], error)
    return report


def _compare(value, center, values, index, analytic, eps, rtol, smallest):
    """`(relative error, slope by differences, whether on a kink)` of one element."""
    before = values[index]
    for smaller in (1.0, 0.1, 0.01):
        h = eps * smaller
        values[index] = before + h
        right = (value() - center) / h
        values[index] = before - h
        left = (center - value()) / h
        values[index] = before
        numeric = (right + left) / 2
        error = abs(numeric - analytic) / max(abs(numeric), abs(analytic), smallest, 1e-30)
        if error <= rtol:
            return error, numeric, False
        if smaller == 1.0:
            first = error, numeric
    # Rounding makes the sides differ by about 1e-9 for the smallest h; a kink differs by much more.
    gap, size = abs(right - left), max(abs(right), abs(left), smallest)
    if gap > 1e-3 * size and min(left, right) - rtol * size <= analytic <= max(left, right) + rtol * size:
        return 0.0, numeric, True
    return *first, False


def check_layer(layer, input_shape, batch_size=3, dtype="float32", seed=0, verbose=True):
    """Check all that fastnn expects of a layer; the layer itself is left alone.

    Parameters
    ----------
    layer : Layer or Model
        Not built yet, or built.
    input_shape : tuple of int
        Of one sample. Keep it small: every gradient is compared with differences.
    batch_size : int
    dtype : {"float32", "float64"}
        Of all checks but the gradients', which are in float64.
    seed : int
    verbose : bool
        Print a line for each check.

    Raises
    ------
    AssertionError
        Names the first check that failed, and what was expected and received.
    """
    case = _Case(layer, tuple(input_shape), batch_size, np.dtype(dtype), seed)
    for check in CHECKS:
        try:
            note = check(case)
        except Exception as error:
            if verbose:
                print(f"  FAILED  {check.__doc__}")
            raise AssertionError(f"{layer.label()}: {check.__doc__}: {error}") from error
        if verbose:
            print(f"  ok      {check.__doc__}", f"({note})" if note else "")


class _Case:
    """A layer under test, with the same inputs in every check."""

    def __init__(self, layer, input_shape, batch_size, dtype, seed):
        self.layer, self.input_shape, self.batch_size, self.seed = layer, input_shape, batch_size, seed
        self.dtype = dtype
        self.rtol = 1e-5 if dtype == np.float32 else 1e-12

    def model(self, dtype=None):
        return copy_of(self.layer, self.input_shape, dtype or self.dtype, self.seed)

    def random(self, shape, n=None, stream=0):
        n = self.batch_size if n is None else n
        return np.random.default_rng([self.seed, stream]).normal(size=(n, *shape)).astype(self.dtype)

    def x(self, n=None):
        return self.random(self.input_shape, n)

    def dy(self, model, n=None):
        return self.random(model.output_shape, n, 1)

    def pass_through(self, training=True, n=None):
        model = self.model()
        return run(model, self.x(n), self.dy(model, n), training)

    def close(self, what, received, expected, least=1e-30):
        scale, largest = max(_peak(expected), least), _peak(received - expected)
        _expect(
            largest <= self.rtol * scale,
            f"{what}: expected a difference below {self.rtol:g} of {scale:.3g}. Received: {largest:.3g}",
        )

    def all_close(self, received, expected):
        # A gradient that is zero but for rounding is measured by the others.
        least = max([_peak(a) for a in (expected[1], *expected[2].values())])
        for name, a, b in pairs_of(received, expected):
            self.close(name, a, b, least if name != "y" else 1e-30)


def _peak(array):
    return float(np.abs(array).max(initial=0.0))


def _expect(condition, message):
    if not condition:
        raise AssertionError(message)


def _same_bits(received, expected, what):
    for name, a, b in pairs_of(received, expected):
        _expect(a.tobytes() == b.tobytes(), f"{name}: expected the same bits {what}. Received: others")


def configuration(case):
    """configuration goes to JSON and back"""
    config = to_config(case.layer)
    again = to_config(from_config(json.loads(json.dumps(config))))
    _expect(json.dumps(again) == json.dumps(config), f"expected {config}. Received: {again}")


def shapes(case):
    """shapes and dtypes are as promised"""
    for dtype in (np.float32, np.float64):
        model = case.model(dtype)
        x = case.x().astype(dtype)
        for training in (False, True):
            y = model.forward(x, training)
            expected = (case.batch_size, *model.output_shape)
            _expect(y.shape == expected, f"y: expected shape {expected}. Received: {y.shape}")
            dx = model.backward(case.dy(model).astype(dtype))
            _expect(dx.shape == x.shape, f"dx: expected shape {x.shape}. Received: {dx.shape}")
            for name, got in (("y", y.dtype), ("dx", dx.dtype)):
                _expect(got == dtype, f"{name}: expected dtype {np.dtype(dtype)}. Received: {got}")
    return f"{case.input_shape} -> {model.output_shape}"


def order(case):
    """backward before forward raises RuntimeError"""
    model = case.model()
    try:
        model.backward(case.dy(model))
    except RuntimeError:
        return
    raise AssertionError("expected RuntimeError (use self.last_pass()). Received: no error")


def arguments(case):
    """input and output gradient are left as they are"""
    model, x = case.model(), case.x()
    dy = case.dy(model)
    copies = x.copy(), dy.copy()
    run(model, x, dy)
    for name, array, before in zip(("x", "dy"), (x, dy), copies):
        _expect((array == before).all(), f"{name}: expected it unchanged. Received: other values")


def rows(case):
    """a batch gives what its samples give alone"""
    model, x = case.model(), case.x()
    batch = model.predict(x)
    case.close("y", np.concatenate([model.predict(x[k : k + 1]) for k in range(len(x))]), batch)


def sizes(case):
    """batches of 0 and 1 samples work"""
    for n, training in ((0, False), (1, False), (1, True)):
        model, x = case.model(), case.x(n)
        y = model.forward(x, training)
        dx = model.backward(case.dy(model, n))
        _expect(len(y) == n, f"y: expected {n} samples. Received: {len(y)}")
        _expect(dx.shape == x.shape, f"dx: expected shape {x.shape}. Received: {dx.shape}")
        _expect(np.isfinite(dx).all(), f"dx: expected finite numbers for {n} samples. Received: others")


def strides(case):
    """inputs that are not contiguous work"""
    model = case.model()
    spread = [np.repeat(array, 2, axis=0)[::2] for array in (case.x(), case.dy(model))]
    _same_bits(run(model, *spread), case.pass_through(), "as for contiguous arrays")


def several_threads(case):
    """any number of threads gives the same bits"""
    before, results = threads.get_num_threads(), []
    work = max(math.prod(case.input_shape), sum(layer.multiply_adds() for _, layer in case.model().walk()))
    batch = min(4096, math.ceil(200_000 / work)) if work else 1  # enough for the kernels to use them
    try:
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            results.append(case.pass_through(n=max(batch, case.batch_size)))
    finally:
        threads.set_num_threads(before)
    for n, result in zip((2, 3), results[1:]):
        _same_bits(result, results[0], f"with {n} threads as with one")


def twins(case):
    """compiled and reference kernels agree"""
    for training in (False, True):
        results, before = [], kernels.kernels_in_use()
        try:
            for which in ("compiled", "reference"):
                kernels.use_kernels(which)
                results.append(case.pass_through(training))
        finally:
            kernels.use_kernels(before)
        case.all_close(*results)


def accumulation(case):
    """parameter gradients add up until zero_grad"""
    model, x = case.model(), case.x()
    dy = case.dy(model)
    step = model.workspace.step
    once = run(model, x, dy)[2]
    least = max([_peak(gradient) for gradient in once.values()], default=0.0)
    for times in (2, 3):
        model.workspace.step = step
        model.forward(x, True)
        model.backward(dy)
        for name, gradient in once.items():
            received = model.parameters[name].grad
            case.close(f"{name} after {times} backward passes", received, times * gradient, least)
    model.workspace.step = step
    for name, gradient in run(model, x, dy)[2].items():
        case.close(f"{name} after zero_grad", gradient, once[name], least)


def gradients(case):
    """gradients agree with differences"""
    options = {"n_checks": 200, "seed": case.seed}
    reports = [check_gradients(case.layer, case.x(), training=t, **options) for t in (False, True)]
    return f"largest relative error {max(max(report.largest.values()) for report in reports):.0e}"


CHECKS = (
    configuration, shapes, order, arguments, rows, sizes, strides, several_threads, twins, accumulation,
    gradients,
)  # fmt: skip

__all__ = ["GradientMismatch", "GradientReport", "check_gradients", "check_layer"]
