"""`model.profile(x)`: where the time of a training step goes, layer by layer."""

from collections import defaultdict
from contextlib import contextmanager
from copy import deepcopy
from time import perf_counter

import numpy as np

from . import kernels
from ._ext import winograd  # type: ignore[attr-defined]
from .errors import ShapeError
from .layers.base import Layer, from_config, to_config
from .layers.containers import Sequential
from .layers.conv import Conv2D
from .layers.summary import aligned, heading, number, ruled
from .machine import giga
from .testing import copy_of

PASSES = ("forward", "backward")
WATCHED = {
    "forward": "forward",
    "forward_add": "forward",
    "backward": "backward",
}  # methods of a layer -> pass
HEAD = ("layer", "output shape", "forward ms", "GFLOP/s", "backward ms", "GFLOP/s", "MB", "GB/s", "share")
SUMMED = ["share", *(f"{name}_{what}" for name in PASSES for what in ("ms", "operations", "bytes"))]


class Profile:
    """What `profile` measured; printed, it is a table.

    `whole_ms` is `layers_ms + outside_ms + noise_ms`.

    Attributes
    ----------
    rows : list of dict
        One a layer, in the order of `summary()`, then the loss. Keys: `layer` (path and class), `kind`,
        `output_shape`, `winograd` (whether a convolution runs as Winograd's), `share` of the whole step, and
        for each pass `forward_ms`, `forward_operations`, `forward_gflops`, `forward_bytes`, `forward_gb_s`,
        `backward_ms`, ...; zero where a layer has nothing to do.
    whole_ms : float
        Median of a step without clocks in it.
    layers_ms : float
        Sum of the rows' times.
    outside_ms : float
        Python from layer to layer: what a step with clocks spends outside of the layers, or, since that is
        partly the clocks, what the whole is longer than them, if that is less.
    noise_ms : float
        What is left. Each row is slow now and then, so few steps are without a slow one; much of it means
        that other programs use these cores.
    n_steps, n_samples : int
        Steps that were measured, and the size of their batch.
    dtype : dtype
    """

    def __init__(self, rows, whole_ms, outside_ms, n_steps, n_samples, dtype):
        self.rows, self.whole_ms, self.outside_ms = rows, whole_ms, outside_ms
        self.layers_ms = sum(row[f"{name}_ms"] for row in rows for name in PASSES)
        self.noise_ms = whole_ms - outside_ms - self.layers_ms
        self.n_steps, self.n_samples, self.dtype = n_steps, n_samples, dtype

    def __repr__(self):
        digits = 3 if self.whole_ms > 0.1 else 5
        total = {"layer": "total", "output_shape": "", "winograd": False}
        total |= {key: sum(row[key] for row in self.rows) for key in SUMMED}
        *lines, last = aligned([HEAD, *(_cells(row, digits) for row in [*self.rows, total])], left=2)
        times = (self.whole_ms, self.layers_ms, self.outside_ms, self.noise_ms)
        lines = [
            *ruled(lines),
            last,
            f"medians of {self.n_steps} steps with {self.n_samples} samples, {self.dtype}",
            "whole step {} ms = layers {} + Python outside of them {} + noise {}".format(
                *(f"{ms:.{digits}f}" for ms in times)
            ),
        ]
        if any(row["winograd"] for row in self.rows):
            lines.append(
                "* Winograd: fewer multiply-adds than GFLOP/s counts, which are those of the direct sum"
            )
        return "\n".join(lines)


def profile(model, x, y=None, loss=None, seconds=1.0):
    """Time every layer inside training steps: forward, loss and backward, without the optimizer.

    Steps with a clock in front of each layer take turns with steps that have none, so that the parts can be
    compared with the whole; times are medians, and the first step of each kind does not count. As in
    training, layers up to the first that learns compute no gradient to their input. A container's row is
    its own work only: the sum of a Residual, the copies of a Concat.

    A multiply-add counts as two operations, as often as the direct algorithm needs it: Winograd's needs less
    than half of them and can be faster than the processor's peak. Bytes are those that have to be moved at
    least: every array that a pass is given or leaves, once. In small networks the caches hold them.

    The model is left alone, bit for bit: a copy of it takes the steps. The kernels in use are timed: after
    `fastnn.use_kernels("reference")` the NumPy twins.

    Parameters
    ----------
    model : Model
    x : ndarray (N, *input_shape)
        A batch as in training: the rates depend on its size.
    y : ndarray, optional
        Targets for the loss.
    loss : Loss, optional
        Without it, backward starts from random numbers.
    seconds : float
        For all steps together, of which there are at least eight.

    Returns
    -------
    Profile

    Examples
    --------
    >>> import numpy as np, fastnn as nn
    >>> model = nn.Sequential([nn.Flatten(), nn.Dense(10)], input_shape=(28, 28, 1), seed=0)
    >>> report = model.profile(np.ones((32, 28, 28, 1), np.float32), seconds=0.01)
    >>> [(row["layer"], row["forward_operations"]) for row in report.rows]
    [('flatten1 (Flatten)', 0), ('dense1 (Dense)', 501760)]
    """
    if (y is None) != (loss is None):
        raise ValueError(f"y, loss: expected both or neither. Received: y={type(y).__name__}, loss={loss!r}")
    if model.workspace is None:
        model = from_config(to_config(model))
    else:
        model = copy_of(model, model.input_shape, model.dtype)
    x = model.check_input(x)
    if not len(x):
        raise ShapeError(f"x: expected at least one sample. Received: shape={x.shape}")
    loss = deepcopy(loss)
    gradient = _gradient_of(model, len(x), y, loss)

    def step(gradient):
        start = perf_counter()
        output = model.forward(x, True)
        dy = gradient(output)
        model.zero_grad()
        model.backward(dy, False)
        return perf_counter() - start

    counter, clock = _Counter(), _Clock()
    whole: list[float] = []  # seconds of each step
    sums: list[float] = []
    outside: list[float] = []
    parts: dict = defaultdict(list)
    with in_front(model, counter):
        step(gradient)
    end = perf_counter() + seconds
    while len(whole) < 4 or perf_counter() < end:
        whole.append(step(gradient))
        with in_front(model, clock):
            together = step(clock.around(gradient, loss, "forward"))
        spent = clock.read()
        sums.append(sum(spent[who] for who in spent if _works(who[0])))
        outside.append(together - sums[-1])
        for who in spent:
            parts[who].append(spent[who])
    whole_ms, outside_ms = _median_ms(whole), _median_ms(outside)
    if _median_ms(sums) < whole_ms:
        outside_ms = min(outside_ms, whole_ms - _median_ms(sums))
    layers = [(path, layer) for path, layer in model.walk() if _works(layer)]
    layers += [("loss", loss)] if loss is not None else []
    rows = [_row(path, layer, len(x), parts, counter.counts, whole_ms) for path, layer in layers]
    return Profile(rows, whole_ms, outside_ms, len(whole) - 1, len(x), x.dtype)


def _row(path, layer, n, parts, counts, whole_ms):
    """The numbers of one layer, of which n samples were computed."""
    row = {
        "layer": heading(path, layer),
        "kind": type(layer).__name__,
        "output_shape": getattr(layer, "output_shape", ""),
        "winograd": runs_winograd(layer, n),
    }
    for name in PASSES:
        spent = row[f"{name}_ms"] = _median_ms(parts.get((layer, name), (0.0, 0.0)))
        row[f"{name}_operations"], row[f"{name}_bytes"] = operations, moved = counts[layer, name]
        row[f"{name}_gflops"], row[f"{name}_gb_s"] = giga(operations, spent / 1e3), giga(moved, spent / 1e3)
    row["share"] = (row["forward_ms"] + row["backward_ms"]) / whole_ms
    return row


def runs_winograd(layer, n):
    """Whether a layer is a convolution that Winograd's algorithm computes for n samples."""
    if not isinstance(layer, Conv2D) or kernels.kernels_in_use() != "compiled" or layer.algorithm == "direct":
        return False
    nothing = [np.empty((0, *shape), layer.dtype) for shape in (layer.input_shape, layer.output_shape)]
    geometry = layer.stride, layer.sides, layer.dilation, layer.groups
    try:  # without samples the kernel only checks whether the algorithm applies
        kernels.conv2d_forward(
            nothing[0], layer.weight.data, None, nothing[1], *geometry, algorithm="winograd"
        )
    except ValueError:
        return False
    if layer.algorithm != "auto":
        return layer.algorithm == "winograd"
    height, width, filters = layer.output_shape
    return winograd.pays(n, height, width, layer.input_shape[2], filters)


class _Clock:
    """Own time of each layer's passes: that of the call without that of the layers inside."""

    def __init__(self):
        self.inside, self.spent = [0.0], defaultdict(float)

    def around(self, call, layer, name):
        def timed(*arguments, **options):
            self.inside.append(0.0)
            start = perf_counter()
            result = call(*arguments, **options)
            spent = perf_counter() - start
            self.spent[layer, name] += spent - self.inside.pop()
            self.inside[-1] += spent
            return result

        return timed

    def read(self):
        """Seconds since the last reading."""
        spent, self.spent = self.spent, defaultdict(float)
        return spent


class _Counter:
    """Operations and bytes of each layer's passes."""

    def __init__(self):
        self.inside, self.saved = [0], {}
        self.counts: dict = defaultdict(lambda: (0, 0))

    def around(self, call, layer, name):
        def counted(*arguments, **options):
            self.inside.append(0)
            result = call(*arguments, **options)
            given = arguments[0]
            other = arguments[1] if len(arguments) > 1 else None  # of forward_add
            results = self.inside.pop()  # bytes of what the layers inside gave
            self.inside[-1] += _bytes(result)
            moved = _bytes(given) + _bytes(result) + _bytes(other)
            if layer.children():
                moved += results - (_bytes(given) if len(layer.children()) > 1 else 0)
            used = {*layer.own_parameters.values(), *layer.trained()}  # one may be another layer's
            parameters = sum(parameter.data.nbytes for parameter in used)
            if name == "forward":
                operations = 1
                moved += parameters
                self.saved[layer] = _saved_bytes(layer, result)
            else:
                operations = bool(layer.trained()) + (result is not None)
                moved += operations * parameters + self.saved[layer]
            fused = name == "forward" and getattr(layer, "fused", False)  # its last layer did the work
            if fused or (result is not None and np.may_share_memory(given, result)):
                moved = 0  # another shape, or nothing done
            operations *= 0 if layer.children() else 2 * len(given) * layer.multiply_adds()
            before = self.counts[layer, name]
            self.counts[layer, name] = before[0] + operations, before[1] + moved
            return result

        return counted


def _bytes(array):
    return array.nbytes if isinstance(array, np.ndarray) else 0


def _saved_bytes(layer, y):
    """What backward reads of what forward kept; the output only for the derivative of an activation."""
    saved = layer.saved if isinstance(layer.saved, tuple) else (layer.saved,)
    linear = getattr(layer, "function", "") == "linear"
    return sum(_bytes(array) for array in saved if not (linear and array is y))


@contextmanager
def in_front(model, watch):
    """Let every layer's passes go through `watch.around(call, layer, name)`."""
    layers = [layer for _, layer in model.walk()]
    for layer in layers:
        for attribute, name in WATCHED.items():
            setattr(layer, attribute, watch.around(getattr(layer, attribute), layer, name))
    try:
        yield
    finally:
        for layer in layers:
            for attribute in WATCHED:
                delattr(layer, attribute)


def _gradient_of(model, n, y, loss):
    """A function: output -> the loss's gradient with respect to it."""
    if loss is None:
        dy = np.random.default_rng(0).normal(size=(n, *model.output_shape)).astype(model.dtype)
        return lambda output: dy
    loss.check_model(model)

    def gradient(output):
        loss.forward(output, y)
        return loss.backward()

    return gradient


def _works(layer):
    """Whether a layer, or the loss, does something itself: all but a Sequential."""
    if not isinstance(layer, Layer) or not layer.children():
        return True
    return getattr(type(layer), "pass_forward", None) is not Sequential.pass_forward


def _median_ms(seconds):
    """Median, without the first, which warms up."""
    return sorted(seconds[1:])[len(seconds[1:]) // 2] * 1e3


def _cells(row, digits):
    """A row of the table, milliseconds with so many digits."""
    cells = [row["layer"] + "*" * row["winograd"], str(row["output_shape"])]
    for name in PASSES:
        milliseconds = row[f"{name}_ms"]
        cells += [
            number(milliseconds, digits),
            number(giga(row[f"{name}_operations"], milliseconds / 1e3), 1),
        ]
    moved, spent = row["forward_bytes"] + row["backward_bytes"], row["forward_ms"] + row["backward_ms"]
    return [*cells, number(moved / 1e6, 2), number(giga(moved, spent / 1e3), 1), f"{row['share']:.1%}"]
