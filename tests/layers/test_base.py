"""What all layers share: configuration, labels, errors of arguments, and layers of the user's own."""

import json

import numpy as np
import pytest

import fastnn as nn
from fastnn.layers.base import REGISTRY, from_config, pair, resolve_activation, to_config
from fastnn.testing import check_layer

LAYERS = [
    nn.Dense(3, activation="tanh", use_bias=False, weight_init="he_uniform", name="first"),
    nn.Dense(3, activation=nn.LeakyReLU(0.2)),
    nn.Conv2D(4, (3, 1), stride=2, padding=(1, 0), dilation=(1, 2), groups=2, algorithm="im2col"),
    nn.Activation("elu", 0.5),
    nn.LeakyReLU(0.3),
    nn.GELU("tanh"),
    nn.Softmax(),
    nn.Dropout(keep_prob=0.75),
    nn.Flatten(),
    nn.Reshape((2, 3)),
    nn.Residual([nn.Dense(4)], shortcut=[nn.Dense(4)], activation="relu"),
    nn.Concat([nn.Dense(4), [nn.Dense(2), nn.Tanh()]]),
    nn.Sequential([nn.Dense(4), nn.ReLU()]),
]


def _configuration(layer):
    """Without the seed, which a model draws if it is not given one."""
    return {key: value for key, value in layer.config().items() if key != "seed"}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_configuration_survives_json(layer):
    again = from_config(json.loads(json.dumps(to_config(layer))))
    assert type(again) is type(layer)
    assert _configuration(again) == _configuration(layer)


def test_configuration_of_a_model_does_not_depend_on_chance():
    def build():
        return nn.Sequential([nn.Residual([nn.Dense(4)])], input_shape=(4,), seed=3)

    assert json.dumps(to_config(build())) == json.dumps(to_config(build()))


def test_functions_are_not_configuration():
    layer = nn.Dense(3, weight_init=nn.initializers.normal(0.1))
    assert "weight_init" not in layer.config()
    json.dumps(to_config(layer))


def test_every_public_layer_is_registered():
    for name in nn.layers.__all__:
        value = getattr(nn.layers, name)
        if isinstance(value, type) and issubclass(value, nn.Layer) and value is not nn.Layer:
            assert REGISTRY[name] is value


def test_unknown_class():
    with pytest.raises(ValueError, match=r"layer class: expected one of .*Dense.*Received: 'Nope'.*import"):
        from_config({"class": "Nope", "config": {}})


def test_label_and_repr():
    layer = nn.Dense(3, activation="relu")
    assert layer.label() == "Dense"
    assert eval(repr(layer), {"Dense": nn.Dense}).units == 3
    nn.Sequential([layer], input_shape=(2,))
    assert layer.label() == "dense1 (Dense)"
    assert "dense1" not in repr(layer)


def test_backward_before_forward():
    layer = nn.Sequential([nn.Dense(2)], input_shape=(3,), seed=0)
    with pytest.raises(RuntimeError, match=r"dense1 \(Dense\): backward was called before forward"):
        layer.backward(np.zeros((1, 2), np.float32))


def test_pair():
    assert pair(3, "n", "x") == (3, 3)
    assert pair([1, np.int64(2)], "n", "x") == (1, 2)
    assert all(type(n) is int for n in pair((1, np.int64(2)), "n", "x"))
    with pytest.raises(ValueError, match=r"x: n: expected a number or a pair\. Received: \(1, 2, 3\)"):
        pair((1, 2, 3), "n", "x")
    with pytest.raises(ValueError, match="of at least 1"):
        pair((1, 0), "n", "x")


def test_resolve_activation():
    assert resolve_activation(None) == ("linear", 0.0)
    assert resolve_activation("leaky_relu") == ("leaky_relu", 0.01)
    assert resolve_activation(nn.ELU(0.5)) == ("elu", 0.5)


@pytest.mark.parametrize("activation", ["nope", 3, nn.ReLU, nn.Dense(3), nn.Softmax(), ["relu"]])
def test_activation_is_checked(activation):
    with pytest.raises(
        ValueError, match=r"activation: expected None, an activation layer .*relu.*Received: "
    ):
        nn.Dense(2, activation=activation)


# Layers of the user's own


class Scale(nn.Layer):
    """y = s x with one s per feature."""

    kind = "scale"

    def create_parameters(self, input_shape):
        self.scale = self.add_parameter("scale", input_shape, nn.initializers.ones)

    def forward(self, x, training=False):
        self.saved = (x,)
        return x * self.scale.data

    def backward(self, dy, input_gradient=True):
        (x,) = self.last_pass()
        gradient = (dy * x).sum(axis=0)
        if self.scale.accumulate():
            self.scale.grad[...] += gradient
        else:
            self.scale.grad[...] = gradient
        return dy * self.scale.data


def test_a_layer_of_ones_own():
    check_layer(Scale(), (4,), verbose=False)
    model = nn.Sequential([nn.Dense(3), Scale()], input_shape=(2,), seed=0)
    assert list(model.parameters) == ["dense1.weight", "dense1.bias", "scale1.scale"]
    assert isinstance(from_config(to_config(model)).layers[1], Scale)


def test_passes_that_are_not_written():
    class Empty(nn.Layer):
        pass

    x = np.zeros((1, 2), np.float32)
    model = nn.Sequential([Empty()], input_shape=(2,))
    with pytest.raises(NotImplementedError, match=r"Empty\.forward is not written"):
        model.forward(x)
    with pytest.raises(NotImplementedError, match=r"Empty\.backward is not written"):
        model.backward(x)
    del REGISTRY["Empty"]
