"""The steps of Adam's family; test_optimizers.py has what all steps share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn._ext import adam as compiled
from fastnn.reference import adam as reference


def vectors(n, seed=0, dtype="float64"):
    """theta, grad, m, and v and v_max, which are positive."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=n).astype(dtype) for _ in range(5)]
    return [*arrays[:3], np.abs(arrays[3]), np.abs(arrays[4])]


@given(
    n=st.integers(0, 300),
    t=st.integers(1, 100_000),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0, 0.9999),
    decay=st.floats(0, 0.5),
    decoupled=st.booleans(),
    mode=st.sampled_from(["outside", "inside"]),
    correction=st.booleans(),
    amsgrad=st.booleans(),
)
def test_adam_equals_twin_for_any_numbers(n, t, beta1, beta2, decay, decoupled, mode, correction, amsgrad):
    results = []
    for module in (compiled, reference):
        *arrays, v_max = vectors(n, t)
        module.adam_step(
            *arrays, t, 1e-2, beta1, beta2, 1e-6, decay, decoupled, mode, correction,
            v_max if amsgrad else None,
        )  # fmt: skip
        results.append([*arrays, v_max])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@given(
    n=st.integers(0, 300),
    t=st.integers(1, 100_000),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0, 0.9999),
    mode=st.sampled_from(["denominator", "in_max"]),
    averaged=st.booleans(),
)
def test_adamax_equals_twin_for_any_numbers(n, t, beta1, beta2, mode, averaged):
    results = []
    for module in (compiled, reference):
        theta, grad, m, u, _ = vectors(n, t)
        module.adamax_step(
            theta,
            grad,
            m if averaged else None,
            u,
            t,
            1e-2,
            beta1 if averaged else 0.0,
            beta2,
            1e-6,
            0.1,
            mode,
        )
        results.append([theta, m, u])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_nadam_with_adams_shares_is_adam():
    for module in (compiled, reference):
        a, b = vectors(50)[:4], vectors(50)[:4]
        module.adam_step(*a, 3, 1e-2, 0.9, 0.999, 1e-8)
        module.nadam_step(*b, 3, 1e-2, 0.9, 0.999, 1e-8, 1 / (1 - 0.9**3), 0.0)
        for x, y in zip(a, b):
            np.testing.assert_allclose(x, y, rtol=1e-14)


def test_float32_moments_reach_the_true_mean():
    theta, g = np.zeros(5, np.float32), np.full(5, 3.0, np.float32)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, 20_001):
        compiled.adam_step(theta, g, m, v, t, 0.0, 0.9, 0.999, 1e-8)
    np.testing.assert_allclose(m, 3.0, rtol=1e-6)
    # An increment below half a unit in the last place is lost: at most 2^-24 / (1 - beta2) = 6e-5.
    np.testing.assert_allclose(v, 9.0, rtol=8e-5)


def test_wrong_numbers_are_refused():
    theta, grad, m, v, _ = vectors(3)
    for module in (compiled, reference):
        with pytest.raises(ValueError, match=r"eps_mode: expected .*Received: 'x'"):
            module.adam_step(theta, grad, m, v, 1, 0.1, 0.9, 0.999, 1e-8, eps_mode="x")
        with pytest.raises(ValueError, match=r"eps_mode: expected 'denominator' or 'in_max'. Received: 'x'"):
            module.adamax_step(theta, grad, m, v, 1, 0.1, 0.9, 0.999, 1e-8, eps_mode="x")
        with pytest.raises(ValueError, match=r"m: expected an array where beta1 is not 0. Received: None"):
            module.adamax_step(theta, grad, None, v, 1, 0.1, 0.9, 0.999, 1e-8)
    for name in ("adam_step", "adamax_step"):
        with pytest.raises(ValueError, match=r"step: expected at least 1.*Received: 0"):
            getattr(compiled, name)(theta, grad, m, v, 0, 0.1, 0.9, 0.999, 1e-8)
