"""PReLU, Swish and Maxout: values, gradients of what is learned, special cases, PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_gradients, check_layer


def as_model(layer, shape, dtype="float64", seed=0):
    return nn.Sequential([layer], input_shape=shape, seed=seed, dtype=dtype)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.PReLU(), (7,)),
        (nn.PReLU(init=-0.3), (2, 3)),
        (nn.PReLU(shared=False), (3, 2, 4)),
        (nn.PReLU(0.0, shared=False), (5,)),
        (nn.Swish(), (6,)),
        (nn.Swish(0.0), (6,)),
        (nn.Swish(1.702, learnable=True), (3, 4)),
        (nn.Swish(-0.5, learnable=True), (1,)),
        (nn.Maxout(4), (6,)),
        (nn.Maxout(1, pieces=1), (1,)),
        (nn.Maxout(3, pieces=5, use_bias=False), (7,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(layer, shape, dtype):
    check_layer(layer, shape, dtype=dtype, verbose=False)


# PReLU


def test_prelu_gradients():
    """S7.5: da/dalpha = min(0, x), every element in float64."""
    for shared in (True, False):
        model = as_model(nn.PReLU(0.1, shared), (4, 3))
        check_gradients(model, np.random.default_rng(0).normal(size=(9, 4, 3)), n_checks=None)
    x = np.array([[-2.0, 3.0], [-5.0, -1.0]])
    layer = nn.PReLU()
    model = as_model(layer, (2,))
    model.forward(x)
    model.backward(np.ones_like(x))
    assert layer.alpha.grad.tolist() == [-8.0]


def test_prelu_between_relu_and_linear():
    x = np.random.default_rng(0).normal(size=(50, 6))
    for alpha, expected in ((0.0, np.maximum(x, 0)), (1.0, x), (0.25, np.maximum(0.25 * x, x))):
        np.testing.assert_array_equal(as_model(nn.PReLU(alpha), (6,)).predict(x), expected)


def test_weight_decay_leaves_alpha_and_beta_alone():
    layers = [nn.Dense(3), nn.PReLU(), nn.Swish(1.5, learnable=True)]
    model = nn.Sequential(layers, input_shape=(4,), seed=0)
    assert [p.decay for p in model.parameters.values()] == [True, False, False, False]
    optimizer = nn.SGD(lr=0.1, weight_decay=0.5).bind(model)
    before = model["dense1"].weight.data.copy()
    model.zero_grad()
    optimizer.step()
    np.testing.assert_allclose(model["dense1"].weight.data, 0.95 * before, rtol=1e-6)
    assert model["prelu1"].alpha.data[0] == 0.25
    assert model["swish1"].learned.data[0] == 1.5


# Swish


def test_swish_gradients():
    """S7.11: df/dbeta = x^2 s'(beta x), every element in float64."""
    x = np.random.default_rng(0).normal(0, 3, (9, 4))
    for beta in (-0.4, 0.0, 1.0, 5.0):
        check_gradients(as_model(nn.Swish(beta, learnable=True), (4,)), x, n_checks=None)
    layer = nn.Swish(1.5, learnable=True)
    model = as_model(layer, (4,))
    model.forward(x)
    model.backward(np.ones_like(x))
    s = 1 / (1 + np.exp(-1.5 * x))
    assert layer.learned.grad[0] == pytest.approx((x**2 * s * (1 - s)).sum(), rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_swish_names_its_relatives(dtype):
    """S7.11: beta = 1 is SiLU, 1.702 is GELU("sigmoid") bit for bit and not GELU, learned or not."""
    x = np.random.default_rng(0).normal(0, 2, (50, 6)).astype(dtype)
    for beta, other in ((1.0, nn.SiLU()), (1.702, nn.GELU("sigmoid"))):
        expected = as_model(other, (6,), dtype).predict(x)
        for learnable in (True, False):
            received = as_model(nn.Swish(beta, learnable), (6,), dtype).predict(x)
            np.testing.assert_array_equal(received, expected)
    assert abs(expected - as_model(nn.GELU(), (6,), dtype).predict(x)).max() > 0.015


def test_swish_learns_its_beta():
    """From beta = 1 to the 2.5 that made the targets; the kernel gets the new value at every step."""
    x = np.random.default_rng(0).normal(0, 2, (256, 1))
    target = x / (1 + np.exp(-2.5 * x))
    layer = nn.Swish(learnable=True)
    model = as_model(layer, (1,))
    trainer = nn.Trainer(model, nn.SquaredError(), nn.SGD(lr=20.0))
    losses = [trainer.train_step(x, target) for _ in range(400)]
    assert losses[-1] < 1e-9
    assert layer.learned.data[0] == pytest.approx(2.5, abs=1e-3)
    np.testing.assert_allclose(model.for_inference(8).predict(x[:8]), target[:8], atol=1e-4)


# Maxout


def piecewise(weights, biases=None):
    """A Maxout of one unit and one input with these pieces."""
    layer = nn.Maxout(1, pieces=len(weights))
    model = as_model(layer, (1,))
    layer.weight.data[:, 0] = weights
    layer.bias.data[:] = 0 if biases is None else biases
    return model


def test_maxout_special_cases():
    """S7.7: ReLU, leaky ReLU and |x| are Maxouts of two pieces."""
    x = np.linspace(-3, 3, 61)[:, None]
    np.testing.assert_array_equal(piecewise([0, 1]).predict(x), np.maximum(x, 0))
    np.testing.assert_array_equal(piecewise([0.1, 1]).predict(x), np.maximum(0.1 * x, x))
    np.testing.assert_array_equal(piecewise([-1, 1]).predict(x), abs(x))
    squares = piecewise([-4, -2, 0, 2, 4], [-4, -1, 0, -1, -4]).predict(x)  # tangents of x^2
    assert (squares <= x**2 + 1e-12).all()
    assert (squares >= x**2 - 0.26)[abs(x) <= 2.5].all()


def test_maxout_only_the_winner_learns():
    """The gradient goes to the piece with the largest value, the first of equals."""
    model = piecewise([1, 1, 2])
    layer = model.layers[0]
    for x, winner in ((3.0, 2), (-3.0, 0)):
        model.zero_grad()
        model.forward(np.array([[x]]))
        dx = model.backward(np.array([[10.0]]))
        assert dx[0, 0] == 10 * layer.weight.data[winner, 0]
        assert np.flatnonzero(layer.weight.grad[:, 0]).tolist() == [winner]
        assert layer.weight.grad[winner, 0] == 10 * x
        assert layer.bias.grad.tolist() == [10.0 * (k == winner) for k in range(3)]


def test_maxout_counts_and_gradients():
    model = as_model(nn.Maxout(10, pieces=3), (20,))
    assert model.n_parameters == 3 * 10 * 21
    assert model["maxout1"].multiply_adds() == 600
    check_gradients(model, np.random.default_rng(0).normal(size=(7, 20)), n_checks=None)


def test_maxout_keeps_the_mean_square():
    """Two independent pieces with mean 0: the larger has the mean square of one."""
    model = as_model(nn.Maxout(2000), (500,))
    y = model.predict(np.random.default_rng(0).normal(size=(50, 500)))
    assert abs((y**2).mean() - 1) < 0.05


def test_prepared_for_inference():
    layers = [nn.Maxout(8), nn.BatchNorm(), nn.PReLU(shared=False), nn.Dense(3, activation=nn.Swish(1.5))]
    model = nn.Sequential(layers, input_shape=(6,), seed=0)
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    for _ in range(5):
        model.forward(x, training=True)
    prepared = model.for_inference(7)
    np.testing.assert_allclose(prepared.predict(x), model.predict(x), rtol=1e-5, atol=1e-6)
    assert any("maxout_forward" in line for line in prepared.steps())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.PReLU(init="a"), r"PReLU: init: expected a number in \(-inf, inf\)\. Received: 'a'"),
        (lambda: nn.Swish(float("inf")), r"Swish: beta: expected a number in \(-inf, inf\)\. Received: inf"),
        (lambda: nn.Maxout(0), "Maxout: units: expected an integer of at least 1"),
        (lambda: nn.Maxout(2, pieces=256), r"Maxout: pieces: expected 1 to 255\. Received: 256"),
        (lambda: nn.Dense(3, activation=nn.Swish(learnable=True)), "without a parameter of its own.*behind"),
        (lambda: as_model(nn.Maxout(3), (4, 4)), r"put Flatten\(\)"),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()
