"""LayerMonitor: its numbers are those of a loop by hand, and training is the same with it, bit for bit."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.training import Callback, Checkpoint, LayerMonitor, Trainer

FIT = {"batch_size": 9, "verbose": False}


def data(n=45, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


def trainer(optimizer=None, layers=None, seed=3):
    layers = layers or [
        nn.Dense(8, activation="relu"),
        nn.Dropout(0.2),
        nn.Residual([nn.Dense(8, activation="tanh"), nn.BatchNorm()], activation="relu"),
        nn.Dense(5),
        nn.Sigmoid(),
        nn.Dense(2),
    ]
    model = nn.Sequential(layers, input_shape=(6,), seed=seed)
    return Trainer(model, nn.SoftmaxCrossEntropy(), optimizer or nn.Adam(lr=0.01))


def same(a, b):
    assert np.array_equal(a.model.theta, b.model.theta)
    assert a.history["loss"] == b.history["loss"] and a.history.layers == b.history.layers


def test_which_layers_have_what():
    t = trainer()
    history = t.fit(*data(), epochs=2, callbacks=[LayerMonitor()], **FIT)
    inner = ["residual1.body.dense1", "residual1.body.batchnorm1"]
    moving = ["dense1", *inner, "dense2", "dense3"]
    assert list(history.layers) == ["grad_norm", "update_ratio", "dead", "saturated"]
    assert list(history.layers["grad_norm"]) == list(history.layers["update_ratio"]) == moving
    assert list(history.layers["dead"]) == ["dense1", "residual1"]
    assert list(history.layers["saturated"]) == [inner[0], "sigmoid1"]
    for curves in history.layers.values():
        assert all(len(curve) == 2 and np.isfinite(curve).all() for curve in curves.values())


@pytest.mark.parametrize("make", [
    lambda: nn.SGD(lr=0.1), lambda: nn.NAG(lr=0.05), lambda: nn.Adam(lr=0.01, clip_global_norm=0.1),
    lambda: nn.ArmijoLineSearch(), lambda: nn.SGD(lr=0.1, accumulate_steps=2),
])  # fmt: skip
@pytest.mark.parametrize("every", [1, 3])
def test_training_is_the_same_with_it(make, every):
    watched, alone = trainer(make()), trainer(make())
    watched.fit(*data(), epochs=3, callbacks=[LayerMonitor(every)], **FIT)
    alone.fit(*data(), epochs=3, **FIT)
    assert np.array_equal(watched.model.theta, alone.model.theta)
    assert watched.history["loss"] == alone.history["loss"]
    assert not any({"forward", "backward"} & vars(layer).keys() for _, layer in watched.model.walk())


@pytest.mark.parametrize("pool", [2, (3, 2)])
def test_layers_that_do_the_work_of_others(pool):
    """A pooling that applies the convolution's derivative, a convolution that gathers for BatchNorm."""
    layers = [
        lambda: nn.Conv2D(4, 3, activation="relu"), lambda: nn.MaxPool2D(pool, stride=2),
        lambda: nn.Conv2D(3, 3), lambda: nn.BatchNorm(activation="tanh"), nn.Flatten, lambda: nn.Dense(2),
    ]  # fmt: skip
    made = [nn.Sequential([make() for make in layers], input_shape=(10, 10, 1), seed=0) for _ in range(2)]
    x = np.random.default_rng(0).normal(size=(40, 10, 10, 1)).astype(np.float32)
    for model, callbacks in zip(made, ([LayerMonitor(every=2)], [])):
        t = Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=0.01))
        h = t.fit(x, np.arange(40) % 2, epochs=2, callbacks=callbacks, **FIT)
        assert model.workspace.fuse
        if callbacks:
            assert list(h.layers["dead"]) == ["conv1"] and list(h.layers["saturated"]) == ["batchnorm1"]
    assert np.array_equal(made[0].theta, made[1].theta)


@pytest.mark.parametrize(("function", "quantity"), [("relu", "dead"), ("tanh", "saturated")])
def test_a_convolution_before_a_pooling_counts_all_its_outputs(function, quantity):
    found = []
    for fuse in (True, False):
        layers = [nn.Conv2D(8, 3, activation=function), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(2)]
        model = nn.Sequential(layers, input_shape=(9, 9, 1), seed=0)
        model.workspace.fuse = fuse
        model["conv1"].weight.data[:] *= np.arange(8).reshape(8, 1, 1, 1)
        model["conv1"].bias.data[:] = np.linspace(-20, 6, 8)
        x = np.random.default_rng(0).normal(size=(40, 9, 9, 1)).astype(np.float32)
        t = Trainer(model, nn.SoftmaxCrossEntropy(), nn.SGD(lr=0.01))
        found.append(t.fit(x, np.arange(40) % 2, epochs=2, callbacks=[LayerMonitor()], **FIT).layers)
    assert found[0] == found[1] and 0 < found[0][quantity]["conv1"][0] < 1


def test_shared_weights_count_once():
    encoder = nn.Dense(3, activation="tanh")
    model = nn.Sequential([encoder, nn.TiedDense(encoder)], input_shape=(6,), seed=0)
    t = Trainer(model, nn.SquaredError(), nn.SGD(lr=0.01), regularizers=[nn.regularizers.L2(0.1)])
    x = data()[0]
    layers = t.fit(x, x, epochs=1, batch_size=45, callbacks=[LayerMonitor()], verbose=False).layers
    weight, bias, tied = (p.grad.astype(float) for p in model.parameters.values())
    assert layers["grad_norm"] == {
        "dense1": [pytest.approx(np.sqrt((weight**2).sum() + (bias**2).sum()), rel=1e-6)],
        "tied1": [pytest.approx(np.linalg.norm(tied), rel=1e-6)],
    }


def norms(model, attribute):
    """Of each layer with parameters, by NumPy."""
    return {
        path: np.sqrt(sum((getattr(p, attribute).astype(float) ** 2).sum() for p in parameters))
        for path, layer in model.walk()
        if (parameters := layer.own_parameters.values())
    }  # fmt: skip


@pytest.mark.parametrize("every", [1, 2])
def test_gradients_and_updates_are_those_of_a_loop_by_hand(every):
    x, y = data()
    t = trainer()
    history = t.fit(x, y, epochs=1, shuffle=False, callbacks=[LayerMonitor(every)], **FIT)
    hand, ratios, gradients = trainer(), [], []
    for start in range(0, len(x), 9):
        before = {name: p.data.copy() for name, p in hand.model.parameters.items()}
        hand.train_step(x[start : start + 9], y[start : start + 9])
        gradients.append(norms(hand.model, "grad"))
        moved = dict.fromkeys(gradients[0], 0.0)
        for name, p in hand.model.parameters.items():
            moved[name.rpartition(".")[0]] += ((p.data.astype(float) - before[name]) ** 2).sum()
        size = norms(hand.model, "data")
        ratios.append({path: np.sqrt(moved[path]) / size[path] for path in moved})
    for path in gradients[0]:
        expected = np.mean([g[path] for g in gradients[::every]])
        assert history.layers["grad_norm"][path] == [pytest.approx(expected, rel=1e-6)]
        expected = np.mean([r[path] for r in ratios[::every]])
        assert history.layers["update_ratio"][path] == [
            pytest.approx(expected, rel=1e-4)
        ]  # of float32 weights


def test_plain_descent_moves_by_rate_times_gradient():
    model = nn.Sequential([nn.Dense(3, "tanh"), nn.Dense(1)], input_shape=(2,), seed=0, dtype="float64")
    t = Trainer(model, nn.SquaredError(), nn.SGD(lr=0.1))
    x = np.random.default_rng(0).normal(size=(20, 2))
    layers = t.fit(x, x[:, :1], epochs=1, batch_size=20, callbacks=[LayerMonitor()], verbose=False).layers
    for path, size in norms(model, "data").items():
        expected = 0.1 * layers["grad_norm"][path][0] / size
        assert layers["update_ratio"][path][0] == pytest.approx(expected, rel=1e-12)


def test_gradients_of_gathered_batches_are_their_mean():
    x, y = data(36)
    whole, parts = (trainer(nn.SGD(lr=0.1, accumulate_steps=n), [nn.Dense(2)]) for n in (1, 4))
    one = whole.fit(x, y, epochs=1, batch_size=36, shuffle=False, callbacks=[LayerMonitor()], verbose=False)
    four = parts.fit(x, y, epochs=1, batch_size=9, shuffle=False, callbacks=[LayerMonitor()], verbose=False)
    for name in ("grad_norm", "update_ratio"):
        assert four.layers[name]["dense1"] == [pytest.approx(one.layers[name]["dense1"][0], rel=1e-5)]


def test_without_an_update_there_is_no_number():
    t = trainer(nn.SGD(lr=0.1, accumulate_steps=8))
    layers = t.fit(*data(), epochs=1, callbacks=[LayerMonitor()], **FIT).layers  # five batches
    assert np.isnan(layers["grad_norm"]["dense1"][0]) and layers["dead"]["dense1"][0] <= 1


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("function", ["relu", "relu_right", "hard_swish"])
def test_a_unit_is_dead_only_if_it_is_for_all_samples(function, fused):
    """Its bias is -1e3: output and gradient are exactly 0, and it never moves (S7.4)."""
    activation = nn.Activation(function)
    head = [nn.Dense(4, activation)] if fused else [nn.Dense(4), activation]
    t = trainer(nn.SGD(lr=0.01), [*head, nn.Dense(2)])
    dense = t.model["dense1"]
    # Dead; below 0 for all samples but one; at work; above 0 for all.
    dense.bias.data[:] = -1e3, 0, 0.5, 1e3
    dense.weight.data[:] = 0
    dense.weight.data[1, 0] = 1
    x, y = data()
    x[:, 0] = -5
    x[7, 0] = 5
    weight, bias = dense.weight.data[0].copy(), dense.bias.data[0]
    layers = t.fit(x, y, epochs=2, callbacks=[LayerMonitor()], **FIT).layers
    name = "dense1" if fused else next(iter(layers["dead"]))
    assert layers["dead"][name] == [0.25, 0.25]
    np.testing.assert_array_equal(dense.weight.data[0], weight)
    assert dense.bias.data[0] == bias


@pytest.mark.parametrize(
    ("function", "edge"), [("sigmoid", 5.99), ("tanh", 2.993), ("hard_sigmoid", 3.0), ("hard_tanh", 1.0)]
)
def test_a_unit_is_saturated_where_its_slope_is_below_a_hundredth(function, edge):
    """Six units at fixed pre-activations on both sides of the edge, one saturated for 90 % of the samples."""
    t = trainer(nn.SGD(lr=0.0), [nn.Dense(6, function), nn.Dense(2)])
    dense = t.model["dense1"]
    dense.weight.data[:] = 0
    dense.weight.data[5, 0] = 2 * edge
    dense.bias.data[:] = 1.01 * edge, -1.01 * edge, 0.99 * edge, -0.99 * edge, 0, 0
    x, y = data(40)
    x[:, 0] = 1
    x[:4, 0] = 0
    saturated = t.fit(x, y, epochs=1, callbacks=[LayerMonitor()], **FIT).layers["saturated"]
    assert saturated == {"dense1": [2 / 6]}
    x[:2, 0] = 1  # 95 % of them
    assert t.fit(x, y, epochs=1, callbacks=[LayerMonitor()], **FIT).layers["saturated"] == {"dense1": [3 / 6]}


def test_filters_count_at_every_position():
    model = nn.Sequential(
        [nn.Conv2D(3, 3, activation="relu"), nn.Flatten(), nn.Dense(2)], input_shape=(6, 6, 1), seed=0
    )
    model["conv1"].weight.data[:] = 0
    model["conv1"].weight.data[1] = 1
    model["conv1"].bias.data[:] = -1, 0, 1
    x = np.full((10, 6, 6, 1), -1, np.float32)
    x[3, 0, 0] = 20  # one position of one image wakes the second filter
    t = Trainer(model, nn.SoftmaxCrossEntropy(), nn.SGD(lr=0.0))
    dead = t.fit(x, np.zeros(10, int), epochs=1, callbacks=[LayerMonitor()], verbose=False).layers["dead"]
    assert dead == {"conv1": [pytest.approx(1 / 3)]}


@pytest.mark.parametrize(("every", "dead"), [(1, 0.0), (2, 0.5)])
def test_units_are_dead_as_far_as_it_has_looked(every, dead):
    """The first of two units is awake in the second batch only."""
    t = trainer(nn.SGD(lr=0.0), [nn.Dense(2, "relu"), nn.Dense(2)])
    t.model["dense1"].weight.data[:] = 0
    t.model["dense1"].weight.data[0, 0] = t.model["dense1"].bias.data[1] = 1
    x, y = data(27)
    x[:, 0] = np.repeat([-1, 1, -1], 9)
    layers = t.fit(x, y, epochs=1, shuffle=False, callbacks=[LayerMonitor(every)], **FIT).layers
    assert layers["dead"] == {"dense1": [dead]}


def test_frozen_layers_have_no_gradient_to_tell():
    frozen = nn.Dense(8, activation="relu")
    frozen.trainable = False
    t = trainer(layers=[frozen, nn.Dense(4, "relu"), nn.Dense(2)])
    layers = t.fit(*data(), epochs=1, callbacks=[LayerMonitor()], **FIT).layers
    assert list(layers["grad_norm"]) == ["dense2", "dense3"]


class Stop(Callback):
    order = 9

    def __init__(self, epoch, batch):
        self.at = epoch, batch

    def on_batch_end(self, trainer):
        trainer.stop_training |= (trainer.epoch, trainer.batch) == self.at


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("at", [(1, 3), (2, 1), (0, 4)])
def test_resumed_is_uninterrupted(tmp_path, at, every):
    path = tmp_path / "c.safetensors"
    whole, first, second = trainer(), trainer(), trainer(seed=8)
    whole.fit(*data(), epochs=4, callbacks=[LayerMonitor(every)], **FIT)
    save = Checkpoint(path, every_batches=1)
    first.fit(*data(), epochs=4, callbacks=[LayerMonitor(every), save, Stop(*at)], **FIT)
    second.fit(*data(), epochs=4, callbacks=[LayerMonitor(every)], resume_from=path, **FIT)
    same(whole, second)


def test_begun_or_left_out_while_resuming(tmp_path):
    path = tmp_path / "c.safetensors"
    t = trainer()
    t.fit(*data(), epochs=1, callbacks=[Checkpoint(path)], **FIT)
    t.fit(*data(), epochs=2, callbacks=[LayerMonitor(), Checkpoint(path)], resume_from=path, **FIT)
    history = t.fit(*data(), epochs=3, resume_from=path, **FIT)
    curve = history.layers["grad_norm"]["dense1"]
    assert len(curve) == 3 and list(np.isfinite(curve)) == [False, True, False]


class Worse(Callback):
    """Makes the second epoch's validation worse, once."""

    order = -2
    done = False

    def on_epoch_end(self, trainer):
        if trainer.epoch == 2 and not self.done:
            trainer.history["val_loss"][-1], self.done = 9e9, True


def test_an_epoch_that_is_done_again_counts_once():
    t = trainer()
    halve = nn.HalveOnWorse(factor=0.5, max_retries=1)
    history = t.fit(
        *data(60), epochs=2, validation_split=0.2, callbacks=[LayerMonitor(), halve, Worse()], **FIT
    )
    again = trainer()
    again.fit(*data(60), epochs=1, validation_split=0.2, callbacks=[LayerMonitor()], **FIT)
    assert t.optimizer.lr_scale == 0.5 and len(history) == 2
    for name, curves in history.layers.items():
        for path, curve in curves.items():
            assert len(curve) == 2 and curve[0] == again.history.layers[name][path][0]


def test_the_hooks_go_when_training_fails():
    t = trainer()
    t.model.theta[3] = np.nan
    with pytest.raises(nn.NonFiniteError):
        t.fit(*data(), epochs=1, callbacks=[LayerMonitor()], **FIT)
    assert not any({"forward", "backward"} & vars(layer).keys() for _, layer in t.model.walk())


def test_one_object_serves_two_trainings():
    monitor, first, second = LayerMonitor(), trainer(), trainer()
    first.fit(*data(), epochs=2, callbacks=[monitor], **FIT)
    second.fit(*data(), epochs=2, callbacks=[monitor], **FIT)
    same(first, second)


@pytest.mark.parametrize("every", [0, -1, 1.5, True, None])
def test_wrong_every(every):
    with pytest.raises(ValueError, match=r"^LayerMonitor: every: expected an integer of at least 1\."):
        LayerMonitor(every)
