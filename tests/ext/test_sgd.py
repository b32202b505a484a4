"""The steps of gradient descent for any numbers; test_optimizers.py has what all steps share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn._ext import sgd as compiled
from fastnn.reference import sgd as reference


def vectors(n, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=n).astype(dtype) for _ in range(3)]


@given(
    n=st.integers(0, 300),
    lr=st.floats(0, 1),
    beta=st.floats(0, 0.99),
    decay=st.floats(0, 0.5),
    form=st.sampled_from(["grad_sum", "velocity", "ema", "lookahead"]),
    nesterov=st.booleans(),
    scale=st.floats(0, 2),
    clip=st.floats(0, 2),
    seed=st.integers(0, 99),
)
def test_momentum_equals_twin_for_any_numbers(n, lr, beta, decay, form, nesterov, scale, clip, seed):
    results = []
    for module in (compiled, reference):
        arrays = vectors(n, seed)
        module.momentum_step(*arrays, lr, beta, decay, form, nesterov, scale, clip)
        results.append(arrays)
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_numbers_by_hand():
    """g = 0.5 clipped 2, then 0.5 + 0.1 * 1 = 0.6; u = 0.9 * 2 + 0.6 = 2.4."""
    for module in (compiled, reference):
        for form, nesterov, expected in (
            ("grad_sum", False, 1 - 0.1 * 2.4), ("grad_sum", True, 1 - 0.1 * (0.9 * 2.4 + 0.6)),
            ("lookahead", False, 1 - 0.1 * 0.6), ("lookahead", True, 1 - 0.1 * 0.6),
        ):  # fmt: skip
            theta, grad, u = np.array([1.0]), np.array([4.0]), np.array([2.0])
            module.momentum_step(theta, grad, u, 0.1, 0.9, 0.1, form, nesterov, 0.5, 0.5)
            assert u[0] == pytest.approx(2.4, rel=1e-15)
            assert theta[0] == pytest.approx(expected, rel=1e-15)


def test_an_unknown_form_is_refused():
    for module in (compiled, reference):
        with pytest.raises(ValueError, match=r"form: expected .*'lookahead'. Received: 'sum'"):
            module.momentum_step(*vectors(3), lr=0.1, momentum=0.9, form="sum")
