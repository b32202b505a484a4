"""What holds for every loss: PyTorch's numbers, gradients, weights, sizes, twins, threads.

`CASES` is the one list; tests/test_public.py looks that every public loss is in it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels, losses
from fastnn.losses import (
    NLL,
    BinaryCrossEntropy,
    Hinge,
    Huber,
    KLDivergence,
    SoftmaxCrossEntropy,
    SquaredError,
)
from fastnn.testing import check_gradients

N, K = 7, 5
RNG = np.random.default_rng(0)
Z = 1.5 * RNG.normal(size=(N, K))
REAL = RNG.normal(size=(N, K))
LABELS = RNG.integers(0, K, N)
P = RNG.dirichlet(np.ones(K), N)
SIGNS = 2.0 * RNG.integers(0, 2, (N, K)) - 1
W = np.array([0.5, 2.0, 1.0, 3.0, 0.25])
ALL, SAMPLES = ("mean_samples", "mean", "sum"), ("mean_samples", "sum")


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@dataclass
class Case:
    """A loss; `each(F, z, t, w)` is PyTorch's loss of every sample, `own` PyTorch's name for a reduction."""

    name: str
    make: Any  # reduction -> Loss
    target: np.ndarray
    each: Any
    reductions: tuple = ALL
    own: dict = field(default_factory=dict)  # our reduction -> f(F, z, t, w)
    counts: Any = None  # (N,): what each sample adds to the divisor, if not 1
    output: np.ndarray = field(default_factory=lambda: Z)


def own(function, **names):
    """`{our reduction: a call with PyTorch's}`."""
    return {
        ours: (lambda F, z, t, w, theirs=theirs: function(F, z, t, w, theirs))
        for ours, theirs in names.items()
    }


def squared(F, z, t, w, reduction="none"):
    loss = F.mse_loss(z, t, reduction=reduction)
    return loss.sum(1) if reduction == "none" else loss


def huber(F, z, t, w, reduction="none"):
    loss = F.huber_loss(z, t, reduction=reduction, delta=0.7)
    return loss.sum(1) if reduction == "none" else loss


def entropy(weighted=False, eps=0.0):
    def function(F, z, t, w, reduction="none"):
        weight = w if weighted else None
        return F.cross_entropy(z, t, weight=weight, reduction=reduction, label_smoothing=eps)

    return function


def others(F, z, t, w):
    """1 - eps for the true class, eps / (K - 1) for the others, eps = 0.2"""
    true = F.one_hot(t, K).to(z.dtype)
    q = 0.8 * true + 0.2 / (K - 1) * (1 - true)
    return -(q * z.log_softmax(1)).sum(1)


def nll(weighted):
    def function(F, z, t, w, reduction="none"):
        return F.nll_loss(z, t, weight=w if weighted else None, reduction=reduction)

    return function


def binary(pos_weight=1.0, factor=1.0):
    def function(F, z, t, w, reduction="none"):
        weight = z.new_full((K,), pos_weight)
        loss = F.binary_cross_entropy_with_logits(z, t, pos_weight=weight, reduction=reduction)
        return factor * (loss.sum(1) if reduction == "none" else loss)

    return function


def divergence(F, z, t, w, reduction="none"):
    loss = F.kl_div(z.log_softmax(1), t, reduction=reduction)
    return loss.sum(1) if reduction == "none" else loss


def hinge(weighted, power):
    def function(F, z, t, w):
        loss = (1 - t * z).clamp(min=0) ** power
        return (loss * (1 + 2 * (t > 0)) if weighted else loss).sum(1)

    return function


def crammer_singer(weighted, power):
    def function(F, z, t, w):
        true = F.one_hot(t, K).bool()
        rival = z.masked_fill(true, -float("inf")).amax(1)
        loss = (1 + rival - z[true]).clamp(min=0) ** power
        return loss * w[t] if weighted else loss

    return function


LOG_P = log_softmax(Z)
MEAN, SUM = {"mean_samples": "mean", "sum": "sum"}, {"sum": "sum"}
CASES = [
    Case("squared", lambda r: SquaredError(r), REAL, squared, own=own(squared, mean="mean", sum="sum")),
    Case("half", lambda r: SquaredError(r, half=True), REAL, lambda *a: squared(*a) / 2),
    Case("huber", lambda r: Huber(0.7, r), REAL, huber, own=own(huber, mean="mean", sum="sum")),
    Case(
        "entropy", lambda r: SoftmaxCrossEntropy(reduction=r), LABELS, entropy(), SAMPLES,
        own(entropy(), **MEAN),
    ),
    Case(
        "entropy, weights", lambda r: SoftmaxCrossEntropy(class_weights=W, reduction=r), LABELS,
        entropy(True), SAMPLES, own(entropy(True), **MEAN), W[LABELS],
    ),
    Case(
        "smoothing", lambda r: SoftmaxCrossEntropy(0.2, reduction=r), LABELS, entropy(eps=0.2), SAMPLES,
        own(entropy(eps=0.2), **MEAN),
    ),
    Case(
        "smoothing, weights", lambda r: SoftmaxCrossEntropy(0.2, class_weights=W, reduction=r), LABELS,
        entropy(True, 0.2), SAMPLES, own(entropy(True, 0.2), **MEAN), W[LABELS],
    ),
    Case("others", lambda r: SoftmaxCrossEntropy(0.2, "others", reduction=r), LABELS, others, SAMPLES),
    Case(
        "probabilities", lambda r: SoftmaxCrossEntropy(reduction=r), P, entropy(), SAMPLES,
        own(entropy(), **MEAN),
    ),
    Case(
        "probabilities, smoothing", lambda r: SoftmaxCrossEntropy(0.2, reduction=r), P, entropy(eps=0.2),
        SAMPLES, own(entropy(eps=0.2), **MEAN),
    ),
    Case(  # PyTorch's mean divides by N here: the documented departure
        "probabilities, weights", lambda r: SoftmaxCrossEntropy(0.1, class_weights=W, reduction=r), P,
        entropy(True, 0.1), SAMPLES, own(entropy(True, 0.1), **SUM), P @ W,
    ),
    Case(
        "nll", lambda r: NLL(reduction=r), LABELS, nll(False), SAMPLES, own(nll(False), **MEAN), None, LOG_P
    ),
    Case(
        "nll, weights", lambda r: NLL(W, r), LABELS, nll(True), SAMPLES, own(nll(True), **MEAN), W[LABELS],
        LOG_P,
    ),
    Case(
        "nll, probabilities", lambda r: NLL(W, r), P, lambda F, z, t, w: -(w * t * z).sum(1), SAMPLES,
        {}, P @ W, LOG_P,
    ),
    Case(
        "binary", lambda r: BinaryCrossEntropy(reduction=r), P, binary(),
        own=own(binary(), mean="mean", sum="sum"),
    ),
    Case(
        "binary, weights", lambda r: BinaryCrossEntropy((1, 3), r), (P > 0.2) * 1.0, binary(3.0),
        own=own(binary(3.0), mean="mean", sum="sum"),
    ),
    Case("binary, both weights", lambda r: BinaryCrossEntropy({0: 0.5, 1: 3}, r), P, binary(6.0, 0.5)),
    Case(
        "divergence", lambda r: KLDivergence(r), P, divergence, SAMPLES,
        own(divergence, mean_samples="batchmean", sum="sum"),
    ),
    Case("hinge", lambda r: Hinge(reduction=r), SIGNS, hinge(False, 1)),
    Case("hinge, weights", lambda r: Hinge(class_weights=(1, 3), reduction=r), SIGNS, hinge(True, 1)),
    Case("squared hinge", lambda r: Hinge(squared=True, reduction=r), SIGNS, hinge(False, 2)),
    *(
        Case(
            f"crammer_singer {squared} {weights is not None}",
            lambda r, q=squared, w=weights: Hinge("crammer_singer", q, w, r), LABELS,
            crammer_singer(weights is not None, 1 + squared), SAMPLES,
        )
        for squared in (False, True) for weights in (None, W)
    ),
]  # fmt: skip
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
ARRAYS = pytest.mark.parametrize("weights", [None, np.array([1.0, 0, 2, 3, 0.5, 1, 1])], ids=["", "weighted"])


@pytest.fixture(params=["compiled", "reference"])
def which(request):
    before = kernels.use_kernels(request.param)
    yield request.param
    kernels.use_kernels(before)


def typed(array, dtype):
    return array.astype(dtype) if array.dtype.kind == "f" else array


def tolerance(dtype):
    return 1e-5 if dtype == "float32" else 1e-12


@EVERY
@ARRAYS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_pytorch(case, weights, dtype):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    z, t = case.output.astype(dtype), typed(case.target, dtype)
    w, s = torch.tensor(W.astype(dtype)), np.ones(N) if weights is None else weights
    counts = np.ones(N) if case.counts is None else case.counts
    for reduction in case.reductions:
        tensor = torch.tensor(z, requires_grad=True)
        each = case.each(F, tensor, torch.tensor(t), w)
        total = 1.0 if reduction == "sum" else float(s @ counts)
        expected = (torch.tensor(s.astype(dtype)) * each).sum() / total / (K if reduction == "mean" else 1)
        expected.backward()
        loss, rtol = case.make(reduction), tolerance(dtype)
        received = loss.forward(z, t, None if weights is None else weights.astype(dtype))
        assert received == pytest.approx(expected.item(), rel=rtol)
        gradient = tensor.grad.numpy()
        np.testing.assert_allclose(loss.backward(), gradient, rtol=0, atol=rtol * np.abs(gradient).max())
        factor = K if reduction == "mean" else 1
        np.testing.assert_allclose(loss.losses * factor, each.detach().numpy(), rtol=rtol, atol=rtol)
        if weights is None and reduction in case.own:
            theirs = case.own[reduction](F, torch.tensor(z), torch.tensor(t), w).item()
            assert received == pytest.approx(theirs, rel=rtol)


@EVERY
@ARRAYS
def test_gradient_is_that_of_the_value(case, weights, which):
    z = case.output.copy()
    for reduction in case.reductions:
        loss = case.make(reduction)
        loss.forward(z, case.target, weights)
        gradient = loss.backward().copy()
        for i in np.ndindex(z.shape):
            right, left = z.copy(), z.copy()
            right[i] += 1e-6
            left[i] -= 1e-6
            slope = (
                loss.evaluate(right, case.target, weights) - loss.evaluate(left, case.target, weights)
            ) / 2e-6
            assert slope == pytest.approx(gradient[i], rel=1e-6, abs=1e-8)


@EVERY
def test_gradient_through_a_model(case):
    x = np.random.default_rng(1).normal(size=(N, 3))
    last = [nn.LogSoftmax()] if case.output is LOG_P else []
    model = nn.Sequential([nn.Dense(6, activation="tanh"), nn.Dense(K), *last], input_shape=(3,), seed=0)
    for reduction in case.reductions:
        report = check_gradients(model, x, case.make(reduction), case.target, n_checks=None)
        assert report.n_checked == 3 * 6 + 6 + 6 * K + K + N * 3


@EVERY
def test_a_weight_of_2_is_the_sample_twice(case, which):
    twice, weights = np.array([0, 0, 1, 2, 3, 4, 6, 6]), np.array([2.0, 1, 1, 1, 1, 0, 2])
    for reduction in case.reductions:
        loss = case.make(reduction)
        expected = loss.forward(case.output[twice], case.target[twice])
        for given in (weights, weights.astype(int)):
            assert loss.forward(case.output, case.target, given) == pytest.approx(expected, rel=1e-13)


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_twins_agree(case, dtype):
    z, t = case.output.astype(dtype), typed(case.target, dtype)
    for n in (0, 1, 2, N):
        for reduction in case.reductions:
            results = []
            for name in ("compiled", "reference"):
                before = kernels.use_kernels(name)
                try:
                    loss = case.make(reduction)
                    results.append((loss.forward(z[:n], t[:n]), loss.backward().copy(), loss.losses))
                finally:
                    kernels.use_kernels(before)
            for a, b in zip(*results):
                np.testing.assert_allclose(a, b, rtol=tolerance(dtype), atol=tolerance(dtype))
            assert results[0][1].shape == (n, K) and results[0][1].dtype == dtype
            if n == 0:
                assert results[0][0] == 0.0


@EVERY
def test_strides_do_not_matter(case):
    loss = case.make("sum")
    expected, gradient = loss.forward(case.output, case.target), loss.backward().copy()
    z, t = np.repeat(case.output, 2, axis=0)[::2], np.repeat(case.target, 2, axis=0)[::2]
    assert loss.forward(z, t) == expected
    np.testing.assert_array_equal(loss.backward(), gradient)
    if t.ndim == 2:
        assert loss.forward(np.asfortranarray(case.output), np.asfortranarray(case.target)) == expected


@EVERY
def test_threads_give_the_same_bits(case):
    before, results = nn.get_num_threads(), []
    z, t = np.tile(case.output, (3000, 1)), np.tile(case.target, (3000, *[1] * (case.target.ndim - 1)))
    try:
        for n in (1, 2, 3):
            nn.set_num_threads(n)
            loss = case.make("mean_samples")
            results.append((loss.forward(z, t), loss.backward().tobytes()))
    finally:
        nn.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extreme_outputs_stay_finite(case, dtype, which):
    z, t = np.where(case.output > 0, 1e4, -1e4).astype(dtype), typed(case.target, dtype)
    if case.output is LOG_P:  # the least that a log-probability of normal numbers is, without one
        z = np.where(np.arange(K) == 2, 0, -1e4).astype(dtype) * np.ones((N, 1), dtype)
    loss = case.make("mean_samples")
    assert np.isfinite(loss.forward(z, t))
    assert np.isfinite(loss.backward()).all()


@EVERY
def test_repr_says_what_was_asked(case):
    for reduction in case.reductions:
        loss = case.make(reduction)
        names = {name: getattr(losses, name) for name in losses.__all__}
        assert repr(eval(repr(loss), names)) == repr(loss)
        if reduction == "sum":
            assert "reduction='sum'" in repr(loss)
