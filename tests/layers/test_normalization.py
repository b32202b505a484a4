"""BatchNorm: shapes, values, running statistics, gradients."""

import numpy as np
import pytest

from fastnn.layers.activations import LeakyReLU
from fastnn.layers.containers import Sequential
from fastnn.layers.conv import Conv2D
from fastnn.layers.normalization import BatchNorm
from fastnn.testing import check_gradients, check_layer


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "gelu", LeakyReLU(0.1)], ids=str)
@pytest.mark.parametrize("input_shape", [(5,), (3, 4, 2)], ids=str)
def test_layer(input_shape, activation):
    check_layer(BatchNorm(activation=activation), input_shape, verbose=False)


def built(input_shape, dtype="float64", **options):
    """A BatchNorm whose numbers are not the first ones."""
    layer = BatchNorm(**options)
    model = Sequential([layer], input_shape=input_shape, dtype=dtype)
    rng = np.random.default_rng(3)
    c = input_shape[-1]
    layer.gamma.data[...], layer.beta.data[...] = 0.5 + rng.random(c), rng.normal(size=c)
    layer.running_mean[...], layer.running_var[...] = rng.normal(size=c), 0.5 + rng.random(c)
    return model, layer


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "silu"])
def test_gradients(activation, training):
    model, _ = built((4, 3), activation=activation)
    x = np.random.default_rng(0).normal(1, 2, (6, 4, 3))
    check_gradients(model, x, training=training, n_checks=None)


def test_training_gives_mean_beta_and_deviation_gamma():
    model, layer = built((4, 4, 3))
    y = model.forward(np.random.default_rng(0).normal(5, 3, (8, 4, 4, 3)), training=True)
    np.testing.assert_allclose(y.mean((0, 1, 2)), layer.beta.data, atol=1e-12)
    np.testing.assert_allclose(y.std((0, 1, 2)), layer.gamma.data, rtol=1e-5)


def test_running_statistics():
    x = np.random.default_rng(0).normal(5, 3, (50, 2))
    layer = BatchNorm(momentum=0.25)
    model = Sequential([layer], input_shape=(2,), dtype="float64")
    model.forward(x)
    np.testing.assert_array_equal(layer.running_mean, 0)  # only training changes them
    model.forward(x, training=True)
    np.testing.assert_allclose(layer.running_mean, 0.25 * x.mean(0))
    np.testing.assert_allclose(layer.running_var, 0.75 + 0.25 * x.var(0, ddof=1))
    for _ in range(200):
        model.forward(x, training=True)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + 1e-5)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-9)


def test_state_dict_holds_the_running_statistics():
    model, layer = built((3,))
    other = Sequential([BatchNorm()], input_shape=(3,), dtype="float64")
    other.load_state_dict(model.state_dict())
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    np.testing.assert_array_equal(other.layers[0].running_var, layer.running_var)


def test_gradients_add_up():
    model, layer = built((3,))
    x, dy = np.random.default_rng(0).normal(size=(2, 5, 3))
    model.forward(x, training=True)
    model.backward(dy)
    once = layer.gamma.grad.copy(), layer.beta.grad.copy()
    model.forward(x, training=True)
    model.backward(dy)
    np.testing.assert_allclose(layer.gamma.grad, 2 * once[0])
    np.testing.assert_allclose(layer.beta.grad, 2 * once[1])


@pytest.mark.parametrize("training", [False, True])
def test_equals_torch(training):
    torch = pytest.importorskip("torch")
    model, layer = built((5, 6, 4), activation="relu")
    norm = torch.nn.BatchNorm2d(4, dtype=torch.float64).train(training)
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(layer.gamma.data))
        norm.bias.copy_(torch.from_numpy(layer.beta.data))
        norm.running_mean.copy_(torch.from_numpy(layer.running_mean))
        norm.running_var.copy_(torch.from_numpy(layer.running_var))
    x, dy = np.random.default_rng(0).normal(1, 2, (2, 3, 5, 6, 4))
    tx = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    ty = torch.relu(norm(tx))
    ty.backward(torch.from_numpy(dy).permute(0, 3, 1, 2))
    np.testing.assert_allclose(
        model.forward(x, training), ty.detach().permute(0, 2, 3, 1).numpy(), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(
        model.backward(dy), tx.grad.permute(0, 2, 3, 1).numpy(), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(layer.gamma.grad, norm.weight.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(layer.beta.grad, norm.bias.grad.numpy(), rtol=1e-10)
    np.testing.assert_allclose(layer.running_mean, norm.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, norm.running_var.numpy(), rtol=1e-12)


def test_errors():
    with pytest.raises(ValueError, match="momentum: expected a number from 0 to 1"):
        BatchNorm(momentum=1.5)
    with pytest.raises(ValueError, match="eps: expected a positive number"):
        BatchNorm(eps=0)
    with pytest.raises(ValueError, match="activation"):
        BatchNorm(activation="rectify")


def behind(convolution, dtype="float32", **options):
    return Sequential([convolution, BatchNorm(**options)], input_shape=(9, 9, 34), dtype=dtype, seed=0)


@pytest.mark.parametrize(
    "convolution",
    [lambda: Conv2D(35, 3, padding=1), lambda: Conv2D(40, 3, stride=2), lambda: Conv2D(34, 3, groups=34)],
    ids=["winograd", "direct", "depthwise"],
)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 3e-6), ("float64", 1e-13)])
def test_the_convolution_before_gathers_the_statistics(convolution, dtype, tolerance):
    """Outputs, running values and gradients as by a pass of its own, but for the order of the sums."""
    x, results = np.random.default_rng(0).normal(3, 2, (6, 9, 9, 34)).astype(dtype), []
    for gather in (True, False):
        model = behind(convolution(), dtype, activation="relu")
        conv, norm = model.layers
        assert conv.normalizer is norm
        model.workspace.fuse = gather
        y = model.forward(x, training=True)
        assert (conv.moments is not None) == gather
        assert norm.moments is None  # used
        dy = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
        dx = model.backward(dy)
        results.append([y, dx, model.grad / 1000, norm.running_mean, norm.running_var])
    for gathered, by_pass in zip(*results):
        np.testing.assert_allclose(gathered, by_pass, rtol=0, atol=tolerance * np.abs(by_pass).max())


def test_a_convolution_gathers_only_what_will_be_used():
    x = np.zeros((1, 9, 9, 34), "float32")
    model = behind(Conv2D(4, 3))
    conv, norm = model.layers
    model.forward(x)
    assert conv.moments is None
    for other in (
        behind(Conv2D(4, 3, activation="relu")),
        Sequential([Conv2D(4, 3)], input_shape=(9, 9, 34)),
    ):
        assert other.layers[0].normalizer is None

    frozen = BatchNorm()
    frozen.trainable = False
    assert Sequential([Conv2D(4, 3), frozen], input_shape=(9, 9, 34)).layers[0].normalizer is None

    class Skipping(Sequential):
        def pass_forward(self, x, training):
            return self.layers[1].forward(self.layers[0].forward(x, training) + 1, training)

    conv, norm = (model := Skipping([Conv2D(4, 3), BatchNorm()], input_shape=(9, 9, 34), seed=0)).layers
    assert conv.normalizer is None
    model.forward(x, training=True)
    np.testing.assert_allclose(norm.running_mean, 0.1)
