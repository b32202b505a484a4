"""Layer-wise pre-training: what is trained and what stays, bit for bit; ties, noise, autoencoders, errors."""

import os
import signal
from itertools import pairwise

import numpy as np
import pytest

import fastnn as nn
from fastnn.training import Callback

X = np.random.default_rng(0).random((96, 6), dtype=np.float32)
QUIET = {"verbose": False, "batch_size": 16}


def network(activation="sigmoid", **options):
    return nn.models.mlp((6,), units=(5, 4, 3), num_classes=2, activation=activation, seed=0, **options)


class Snapshots(Callback):
    """The whole model before and after the training of each layer."""

    def __init__(self, model):
        self.model, self.before, self.after = model, [], []

    def on_fit_begin(self, trainer):
        self.before.append(self.model.state_dict())

    def on_fit_end(self, trainer):
        self.after.append(self.model.state_dict())


def changed(a, b):
    return {name for name in a if not np.array_equal(a[name], b[name])}


def test_one_layer_after_the_other():
    """While layer l is trained nothing else changes; it then holds what its autoencoder learned."""
    model = network()
    first, look = model.state_dict(), Snapshots(model)
    stages = nn.pretrain_layerwise(model, X, epochs=2, callbacks=[look], **QUIET)
    assert [stage.name for stage in stages] == ["dense1", "dense2", "dense3"]
    assert [len(stage.history) for stage in stages] == [2, 2, 2]
    states = [*look.before, model.state_dict()]
    assert changed(first, states[0]) == set()
    for i, (before, after) in enumerate(pairwise(states), 1):
        assert changed(before, after) == {f"dense{i}.weight", f"dense{i}.bias"}
    for before, during in zip(look.before, look.after):
        assert changed(before, during) == set()
    h = X
    for stage, layer in zip(stages, model.layers):
        encoder = stage.autoencoder["encoder"]
        assert np.array_equal(encoder["dense1"].weight.data, layer.weight.data)
        assert np.array_equal(encoder["dense1"].bias.data, layer.bias.data)
        h = encoder.predict(h)
    prefix = nn.Sequential([nn.Dense(n, "sigmoid") for n in (5, 4, 3)], (6,), seed=1)
    prefix.load_state_dict({k: v for k, v in model.state_dict().items() if "dense4" not in k})
    assert np.array_equal(prefix.predict(X), h)


def test_each_stage_is_a_training_of_an_autoencoder():
    """The same bits as by hand: the model's weights as the start, the layer's input as the target."""
    model, by_hand = network(), network()
    (stage,) = nn.pretrain_layerwise(model, X, epochs=3, layers=["dense2"], **QUIET)
    h = nn.Sequential([nn.Dense(5, "sigmoid")], (6,))
    h.load_state_dict({k: v for k, v in by_hand.state_dict().items() if "dense1" in k})
    h = h.predict(X)
    again = nn.models.autoencoder((5, 4), seed=stage.autoencoder.seed)
    encoder = again["encoder"]["dense1"]
    encoder.weight.data[...] = by_hand["dense2"].weight.data
    trainer = nn.Trainer(again, nn.SquaredError(), nn.Adam(lr=1e-3))
    history = trainer.fit(h, h, epochs=3, **QUIET)
    assert np.array_equal(model["dense2"].weight.data, encoder.weight.data)
    assert history["loss"] == stage.history["loss"] and len(set(history["loss"])) == 3
    assert np.array_equal(model["dense1"].weight.data, by_hand["dense1"].weight.data)


def test_the_same_seed_gives_the_same_bits():
    models = [network() for _ in range(3)]
    for model, seed in zip(models, (4, 4, 5)):
        nn.pretrain_layerwise(model, X, epochs=1, seed=seed, noise=nn.MaskingNoise(0.7), **QUIET)
    assert np.array_equal(models[0].theta, models[1].theta)
    assert not np.array_equal(models[0].theta, models[2].theta)


@pytest.mark.parametrize("tied", [False, True])
def test_linear_layers_reach_pca_one_after_the_other(tied):
    x = np.random.default_rng(1).normal(size=(200, 6)) * [3, 2, 1.5, 0.8, 0.5, 0.3]
    x -= x.mean(0)
    model = nn.models.mlp((6,), units=(3, 1), num_classes=2, activation=None, seed=0, dtype="float64")
    stages = nn.pretrain_layerwise(
        model, x, 4000, nn.Momentum(lr=0.005), tied=tied, batch_size=None, shuffle=False, verbose=False
    )
    h = x
    for k, stage in zip((3, 1), stages):
        singular = np.linalg.svd(h - h.mean(0), compute_uv=False)
        assert stage.history["loss"][-1] == pytest.approx((singular[k:] ** 2).sum() / len(h), rel=1e-6)
        h = stage.autoencoder["encoder"].predict(h)


def test_tied_weights():
    model = network()
    stages = nn.pretrain_layerwise(model, X, epochs=2, tied=True, output_activation="sigmoid", **QUIET)
    for stage, n in zip(stages, (6 * 5 + 5 + 6, 5 * 4 + 4 + 5, 4 * 3 + 3 + 4)):
        (decoder,) = stage.autoencoder["decoder"]
        assert isinstance(decoder, nn.TiedDense) and decoder.function == "sigmoid"
        assert stage.autoencoder.n_parameters == n


def test_noise_is_undone():
    """The targets are the inputs without noise; with much noise that is another solution."""
    losses = []

    class Look(Callback):
        def on_batch_end(self, trainer):
            if trainer.epoch == trainer.batch - 1 == 0:  # the first update of each layer
                losses.append(trainer.last_loss)
                kinds.append(type(trainer.model.layers[0]))

    kinds = []
    models = [network(), network(), network()]
    for model, noise in zip(models, (None, nn.MaskingNoise(0.5), nn.GaussianNoise(0.3))):
        nn.pretrain_layerwise(model, X, epochs=1, noise=noise, callbacks=[Look()], **QUIET)
    assert kinds == [nn.Sequential] * 3 + [nn.MaskingNoise] * 3 + [nn.GaussianNoise] * 3
    assert len({tuple(m.theta) for m in models}) == 3
    everything = nn.MaskingNoise(1.0)  # which keeps all
    nn.pretrain_layerwise(model := network(), X, epochs=1, noise=everything, **QUIET)
    assert np.array_equal(model.theta, models[0].theta)


def test_what_is_between_the_dense_layers():
    """What comes before the first Dense stays; what follows one is trained with it."""
    layers = [
        nn.Flatten(), nn.BatchNorm(), nn.Dense(5), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2), nn.Dense(4),
        nn.PReLU(), nn.Dense(2),
    ]  # fmt: skip
    model = nn.Sequential(layers, input_shape=(2, 3), seed=0)
    first = model.state_dict()
    stages = nn.pretrain_layerwise(model, X.reshape(-1, 2, 3), epochs=2, **QUIET)
    assert changed(first, model.state_dict()) == {
        "dense1.weight", "dense1.bias", "batchnorm2.gamma", "batchnorm2.beta", "batchnorm2.running_mean",
        "batchnorm2.running_var", "dense2.weight", "dense2.bias", "prelu1.alpha",
    }  # fmt: skip
    kinds = [type(layer).__name__ for layer in stages[0].autoencoder["encoder"]]
    assert kinds == ["Dense", "BatchNorm", "Tanh", "Dropout"]
    # What the second layer is trained on is what the model gives it in prediction.
    beginning = nn.Sequential([nn.Flatten(), nn.BatchNorm(), nn.Dense(5), nn.BatchNorm(), nn.Tanh()], (2, 3))
    names = ("dense1", "batchnorm1", "batchnorm2")
    beginning.load_state_dict({k: v for k, v in model.state_dict().items() if k.split(".")[0] in names})
    h = beginning.predict(X.reshape(-1, 2, 3))
    at_rest = {"optimizer": nn.SGD(lr=0.0), "layers": ["dense2"], "epochs": 1}
    (stage,) = nn.pretrain_layerwise(model, X.reshape(-1, 2, 3), **at_rest, **QUIET)
    loss = nn.SquaredError().evaluate(stage.autoencoder.predict(h), h)
    assert stage.history["loss"][0] == pytest.approx(loss, rel=1e-6)


def test_frozen_layers_stay():
    frozen = nn.Dense(5, "sigmoid")
    frozen.trainable = False
    model = nn.Sequential([frozen, nn.Dense(4, "sigmoid"), nn.Dense(2)], (6,), seed=0)
    first = model.state_dict()
    (stage,) = nn.pretrain_layerwise(model, X, epochs=1, **QUIET)
    assert stage.name == "dense2" and changed(first, model.state_dict()) == {"dense2.weight", "dense2.bias"}


@pytest.mark.parametrize("tied", [False, True])
def test_an_autoencoders_decoder_is_trained_with_its_encoder(tied):
    """Put together, the stages are the whole model (Hinton & Salakhutdinov 2006)."""
    model = nn.models.autoencoder((6, 5, 3), "tanh", tied=tied, output_activation="sigmoid", seed=0)
    stages = nn.pretrain_layerwise(model, X, epochs=3, **QUIET)
    assert [stage.name for stage in stages] == ["encoder.dense1", "encoder.dense2"]
    functions = [stage.autoencoder["decoder"].layers[0].function for stage in stages]
    assert functions == ["sigmoid", "tanh"]
    h = X
    for stage in stages:
        h = stage.autoencoder["encoder"].predict(h)
    assert np.array_equal(model["encoder"].predict(X), h)
    for stage in reversed(stages):
        h = stage.autoencoder["decoder"].predict(h)
    assert np.array_equal(model.predict(X), h)


def test_a_better_start_for_an_autoencoder():
    """Six layers of sigmoids: from random weights 20 epochs learn next to nothing but the mean."""
    rng = np.random.default_rng(0)
    x = np.float32(1 / (1 + np.exp(-rng.normal(size=(256, 2)) @ rng.normal(size=(2, 12)))))
    loss = nn.SquaredError()
    results = []
    for pretrain in (False, True):
        model = nn.models.autoencoder((12, 10, 6, 2), "sigmoid", seed=0)
        if pretrain:
            nn.pretrain_layerwise(model, x, 60, nn.Adam(lr=0.02), **QUIET)
        trainer = nn.Trainer(model, loss, nn.Adam(lr=0.005))
        trainer.fit(x, x, epochs=20, **QUIET)
        results.append(trainer.evaluate(x, x)["loss"])
    mean_only = x.var(0).sum()
    assert results[0] > 0.9 * mean_only and results[1] < 0.1 * mean_only


def test_ctrl_c_keeps_the_finished_layers():
    model = network()
    first = model.state_dict()

    class Interrupt(Callback):
        def on_epoch_end(self, trainer):
            if trainer.model.output_shape == (5,):  # the second layer's autoencoder
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="dense2"):
        nn.pretrain_layerwise(model, X, epochs=3, callbacks=[Interrupt()], **QUIET)
    assert changed(first, model.state_dict()) == {"dense1.weight", "dense1.bias"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": nn.Dense(3)}, TypeError, "model: expected a built Sequential"),
        ({"model": nn.Sequential([nn.Dense(3), nn.Dense(2)])}, TypeError, "model: expected a built"),
        ({"model": nn.Sequential([nn.Dense(3)], (6,))}, ValueError, "model: expected Dense layers before"),
        ({"model": nn.Sequential([nn.ReLU()], (6,))}, ValueError, "model: expected Dense layers before"),
        ({"x": X[:, :5]}, nn.ShapeError, r"x: expected shape \(N, 6\)"),
        ({"x": X.astype(np.float64)}, TypeError, "x: expected dtype float32"),
        ({"x": X[:0]}, ValueError, "x: expected at least one sample"),
        ({"x": X * np.nan}, ValueError, "x"),
        ({"noise": 0.5}, TypeError, "noise: expected a layer or None"),
        ({"layers": ["dense4"]}, ValueError, "layers: expected a list of some of dense1, dense2, dense3"),
        ({"layers": []}, ValueError, "layers: expected"),
        ({"layers": "dense1"}, ValueError, "layers: expected"),
        ({"epochs": 0}, ValueError, "epochs: expected"),
        ({"seed": -1}, ValueError, "seed: expected"),
    ],
)
def test_errors(change, error, message):
    model = network()
    before = model.theta.copy()
    with pytest.raises(error, match=message):
        nn.pretrain_layerwise(**{"model": model, "x": X, "verbose": False} | change)
    assert np.array_equal(model.theta, before)


def test_one_optimizer_for_all_layers():
    model, optimizer = network(), nn.SGD(lr=0.1)
    nn.pretrain_layerwise(model, X, epochs=1, optimizer=optimizer, **QUIET)
    assert optimizer.model is None and optimizer.n_steps == 0  # copies were used
    nn.Trainer(model, nn.SoftmaxCrossEntropy(), optimizer).fit(X, np.arange(96) % 2, **QUIET)
