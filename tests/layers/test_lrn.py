"""LRN: the paper's formula, gradients, PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_gradients, check_layer


@pytest.mark.parametrize(
    ("layer", "input_shape"),
    [
        (nn.LRN(alpha=0.1), (3, 2, 9)),
        (nn.LRN(3, 0.5, 0.6, 1.0), (7,)),
        (nn.LRN(9, 0.5), (2, 4)),
        (nn.LRN(1), (1,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(layer, input_shape, dtype):
    check_layer(layer, input_shape, dtype=dtype, verbose=False)


def test_defaults_are_the_paper_s():
    assert nn.LRN().config() == {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}
    x = np.full((1, 7), 100.0)
    y = nn.Sequential([nn.LRN()], input_shape=(7,), dtype="float64").predict(x)
    neighbours = np.array([3, 4, 5, 5, 5, 4, 3])
    np.testing.assert_allclose(y[0], 100 / (2 + 1e-4 * neighbours * 1e4) ** 0.75, rtol=1e-13)


def test_gradients():
    model = nn.Sequential([nn.LRN(5, alpha=0.3)], input_shape=(3, 8), dtype="float64")
    check_gradients(model, np.random.default_rng(0).normal(0, 3, (4, 3, 8)), n_checks=None)


def test_prepared_for_inference():
    model = nn.Sequential([nn.Conv2D(6, 3), nn.LRN(), nn.Flatten(), nn.Dense(3)], (6, 6, 2), seed=0)
    x = np.random.default_rng(0).normal(size=(7, 6, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(model.for_inference(7).predict(x), model.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4}, r"LRN: size: expected an odd number.*Received: 4"),
        ({"size": 0}, "LRN: size: expected an integer of at least 1"),
        ({"alpha": -1e-4}, r"LRN: alpha: expected a number in \[0, inf\)\. Received: -0\.0001"),
        ({"beta": -0.1}, r"LRN: beta: expected a number in \[0, inf\)"),
        ({"k": 0.0}, r"LRN: k: expected a number in \(0, inf\)\. Received: 0\.0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        nn.LRN(**options)
