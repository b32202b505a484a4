"""First values: variances from the fans, limits, names, seeds."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import initializers

SHAPES = [(300, 200), (200, 300), (64, 3, 5, 20), (32, 5, 5, 40)]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((10, 84), (84, 10)), ((6, 5, 5, 1), (25, 150)), ((16, 5, 5, 6), (150, 400)), ((7,), (7, 7)),
     ((), (1, 1))],
)  # fmt: skip
def test_fans(shape, expected):
    """Inputs of one output, and outputs that one input reaches."""
    assert initializers.fans(shape) == expected


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        ("glorot_normal", lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        ("he_uniform", lambda fan_in, fan_out: 2 / fan_in),
        ("he_normal", lambda fan_in, fan_out: 2 / fan_in),
        ("lecun_uniform", lambda fan_in, fan_out: 1 / fan_in),
        ("lecun_normal", lambda fan_in, fan_out: 1 / fan_in),
    ],
)
def test_variances(name, variance, shape):
    values = initializers.get(name)(shape, np.random.default_rng(0))
    expected = variance(*initializers.fans(shape))
    n = values.size
    assert values.shape == shape
    # Five standard errors: of the mean sqrt(var / n), of the variance at most var sqrt(2 / n).
    assert abs(values.mean()) < 5 * np.sqrt(expected / n)
    assert abs(values.var() / expected - 1) < 5 * np.sqrt(2 / n)
    if name.endswith("uniform"):
        assert np.abs(values).max() <= np.sqrt(3 * expected)


def test_given_numbers():
    rng = np.random.default_rng(0)
    assert initializers.normal(0.5)((2000,), rng).std() == pytest.approx(0.5, rel=0.08)
    values = initializers.uniform(0.25)((1000,), rng)
    assert 0.24 < np.abs(values).max() <= 0.25
    assert (initializers.constant(3)((2, 2)) == 3.0).all()
    assert (initializers.zeros((2,)) == 0).all()
    assert (initializers.ones((2,)) == 1).all()


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("linear", "glorot_uniform"), ("tanh", "glorot_uniform"), ("sigmoid", "glorot_uniform"),
     ("relu", "he_normal"), ("leaky_relu", "he_normal"), ("gelu", "he_normal"), ("silu", "he_normal"),
     ("selu", "lecun_normal")],
)  # fmt: skip
def test_auto_follows_the_activation(activation, expected):
    assert initializers.get("auto", activation) is getattr(initializers, expected)


def test_names_and_functions():
    assert initializers.get("he_normal") is initializers.he_normal
    assert initializers.get(abs) is abs
    with pytest.raises(ValueError, match=r"initializer: expected 'auto', .* he_normal, .* Received: 'hee'"):
        initializers.get("hee")


def test_a_seed_gives_the_same_weights_and_layers_differ():
    def theta(seed):
        return nn.Sequential([nn.Dense(4), nn.Dense(4)], input_shape=(4,), seed=seed)

    a, b, c = theta(0), theta(0), theta(1)
    assert a.theta.tobytes() == b.theta.tobytes()
    assert a.theta.tobytes() != c.theta.tobytes()
    assert (a["dense1"].weight.data != a["dense2"].weight.data).all()


def test_relu_keeps_the_size_of_the_signal():
    """He et al. 2015: with variance 2 / fan_in, twenty layers neither blow up nor fade."""
    layers = [nn.Dense(200, activation="relu") for _ in range(20)]
    model = nn.Sequential(layers, input_shape=(200,), seed=0)
    x = np.random.default_rng(0).normal(size=(100, 200)).astype(np.float32)
    assert 0.2 < np.mean(model.predict(x) ** 2) / np.mean(x**2) < 5
