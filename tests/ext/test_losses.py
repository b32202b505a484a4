"""Squared error and cross-entropy against their twins, and what the notes say (S2.3, S2.5 to S2.7)."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import classification, regression
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import classification as classification_twin
from fastnn.reference import regression as regression_twin

compiled, reference = (
    SimpleNamespace(softmax_cross_entropy=c.softmax_cross_entropy, squared_error=r.squared_error)
    for c, r in ((classification, regression), (classification_twin, regression_twin))
)
DTYPES = ["float32", "float64"]


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def entropy(module, logits, target, weight=None, gradient=True):
    """(mean, gradient, losses)"""
    dlogits = np.full_like(logits, 7) if gradient else None
    losses = np.full(len(logits), 7, logits.dtype)
    return module.softmax_cross_entropy(logits, target, weight, dlogits, losses), dlogits, losses


def error(module, p, t, weight=None, gradient=True, **options):
    dp = np.full_like(p, 7) if gradient else None
    losses = np.full(len(p), 7, p.dtype)
    return module.squared_error(p, t, weight, dp, losses, **options), dp, losses


def assert_same(received, expected, dtype):
    """Relative to the size of the output."""
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for a, b in zip(received, expected, strict=True):
        if b is None:
            assert a is None
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * (1e-30 + np.max(np.abs(b), initial=0)))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 40), st.integers(1, 40), st.sampled_from(DTYPES),
    st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_cross_entropy_equals_twin(n, k, dtype, soft, weighted, gradient):
    rng = np.random.default_rng(n * 41 + k)
    logits = (3 * rng.standard_normal((n, k))).astype(dtype)
    target = rng.dirichlet(np.ones(k), n).astype(dtype) if soft else rng.integers(0, k, n)
    weight = rng.random(n).astype(dtype) if weighted else None
    received = entropy(compiled, logits, target, weight, gradient)
    assert isinstance(received[0], float)
    assert_same(received, entropy(reference, logits, target, weight, gradient), dtype)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3), st.sampled_from(DTYPES), st.booleans(),
    st.booleans(), st.sampled_from(["mean_samples", "mean", "sum"]), st.booleans(),
)  # fmt: skip
def test_squared_error_equals_twin(n, shape, dtype, weighted, gradient, reduction, half):
    rng = np.random.default_rng(n)
    p, t = rng.standard_normal((2, n, *shape)).astype(dtype)
    weight = (rng.random(n) + 0.1).astype(dtype) if weighted else None
    options = {"reduction": reduction, "half": half}
    received = error(compiled, p, t, weight, gradient, **options)
    assert isinstance(received[0], float)
    assert_same(received, error(reference, p, t, weight, gradient, **options), dtype)


@pytest.mark.parametrize("k", [10, 33])
def test_threads_give_the_same_bits(k):
    rng = np.random.default_rng(0)
    logits, target = rng.standard_normal((5003, k)).astype(np.float32), rng.integers(0, k, 5003)
    for call in (
        lambda: entropy(compiled, logits, target),
        lambda: entropy(compiled, logits, abs(logits), abs(logits[:, 0])),
        lambda: error(compiled, logits, logits[::-1].copy()),
    ):
        set_num_threads(1)
        loss, gradient, losses = call()
        set_num_threads(3)
        again, gradient3, losses3 = call()
        assert again == loss
        np.testing.assert_array_equal(gradient3, gradient)
        np.testing.assert_array_equal(losses3, losses)


def test_cross_entropy_by_hand():
    """S2.6 and S2.7: equal logits cost log K; the gradient is p - e_t; logits of +-1e4 stay finite."""
    loss, gradient, losses = entropy(compiled, np.zeros((4, 10)), np.array([0, 3, 5, 9]))
    assert loss == pytest.approx(np.log(10), rel=1e-15)
    np.testing.assert_allclose(gradient * 4 + np.eye(10)[[0, 3, 5, 9]], 0.1, rtol=1e-14)
    loss, gradient, losses = entropy(compiled, np.array([[1e4, -1e4], [1e4, -1e4]]), np.array([0, 1]))
    np.testing.assert_array_equal(losses, [0, 2e4])
    assert loss == 1e4
    np.testing.assert_array_equal(gradient, [[0, 0], [0.5, -0.5]])


def test_labels_are_one_hot_probabilities():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((20, 7)), rng.integers(0, 7, 20)
    assert_same(entropy(compiled, logits, np.eye(7)[labels]), entropy(compiled, logits, labels), "float64")


def test_impossible_class_with_probability_0_costs_nothing():
    logits = np.array([[0.0, -np.inf, 0.0]])
    loss, gradient, _ = entropy(compiled, logits, np.array([[0.5, 0.0, 0.5]]))
    assert loss == pytest.approx(np.log(2))
    np.testing.assert_allclose(gradient, 0, atol=1e-16)


def test_weights():
    """Equal weights change nothing, a weight of 0 removes the sample, whole weights repeat it."""
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    plain = entropy(compiled, logits, labels)
    assert_same(entropy(compiled, logits, labels, np.full(6, 3.0)), plain, "float64")
    counts = np.array([2, 0, 1, 1, 3, 0])
    loss, gradient, losses = entropy(compiled, logits, labels, counts.astype(np.float64))
    repeated = np.repeat(np.arange(6), counts)
    assert loss == pytest.approx(entropy(compiled, logits[repeated], labels[repeated])[0], rel=1e-14)
    np.testing.assert_array_equal(gradient[[1, 5]], 0)
    np.testing.assert_array_equal(losses, plain[2])


@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_gradient(soft):
    """Against central differences of the returned loss, also where probabilities do not sum to 1."""
    rng = np.random.default_rng(1)
    logits, weight = rng.standard_normal((3, 4)), np.array([1.0, 2.0, 0.5])
    target = rng.random((3, 4)) if soft else rng.integers(0, 4, 3)
    gradient = entropy(compiled, logits, target, weight)[1]
    for index in np.ndindex(3, 4):
        step = np.zeros((3, 4))
        step[index] = 1e-6
        up, down = (entropy(compiled, logits + s, target, weight)[0] for s in (step, -step))
        assert gradient[index] == pytest.approx((up - down) / 2e-6, abs=1e-9)


def test_squared_error_reductions():
    """S2.3: sum over outputs, mean over samples; the other forms differ by fixed factors."""
    p, t = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    loss, gradient, losses = error(compiled, p, t)
    assert loss == 8
    np.testing.assert_array_equal(losses, [13, 3])
    np.testing.assert_array_equal(gradient, p - t)
    for options, factor in [
        ({"reduction": "mean"}, 1 / 3), ({"reduction": "sum"}, 2), ({"half": True}, 0.5),
        ({"reduction": "sum", "half": True}, 1),
    ]:  # fmt: skip
        other, dp, _ = error(compiled, p, t, **options)
        assert other == pytest.approx(8 * factor)
        np.testing.assert_allclose(dp, gradient * factor)
    in_place = p.copy()
    compiled.squared_error(in_place, t, None, in_place, np.empty(2))
    np.testing.assert_array_equal(in_place, gradient)


def test_nan_is_not_hidden():
    logits = np.zeros((3, 5), np.float32)
    logits[1, 2] = np.nan
    loss, gradient, losses = entropy(compiled, logits, np.array([0, 0, 0]))
    assert np.isnan(loss) and np.isnan(losses[1]) and np.isfinite(losses[[0, 2]]).all()
    assert np.isnan(gradient[1]).all() and np.isfinite(gradient[0]).all()


def test_errors_come_before_anything_is_written():
    logits, labels, losses = np.zeros((3, 4)), np.array([0, 4, 1]), np.full(3, 7.0)
    dlogits = np.full_like(logits, 7)
    for bad in (4, -1):
        labels[1] = bad
        with pytest.raises(ValueError, match=rf"labels from 0 to 3, for the 4 classes.*target\[1\]={bad}"):
            compiled.softmax_cross_entropy(logits, labels, None, dlogits, losses)
    labels[1] = 0
    with pytest.raises(TypeError, match=r"int64 labels \(N,\) or probabilities.*Received: dtype=int32"):
        compiled.softmax_cross_entropy(logits, labels.astype(np.int32), None, dlogits, losses)
    with pytest.raises(TypeError, match=r"target:.*Received: None"):
        compiled.softmax_cross_entropy(logits, None, None, dlogits, losses)
    with pytest.raises(ValueError, match="target: expected the shape of logits"):
        compiled.softmax_cross_entropy(logits, logits[:, 0].copy(), None, dlogits, losses)
    with pytest.raises(ValueError, match="target: expected length 3 along axis 0"):
        compiled.softmax_cross_entropy(logits, labels[:2], None, dlogits, losses)
    with pytest.raises(ValueError, match="sample_weight: expected a positive sum"):
        compiled.softmax_cross_entropy(logits, labels, np.zeros(3), dlogits, losses)
    with pytest.raises(ValueError, match="at least one class"):
        compiled.softmax_cross_entropy(logits[:, :0].copy(), logits[:, :0].copy(), None, None, losses)
    with pytest.raises(ValueError, match="dlogits: expected a C-contiguous array"):
        compiled.softmax_cross_entropy(logits, labels, None, np.zeros((4, 3)).T, losses)
    with pytest.raises(ValueError, match="losses: expected length 3"):
        compiled.squared_error(logits, logits, None, None, losses[:2])
    with pytest.raises(ValueError, match=r"target: expected the shape of prediction, \(3, 4\)"):
        compiled.squared_error(logits, logits[:, :1].copy(), None, None, losses)
    with pytest.raises(
        ValueError, match=r"reduction: expected 'mean_samples', 'mean' or 'sum'. Received: 'none'"
    ):
        compiled.squared_error(logits, logits, None, dlogits, losses, "none")
    with pytest.raises(ValueError, match="prediction: expected at least 1 axis"):
        compiled.squared_error(np.zeros(()), np.zeros(()), None, None, losses)
    assert (dlogits == 7).all() and (losses == 7).all()


@pytest.mark.parametrize("soft", [False, True])
def test_equals_torch(soft):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    logits = rng.standard_normal((30, 12))
    target = rng.dirichlet(np.ones(12), 30) if soft else rng.integers(0, 12, 30)
    z = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(z, torch.tensor(target))
    expected.backward()
    loss, gradient, _ = entropy(compiled, logits, target)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, z.grad.numpy(), rtol=1e-12, atol=1e-15)
    if soft:
        expected = torch.nn.functional.mse_loss(torch.tensor(logits), torch.tensor(target)).item()
        assert error(compiled, logits, target, reduction="mean")[0] == pytest.approx(expected, rel=1e-12)
