"""Huber's loss against its twin and by hand; `test_losses.py` has the squared error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import regression as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import regression as reference


def huber(module, p, t, weight=None, gradient=True, **options):
    """(mean, gradient, losses)"""
    dp, losses = np.full_like(p, 7) if gradient else None, np.full(len(p), 7, p.dtype)
    return module.huber(p, t, weight, dp, losses, **options), dp, losses


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 9), st.lists(st.integers(0, 40), max_size=2), st.sampled_from(["float32", "float64"]),
    st.booleans(), st.booleans(), st.sampled_from(["mean_samples", "mean", "sum"]),
    st.sampled_from([0.3, 1.0, 2.5]),
)  # fmt: skip
def test_equals_twin(n, shape, dtype, weighted, gradient, reduction, delta):
    rng = np.random.default_rng(n)
    p, t = (2 * rng.standard_normal((2, n, *shape))).astype(dtype)
    weight = (rng.random(n) + 0.1).astype(dtype) if weighted else None
    received, expected = (
        huber(module, p, t, weight, gradient, delta=delta, reduction=reduction)
        for module in (compiled, reference)
    )
    assert isinstance(received[0], float)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for a, b in zip(received, expected, strict=True):
        if b is None:
            assert a is None
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * (1e-30 + np.max(np.abs(b), initial=0)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_by_hand(dtype):
    p = np.array([[0.5, -3.0, 2.0, 0.0]], dtype)
    loss, gradient, losses = huber(compiled, p, np.zeros_like(p), delta=2.0)
    assert loss == losses[0] == 0.125 + 2 * (3 - 1) + 2 + 0
    assert gradient.tolist() == [[0.5, -2, 2, 0]]
    in_place = p.copy()
    compiled.huber(in_place, np.zeros_like(p), None, in_place, losses, 2.0)
    np.testing.assert_array_equal(in_place, gradient)


def test_threads_give_the_same_bits():
    before = get_num_threads()
    rng = np.random.default_rng(0)
    try:
        for shape in ((70_001,), (9001, 10), (5, 30_001)):
            p, t = rng.standard_normal((2, *shape)).astype(np.float32)
            results = []
            for n in (1, 2, 3):
                set_num_threads(n)
                loss, gradient, losses = huber(compiled, p, t, np.abs(p.reshape(len(p), -1)[:, 0]).copy())
                results.append((loss, gradient.tobytes(), losses.tobytes()))
            assert results[0] == results[1] == results[2]
    finally:
        set_num_threads(before)


def test_nan_is_not_hidden():
    p = np.zeros((3, 2))
    p[1, 0] = np.nan
    loss, gradient, losses = huber(compiled, p, np.zeros_like(p))
    assert np.isnan(loss) and np.isnan(losses[1]) and np.isnan(gradient[1, 0])
    assert np.isfinite(gradient[[0, 2]]).all() and np.isfinite(losses[[0, 2]]).all()


def test_errors_come_before_anything_is_written():
    p, losses = np.zeros((3, 2)), np.full(3, 7.0)
    dp = np.full_like(p, 7)
    for delta in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"delta: expected a positive number. Received"):
            compiled.huber(p, p, None, dp, losses, delta)
    with pytest.raises(ValueError, match=r"target: expected the shape of prediction, \(3, 2\)"):
        compiled.huber(p, p[:, :1].copy(), None, dp, losses)
    with pytest.raises(ValueError, match="reduction: expected 'mean_samples', 'mean' or 'sum'"):
        compiled.huber(p, p, None, dp, losses, 1.0, "none")
    with pytest.raises(ValueError, match="prediction: expected at least 1 axis"):
        compiled.huber(np.zeros(()), np.zeros(()), None, None, losses)
    with pytest.raises(ValueError, match="losses: expected length 3"):
        compiled.huber(p, p, None, dp, losses[:2])
    with pytest.raises(TypeError, match="target: expected dtype float64"):
        compiled.huber(p, p.astype("f4"), None, dp, losses)
    assert (dp == 7).all() and (losses == 7).all()
