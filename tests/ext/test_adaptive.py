"""The steps of AdaGrad, RMSProp and AdaDelta; test_optimizers.py has what all steps share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn._ext import adaptive as compiled
from fastnn.reference import adaptive as reference


@given(
    n=st.integers(0, 300),
    rho=st.floats(0.1, 0.999),  # at 0 the variance is nothing but rounding
    eps=st.floats(1e-8, 1),
    momentum=st.floats(0, 0.99),
    decay=st.floats(0, 0.5),
    mode=st.sampled_from(["outside", "inside"]),
    centered=st.booleans(),
    moving=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rmsprop_equals_twin_for_any_numbers(n, rho, eps, momentum, decay, mode, centered, moving, seed):
    results = []
    for module in (compiled, reference):
        rng = np.random.default_rng(seed)
        theta, grad, mean, velocity = rng.normal(size=(4, n))
        v = mean**2 + rng.uniform(0.5, 1, size=n)
        state = [v, mean if centered else None, velocity if moving else None]
        module.rmsprop_step(theta, grad, *state, 0.01, rho, eps, momentum, decay, mode)
        results.append([theta, *state])
    for a, b in zip(*results):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_variance_rounded_below_zero_counts_as_zero(dtype):
    """Under a constant gradient the variance goes to 0, and half of its rounded values are negative."""
    for module in (compiled, reference):
        theta, grad = np.ones(1000, dtype), np.linspace(0.1, 1, 1000).astype(dtype)
        v, mean = np.zeros(1000, dtype), np.zeros(1000, dtype)
        for _ in range(300):
            module.rmsprop_step(theta, grad, v, mean, None, 1e-6, 0.5, 1.0)
        assert (v - mean**2 < 0).any()
        assert np.isfinite(theta).all()


def test_wrong_numbers_are_refused():
    a = np.ones(3)
    for module in (compiled, reference):
        with pytest.raises(ValueError, match=r"eps_mode: expected .*Received: 'x'"):
            module.adagrad_step(a.copy(), a, a.copy(), 0.1, 1e-8, eps_mode="x")
        with pytest.raises(ValueError, match=r"eps_mode: expected .*Received: 'x'"):
            module.rmsprop_step(a.copy(), a, a.copy(), None, None, 0.1, 0.9, 1e-8, eps_mode="x")
