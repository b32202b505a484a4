"""The Kullback-Leibler divergence against its twin and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import classification
from fastnn._ext import divergence as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.losses.divergence import SUM_TOLERANCE
from fastnn.reference import divergence as reference


def run(module, z, t, weight=None, gradient=True, **options):
    """(mean, gradient, losses)"""
    d, losses = np.full_like(z, 7) if gradient else None, np.full(len(z), 7, z.dtype)
    return module.kl_divergence(z, t, weight, d, losses, **options), d, losses


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 40), st.integers(1, 40), st.sampled_from(["float32", "float64"]), st.booleans(),
    st.booleans(), st.sampled_from(["mean_samples", "sum"]),
)  # fmt: skip
def test_equals_twin(n, k, dtype, weighted, gradient, reduction):
    rng = np.random.default_rng(n * 41 + k)
    z = (3 * rng.standard_normal((n, k))).astype(dtype)
    t = rng.dirichlet(np.ones(k), n).astype(dtype)
    t[: n // 3] = np.eye(k, dtype=dtype)[rng.integers(0, k, n // 3)]
    weight = (rng.random(n) + 0.1).astype(dtype) if weighted else None
    received, expected = (
        run(module, z, t, weight, gradient, reduction=reduction) for module in (compiled, reference)
    )
    assert isinstance(received[0], float)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for a, b in zip(received, expected, strict=True):
        if b is None:
            assert a is None
        else:  # relative to the logits, whose differences the loss is made of
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1, np.max(np.abs(b), initial=0)))


def test_by_hand():
    """0 where the distributions are equal; log K for a certain target against equal logits."""
    z = np.random.default_rng(0).standard_normal((4, 6))
    _, d, losses = run(compiled, z, softmax(z))
    np.testing.assert_allclose(losses, 0, atol=1e-15)
    np.testing.assert_allclose(d, 0, atol=1e-16)
    loss, d, _ = run(compiled, np.zeros((1, 4)), np.array([[0.0, 1, 0, 0]]))
    assert loss == pytest.approx(np.log(4), rel=1e-15)
    assert d.tolist() == [[0.25, -0.75, 0.25, 0.25]]
    loss, d, _ = run(compiled, np.array([[1e4, -1e4]]), np.array([[0.5, 0.5]]))
    assert loss == pytest.approx(1e4 - np.log(2))
    assert d.tolist() == [[0.5, -0.5]]


def test_is_cross_entropy_less_the_entropy_of_the_targets():
    rng = np.random.default_rng(1)
    z, t = rng.standard_normal((9, 5)), rng.dirichlet(np.ones(5), 9)
    _, d, losses = run(compiled, z, t)
    d_entropy, of_entropy = np.empty_like(z), np.empty(9)
    classification.softmax_cross_entropy(z, t, None, d_entropy, of_entropy)
    np.testing.assert_allclose(losses, of_entropy + (t * np.log(t)).sum(axis=1), atol=1e-14)
    np.testing.assert_allclose(d, d_entropy, atol=1e-16)


@pytest.mark.parametrize("k", [10, 33])
def test_threads_give_the_same_bits(k):
    before = get_num_threads()
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((5003, k)).astype("f4"), rng.dirichlet(np.ones(k), 5003).astype("f4")
    results = []
    try:
        for n in (1, 2, 3):
            set_num_threads(n)
            loss, d, losses = run(compiled, z, t, abs(z[:, 0]))
            results.append((loss, d.tobytes(), losses.tobytes()))
    finally:
        set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_nan_is_not_hidden():
    z = np.zeros((3, 5), np.float32)
    z[1, 2] = np.nan
    loss, d, losses = run(compiled, z, np.full_like(z, 0.2))
    assert np.isnan(loss) and np.isnan(losses[1]) and np.isfinite(losses[[0, 2]]).all()
    assert np.isnan(d[1]).all() and np.isfinite(d[[0, 2]]).all()


def test_errors_come_before_anything_is_written():
    z, losses = np.zeros((3, 2)), np.full(3, 7.0)
    d, t = np.full_like(z, 7), np.full_like(z, 0.5)
    for row in ([0.5, 0.6], [1.5, -0.5], [np.nan, 1.0], [0.0, 0.0]):
        t[1] = row
        with pytest.raises(ValueError, match=r"target: expected rows .* add up to 1. Received: target\[1\]"):
            compiled.kl_divergence(z, t, None, d, losses)
    t[1] = [0.25, 0.75]
    with pytest.raises(ValueError, match="target: expected the shape of logits"):
        compiled.kl_divergence(z, t[:, :1].copy(), None, d, losses)
    with pytest.raises(ValueError, match=r"reduction: expected 'mean_samples' or 'sum'. Received: 'mean'"):
        compiled.kl_divergence(z, t, None, d, losses, "mean")
    with pytest.raises(TypeError, match="target: expected dtype float64"):
        compiled.kl_divergence(z, np.array([0, 1, 0]), None, d, losses)
    with pytest.raises(ValueError, match="sample_weight: expected a positive sum"):
        compiled.kl_divergence(z, t, np.zeros(3), d, losses)
    assert (d == 7).all() and (losses == 7).all()


def test_the_check_of_the_class_is_that_of_the_kernel():
    assert compiled.SUM_TOLERANCE == SUM_TOLERANCE


@pytest.mark.parametrize(("dtype", "ulps"), [("float32", 4), ("float64", 4)])
def test_the_logarithm_of_targets_of_every_size(dtype, ulps):
    """One certain class among two, t and 1 - t: with equal logits the loss is log 2 less the entropy."""
    t = np.concatenate([np.geomspace(1e-30, 0.5, 4001), 1 - np.geomspace(1e-6, 0.5, 4001)]).astype(dtype)
    t = np.stack([t, (1 - t).astype(dtype)], axis=1)
    _, _, losses = run(compiled, np.zeros_like(t), t)
    exact = t.astype(np.longdouble)
    exact = (exact * np.log(2 * np.where(exact == 0, 1, exact))).sum(axis=1)
    assert np.abs(losses - exact).max() <= ulps * np.finfo(dtype).eps
