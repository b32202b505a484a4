"""What all steps have in common, compiled against their twins; and the length of a gradient."""

import importlib
import inspect

import numpy as np
import pytest

from fastnn import kernels
from fastnn._ext import optimizers as compiled
from fastnn._ext import threads
from fastnn.reference import optimizers as reference

SIZES = [0, 1, 2, 7, 16, 17, 63, 100, 1000, 8191, 8192, 8193, 20_001]
RTOL = {"float32": 1e-5, "float64": 1e-12}
FAMILIES = ("sgd", "adaptive", "adam")

SGD = {"lr": 0.1, "weight_decay": 0.01}
MOMENTUM = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
ADAGRAD = {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.1}
RMSPROP = {"lr": 0.01, "rho": 0.9, "eps": 1e-3, "weight_decay": 0.1}
ADADELTA = {"lr": 0.5, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.1}
ADAM = {"step": 3, "lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "weight_decay": 0.1}
ADAMAX = ADAM | {"beta2": 0.99}
CLIPPED = {"scale": 0.7, "clip": 0.5}

# step, the arrays it remembers, hyperparameters
CASES = [
    ("sgd_step", (), {"lr": 0.1}),
    ("sgd_step", (), SGD),
    ("sgd_step", (), SGD | CLIPPED),
    *(
        ("momentum_step", ("velocity",), MOMENTUM | {"form": form, "nesterov": nesterov})
        for form in ("grad_sum", "velocity", "ema")
        for nesterov in (False, True)
    ),
    ("momentum_step", ("velocity",), MOMENTUM | {"form": "lookahead"} | CLIPPED),
    ("adagrad_step", ("v",), ADAGRAD),
    ("adagrad_step", ("v",), ADAGRAD | CLIPPED | {"eps_mode": "inside"}),
    ("rmsprop_step", ("v",), RMSPROP),
    ("rmsprop_step", ("v", "mean"), RMSPROP | {"eps_mode": "inside"}),
    ("rmsprop_step", ("v", "velocity"), RMSPROP | {"momentum": 0.8}),
    ("rmsprop_step", ("v", "mean", "velocity"), RMSPROP | CLIPPED | {"momentum": 0.8}),
    ("adadelta_step", ("v", "u"), ADADELTA),
    ("adadelta_step", ("v", "u"), ADADELTA | CLIPPED),
    ("adam_step", ("m", "v"), ADAM | {"step": 1, "weight_decay": 0.0}),
    ("adam_step", ("m", "v"), ADAM | {"decoupled": True}),
    ("adam_step", ("m", "v"), ADAM | {"step": 50, "decoupled": True, "eps_mode": "inside"}),
    ("adam_step", ("m", "v"), ADAM | {"eps_mode": "inside", "bias_correction": False} | CLIPPED),
    ("adam_step", ("m", "v", "v_max"), ADAM),
    ("adam_step", ("m", "v", "v_max"), ADAM | {"decoupled": True, "eps_mode": "inside"} | CLIPPED),
    ("nadam_step", ("m", "v"), ADAM | {"m_share": 1.4, "g_share": 0.6}),
    ("nadam_step", ("m", "v"), ADAM | {"m_share": 1.4, "g_share": 0.6, "decoupled": True} | CLIPPED),
    ("adamax_step", ("m", "u"), ADAMAX),
    ("adamax_step", ("m", "u"), ADAMAX | {"eps_mode": "in_max"} | CLIPPED),
    ("adamax_step", ("u",), ADAMAX | {"beta1": 0.0} | CLIPPED),
]
# One with each set of arrays: each is a loop of its own in the machine's code.
LOOPS = list({(name, states): (name, states, options) for name, states, options in reversed(CASES)}.values())
OPTIONAL = {"rmsprop_step": ("mean", "velocity"), "adamax_step": ("m",)}


def modules(name):
    """The compiled module and the twin's that have a step."""
    family = next(f for f in FAMILIES if name in kernels.FAMILIES[f])
    return [importlib.import_module(f"fastnn.{package}.{family}") for package in ("_ext", "reference")]


def arrays_for(name, states, n, dtype, seed=0):
    """theta, grad and the state by name; averages of squares and maxima are positive, as they always are."""
    rng = np.random.default_rng(seed)
    arrays = {key: rng.normal(size=n).astype(dtype) for key in ("theta", "grad", *states)}
    for key in {"v", "v_max", "u"} & arrays.keys():
        arrays[key] = np.abs(arrays[key])
    if "mean" in arrays:
        arrays["v"] += arrays["mean"] ** 2 + 1
    return arrays | dict.fromkeys(set(OPTIONAL.get(name, ())) - set(states))


def step(module, name, arrays, options):
    arrays = {key: None if array is None else array.copy() for key, array in arrays.items()}
    getattr(module, name)(**arrays, **options)
    return {key: array for key, array in arrays.items() if array is not None}


def test_every_step_is_tested():
    assert {name for name, _, _ in CASES} == {name for f in FAMILIES for name in kernels.FAMILIES[f]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "states", "options"), CASES)
def test_equals_twin(name, states, options, dtype):
    for n in SIZES:
        arrays = arrays_for(name, states, n, dtype)
        got, expected = (step(module, name, arrays, options) for module in modules(name))
        for key in got:
            np.testing.assert_allclose(
                got[key], expected[key], rtol=RTOL[dtype], atol=RTOL[dtype], err_msg=f"{key}, n={n}"
            )
            assert expected[key].dtype == dtype
        assert (got["grad"] == arrays["grad"]).all()  # the gradient is only read


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "states", "options"), LOOPS)
def test_any_number_of_threads_gives_the_same_bits(name, states, options, dtype):
    before, module = threads.get_num_threads(), modules(name)[0]
    try:
        for n in (70_001, 8192 * 9):
            arrays, results = arrays_for(name, states, n, dtype), []
            for n_threads in (1, 2, 3):
                threads.set_num_threads(n_threads)
                results.append([a.tobytes() for a in step(module, name, arrays, options).values()])
            assert results[0] == results[1] == results[2]
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize(("name", "states", "options"), LOOPS)
def test_not_a_number_stays_visible(name, states, options):
    arrays = arrays_for(name, states, 40, "float32")
    for wrong in (np.nan, np.inf, -np.inf):
        arrays["grad"][13] = wrong
        for module in modules(name):
            with np.errstate(invalid="ignore"):
                clip = 0.5 if np.isnan(wrong) else 0.0
                theta = step(module, name, arrays, options | {"clip": clip})["theta"]
            assert not np.isfinite(theta[13])
            assert np.isfinite(np.delete(theta, 13)).all()


@pytest.mark.parametrize(("name", "states", "options"), CASES)
def test_a_scale_and_a_clip_are_a_changed_gradient(name, states, options):
    arrays = arrays_for(name, states, 100, "float64")
    changed = arrays | {"grad": np.clip(0.3 * arrays["grad"], -0.25, 0.25)}
    plain = {key: value for key, value in options.items() if key not in CLIPPED}
    for module in modules(name):
        clipped = step(module, name, arrays, plain | {"scale": 0.3, "clip": 0.25})
        expected = step(module, name, changed, plain)
        for key in expected.keys() - {"grad"}:
            np.testing.assert_allclose(clipped[key], expected[key], rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize(("name", "states", "options"), LOOPS)
def test_wrong_arrays_are_refused(name, states, options):
    function = getattr(modules(name)[0], name)
    good = arrays_for(name, states, 6, "float32")
    for key in ("theta", "grad", *states):
        for wrong, error in (
            (np.zeros(6, np.int64), TypeError), (np.zeros(5, np.float32), ValueError),
            (np.zeros(12, np.float32)[::2], ValueError), (None, TypeError),
        ):  # fmt: skip
            if key == "theta" and wrong is not None and wrong.shape == (5,):
                continue  # then the gradient is the one that does not fit
            if wrong is None and key in ("mean", "velocity", "v_max", "m") and name != "momentum_step":
                continue  # may be missing
            with pytest.raises(error, match=f"^{key}: expected .*Received"):
                function(**(good | {key: wrong}), **options)
    with pytest.raises(TypeError, match="grad: expected dtype float32"):
        function(**(good | {"grad": good["grad"].astype(np.float64)}), **options)


@pytest.mark.parametrize(("name", "states", "options"), LOOPS)
def test_wrong_clips_are_refused(name, states, options):
    for module in modules(name):
        for wrong in (-1.0, np.nan):
            with pytest.raises(ValueError, match=r"clip: expected a number above 0, or 0 for .*Received: "):
                step(module, name, arrays_for(name, states, 3, "float32"), options | {"clip": wrong})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("name", "states", "options"),
    [
        ("momentum_step", ("velocity",), {"lr": 0.0, "momentum": 0.5}),
        ("rmsprop_step", ("v", "mean", "velocity"), {"lr": 0.0, "rho": 0.5, "eps": 1.0, "momentum": 0.5}),
        ("adadelta_step", ("v", "u"), {"lr": 0.0, "rho": 0.5, "eps": 1.0}),
        ("adam_step", ("m", "v"), {"step": 1, "lr": 0.0, "beta1": 0.5, "beta2": 0.5, "eps": 1e-8}),
        ("adamax_step", ("m", "u"), {"step": 1, "lr": 0.0, "beta1": 0.5, "beta2": 0.5, "eps": 1e-8}),
    ],
)
def test_what_decays_below_the_smallest_normal_number_is_zero(name, states, options, n, dtype):
    """Such numbers are slow; only the kernel treats them so, the rest of the process keeps them."""
    tiny = np.finfo(dtype).smallest_normal
    arrays = {"theta": np.ones(n, dtype), "grad": np.zeros(n, dtype)}
    arrays |= {key: np.full(n, tiny, dtype) for key in states}
    getattr(modules(name)[0], name)(**arrays, **options)
    for key in states:
        assert not arrays[key].any()
    assert (arrays["theta"] == 1).all()
    assert (np.full(n, tiny, dtype) / 2 > 0).all()


# The length of a gradient


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sum_of_squares(dtype):
    for n in SIZES:
        x = np.random.default_rng(n).normal(size=n).astype(dtype)
        expected = sum(float(a) ** 2 for a in x)
        for module in (compiled, reference):
            received = module.sum_of_squares(x)
            assert type(received) is float
            assert received == pytest.approx(expected, rel=1e-13, abs=0)
    assert compiled.sum_of_squares(np.ones((3, 5, 7), dtype)) == 105.0


def test_sum_of_squares_has_the_same_bits_for_any_number_of_threads():
    before, results = threads.get_num_threads(), set()
    x = np.random.default_rng(0).normal(size=300_001).astype(np.float32)
    try:
        for n_threads in (1, 2, 3):
            threads.set_num_threads(n_threads)
            results.add(compiled.sum_of_squares(x))
    finally:
        threads.set_num_threads(before)
    assert len(results) == 1


def test_sum_of_squares_is_computed_in_double():
    for module in (compiled, reference):
        assert module.sum_of_squares(np.full(3, 1e30, np.float32)) == pytest.approx(3e60, rel=1e-6)
        x = np.full(100_000, 1e-3, np.float32)
        x[0] = 1e4
        assert module.sum_of_squares(x) == pytest.approx(1e8 + 0.099999, rel=1e-10)
        assert np.isnan(module.sum_of_squares(np.array([1, np.nan])))
        assert module.sum_of_squares(np.array([1, -np.inf])) == np.inf


def test_sum_of_squares_refuses_wrong_arrays():
    for wrong, error in (
        (np.zeros(3, np.int64), TypeError), (None, TypeError), (np.zeros(6)[::2], ValueError),
    ):  # fmt: skip
        with pytest.raises(error, match=r"^x: expected .*Received"):
            compiled.sum_of_squares(wrong)


def test_signatures_are_the_same():
    for name in {name for name, _, _ in CASES}:
        ours, twin = (inspect.signature(getattr(module, name)).parameters for module in modules(name))
        assert list(ours) == list(twin)
        assert [p.default for p in ours.values()] == [p.default for p in twin.values()]
