"""The compiled steps against their twins, exact numbers, errors."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn._ext import optimizers as compiled
from fastnn._ext import threads
from fastnn.reference import optimizers as reference

SIZES = [0, 1, 2, 7, 16, 17, 63, 100, 1000, 8191, 8192, 8193, 20_001]
RTOL = {"float32": 1e-5, "float64": 1e-12}

# name, number of state vectors, hyperparameters
SGD = [("sgd_step", 0, {"lr": 0.1}), ("sgd_step", 0, {"lr": 0.1, "weight_decay": 0.01})]
MOMENTUM = [
    (
        "momentum_step",
        1,
        {"lr": 0.1, "momentum": 0.9, "form": form, "nesterov": nesterov, "weight_decay": decay},
    )
    for form in ("grad_sum", "velocity", "ema")
    for nesterov in (False, True)
    for decay in (0.0, 0.01)
]
ADAM = [
    (
        "adam_step",
        2,
        {"step": step, "lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "weight_decay": decay,
         "decoupled": decoupled, "eps_mode": eps_mode, "bias_correction": correction},
    )
    for step, decay, decoupled, eps_mode, correction in [
        (1, 0.0, False, "outside", True), (1, 0.1, False, "outside", True), (3, 0.1, True, "outside", True),
        (50, 0.1, True, "inside", True), (2, 0.0, False, "inside", False), (7, 0.1, False, "outside", False),
    ]
]  # fmt: skip
CASES = SGD + MOMENTUM + ADAM


def vectors(n, n_states, dtype, seed=0):
    """theta, grad and the state; the last state vector is positive, as v is."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=n).astype(dtype) for _ in range(2 + n_states)]
    if n_states == 2:
        arrays[-1] = np.abs(arrays[-1])
    return arrays


def step(module, name, arrays, options):
    arrays = [array.copy() for array in arrays]
    getattr(module, name)(*arrays, **options)
    return arrays


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "n_states", "options"), CASES)
def test_equals_twin(name, n_states, options, dtype):
    for n in SIZES:
        arrays = vectors(n, n_states, dtype)
        got, expected = (step(module, name, arrays, options) for module in (compiled, reference))
        for a, b in zip(got, expected):
            np.testing.assert_allclose(a, b, rtol=RTOL[dtype], atol=RTOL[dtype])
        assert (got[1] == arrays[1]).all()  # the gradient is only read


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "n_states", "options"), CASES[:3] + ADAM[:1] + ADAM[3:4])
def test_any_number_of_threads_gives_the_same_bits(name, n_states, options, dtype):
    before = threads.get_num_threads()
    try:
        for n in (70_001, 8192 * 9):
            arrays, results = vectors(n, n_states, dtype), []
            for n_threads in (1, 2, 3):
                threads.set_num_threads(n_threads)
                results.append([a.tobytes() for a in step(compiled, name, arrays, options)])
            assert results[0] == results[1] == results[2]
    finally:
        threads.set_num_threads(before)


@given(
    n=st.integers(0, 300),
    lr=st.floats(0, 1),
    beta=st.floats(0, 0.99),
    decay=st.floats(0, 0.5),
    form=st.sampled_from(["grad_sum", "velocity", "ema"]),
    nesterov=st.booleans(),
    seed=st.integers(0, 99),
)
def test_momentum_equals_twin_for_any_numbers(n, lr, beta, decay, form, nesterov, seed):
    arrays = vectors(n, 1, "float64", seed)
    options = {"lr": lr, "momentum": beta, "weight_decay": decay, "form": form, "nesterov": nesterov}
    for a, b in zip(*(step(m, "momentum_step", arrays, options) for m in (compiled, reference))):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@given(
    n=st.integers(0, 300),
    t=st.integers(1, 100_000),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0, 0.9999),
    decay=st.floats(0, 0.5),
    decoupled=st.booleans(),
    mode=st.sampled_from(["outside", "inside"]),
    correction=st.booleans(),
)
def test_adam_equals_twin_for_any_numbers(n, t, beta1, beta2, decay, decoupled, mode, correction):
    arrays = vectors(n, 2, "float64", t)
    options = {"step": t, "lr": 1e-2, "beta1": beta1, "beta2": beta2, "eps": 1e-6, "weight_decay": decay,
               "decoupled": decoupled, "eps_mode": mode, "bias_correction": correction}  # fmt: skip
    for a, b in zip(*(step(m, "adam_step", arrays, options) for m in (compiled, reference))):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_signatures_are_the_same():
    for name in ("sgd_step", "momentum_step", "adam_step"):
        ours, twin = (inspect.signature(getattr(m, name)).parameters for m in (compiled, reference))
        assert list(ours) == list(twin)
        assert [p.default for p in ours.values()] == [p.default for p in twin.values()]


def test_float32_moments_reach_the_true_mean():
    theta, g = np.zeros(5, np.float32), np.full(5, 3.0, np.float32)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, 20_001):
        compiled.adam_step(theta, g, m, v, t, 0.0, 0.9, 0.999, 1e-8)
    np.testing.assert_allclose(m, 3.0, rtol=1e-6)
    # An increment below half a unit in the last place is lost: at most 2^-24 / (1 - beta2) = 6e-5.
    np.testing.assert_allclose(v, 9.0, rtol=8e-5)


def test_not_a_number_stays_visible():
    for name, n_states, options in (SGD[0], MOMENTUM[0], ADAM[0]):
        arrays = vectors(40, n_states, "float32")
        arrays[1][13] = np.nan
        theta = step(compiled, name, arrays, options)[0]
        assert np.isnan(theta[13])
        assert np.isfinite(np.delete(theta, 13)).all()


@pytest.mark.parametrize(("name", "n_states", "options"), [SGD[0], MOMENTUM[0], ADAM[0]])
def test_wrong_arrays_are_refused(name, n_states, options):
    function = getattr(compiled, name)
    good = vectors(6, n_states, "float32")
    names = ["theta", "grad", "velocity" if n_states == 1 else "m", "v"]
    for i, expected in enumerate(names[: 2 + n_states]):
        for wrong, error in (
            (np.zeros(6, np.int64), TypeError), (np.zeros(5, np.float32), ValueError),
            (np.zeros(12, np.float32)[::2], ValueError), (None, TypeError),
        ):  # fmt: skip
            if i == 0 and wrong is not None and wrong.shape == (5,):
                continue  # then the gradient is the one that does not fit
            arrays = list(good)
            arrays[i] = wrong
            with pytest.raises(error, match=f"^{expected}: expected .*Received"):
                function(*arrays, **options)
    with pytest.raises(TypeError, match="grad: expected dtype float32"):
        function(good[0], good[1].astype(np.float64), *good[2:], **options)


def test_wrong_numbers_are_refused():
    for module in (compiled, reference):
        with pytest.raises(ValueError, match=r"form: expected .*Received: 'sum'"):
            module.momentum_step(*vectors(3, 1, "float32"), lr=0.1, momentum=0.9, form="sum")
        with pytest.raises(ValueError, match=r"eps_mode: expected .*Received: 'x'"):
            module.adam_step(*vectors(3, 2, "float32"), 1, 0.1, 0.9, 0.999, 1e-8, eps_mode="x")
    with pytest.raises(ValueError, match=r"step: expected at least 1.*Received: 0"):
        compiled.adam_step(*vectors(3, 2, "float32"), 0, 0.1, 0.9, 0.999, 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7, 100_000])
def test_what_decays_below_the_smallest_normal_number_is_zero(n, dtype):
    """Such numbers are slow; only the kernel treats them so, the rest of the process keeps them."""
    tiny = np.finfo(dtype).smallest_normal
    theta, grad = np.ones(n, dtype), np.zeros(n, dtype)
    m, v, velocity = (np.full(n, tiny, dtype) for _ in range(3))
    compiled.adam_step(theta, grad, m, v, 1, 0.0, 0.5, 0.5, 1e-8)
    compiled.momentum_step(theta, grad, velocity, 0.0, 0.5)
    for state in (m, v, velocity):
        assert not state.any()
    assert (theta == 1).all()
    assert (np.full(n, tiny, dtype) / 2 > 0).all()
