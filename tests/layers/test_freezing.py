"""Frozen layers: behind the others in theta, untouched by training, otherwise as if they were free."""

import json

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels
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


FROZEN = [
    (lambda: nn.Dense(4, activation="gelu"), (6,)),
    (lambda: nn.Conv2D(3, 3, padding="same"), (4, 4, 2)),
    (lambda: nn.BatchNorm(activation="relu"), (4, 4, 2)),
    (lambda: nn.LayerNorm(), (6,)),
    (lambda: nn.PReLU(shared=False), (4, 4, 2)),
    (lambda: nn.Swish(learnable=True), (6,)),
    (lambda: nn.Maxout(4), (6,)),
]


@pytest.mark.parametrize(("make", "shape"), FROZEN, ids=[type(make()).__name__ for make, _ in FROZEN])
def test_each_kind_of_layer(make, shape):
    """Its own gradients are not touched, all other numbers are those of the network with nothing frozen."""
    layer = make()
    layer.trainable = False
    check_layer(layer, shape, verbose=False)

    def network_with(middle):
        first, last = nn.PReLU(shared=False), nn.Dense(3)
        return nn.Sequential([first, middle, nn.Flatten(), last], input_shape=shape, seed=0, dtype="float64")

    frozen = make()
    frozen.trainable = False
    model, free = network_with(frozen), network_with(make())
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(5, *shape)), rng.normal(size=(5, 3))
    model.grad  # noqa: B018 - allocates
    for parameter in frozen.own_parameters.values():
        parameter._grad[...] = 7
    rounding = 1e-14 if isinstance(frozen, nn.Swish) else 0  # without dbeta it has another kernel
    for _ in range(2):  # overwritten, then added to
        results = [(m.forward(x), m.backward(dy)) for m in (model, free)]
        for received, expected in zip(*results):
            np.testing.assert_allclose(received, expected, rtol=rounding)
    own = {id(parameter) for parameter in frozen.own_parameters.values()}
    assert own
    for name, parameter in model.parameters.items():
        expected = 7 if id(parameter) in own else free.parameters[name].grad
        np.testing.assert_allclose(parameter._grad, expected, rtol=rounding, err_msg=name)


def calls_of(model, x, dy, monkeypatch):
    """Kernels of a backward pass, with how many arrays they fill."""
    calls = []
    for name in ("dense_backward", "conv2d_backward_weight", "conv2d_backward_input"):
        kernel = getattr(kernels, name)

        def spy(*arguments, name=name, kernel=kernel):
            calls.append((name, sum(isinstance(a, np.ndarray) for a in arguments)))
            return kernel(*arguments)

        monkeypatch.setattr(kernels, name, spy)
    model.forward(x, training=True)
    model.backward(dy, input_gradient=False)
    monkeypatch.undo()
    return calls


def test_no_work_for_what_is_frozen(monkeypatch):
    """No kernel for the weights of a frozen layer, and none at all below the lowest one that learns."""
    weight, dx = ("conv2d_backward_weight", 4), ("conv2d_backward_input", 3)
    x, dy = np.ones((2, 6, 6, 1), np.float32), np.ones((2, 3), np.float32)
    for frozen, expected in (
        ([], [("dense_backward", 6), weight, dx, weight]),
        (["conv2"], [("dense_backward", 6), dx, weight]),
        (["conv1"], [("dense_backward", 6), weight]),
        (["conv1", "conv2"], [("dense_backward", 5)]),
        (["conv2", "dense1"], [("dense_backward", 4), dx, weight]),
        (["conv1", "conv2", "dense1"], []),
    ):
        layers = [nn.Conv2D(2, 3), nn.ReLU(), nn.Residual([nn.Conv2D(2, 3, padding="same")]), nn.Flatten()]
        layers[2].layers[0].layers[0].name = "conv2"
        model = nn.Sequential([*layers, nn.Dense(3)], seed=0)
        for path in frozen:
            model["residual1.body.conv2" if path == "conv2" else path].trainable = False
        model.build_model((6, 6, 1))
        assert calls_of(model, x, dy, monkeypatch) == expected, frozen


def test_a_step_lets_go_of_what_frozen_layers_kept():
    model = nn.Sequential([nn.Dense(4), nn.Residual([nn.Dense(4)]), nn.Dense(3)], seed=0)
    model["dense1"].trainable = model["residual1"].trainable = False
    model.build_model((5,))
    nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.SGD(lr=0.1)).train_step(*data())
    assert [layer.saved for path, layer in model.walk() if path] == [None] * 5


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
