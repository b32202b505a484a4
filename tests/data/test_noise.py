"""Noisy targets: how often, how far, and the same again (S6.4)."""

import numpy as np
import pytest

from fastnn.data.noise import LabelNoise
from fastnn.errors import ShapeError
from fastnn.losses import SquaredError


def test_labels_are_flipped_as_often_as_asked_and_to_every_other_class():
    n = 200_000
    labels = np.full(n, 2, np.int64)
    noisy = LabelNoise(flip_prob=0.3, n_classes=4, seed=1)(labels, step=0)
    counts = np.bincount(noisy, minlength=4) / n
    error = 4 * np.sqrt(0.3 * 0.7 / n)
    assert counts[2] == pytest.approx(0.7, abs=error)
    np.testing.assert_allclose(counts[[0, 1, 3]], 0.1, atol=error)
    assert (labels == 2).all()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_probabilities_0_and_1(dtype):
    labels = (np.arange(60) % 3).astype(dtype)
    same = LabelNoise(flip_prob=0.0, n_classes=3)(labels, 5)
    assert same.dtype == dtype and (same == labels).all()
    other = LabelNoise(flip_prob=1.0, n_classes=3)(labels, 5)
    assert other.dtype == dtype and (other != labels).all() and other.max() < 3
    assert (LabelNoise(flip_prob=1.0, n_classes=2)(labels % 2, 5) == 1 - labels % 2).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_get_normal_noise(dtype):
    target = np.full((50_000, 2), 3.0, dtype)
    noisy = LabelNoise(std=0.7, seed=3)(target, step=9)
    assert noisy.shape == target.shape and noisy.dtype == dtype
    e = (noisy.astype(np.float64) - 3) / 0.7
    assert abs(e.mean()) < 4 / np.sqrt(e.size)
    assert e.var() == pytest.approx(1, abs=4 * np.sqrt(2 / e.size))
    assert (e**4).mean() == pytest.approx(3, abs=4 * np.sqrt(96 / e.size))
    assert abs(np.corrcoef(e.T)[0, 1]) < 4 / np.sqrt(len(e))


def test_the_same_step_draws_the_same_and_each_element_its_own():
    y = np.zeros(100)
    noise = LabelNoise(std=1.0, seed=7)
    first = noise(y, 4)
    assert (noise(y, 4) == first).all()
    assert (noise(y[:30], 4) == first[:30]).all()
    for other in (noise(y, 5), LabelNoise(std=1.0, seed=8)(y, 4)):
        assert (other != first).all()
    assert noise(np.zeros((0, 3)), 0).shape == (0, 3)


def test_noise_on_targets_adds_its_variance_and_no_gradient():
    """E(y - t - e)^2 = E(y - t)^2 + sigma^2: the notes' "similar to L2" is wrong."""
    rng = np.random.default_rng(0)
    n, sigma = 200_000, 0.7
    x = rng.normal(size=(n, 3))
    w = np.array([[0.5], [-1.0], [0.2]])
    t = x @ np.array([[0.7], [-1.3], [0.3]]) + 0.1 * rng.normal(size=(n, 1))
    loss = SquaredError()
    clean = loss.forward(x @ w, t)
    gradient = x.T @ loss.backward()
    noisy = loss.forward(x @ w, LabelNoise(std=sigma, seed=2)(t, 0))
    spread = np.std(loss.losses) / np.sqrt(n)
    assert noisy - clean == pytest.approx(sigma**2, abs=4 * spread)
    # d/dw of the extra term is -2 E(x e) = 0: what is left is the error of the mean
    np.testing.assert_allclose(x.T @ loss.backward(), gradient, atol=4 * 2 * sigma / np.sqrt(n))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "expected either flip_prob, for labels, or std"),
        ({"flip_prob": 0.1, "std": 1.0, "n_classes": 3}, "Received: flip_prob=0.1, std=1.0"),
        ({"flip_prob": 1.5, "n_classes": 3}, r"flip_prob: expected a probability in \[0, 1\]. Received: 1.5"),
        ({"std": -1.0}, "std: expected a finite number of at least 0. Received: -1.0"),
        ({"std": float("nan")}, "std: expected a finite number"),
        ({"flip_prob": 0.1}, "n_classes: expected the number of classes, at least 2, .* Received: None"),
        ({"flip_prob": 0.1, "n_classes": 1}, "Received: 1"),
        ({"std": 1.0, "seed": -1}, "seed: expected an integer"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        LabelNoise(**arguments)


def test_wrong_targets():
    noise = LabelNoise(flip_prob=0.1, n_classes=3)
    with pytest.raises(ShapeError, match=r"integer labels \(N,\) .* dtype=float64; for numbers give std"):
        noise(np.zeros(3), 0)
    with pytest.raises(ValueError, match=r"labels from 0 to 2. Received: 0 to 3"):
        noise(np.array([0, 3]), 0)
    with pytest.raises(
        TypeError, match=r"floating point numbers with std. Received: dtype=int64; for labels"
    ):
        LabelNoise(std=1.0)(np.arange(3), 0)
    assert repr(noise) == "LabelNoise(flip_prob=0.1, n_classes=3, seed=0)"
