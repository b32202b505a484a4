"""Pooling layers: shapes, values, gradients."""

import copy

import numpy as np
import pytest

from fastnn.errors import ShapeError
from fastnn.layers.activations import LeakyReLU
from fastnn.layers.containers import Sequential
from fastnn.layers.conv import Conv2D
from fastnn.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from fastnn.testing import check_layer

LAYERS = [
    (MaxPool2D(2), (6, 8, 3)),
    (MaxPool2D(3, stride=2, padding=1), (7, 8, 2)),
    (MaxPool2D(3, stride=1, padding="same"), (5, 4, 17)),
    (AvgPool2D(2), (6, 5, 3)),
    (AvgPool2D((3, 2), stride=(2, 1), padding=1), (7, 6, 2)),
    (AvgPool2D(3, stride=2, padding=1, count_include_pad=False), (7, 8, 2)),
    (GlobalAvgPool2D(), (5, 4, 6)),
]


@pytest.mark.parametrize("layer, input_shape", LAYERS, ids=repr)
def test_layer(layer, input_shape):
    check_layer(layer, input_shape, verbose=False)


@pytest.mark.parametrize(
    "layer, input_shape, output_shape",
    [
        (MaxPool2D(2), (28, 28, 6), (14, 14, 6)),
        (MaxPool2D(3, stride=2), (55, 55, 96), (27, 27, 96)),  # AlexNet: overlapping
        (MaxPool2D(3, stride=2, padding=1), (112, 112, 64), (56, 56, 64)),
        (MaxPool2D(3, stride=1, padding="same"), (28, 28, 192), (28, 28, 192)),
        (AvgPool2D(2), (7, 7, 1), (3, 3, 1)),
        (GlobalAvgPool2D(), (7, 7, 1024), (1024,)),
    ],
)
def test_output_shape(layer, input_shape, output_shape):
    model = Sequential([layer], input_shape=input_shape)
    assert model.output_shape == output_shape
    assert model.n_parameters == 0


def test_max_by_hand():
    model = Sequential([MaxPool2D(2)], input_shape=(2, 4, 1))
    x = np.array([1, 3, 2, 2, 5, 5, 0, -1], np.float32).reshape(1, 2, 4, 1)
    assert model.forward(x, training=True).ravel().tolist() == [5, 2]
    dx = model.backward(np.array([7, 8], np.float32).reshape(1, 1, 2, 1))
    assert dx.ravel().tolist() == [0, 0, 8, 0, 7, 0, 0, 0]  # the first of equals


def test_average_by_hand():
    x = np.array([1, 3, 2, 6], np.float32).reshape(1, 2, 2, 1)
    with_padding = Sequential([AvgPool2D(2, padding=1)], input_shape=(2, 2, 1))
    assert with_padding.forward(x).ravel().tolist() == [0.25, 0.75, 0.5, 1.5]
    without = Sequential([AvgPool2D(2, padding=1, count_include_pad=False)], input_shape=(2, 2, 1))
    assert without.forward(x).ravel().tolist() == [1, 3, 2, 6]
    everywhere = Sequential([GlobalAvgPool2D()], input_shape=(2, 2, 1))
    assert everywhere.forward(x).ravel().tolist() == [3]


@pytest.mark.parametrize("name", ["max", "avg"])
def test_equals_torch(name):
    torch = pytest.importorskip("torch")
    layer = MaxPool2D(3, stride=2, padding=1) if name == "max" else AvgPool2D(3, stride=2, padding=1)
    x = np.random.default_rng(0).standard_normal((2, 9, 7, 5)).astype(np.float32)
    model = Sequential([layer], input_shape=x.shape[1:])
    y = model.forward(x, training=True)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    tx = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    pool = torch.nn.functional.max_pool2d if name == "max" else torch.nn.functional.avg_pool2d
    ty = pool(tx, 3, 2, 1)
    ty.backward(torch.from_numpy(dy).permute(0, 3, 1, 2))
    np.testing.assert_allclose(y, ty.detach().permute(0, 2, 3, 1).numpy(), atol=1e-6)
    np.testing.assert_allclose(model.backward(dy), tx.grad.permute(0, 2, 3, 1).numpy(), atol=1e-6)


def test_global_average_equals_torch():
    torch = pytest.importorskip("torch")
    x, dy = (np.random.default_rng(k).standard_normal(s) for k, s in enumerate([(2, 9, 7, 5), (2, 5)]))
    model = Sequential([GlobalAvgPool2D()], input_shape=x.shape[1:], dtype="float64")
    tx = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    ty = torch.nn.functional.adaptive_avg_pool2d(tx, 1)[:, :, 0, 0]
    ty.backward(torch.from_numpy(dy))
    np.testing.assert_allclose(model.forward(x), ty.detach().numpy(), atol=1e-14)
    np.testing.assert_allclose(model.backward(dy), tx.grad.permute(0, 2, 3, 1).numpy(), atol=1e-14)


def test_errors():
    with pytest.raises(ShapeError, match=r"expected images \(H, W, C\)"):
        Sequential([MaxPool2D(2)], input_shape=(28, 28))
    with pytest.raises(ShapeError, match=r"expected images \(H, W, C\)"):
        Sequential([GlobalAvgPool2D()], input_shape=(10,))
    with pytest.raises(ShapeError, match="at least as large as the window"):
        Sequential([AvgPool2D(4)], input_shape=(3, 9, 1))
    with pytest.raises(ShapeError, match="padding smaller than pool_size"):
        Sequential([MaxPool2D(2, padding=2)], input_shape=(8, 8, 1))
    with pytest.raises(ValueError, match="MaxPool2D: pool_size"):
        MaxPool2D(0)
    with pytest.raises(ValueError, match="AvgPool2D: stride"):
        AvgPool2D(2, stride=(1, 2, 3))


@pytest.mark.parametrize(
    "activation, pool, fused",
    [
        ("relu", MaxPool2D(2), True),
        ("relu", MaxPool2D(3, stride=2, padding=1), True),  # windows overlap
        ("relu", MaxPool2D(2, stride=3), True),  # some outputs are in no window
        (LeakyReLU(0.2), MaxPool2D(2), True),
        ("tanh", MaxPool2D((2, 1)), True),
        ("tanh", MaxPool2D(3, stride=2), False),
        ("gelu", MaxPool2D(2), False),
        (None, MaxPool2D(2), False),
        ("relu", AvgPool2D(2), False),
    ],
    ids=str,
)
@pytest.mark.parametrize("training", [False, True])
def test_behind_a_convolution_it_applies_the_derivative(activation, pool, fused, training):
    """The bits are the same as where the convolution does; and the convolution need not keep its output."""
    x, results = np.random.default_rng(0).normal(size=(3, 9, 8, 2)).astype("float32"), []
    x[0] = 0  # the same output, 0 with ReLU, in all windows
    for fuse in (True, False):
        model = Sequential(
            [Conv2D(5, 3, activation=activation), copy.deepcopy(pool)], input_shape=(9, 8, 2), seed=0
        )
        conv = model.layers[0]
        model.workspace.fuse = fuse
        y = model.forward(x, training).copy()
        if activation is not None:
            assert (conv.saved[1] is None) == (fused and fuse)
        dx = model.backward(np.random.default_rng(1).normal(size=y.shape).astype("float32"))
        results.append([y, dx.copy(), model.grad.copy()])
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all() and np.abs(one).max() > 0


def test_the_derivative_passes_nan_on():
    model = Sequential([Conv2D(1, 1, activation="relu"), MaxPool2D(2)], input_shape=(2, 2, 1), seed=0)
    model.forward(np.full((1, 2, 2, 1), np.nan, "float32"))
    model.backward(np.ones((1, 1, 1, 1), "float32"))
    assert np.isnan(model.layers[0].weight.grad).all()


def test_a_convolution_built_again_without_the_pool_has_its_own_derivative():
    conv = Conv2D(1, 1, activation="relu")
    Sequential([conv, MaxPool2D(2)]).build((2, 2, 1))
    assert conv.pool is not None
    conv.build((2, 2, 1))
    assert conv.pool is None
