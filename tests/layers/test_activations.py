"""Activations: values against formulas, PyTorch and limits; gradients; the layer and the fused form agree."""

import math

import numpy as np
import pytest

import fastnn as nn
from fastnn.layers.activations import DEFAULT_ALPHA
from fastnn.testing import check_layer

LAYERS = {
    "linear": nn.Linear(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.05),
    "elu": nn.ELU(0.7),
    "selu": nn.SELU(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "softplus": nn.Softplus(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "gelu_sigmoid": nn.GELU("sigmoid"),
    "silu": nn.SiLU(),
    "swish": nn.Swish(1.5),
    "hard_sigmoid": nn.HardSigmoid(),
    "hard_tanh": nn.HardTanh(),
    "hard_swish": nn.HardSwish(),
    "step": nn.Step(),
    "relu_right": nn.ReLU(grad_at_zero=1.0),
}


def normal_distribution(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


FORMULAS = {  # of one number, as the notes and papers write them
    "linear": lambda x: x,
    "relu": lambda x: max(0.0, x),
    "leaky_relu": lambda x: x if x > 0 else 0.05 * x,
    "elu": lambda x: x if x > 0 else 0.7 * (math.exp(x) - 1),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (math.exp(x) - 1)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "softplus": lambda x: math.log(1 + math.exp(x)),
    "gelu": lambda x: x * normal_distribution(x),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_sigmoid": lambda x: x / (1 + math.exp(-1.702 * x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "swish": lambda x: x / (1 + math.exp(-1.5 * x)),
    "hard_sigmoid": lambda x: min(max(x / 6 + 0.5, 0.0), 1.0),
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "hard_swish": lambda x: x * min(max(x / 6 + 0.5, 0.0), 1.0),
    "step": lambda x: float(x >= 0),
    "relu_right": lambda x: max(0.0, x),
}


def as_model(layer, shape, dtype="float32"):
    fresh = nn.layers.from_config(nn.layers.to_config(layer))
    return nn.Sequential([fresh], input_shape=shape, seed=0, dtype=dtype)


def test_every_name_is_tested():
    assert set(LAYERS) == set(FORMULAS) == set(DEFAULT_ALPHA)
    for name, layer in LAYERS.items():
        assert layer.function == name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_values(name, dtype):
    x = np.concatenate([np.linspace(-6, 6, 97), [0.0, -0.0]]).astype(dtype)[:, None]
    expected = np.array([FORMULAS[name](float(number)) for number in x[:, 0]])
    y = as_model(LAYERS[name], (1,), dtype).forward(x)[:, 0]
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    check_layer(LAYERS[name], (3, 2), verbose=False)
    check_layer(nn.Activation(name), (5,), dtype="float64", verbose=False)


@pytest.mark.parametrize("name", LAYERS)
def test_fused_and_alone_are_the_same(name):
    """`Dense(activation=...)` is `Dense` and then the layer, in values and gradients."""
    x = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    dy = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    fused = nn.Sequential([nn.Dense(5, activation=LAYERS[name])], input_shape=(6,), seed=0)
    alone = nn.Sequential([nn.Dense(5), nn.Activation(name, LAYERS[name].alpha)], input_shape=(6,), seed=0)
    alone.theta[:] = fused.theta
    for training in (False, True):
        np.testing.assert_allclose(
            fused.forward(x, training), alone.forward(x, training), rtol=1e-6, atol=1e-6
        )
        for model in (fused, alone):
            model.zero_grad()
        np.testing.assert_allclose(fused.backward(dy), alone.backward(dy), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(fused.grad, alone.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_extremes_and_nan(name, dtype):
    """No overflow, and what is not a number stays visible."""
    x = np.array([[-1e4], [1e4], [np.nan], [0]], dtype)
    model = as_model(LAYERS[name], (1,), dtype)
    y = model.forward(x)
    dx = model.backward(np.ones_like(x))
    assert np.isfinite(y[[0, 1, 3]]).all()
    assert np.isfinite(dx[[0, 1, 3]]).all()
    assert np.isnan(y[2]).all()
    if name in ("sigmoid", "tanh"):
        assert y[1, 0] == 1
        assert dx[1, 0] == 0


@pytest.mark.parametrize(("name", "slope"), [("relu", 0.0), ("leaky_relu", 0.05), ("relu_right", 1.0)])
def test_derivative_at_zero(name, slope):
    """The slope of the left side, but for the notes' ReLU."""
    model = as_model(LAYERS[name], (2,))
    model.forward(np.array([[0.0, -0.0]], np.float32))
    assert (model.backward(np.ones((1, 2), np.float32)) == np.float32(slope)).all()


def test_selu_keeps_mean_and_variance():
    x = np.random.default_rng(0).normal(size=(200_000, 1))
    y = as_model(nn.SELU(), (1,), "float64").forward(x)
    assert abs(y.mean()) < 0.01
    assert abs(y.std() - 1) < 0.01


def test_selu_keeps_the_deviation_over_32_layers():
    """S7.10: width 256, LeCun weights: within 5 % of 1 (one run gave .979), where ReLU leaves 1e-5."""
    deviations = {}
    for name, weight_init in (("selu", "auto"), ("relu", "lecun_normal")):
        layers = [nn.Dense(256, activation=name, weight_init=weight_init) for _ in range(32)]
        model = nn.Sequential(layers, input_shape=(256,), seed=0)
        x = np.random.default_rng(0).normal(size=(1000, 256)).astype(np.float32)
        deviations[name] = model.predict(x).std()
    assert abs(deviations["selu"] - 1) < 0.05
    assert 1e-6 < deviations["relu"] < 1e-4


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_positive_activations_tie_the_signs_of_a_sample(name):
    """S7.2: a unit's weights all move up or all down for one sample, not behind tanh or in batches."""
    layers = [nn.Dense(4, activation=name), nn.Dense(1)]
    model = nn.Sequential(layers, input_shape=(3,), seed=0, dtype="float64")
    rng = np.random.default_rng(0)

    def one_sign(n):
        model.zero_grad()
        model.forward(rng.normal(size=(n, 3)))
        model.backward(rng.normal(size=(n, 1)))
        signs = np.sign(model["dense2"].weight.grad[0])
        return abs(signs.sum()) == 4

    samples, batches = [one_sign(1) for _ in range(200)], [one_sign(16) for _ in range(200)]
    assert all(samples) == (name == "sigmoid")
    assert not all(batches)


def test_ten_sigmoids_in_a_row():
    """S7.2: a gradient shrinks by at least 4^10 (times the weights)."""
    model = nn.Sequential([nn.Sigmoid() for _ in range(10)], input_shape=(1,), dtype="float64")
    model.forward(np.zeros((1, 1)))
    assert 0 < model.backward(np.ones((1, 1)))[0, 0] <= 0.25**10


def test_linear_layers_in_a_row_are_one():
    """S7.1: any depth computes one matrix, so XOR's squared error stays at 1/4 or above."""
    model = nn.Sequential([nn.Dense(5), nn.Dense(4), nn.Dense(1)], input_shape=(2,), seed=0, dtype="float64")
    w, b = np.eye(2), np.zeros(2)
    for layer in model:
        w, b = layer.weight.data @ w, layer.weight.data @ b + layer.bias.data
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    np.testing.assert_allclose(model.predict(x), x @ w.T + b, atol=1e-14)
    trainer = nn.Trainer(model, nn.SquaredError(), nn.SGD(lr=0.1))
    target = np.array([[0.0], [1], [1], [0]])
    losses = [trainer.train_step(x, target) for _ in range(500)]
    assert min(losses) >= 0.25 - 1e-12
    assert losses[-1] < 0.2501


def test_a_dead_relu_never_moves():
    """S7.4: with a bias of -1000 output and gradient are exactly 0 for all data."""
    model = nn.Sequential([nn.Dense(3, activation="relu"), nn.Dense(1)], input_shape=(4,), seed=0)
    model["dense1"].bias.data[1] = -1000
    before = model["dense1"].weight.data.copy()
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    trainer = nn.Trainer(model, nn.SquaredError(), nn.SGD(lr=0.1))
    for _ in range(20):
        trainer.train_step(x, x[:, :1])
    moved = (model["dense1"].weight.data != before).any(axis=1)
    assert moved.tolist() == [True, False, True]
    assert model["dense1"].bias.data[1] == -1000


def test_softmax():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 5)).astype(np.float32)
    y = as_model(nn.Softmax(), (3, 5)).forward(x)
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(y, e / e.sum(axis=-1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-6)
    shifted = as_model(nn.Softmax(), (3, 5)).forward(x + np.float32(1000))
    np.testing.assert_allclose(shifted, y, rtol=2e-4)
    for shape in ((6,), (2, 3), (2, 2, 4), (1,)):
        check_layer(nn.Softmax(), shape, verbose=False)


def test_log_softmax():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 5)).astype(np.float32)
    y = as_model(nn.LogSoftmax(), (3, 5)).forward(x)
    np.testing.assert_allclose(y, np.log(as_model(nn.Softmax(), (3, 5)).forward(x)), rtol=1e-5)
    far = as_model(nn.LogSoftmax(), (2,)).forward(np.array([[0, 200]], np.float32))
    assert far.tolist() == [[-200, 0]]  # where softmax is 0 in float32
    for shape in ((6,), (2, 3), (2, 2, 4), (1,)):
        for dtype in ("float32", "float64"):
            check_layer(nn.LogSoftmax(), shape, dtype=dtype, verbose=False)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Activation("nope"), r"function: expected one of linear, relu.*Received: 'nope'"),
        (lambda: nn.LeakyReLU(0), r"LeakyReLU: alpha: expected a positive number.*Received: 0"),
        (lambda: nn.LeakyReLU(float("nan")), "LeakyReLU: alpha: expected a positive number"),
        (lambda: nn.ELU(-1.0), r"ELU: alpha: expected a number in \(0, inf\)\. Received: -1\.0"),
        (lambda: nn.ReLU(grad_at_zero=0.5), r"ReLU: grad_at_zero: expected 0\.0 or 1\.0\. Received: 0\.5"),
        (
            lambda: nn.GELU("erf"),
            r"GELU: approximate: expected 'none', 'tanh' or 'sigmoid'\. Received: 'erf'",
        ),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()
