"""Cross-entropy with class weights and label smoothing, and NLL, against their twins and by hand.

`test_losses.py` has the plain cross-entropy.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import classification as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import classification as reference


def run(function, scores, target, weight=None, gradient=True, **options):
    """(mean, gradient, losses)"""
    d, losses = np.full_like(scores, 7) if gradient else None, np.full(len(scores), 7, scores.dtype)
    return function(scores, target, weight, d, losses, **options), d, losses


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(["softmax_cross_entropy", "nll"]), st.integers(0, 40), st.integers(2, 40),
    st.sampled_from(["float32", "float64"]), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from(["mean_samples", "sum"]), st.sampled_from([0.0, 0.1, 0.9, 1.25]),
)  # fmt: skip
def test_equals_twin(name, n, k, dtype, soft, weighted, classes, gradient, reduction, smoothing):
    rng = np.random.default_rng(n * 41 + k)
    scores = log_softmax(3 * rng.standard_normal((n, k))).astype(dtype)
    target = rng.dirichlet(np.ones(k), n).astype(dtype) if soft else rng.integers(0, k, n)
    weight = (rng.random(n) + 0.1).astype(dtype) if weighted else None
    options = {"reduction": reduction}
    options |= {"class_weight": (rng.random(k) + 0.1).astype(dtype)} if classes else {}
    options |= {"label_smoothing": smoothing} if name == "softmax_cross_entropy" else {}
    received, expected = (
        run(getattr(module, name), scores, target, weight, gradient, **options)
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
@pytest.mark.parametrize("module", [compiled, reference])
def test_a_single_class_costs_nothing(module, dtype):
    """Its gradient p w q - w q is 0 but for the rounding of the two terms, which are at most 1 / 3 here."""
    z, weight = np.array([[2.0], [-1e4], [0.0]], dtype), np.array([0.7], dtype)
    for target in (np.zeros(3, np.int64), np.ones_like(z)):
        for options in ({}, {"class_weight": weight}, {"label_smoothing": 0.9}):
            loss, d, losses = run(module.softmax_cross_entropy, z, target, **options)
            assert loss == 0 and (losses == 0).all()
            np.testing.assert_allclose(d, 0, atol=np.finfo(dtype).eps)


def test_smoothing_is_a_mixture_of_targets():
    """q = (1 - eps) e_t + eps / K, as probabilities."""
    rng = np.random.default_rng(0)
    z, labels, eps = rng.standard_normal((20, 7)), rng.integers(0, 7, 20), 0.3
    q = (1 - eps) * np.eye(7)[labels] + eps / 7
    for received in (
        run(compiled.softmax_cross_entropy, z, labels, label_smoothing=eps),
        run(compiled.softmax_cross_entropy, z, np.eye(7)[labels], label_smoothing=eps),
    ):
        for a, b in zip(received, run(compiled.softmax_cross_entropy, z, q)):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-16)


def test_labels_are_one_hot_probabilities_with_class_weights():
    rng = np.random.default_rng(1)
    z, labels, w = log_softmax(rng.standard_normal((20, 7))), rng.integers(0, 7, 20), rng.random(7)
    for function in (compiled.softmax_cross_entropy, compiled.nll):
        a = run(function, z, labels, class_weight=w)
        b = run(function, z, np.eye(7)[labels], class_weight=w)
        for received, expected in zip(a, b):
            np.testing.assert_allclose(received, expected, rtol=1e-13, atol=1e-16)


def test_class_weights_are_weights_of_samples():
    rng = np.random.default_rng(2)
    z, labels, w = rng.standard_normal((30, 4)), rng.integers(0, 4, 30), np.array([1.0, 0, 2, 0.5])
    loss, gradient, losses = run(compiled.softmax_cross_entropy, z, labels, class_weight=w)
    expected = run(compiled.softmax_cross_entropy, z, labels, w[labels])
    assert loss == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-13)
    np.testing.assert_allclose(losses, expected[2] * w[labels], rtol=1e-14)
    plain = run(compiled.softmax_cross_entropy, z, labels)
    ones = run(compiled.softmax_cross_entropy, z, labels, class_weight=np.ones(4))
    assert ones[0] == plain[0] and (ones[1] == plain[1]).all()


def test_nll_by_hand():
    log_p = np.log(np.array([[0.25, 0.75], [0.5, 0.5]]))
    loss, gradient, losses = run(compiled.nll, log_p, np.array([1, 0]))
    np.testing.assert_allclose(losses, [-np.log(0.75), np.log(2)], rtol=1e-15)
    assert loss == losses.mean()
    assert gradient.tolist() == [[0, -0.5], [-0.5, 0]]
    log_p[0, 0] = -np.inf  # an impossible class
    assert run(compiled.nll, log_p, np.array([[0.0, 1.0], [0.5, 0.5]]))[0] == pytest.approx(loss)
    assert run(compiled.nll, log_p, np.array([0, 0]))[0] == np.inf


def test_nll_of_log_softmax_is_cross_entropy():
    rng = np.random.default_rng(3)
    z, labels = rng.standard_normal((9, 5)), rng.integers(0, 5, 9)
    loss, gradient, _ = run(compiled.softmax_cross_entropy, z, labels)
    received, d, _ = run(compiled.nll, log_softmax(z), labels)
    assert received == pytest.approx(loss, rel=1e-14)
    # back through log-softmax: dz = d - p sum(d)
    np.testing.assert_allclose(
        d - np.exp(log_softmax(z)) * d.sum(axis=1, keepdims=True), gradient, atol=1e-16
    )


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "nll"])
@pytest.mark.parametrize("k", [10, 33])
def test_threads_give_the_same_bits(name, k):
    before = get_num_threads()
    rng = np.random.default_rng(0)
    z = log_softmax(rng.standard_normal((20_003, k))).astype(np.float32)
    labels, w = rng.integers(0, k, len(z)), rng.random(k).astype(np.float32)
    options = {"class_weight": w} | ({"label_smoothing": 0.1} if name != "nll" else {})
    try:
        for target in (labels, abs(z)):
            results = []
            for n in (1, 2, 3):
                set_num_threads(n)
                loss, d, losses = run(getattr(compiled, name), z, target, abs(z[:, 0]), **options)
                results.append((loss, d.tobytes(), losses.tobytes()))
            assert results[0] == results[1] == results[2]
    finally:
        set_num_threads(before)


def test_nan_is_not_hidden():
    z = np.zeros((3, 5), np.float32)
    z[1, 2] = np.nan
    loss, d, losses = run(compiled.softmax_cross_entropy, z, np.array([0, 0, 0]), label_smoothing=0.1)
    assert np.isnan(loss) and np.isnan(losses[1]) and np.isfinite(losses[[0, 2]]).all()
    assert np.isnan(d[1]).all() and np.isfinite(d[[0, 2]]).all()


def test_errors_come_before_anything_is_written():
    z, labels, losses = np.zeros((3, 4)), np.array([0, 2, 1]), np.full(3, 7.0)
    d = np.full_like(z, 7)
    for function in (compiled.softmax_cross_entropy, compiled.nll):
        for weight, error, text in (
            (np.ones(3), ValueError, "class_weight: expected length 4 along axis 0"),
            (np.ones(4, "f4"), TypeError, "class_weight: expected dtype float64"),
            (np.array([0.0, 0, 0, 1]), ValueError, "class_weight: expected a positive sum over the samples"),
        ):
            with pytest.raises(error, match=text):
                function(z, labels, None, d, losses, weight)
        with pytest.raises(
            ValueError, match=r"reduction: expected 'mean_samples' or 'sum'. Received: 'mean'"
        ):
            function(z, labels, None, d, losses, reduction="mean")
        with pytest.raises(ValueError, match=r"labels from 0 to 3, .*target\[2\]=4"):
            function(z, np.array([0, 1, 4]), None, d, losses)
        with pytest.raises(TypeError, match=r"int64 labels \(N,\) or probabilities"):
            function(z, labels.astype("i4"), None, d, losses)
    for smoothing in (-0.1, 2.1, np.nan):
        with pytest.raises(ValueError, match=r"label_smoothing: expected a number in \[0, 2\]"):
            compiled.softmax_cross_entropy(z, labels, None, d, losses, None, smoothing)
    assert (d == 7).all() and (losses == 7).all()
