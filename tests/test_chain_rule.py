"""The recorded backward pass and the paths of the chain rule, against formulas and backpropagation."""

import math

import numpy as np
import pytest

import fastnn as nn
from fastnn.errors import ShapeError


def network(activation="tanh", sizes=(3, 2), inputs=2, seed=0):
    *hidden, last = sizes
    layers = [*(nn.Dense(n, activation=activation) for n in hidden), nn.Dense(last)]
    return nn.Sequential(layers, input_shape=(inputs,), seed=seed, dtype="float64")


def test_the_order_and_the_shapes():
    """Loss, output, then for each layer a, W, b and the h before it (the notes, S2.12)."""
    model = network(sizes=(4, 3, 2), inputs=5)
    y = model.forward(np.random.default_rng(0).normal(size=(7, 5)), training=True)
    record = nn.backward_record(model, np.ones_like(y))
    assert [(step.layer, step.tensor, step.gradient.shape) for step in record] == [
        ("dense3", "a", (7, 2)), ("dense3", "weight", (2, 3)), ("dense3", "bias", (2,)),
        ("dense2", "h", (7, 3)), ("dense2", "a", (7, 3)), ("dense2", "weight", (3, 4)),
        ("dense2", "bias", (3,)),
        ("dense1", "h", (7, 4)), ("dense1", "a", (7, 4)), ("dense1", "weight", (4, 5)),
        ("dense1", "bias", (4,)),
        ("input", "x", (7, 5)),
    ]  # fmt: skip


def test_the_formulas():
    """dL/da = dL/dh * g'(a), dL/dW = dL/da^T h, dL/db = the sum, dL/dh = dL/da W (S2.9 to S2.11)."""
    model, rng = network(sizes=(4, 2), inputs=5), np.random.default_rng(0)
    x, dy = rng.normal(size=(7, 5)), rng.normal(size=(7, 2))
    model.forward(x)
    found = {(step.layer, step.tensor): step.gradient for step in nn.backward_record(model, dy)}
    (w1, b1), (w2, _) = ((layer.weight.data, layer.bias.data) for layer in model.layers)
    h = np.tanh(x @ w1.T + b1)
    dh = dy @ w2
    da = dh * (1 - h**2)
    expected = {
        ("dense2", "a"): dy, ("dense2", "weight"): dy.T @ h, ("dense2", "bias"): dy.sum(axis=0),
        ("dense1", "h"): dh, ("dense1", "a"): da, ("dense1", "weight"): da.T @ x,
        ("dense1", "bias"): da.sum(axis=0), ("input", "x"): da @ w1,
    }  # fmt: skip
    assert list(found) == list(expected)
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-13, atol=1e-15)


def test_the_gradients_are_those_of_backward():
    """For any model, twice, and nothing of the record stays behind."""
    layers = [
        nn.Conv2D(3, 3, activation="gelu"), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2),
        nn.Residual([nn.Conv2D(3, 1), nn.BatchNorm()], activation="relu"), nn.Flatten(), nn.Dropout(0.3),
        nn.Dense(2),
    ]  # fmt: skip
    model = nn.Sequential(layers, input_shape=(8, 8, 2), seed=0, dtype="float64")
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(3, 8, 8, 2)), rng.normal(size=(3, 2))
    model.forward(x, training=True)
    model.zero_grad()
    dx = model.backward(dy).copy()
    expected = model.grad.copy()
    for _ in range(2):
        record = nn.backward_record(model, dy)
        assert model.grad.tobytes() == expected.tobytes()
        assert record[-1][:2] == ("input", "x") and record[-1].gradient.tobytes() == dx.tobytes()
        named = {f"{step.layer}.{step.tensor}": step.gradient for step in record}
        for name, parameter in model.parameters.items():
            assert named[name].tobytes() == parameter.grad.tobytes()
    assert "backward" not in vars(model.layers[0])
    places = [step.layer for step in record if step.tensor in ("h", "a")]
    assert places[0] == "dense1" and places.index("residual1.body.batchnorm1") < places.index("relu1")
    assert [step.tensor for step in record if step.layer == "conv1"] == ["h", "a", "weight", "bias"]


def test_printed_it_is_a_table():
    model = network()
    model.forward(np.ones((1, 2)))
    lines = repr(nn.backward_record(model, np.array([[3.0, 4.0]]))).splitlines()
    assert lines[0].split() == ["layer", "gradient", "shape", "length"]
    assert lines[2].split() == ["dense2", "dL/da", "(1,", "2)", "5"]
    assert lines[-1].split()[:4] == ["input", "dL/dx", "(1,", "2)"]
    assert len(lines) == 2 + 8


def test_an_error_leaves_the_model_as_it_was():
    model = network()
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        nn.backward_record(model, np.ones((1, 2)))
    assert "backward" not in vars(model.layers[0])


# Paths


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", None])
@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (2, 3, 4, 2)])
def test_the_sum_over_paths_is_the_gradient(activation, sizes):
    """For every unit of every layer and the inputs (S2.8); their number is n_(l+1) ... n_L, not L (E13)."""
    model, rng = network(activation, sizes), np.random.default_rng(1)
    x, dy = rng.normal(size=2), rng.normal(size=2)
    model.forward(x[None])
    gradients = {step.layer: step.gradient[0] for step in nn.backward_record(model, dy[None])
                 if step.tensor in ("h", "x") or (activation is None and step.tensor == "a")}  # fmt: skip
    for place in range(-1, len(sizes) - 1):
        name = "input" if place < 0 else f"dense{place + 1}"
        for unit in range(2 if place < 0 else sizes[place]):
            paths = nn.chain_rule_paths(model, x, dy, place, unit)
            assert len(paths) == math.prod(sizes[place + 1 :])
            assert len({path.units for path in paths}) == len(paths)
            assert all(path.units[0] == unit and len(path.units) == len(sizes) - place for path in paths)
            total = sum(path.product for path in paths)
            assert total == pytest.approx(gradients[name][unit], rel=1e-12, abs=1e-15)


def test_one_path_by_hand():
    model = network(sizes=(3, 2))
    model.theta[:] = np.linspace(-1, 1, model.theta.size)
    x, dy = np.array([0.5, -1.0]), np.array([2.0, 3.0])
    (w1, b1), (w2, _) = ((layer.weight.data, layer.bias.data) for layer in model.layers)
    h = np.tanh(w1 @ x + b1)
    path = nn.chain_rule_paths(model, x, dy, -1, 1)[2 * 1 + 1]  # input 1, unit 1, output 1
    assert path.units == (1, 1, 1)
    np.testing.assert_allclose(path.factors, [w1[1, 1], 1 - h[1] ** 2, w2[1, 1], 3.0], rtol=1e-14)
    assert path.product == pytest.approx(w1[1, 1] * (1 - h[1] ** 2) * w2[1, 1] * 3.0, rel=1e-14)


def test_activations_as_layers_are_part_of_the_paths():
    layers = [nn.Dense(3), nn.Tanh(), nn.Dense(2), nn.Sigmoid()]
    apart = nn.Sequential(layers, input_shape=(2,), seed=0, dtype="float64")
    together = network(sizes=(3, 2))
    together.theta[:] = apart.theta
    x, dy = np.array([0.3, -0.2]), np.array([1.0, -2.0])
    y = apart.forward(x[None])[0]
    with_sigmoid = nn.chain_rule_paths(apart, x, dy, "tanh1", 1)
    without = nn.chain_rule_paths(together, x, dy * y * (1 - y), "dense1", 1)
    assert [path.units for path in with_sigmoid] == [path.units for path in without]
    for a, b in zip(with_sigmoid, without):
        assert a.product == pytest.approx(b.product, rel=1e-12)


def test_what_has_no_paths_is_refused():
    model, x, dy = network(sizes=(30, 30, 30, 2)), np.ones(2), np.ones(2)
    with pytest.raises(ValueError, match=r"most: expected at most 10000 paths\. Received: 54,000; give"):
        nn.chain_rule_paths(model, x, dy, -1, 0)
    assert len(nn.chain_rule_paths(model, x, dy, "dense2", 0)) == 60
    with pytest.raises(ValueError, match=r"unit: expected a number from 0 to 29\. Received: 30"):
        nn.chain_rule_paths(model, x, dy, "dense2", 30)
    with pytest.raises(ShapeError, match=r"x: expected shape \(2,\), of one sample\. Received: \(3,\)"):
        nn.chain_rule_paths(model, np.ones(3), dy, "dense2", 0)
    with pytest.raises(KeyError, match="layer: expected one of dense1"):
        nn.chain_rule_paths(model, x, dy, "dense9", 0)
    other = nn.Sequential([nn.Flatten(), nn.Dense(2)], input_shape=(2, 2))
    with pytest.raises(ValueError, match=r"model: expected Dense layers and .* Received: flatten1"):
        nn.chain_rule_paths(other, np.ones((2, 2)), dy, -1, 0)
