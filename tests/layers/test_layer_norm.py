"""LayerNorm: what it makes of a row, gradients, PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_gradients, check_layer


@pytest.mark.parametrize("input_shape", [(5,), (3, 4, 6), (33,)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(input_shape, dtype):
    check_layer(nn.LayerNorm(), input_shape, dtype=dtype, verbose=False)


def built(input_shape, **options):
    """A LayerNorm whose numbers are not the first ones."""
    layer = nn.LayerNorm(**options)
    model = nn.Sequential([layer], input_shape=input_shape, dtype="float64")
    rng = np.random.default_rng(3)
    layer.gamma.data[...], layer.beta.data[...] = rng.normal(size=(2, input_shape[-1]))
    return model, layer


def test_gradients():
    model, _ = built((3, 5))
    check_gradients(model, np.random.default_rng(0).normal(1, 2, (4, 3, 5)), n_checks=None)


def test_every_row_gets_mean_0_and_variance_1():
    model = nn.Sequential([nn.LayerNorm()], input_shape=(4, 50), dtype="float64")
    x = np.random.default_rng(0).normal(5, 3, (8, 4, 50))
    for training in (False, True):  # there is no difference
        y = model.forward(x, training)
        np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-13)
        np.testing.assert_allclose(y.var(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.forward(3 * x + 7), y, atol=1e-5)  # neither scale nor offset are felt
    assert [p.decay for p in model.parameters.values()] == [False, False]


def test_first_layer_and_prepared():
    """Without a gradient to the input, and recorded for prediction."""
    model = nn.Sequential([nn.LayerNorm(), nn.Dense(3)], input_shape=(6,), seed=0)
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    dy = np.ones((7, 3), np.float32)
    model.forward(x, True)
    model.backward(dy)
    expected = model.grad.copy()
    model.zero_grad()
    model.forward(x, True)
    assert model.backward(dy, input_gradient=False) is None
    np.testing.assert_array_equal(model.grad, expected)
    np.testing.assert_allclose(model.for_inference(7).predict(x), model.predict(x), rtol=1e-5, atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"LayerNorm: eps: expected a positive number\. Received: 0"):
        nn.LayerNorm(eps=0)
