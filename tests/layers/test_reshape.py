"""Flatten and Reshape: other shapes, the same numbers."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_layer


@pytest.mark.parametrize(
    ("layer", "input_shape", "expected"),
    [
        (nn.Flatten(), (5, 5, 16), (400,)),
        (nn.Flatten(), (7,), (7,)),
        (nn.Flatten(), (1, 1, 1), (1,)),
        (nn.Reshape((2, 3, 4)), (24,), (2, 3, 4)),
        (nn.Reshape([6]), (1, 2, 3), (6,)),
        (nn.Reshape((4, 1)), (2, 2), (4, 1)),
    ],
)
def test_shapes_and_values(layer, input_shape, expected):
    layer = nn.layers.from_config(nn.layers.to_config(layer))
    model = nn.Sequential([layer], input_shape=input_shape)
    x = np.random.default_rng(0).normal(size=(3, *input_shape)).astype(np.float32)
    y = model.forward(x)
    assert model.output_shape == expected
    assert model.n_parameters == 0
    assert (y == x.reshape(3, *expected)).all()
    assert (model.backward(y) == x).all()


@pytest.mark.parametrize(
    ("layer", "input_shape"), [(nn.Flatten(), (2, 3, 2)), (nn.Flatten(), (4,)), (nn.Reshape((3, 2)), (2, 3))]
)
def test_layer(layer, input_shape):
    check_layer(layer, input_shape, verbose=False)


def test_no_copy():
    model = nn.Sequential([nn.Flatten()], input_shape=(2, 2))
    x = np.zeros((3, 2, 2), np.float32)
    assert np.shares_memory(model.forward(x), x)
    assert not np.shares_memory(model.predict(x), x)  # the result is the caller's own


def test_errors():
    with pytest.raises(nn.ShapeError, match=r"reshape1 \(Reshape\): expected an input of 6 numbers.*\(5,\)"):
        nn.Sequential([nn.Reshape((2, 3))], input_shape=(5,))
    with pytest.raises(TypeError, match=r"Reshape: shape: expected a tuple.*Received: 784"):
        nn.Reshape(784)
    with pytest.raises(ValueError, match=r"Reshape: shape: expected an integer of at least 1\. Received: -1"):
        nn.Reshape((-1, 4))
