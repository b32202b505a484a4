"""Frozen layers: behind the others in theta, untouched by training, otherwise as if they were free."""

import json

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_gradients, check_layer

OPTIMIZERS = [
    nn.SGD(lr=0.1, weight_decay=0.01),
    nn.Momentum(lr=0.1, momentum=0.9),
    nn.Adam(lr=0.01, weight_decay=0.1, decoupled=True),
]


def network(frozen=(), dtype="float32"):
    """A small network; `frozen` are paths of layers."""
    body = [nn.Dense(6), nn.BatchNorm(), nn.ReLU()]
    model = nn.Sequential(
        [nn.Dense(6, activation="tanh"), nn.Residual(body), nn.PReLU(), nn.Dense(3)], seed=0, dtype=dtype
    )
    for path in frozen:
        model[path].trainable = False
    model.build_model((5,))
    return model


def data(dtype="float32", n=32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 5)).astype(dtype), rng.integers(0, 3, n)


def test_theta_holds_the_frozen_parameters_last():
    free, model = network(), network(["dense1", "residual1"])
    assert free.n_trainable == free.n_parameters == model.n_parameters
    assert list(model.parameters)[:3] == ["prelu1.alpha", "dense2.weight", "dense2.bias"]
    assert model.n_trainable == 1 + 18 + 3 == model.grad.size
    assert model.theta.size == model.n_parameters
    parts = [p.data.ravel() for p in model.parameters.values()]
    np.testing.assert_array_equal(np.concatenate(parts), model.theta)
    assert all(np.shares_memory(part, model.theta) for part in parts)
    # The first values, and so the outputs, are those of the same model with nothing frozen.
    for name, parameter in free.parameters.items():
        np.testing.assert_array_equal(model.parameters[name].data, parameter.data)
    np.testing.assert_array_equal(model.predict(data()[0]), free.predict(data()[0]))


@pytest.mark.parametrize("which", range(len(OPTIMIZERS)))
def test_training_leaves_them_alone(which):
    """The others move, with weight decay too; statistics of a frozen BatchNorm stay."""
    optimizer = type(OPTIMIZERS[which])(**OPTIMIZERS[which].config())
    model = network(["dense1", "residual1"])
    before = model.state_dict()
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), optimizer)
    x, y = data()
    losses = [trainer.train_step(x, y) for _ in range(20)]
    assert losses[-1] < losses[0]
    for name, value in model.state_dict().items():
        same = (value == before[name]).all()
        assert same == name.startswith(("dense1", "residual1")), name
    names = [name for name in optimizer.state_dict() if name != "n_steps"]
    assert all(".dense2." in name or ".prelu1." in name for name in names)


def test_freezing_what_comes_first_is_training_on_its_outputs():
    """The same numbers as a head alone, trained on what the frozen part computes."""
    model = network(["dense1", "residual1"], "float64")
    head = nn.Sequential([nn.PReLU(), nn.Dense(3)], input_shape=(6,), dtype="float64", seed=0)
    head.theta[:] = model.theta[: model.n_trainable]
    body = nn.Sequential(
        [nn.Dense(6, activation="tanh"), nn.Residual([nn.Dense(6), nn.BatchNorm(), nn.ReLU()])],
        input_shape=(5,), dtype="float64", seed=0,
    )  # fmt: skip
    body.load_state_dict(
        {k: v for k, v in model.state_dict().items() if k.startswith(("dense1", "residual1"))}
    )
    x, y = data("float64")
    for network_, inputs in ((model, x), (head, body.predict(x))):
        trainer = nn.Trainer(network_, nn.SoftmaxCrossEntropy(), nn.Adam(lr=0.01, weight_decay=0.01))
        for _ in range(10):
            trainer.train_step(inputs, y)
    np.testing.assert_allclose(model.theta[: model.n_trainable], head.theta, rtol=1e-12)


def test_gradients_of_the_others():
    model = network(["dense1"], "float64")
    x = data("float64", 7)[0]
    check_gradients(model, x, training=True, n_checks=None)
    free = network((), "float64")
    dy = np.random.default_rng(1).normal(size=(7, 3))
    for m in (model, free):
        m.forward(x, training=True)
        m.backward(dy)
    for name, parameter in model.parameters.items():
        expected = free.parameters[name].grad if parameter.trainable else 0
        np.testing.assert_array_equal(parameter.grad, expected)


def test_frozen_layers_pass_check_layer():
    for layer, shape in ((nn.Dense(4), (3,)), (nn.BatchNorm(), (2, 3)), (nn.LayerNorm(), (5,))):
        layer.trainable = False
        check_layer(layer, shape, verbose=False)


def test_configuration_and_file(tmp_path):
    model = network(["residual1"])
    config = json.loads(json.dumps(nn.layers.to_config(model)))
    again = nn.layers.from_config(config)
    assert again.n_trainable == model.n_trainable < model.n_parameters
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = nn.load(path)
    assert not loaded["residual1"].trainable
    assert not next(iter(loaded["residual1"].children())).trainable
    np.testing.assert_array_equal(loaded.theta, model.theta)


def test_summary_counts_them():
    assert ", 36 of them frozen, " in network(["dense1"]).summary()
    assert "frozen" not in network().summary()


def test_everything_frozen():
    model = network(["dense1", "residual1", "prelu1", "dense2"])
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(weight_decay=0.1))
    before = model.theta.copy()
    trainer.train_step(*data())
    np.testing.assert_array_equal(model.theta, before)
    assert model.n_trainable == 0


def test_too_late():
    model = network()
    with pytest.raises(
        RuntimeError, match=r"dense1 \(Dense\): trainable: expected to be set before the model"
    ):
        model["dense1"].trainable = False
