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
    assert lines[0].split() == ["layer", "tensor", "shape", "length"]
    assert lines[2].split() == ["dense2", "a", "(1,", "2)", "5"]
    assert lines[-1].split()[:4] == ["input", "x", "(1,", "2)"]
    assert len(lines) == 2 + 8


def test_an_error_leaves_the_model_as_it_was():
    model = network()
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        nn.backward_record(model, np.ones((1, 2)))
    assert "backward" not in vars(model.layers[0])


# The forward pass


def test_three_layers_are_the_nested_formula():
    """f(x) = O(W3 g(W2 g(W1 x + b1) + b2) + b3), each a and h of it, and a row is its sample alone (S2.2)."""
    model = network(sizes=(4, 3, 2), inputs=5)
    x = np.random.default_rng(0).normal(size=(7, 5))
    (w1, b1), (w2, b2), (w3, b3) = ((layer.weight.data, layer.bias.data) for layer in model.layers)
    nested = np.tanh(np.tanh(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    np.testing.assert_allclose(model.forward(x), nested, rtol=1e-13, atol=1e-15)
    record = nn.forward_record(model, x)
    assert [step[:2] for step in record] == [
        ("dense1", "a"), ("dense1", "h"), ("dense2", "a"), ("dense2", "h"), ("dense3", "a"),
    ]  # fmt: skip
    a1, h1, a2, h2, a3 = (step.value for step in record)
    for a, h, w, b in ((a1, x, w1, b1), (a2, h1, w2, b2), (a3, h2, w3, b3)):
        np.testing.assert_allclose(a, h @ w.T + b, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(h1, np.tanh(a1), rtol=1e-14)
    for k in range(7):
        alone = nn.forward_record(model, x[k : k + 1])
        for whole, single in zip(record, alone):
            np.testing.assert_allclose(single.value[0], whole.value[k], rtol=1e-13, atol=1e-15)
    assert model.n_parameters == sum(n * (before + 1) for n, before in ((4, 5), (3, 4), (2, 3)))


def test_xor_by_hand():
    """OR and AND of both inputs, then one without the other: 2 units with steps."""
    layers = [nn.Dense(2, activation="step"), nn.Dense(1, activation="step")]
    model = nn.Sequential(layers, input_shape=(2,), dtype="float64")
    model["dense1"].weight.data[:], model["dense1"].bias.data[:] = [[1, 1], [1, 1]], [-0.5, -1.5]
    model["dense2"].weight.data[:], model["dense2"].bias.data[:] = [[1, -1]], [-0.5]
    record = nn.forward_record(model, np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]))
    assert [step.value.tolist() for step in record] == [
        [[-0.5, -1.5], [0.5, -0.5], [0.5, -0.5], [1.5, 0.5]], [[0, 0], [1, 0], [1, 0], [1, 1]],
        [[-0.5], [0.5], [0.5], [-0.5]], [[0], [1], [1], [0]],
    ]  # fmt: skip


def test_what_a_model_returns_is_the_last_value():
    layers = [
        nn.Conv2D(3, 3),
        nn.Residual([nn.Conv2D(3, 1), nn.BatchNorm()], activation="relu"),
        nn.Flatten(),
    ]
    model = nn.Sequential(layers, input_shape=(4, 4, 2), seed=0)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype(np.float32)
    record = nn.forward_record(model, x)
    assert [step.layer for step in record] == [
        "conv1", "residual1.body.conv1", "residual1.body.batchnorm1", "flatten1",
    ]  # fmt: skip
    assert record[-1].value.tobytes() == model.forward(x).tobytes()
    assert model.workspace.fuse and "forward" not in vars(model.layers[0])


def test_two_affine_maps_are_one():
    """W = W_O W_L, b = W_O b_L + b_O (S2.4)."""
    two = nn.Sequential([nn.Dense(4), nn.Dense(3)], input_shape=(5,), seed=0, dtype="float64")
    two.theta[:] = np.random.default_rng(0).normal(size=two.theta.size)
    one = nn.Sequential([nn.Dense(3)], input_shape=(5,), dtype="float64")
    (w_l, b_l), (w_o, b_o) = ((layer.weight.data, layer.bias.data) for layer in two.layers)
    one.layers[0].weight.data[:], one.layers[0].bias.data[:] = w_o @ w_l, w_o @ b_l + b_o
    x = np.random.default_rng(1).normal(size=(6, 5))
    np.testing.assert_allclose(one.forward(x), two.forward(x), rtol=1e-12, atol=1e-13)


def test_a_batch_has_the_mean_gradient_of_its_samples():
    """And the gradient of one sample to a weight is an outer product, of rank 1 (S2.11)."""
    model, loss = network(sizes=(4, 3), inputs=5), nn.SoftmaxCrossEntropy()
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 5)), rng.integers(0, 3, 6)

    def gradient(rows):
        loss.forward(model.forward(x[rows], training=True), labels[rows])
        nn.backward_record(model, loss.backward())
        return model.grad.copy()

    each = []
    for k in range(6):
        each.append(gradient([k]))
        assert all(np.linalg.matrix_rank(layer.weight.grad) == 1 for layer in model.layers)
    np.testing.assert_allclose(gradient(list(range(6))), np.mean(each, axis=0), rtol=1e-12, atol=1e-15)
    assert np.linalg.matrix_rank(model.layers[0].weight.grad) == 4


# Paths


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", None])
@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (2, 3, 4, 2)])
def test_the_sum_over_paths_is_the_gradient(activation, sizes):
    """For every unit of every layer and the inputs (S2.8); their number is n_(l+1) ... n_L, not L."""
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


def test_a_pooling_that_applies_the_derivative_is_recorded_like_another():
    """The gradient of the convolution's h, before the derivative, is there, and so are all the others."""
    x, records = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32), []
    for fuse in (True, False):
        layers = [nn.Conv2D(4, 3, activation="tanh"), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(2)]
        model = nn.Sequential(layers, input_shape=(8, 8, 2), seed=0)
        model.workspace.fuse = fuse
        y = model.forward(x, training=True)
        records.append(nn.backward_record(model, np.ones_like(y)))
        again = nn.backward_record(model, np.ones_like(y))
        assert all((one.gradient == two.gradient).all() for one, two in zip(records[-1], again, strict=True))
    for fused, plain in zip(*records, strict=True):
        assert fused[:2] == plain[:2]
        np.testing.assert_array_equal(fused.gradient, plain.gradient)
    by_name = {step[:2]: step.gradient for step in records[0]}
    assert (by_name["conv1", "h"] != by_name["conv1", "a"]).any()
