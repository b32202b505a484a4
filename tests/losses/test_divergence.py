"""Kullback-Leibler divergence: identities and messages; `test_all.py` has the rest."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.errors import ShapeError
from fastnn.losses import KLDivergence, SoftmaxCrossEntropy

RNG = np.random.default_rng(0)
Z, P = RNG.normal(size=(6, 4)), RNG.dirichlet(np.ones(4), 6)


def test_is_never_negative_and_0_where_equal():
    assert KLDivergence().forward(Z, P) > 0
    loss = KLDivergence()
    assert loss.forward(np.log(P), P) == pytest.approx(0, abs=1e-15)
    np.testing.assert_allclose(loss.backward(), 0, atol=1e-16)


def test_one_hot_targets_give_cross_entropy():
    labels = RNG.integers(0, 4, 6)
    loss, entropy = KLDivergence(), SoftmaxCrossEntropy()
    assert loss.forward(Z, np.eye(4)[labels]) == pytest.approx(entropy.forward(Z, labels), rel=1e-14)
    np.testing.assert_allclose(loss.backward(), entropy.backward(), atol=1e-16)


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        (
            P * 1.01,
            ValueError,
            r"add up to 1. Received: 1.01 in row 0; divide each row by its sum: target / t",
        ),
        (P - np.array([1, 0, 0, -1]), ValueError, r"at least 0. Received: -0.* at position \(0, 0\)"),
        (np.full((6, 4), np.nan), ValueError, "at least 0. Received: nan"),
        (P[:5], ShapeError, r"probabilities \(6, 4\). Received: shape=\(5, 4\)"),
        (P[:, :3], ShapeError, r"Received: shape=\(6, 3\)"),
        (
            np.arange(6) % 4,
            ShapeError,
            r"Received: shape=\(6,\), dtype=int64; labels are for SoftmaxCrossEntropy",
        ),
        (np.eye(4, dtype=int)[[0, 1, 2, 3, 0, 1]], TypeError, r"in the model's dtype. .*astype\('float32'\)"),
        (P.astype("f4"), TypeError, r"expected dtype float64, the model's.*astype\('float64'\)"),
        (P.tolist(), TypeError, "expected a NumPy array. Received: list"),
    ],
)
def test_wrong_targets(target, error, text):
    with pytest.raises(error, match=text):
        KLDivergence().forward(Z, target)


def test_wrong_outputs_and_models():
    with pytest.raises(ShapeError, match=r"expected logits \(N, K\). Received: shape=\(6, 2, 2\)"):
        KLDivergence().forward(Z.reshape(6, 2, 2), P.reshape(6, 2, 2))
    with pytest.raises(ValueError, match=r"KLDivergence expected .* logits. .* softmax would be taken twice"):
        KLDivergence().check_model(nn.Sequential([nn.Dense(4), nn.Softmax()], input_shape=(3,)))
    with pytest.raises(ShapeError, match=r"KLDivergence expected a model with outputs \(K,\)"):
        KLDivergence().check_model(nn.Sequential([nn.ReLU()], input_shape=(4, 4, 1)))
    with pytest.raises(ValueError, match=r"reduction: expected 'mean_samples' or 'sum'. Received: 'mean'"):
        KLDivergence("mean")


def test_a_student_learns_its_teacher():
    x = RNG.normal(size=(200, 3)).astype("f4")
    teacher = nn.Sequential([nn.Dense(4), nn.Softmax()], input_shape=(3,), seed=1)
    student = nn.Sequential([nn.Dense(4)], input_shape=(3,), seed=2)
    trainer = nn.Trainer(student, KLDivergence(), nn.Adam(lr=0.05))
    history = trainer.fit(x, teacher.predict(x), epochs=60, batch_size=50, verbose=False)
    assert history["loss"][-1] < 1e-3 * history["loss"][0]
