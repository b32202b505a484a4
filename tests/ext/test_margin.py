"""Binary cross-entropy and hinge losses against their twins and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import margin as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import margin as reference

DTYPES = ["float32", "float64"]


def run(function, scores, target, weight=None, gradient=True, **options):
    """(mean, gradient, losses)"""
    d, losses = np.full_like(scores, 7) if gradient else None, np.full(len(scores), 7, scores.dtype)
    return function(scores, target, weight, d, losses, **options), d, losses


def assert_same(received, expected, dtype):
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for a, b in zip(received, expected, strict=True):
        if b is None:
            assert a is None
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * (1e-30 + np.max(np.abs(b), initial=0)))


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(["binary_cross_entropy", "hinge", "squared hinge"]), st.integers(0, 40),
    st.lists(st.integers(0, 40), max_size=2), st.sampled_from(DTYPES), st.booleans(), st.booleans(),
    st.booleans(), st.sampled_from(["mean_samples", "mean", "sum"]),
)  # fmt: skip
def test_equal_twins(name, n, shape, dtype, weighted, classes, gradient, reduction):
    rng = np.random.default_rng(n)
    z = (3 * rng.standard_normal((n, *shape))).astype(dtype)
    options = {"reduction": reduction}
    if name == "binary_cross_entropy":
        target = rng.random(z.shape).astype(dtype)
    else:
        target = (2 * rng.integers(0, 2, z.shape) - 1).astype(dtype)
        options |= {"squared": name.startswith("squared")}
    options |= {"class_weight": np.array([0.5, 3], dtype)} if classes else {}
    weight = (rng.random(n) + 0.1).astype(dtype) if weighted else None
    received, expected = (
        run(getattr(module, name.split()[-1]), z, target, weight, gradient, **options)
        for module in (compiled, reference)
    )
    assert isinstance(received[0], float)
    assert_same(received, expected, dtype)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 40), st.integers(2, 40), st.sampled_from(DTYPES), st.booleans(), st.booleans(),
    st.booleans(), st.booleans(), st.sampled_from(["mean_samples", "mean", "sum"]),
)  # fmt: skip
def test_hinge_of_labels_equals_twin(n, k, dtype, weighted, classes, squared, gradient, reduction):
    rng = np.random.default_rng(n * 41 + k)
    z, target = rng.standard_normal((n, k)).astype(dtype), rng.integers(0, k, n)
    options = {"squared": squared, "reduction": reduction}
    options |= {"class_weight": rng.random(k).astype(dtype)} if classes else {}
    weight = (rng.random(n) + 0.1).astype(dtype) if weighted else None
    received, expected = (
        run(module.hinge, z, target, weight, gradient, **options) for module in (compiled, reference)
    )
    assert_same(received, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_cross_entropy_by_hand(dtype):
    z, t = np.zeros((2, 2), dtype), np.array([[0, 1], [0.5, 0.25]], dtype)
    loss, d, losses = run(compiled.binary_cross_entropy, z, t)
    np.testing.assert_allclose(losses, 2 * np.log(2), rtol=1e-6 if dtype == "float32" else 1e-15)
    assert d.tolist() == [[0.25, -0.25], [0, 0.125]]
    assert loss == pytest.approx(2 * np.log(2), rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 3, 17, 100])
def test_binary_cross_entropy_of_huge_logits(dtype, n):
    z = np.resize(np.array([1e4, -1e4, 1e4, -1e4], dtype), (n, 1))
    t = np.resize(np.array([1, 0, 0, 1], dtype), (n, 1))
    loss, d, losses = run(compiled.binary_cross_entropy, z, t)
    np.testing.assert_array_equal(losses, np.resize([0, 0, 1e4, 1e4], n))
    np.testing.assert_allclose(d[:, 0] * n, np.resize([0, 0, 1, -1], n), rtol=1e-6)
    assert np.isfinite(loss)


def test_binary_cross_entropy_keeps_the_digits_of_small_losses():
    """log(1 + e^-30) is e^-30; 1 - sigmoid(30) too: neither is a difference of large numbers."""
    for sign, t in ((1.0, 1.0), (-1.0, 0.0)):
        loss, d, _ = run(compiled.binary_cross_entropy, np.array([[30 * sign]]), np.array([[t]]))
        assert loss == pytest.approx(np.log1p(np.exp(-30)), rel=1e-14)
        assert d[0, 0] == pytest.approx(-sign * np.exp(-30), rel=1e-12)


def test_an_element_does_not_depend_on_its_place():
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal(50).astype("f4"), rng.random(50).astype("f4")
    _, d, losses = run(compiled.binary_cross_entropy, z, t, reduction="sum")
    for i in range(50):
        _, one, loss = run(compiled.binary_cross_entropy, z[i : i + 1], t[i : i + 1], reduction="sum")
        assert one[0] == d[i] and loss[0] == losses[i]


@pytest.mark.parametrize("dtype", DTYPES)
def test_hinge_by_hand(dtype):
    z, t = np.array([[2.0, 0.5], [1.0, -3.0]], dtype), np.array([[1, -1], [1, 1]], dtype)
    loss, d, losses = run(compiled.hinge, z, t, class_weight=np.array([10, 1], dtype))
    assert losses.tolist() == [15, 4] and loss == 9.5
    assert d.tolist() == [[0, 5], [0, -0.5]]  # on the kink, z = 1, it is 0
    loss, d, losses = run(compiled.hinge, z, t, squared=True, reduction="sum")
    assert losses.tolist() == [2.25, 16] and loss == 18.25
    assert d.tolist() == [[0, 3], [0, -8]]
    z = np.array([[1, 3, 3], [0, 0.5, -1], [9, 0, 0]], dtype)
    loss, d, losses = run(compiled.hinge, z, np.array([0, 1, 0]), np.array([1, 1, 2], dtype))
    assert losses.tolist() == [3, 0.5, 0] and loss == 3.5 / 4
    assert d.tolist() == [[-0.25, 0.25, 0], [0.25, -0.25, 0], [0, 0, 0]]  # of equal rivals the first


@pytest.mark.parametrize("shape", [(70_001,), (9001, 10), (5, 30_001)])
def test_threads_give_the_same_bits(shape):
    before = get_num_threads()
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal(shape).astype("f4"), rng.random(shape).astype("f4")
    weight = rng.random(shape[0]).astype("f4")
    labels = rng.integers(0, shape[-1], shape[0])
    calls = [
        lambda: run(compiled.binary_cross_entropy, z, t, weight),
        lambda: run(compiled.hinge, z, 2 * np.round(t) - 1, weight, squared=True),
    ]
    if len(shape) == 2:
        calls.append(lambda: run(compiled.hinge, z, labels, weight))
    try:
        for call in calls:
            results = []
            for n in (1, 2, 3):
                set_num_threads(n)
                loss, d, losses = call()
                results.append((loss, d.tobytes(), losses.tobytes()))
            assert results[0] == results[1] == results[2]
    finally:
        set_num_threads(before)


@pytest.mark.parametrize("k", [2, 5, 40])
def test_nan_is_not_hidden(k):
    z = np.zeros((3, k), np.float32)
    z[1, 1] = np.nan
    for target in (np.ones_like(z), np.array([0, 0, 0]), np.array([1, 1, 1])):
        loss, d, losses = run(compiled.hinge, z, target)
        assert np.isnan(loss) and np.isnan(losses[1]) and np.isfinite(losses[[0, 2]]).all()
    loss, d, losses = run(compiled.binary_cross_entropy, z, np.ones_like(z))
    assert np.isnan(loss) and np.isnan(losses[1]) and np.isnan(d[1, 1]) and np.isfinite(d[[0, 2]]).all()


def test_errors_come_before_anything_is_written():
    z, losses = np.zeros((3, 2)), np.full(3, 7.0)
    d, t = np.full_like(z, 7), np.ones_like(z)
    for bad in (1.5, -0.1, np.nan):
        t[2, 1] = bad
        with pytest.raises(ValueError, match=r"target: expected numbers in \[0, 1\] everywhere. Received"):
            compiled.binary_cross_entropy(z, t, None, d, losses)
    for bad in (0, 0.5, np.nan):
        t[2, 1] = bad
        with pytest.raises(ValueError, match=r"target: expected -1 or 1 everywhere. Received"):
            compiled.hinge(z, t, None, d, losses)
    t[2, 1] = 1
    for function in (compiled.binary_cross_entropy, compiled.hinge):
        with pytest.raises(ValueError, match="target: expected the shape of"):
            function(z[:, :1].copy(), t[:, 0].copy(), None, None, losses)
        with pytest.raises(ValueError, match="class_weight: expected length 2 along axis 0"):
            function(z, t, None, d, losses, np.ones(3))
        with pytest.raises(ValueError, match="reduction: expected 'mean_samples', 'mean' or 'sum'"):
            function(z, t, None, d, losses, reduction="none")
        with pytest.raises(ValueError, match="losses: expected length 3"):
            function(z, t, None, d, losses[:2])
        with pytest.raises(TypeError, match=r"target: expected an array. Received: None"):
            function(z, None, None, d, losses)
    labels = np.array([0, 1, 2])
    with pytest.raises(ValueError, match=r"labels from 0 to 1, for the 2 classes of scores.*target\[2\]=2"):
        compiled.hinge(z, labels, None, d, losses)
    with pytest.raises(ValueError, match="scores: expected at least two classes"):
        compiled.hinge(z[:, :1].copy(), labels, None, None, losses)
    labels[2] = 0
    with pytest.raises(ValueError, match="class_weight: expected length 2 along axis 0"):
        compiled.hinge(z, labels, None, d, losses, np.ones(3))
    with pytest.raises(ValueError, match="dscores: expected a C-contiguous array"):
        compiled.hinge(z, labels, None, np.zeros((2, 3)).T, losses)
    assert (d == 7).all() and (losses == 7).all()
