"""Dropout: the mask's statistics, and that it is a function of seed, step, layer and element alone."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_layer


@pytest.fixture
def any_threads():
    before = nn.get_num_threads()
    yield
    nn.set_num_threads(before)


def network(rate=0.25, shape=(1000,), seed=0, dtype="float32", scaling="inverted"):
    return nn.Sequential([nn.Dropout(rate, scaling=scaling)], input_shape=shape, seed=seed, dtype=dtype)


ONES = np.ones((50, 1000), np.float32)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(rate, dtype):
    check_layer(nn.Dropout(rate), (4, 5), dtype=dtype, verbose=False)
    check_layer(nn.Dropout(rate, scaling="test"), (4, 5), dtype=dtype, verbose=False)
    for resample in ("sample", "batch", "epoch"):
        layer = nn.Dropout(rate, test_factor="empirical", resample=resample)
        check_layer(layer, (4, 5), dtype=dtype, verbose=False)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_statistics(rate):
    y = network(rate).forward(ONES, training=True)
    kept = y != 0
    assert np.unique(y[kept]).tolist() == [np.float32(1) * np.float32(1 / (1 - rate))]
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs(kept.mean() - (1 - rate)) < 4 * deviation
    assert abs(y.mean() - 1) < 4 * deviation / (1 - rate)  # what follows sees the same mean as in inference
    # Neither rows nor columns nor neighbours share their fate.
    for part in (kept.mean(axis=0), kept.mean(axis=1)):
        n = y.size // part.size
        assert abs(part.std() / np.sqrt(rate * (1 - rate) / n) - 1) < 0.35
    both = (kept[:, 1:] & kept[:, :-1]).mean()
    assert abs(both - (1 - rate) ** 2) < 6 * deviation


def test_backward_has_the_mask_of_forward():
    model = network()
    y = model.forward(ONES, training=True).copy()
    model.forward(ONES, training=True)
    model.forward(2 * ONES, training=True)
    dx = model.backward(ONES)
    assert (dx != y).any()
    y = model.forward(ONES, training=True)
    assert (model.backward(ONES) == y).all()
    assert (model.backward(3 * ONES) == 3 * y).all()


def test_inference_changes_nothing():
    model = network(0.5)
    x = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)
    assert (model.forward(x) == x).all()
    assert (model.backward(x) == x).all()
    assert (model.predict(x) == x).all()
    assert model.workspace.step == 0


def test_bits_for_any_number_of_threads(any_threads):
    results = []
    for n in (1, 2, 3, 4):
        nn.set_num_threads(n)
        model = network(0.5, (2000,), seed=5)
        x = np.ones((300, 2000), np.float32)  # enough for all threads
        results.append((model.forward(x, training=True).tobytes(), model.backward(x).tobytes()))
    assert len(set(results)) == 1


def masks(n, **options):
    model = network(0.5, **options)
    return [model.forward(ONES, training=True) != 0 for _ in range(n)]


def agreement(a, b):
    return (a == b).mean()


def test_each_step_has_its_own_mask():
    first, second, third = masks(3)
    for a, b in ((first, second), (second, third), (first, third)):
        assert abs(agreement(a, b) - 0.5) < 0.01


def test_the_mask_is_a_function_of_seed_and_step():
    for a, b in zip(masks(3), masks(3)):
        assert (a == b).all()
    assert abs(agreement(masks(1)[0], masks(1, seed=1)[0]) - 0.5) < 0.01
    model = network(0.5)
    model.workspace.step = 2  # as a resumed training does
    assert (masks(3)[2] == (model.forward(ONES, training=True) != 0)).all()


def test_the_mask_does_not_depend_on_the_dtype():
    single = network(0.5).forward(ONES, training=True)
    double = network(0.5, dtype="float64").forward(ONES.astype(np.float64), training=True)
    assert ((single != 0) == (double != 0)).all()


def test_layers_have_masks_of_their_own():
    model = nn.Sequential([nn.Concat([nn.Dropout(0.5), nn.Dropout(0.5)])], input_shape=(1000,), seed=0)
    y = model.forward(ONES, training=True)
    assert abs(agreement(y[:, :1000] != 0, y[:, 1000:] != 0) - 0.5) < 0.01


def test_the_steps_of_training_are_counted():
    model = nn.Sequential([nn.Residual([nn.Dropout(0.5)]), nn.Dense(2)], input_shape=(4,), seed=0)
    x = np.ones((2, 4), np.float32)
    for _ in range(3):
        model.forward(x, training=True)
        model.forward(x)
        model.predict(x)
    assert model.workspace.step == 3


def test_keep_prob_is_the_other_side_of_rate():
    layer = nn.Dropout(keep_prob=0.8)
    assert layer.rate == pytest.approx(0.2)
    assert layer.config() == {
        "rate": layer.rate, "keep_prob": None, "scaling": "inverted", "test_factor": "keep_prob",
        "resample": "sample",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either rate or keep_prob"),
        ({"rate": 0.5, "keep_prob": 0.5}, "expected either rate or keep_prob"),
        ({"rate": 1.0}, r"rate: expected a number in \[0, 1\)\. Received: 1\.0"),
        ({"rate": -0.1}, r"rate: expected a number in \[0, 1\)"),
        ({"rate": float("nan")}, r"rate: expected a number in \[0, 1\)"),
        ({"keep_prob": 0.0}, r"rate: expected a number in \[0, 1\)"),
        ({"rate": 0.5, "scaling": "none"}, r"scaling: expected .inverted. or .test.\. Received: .none."),
        ({"rate": 0.5, "test_factor": 2}, r"test_factor: expected 'keep_prob' or 'empirical'\. .* 2"),
        (
            {"rate": 0.5, "resample": "step"},
            r"resample: expected 'sample', 'batch' or 'epoch'\. .*'step'",
        ),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        nn.Dropout(**options)


def test_the_two_scalings():
    """The same mask; "test" scales in inference instead, so the ratio is keep_prob in both."""
    inverted, test = (network(0.2, scaling=scaling) for scaling in ("inverted", "test"))
    np.testing.assert_allclose(
        test.forward(ONES, training=True), 0.8 * inverted.forward(ONES, training=True), rtol=1e-6
    )
    np.testing.assert_allclose(test.backward(ONES), 0.8 * inverted.backward(ONES), rtol=1e-6)
    np.testing.assert_allclose(test.predict(ONES), 0.8 * inverted.predict(ONES), rtol=1e-6)
    test.forward(ONES)
    np.testing.assert_allclose(test.backward(ONES), 0.8, rtol=1e-6)


def test_trajectories_of_the_two_scalings_agree():
    """With W' = p W behind the dropout and the rate p^2 lr for them, training is the same."""
    p, lr = 0.8, 0.05
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
    models = []
    for scaling in ("inverted", "test"):
        layers = [
            nn.Dense(8, activation="relu"), nn.Dropout(keep_prob=p, scaling=scaling),
            nn.Dense(2, use_bias=False),
        ]  # fmt: skip
        models.append(nn.Sequential(layers, input_shape=(6,), seed=3, dtype="float64"))
    inverted, test = models
    test["dense2"].weight.data[...] /= p  # y = m h W / p: the weights that see the smaller outputs are larger
    loss = nn.SquaredError()
    for _ in range(30):
        for model, factor in ((inverted, 1.0), (test, 1 / p**2)):
            loss.forward(model.forward(x, training=True), target)
            model.zero_grad()
            model.backward(loss.backward())
            for name, parameter in model.parameters.items():
                rate = lr * factor if name == "dense2.weight" else lr
                parameter.data[...] -= rate * parameter.grad
    np.testing.assert_allclose(test["dense1"].weight.data, inverted["dense1"].weight.data, rtol=1e-9)
    np.testing.assert_allclose(p * test["dense2"].weight.data, inverted["dense2"].weight.data, rtol=1e-9)
    np.testing.assert_allclose(test.predict(x), inverted.predict(x), rtol=1e-8, atol=1e-12)


def every_mask(n, keep_prob):
    """All 2^n masks and their probabilities."""
    masks = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    kept = masks.sum(axis=1)
    return masks, keep_prob**kept * (1 - keep_prob) ** (n - kept)


@pytest.mark.parametrize("scaling", ["inverted", "test"])
def test_inference_is_the_mean_over_all_masks_of_a_linear_network(scaling):
    """S6.8: exactly, by enumeration of 2^8 masks."""
    n, keep_prob = 8, 0.8
    rng = np.random.default_rng(0)
    layers = [nn.Dropout(keep_prob=keep_prob, scaling=scaling), nn.Dense(3)]
    model = nn.Sequential(layers, input_shape=(n,), seed=0, dtype="float64")
    x = rng.normal(size=n)
    masks, probability = every_mask(n, keep_prob)
    dense = model["dense1"]
    scale = 1 / keep_prob if scaling == "inverted" else 1.0
    outputs = (masks * x * scale) @ dense.weight.data.T + dense.bias.data
    np.testing.assert_allclose(model.predict(x[None])[0], probability @ outputs, rtol=0, atol=1e-15 * 2**4)


def test_inference_is_the_geometric_mean_of_softmax_regression():
    """S6.8: the normalised geometric mean over all masks is the scaled network, the mean is not."""
    n, keep_prob = 8, 0.8
    layers = [nn.Dropout(keep_prob=keep_prob, scaling="test"), nn.Dense(5), nn.Softmax()]
    model = nn.Sequential(layers, input_shape=(n,), seed=0, dtype="float64")
    x = 2 * np.random.default_rng(1).normal(size=n)
    masks, probability = every_mask(n, keep_prob)
    logits = (masks * x) @ model["dense1"].weight.data.T
    subnets = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    geometric = np.exp(probability @ np.log(subnets))
    predicted = model.predict(x[None])[0]
    np.testing.assert_allclose(predicted, geometric / geometric.sum(), rtol=0, atol=4e-16)
    assert abs(predicted - probability @ subnets).max() == pytest.approx(0.026526, abs=1e-6)


def test_units_that_are_dropped_get_no_gradient():
    model = nn.Sequential(
        [nn.Dropout(0.5), nn.Dense(3)], input_shape=(200,), seed=0
    )  # fmt: skip
    x = np.ones((1, 200), np.float32)
    model.forward(x, training=True)
    dx = model.backward(np.ones((1, 3), np.float32))
    mask = nn.Sequential([nn.Dropout(0.5)], input_shape=(200,), seed=0).forward(x, training=True)
    assert 60 < (mask == 0).sum() < 140
    np.testing.assert_array_equal(dx[mask == 0], 0)
    assert (dx[mask != 0] != 0).all()
    assert (model["dense1"].weight.grad[:, mask[0] == 0] == 0).all()


# resample


def rows_of(y):
    """The different masks among the rows of a batch."""
    return {row.tobytes() for row in y.reshape(len(y), -1) != 0}


def test_one_mask_for_a_batch():
    model = nn.Sequential([nn.Dropout(0.5, resample="batch")], input_shape=(1000,), seed=0)
    first = model.forward(ONES, training=True).copy()
    assert len(rows_of(first)) == 1
    assert abs((first != 0).mean() - 0.5) < 4 * np.sqrt(0.25 / 1000)
    assert (model.backward(3 * ONES) == 3 * first).all()
    assert (model.predict(ONES) == 1).all()
    second = model.forward(ONES[:20], training=True)
    assert len(rows_of(second)) == 1
    assert abs(agreement(first[0] != 0, second[0] != 0) - 0.5) < 0.07
    # It is the mask that the first sample has with a mask for each.
    each = network(0.5).forward(ONES, training=True)
    assert (each[0] == first[0]).all()
    assert len(rows_of(each)) == 50


def test_one_mask_for_an_epoch():
    model = nn.Sequential([nn.Dropout(0.5, resample="epoch")], input_shape=(1000,), seed=0)
    masks = []
    for _ in range(3):
        masks += [rows_of(model.forward(ONES[:n], training=True)) for n in (50, 7)]
        model.workspace.epoch += 1
    assert masks[0] == masks[1] != masks[2] == masks[3] != masks[4] == masks[5]
    assert all(len(mask) == 1 for mask in masks)


def test_an_epoch_and_a_step_of_one_number_have_different_masks():
    rows = []
    for resample in ("batch", "epoch"):
        model = nn.Sequential([nn.Dropout(0.5, resample=resample)], input_shape=(1000,), seed=0)
        model.workspace.epoch = 1
        rows.append(model.forward(ONES[:1], training=True)[0] != 0)
    assert abs(agreement(*rows) - 0.5) < 0.07


class Masks(nn.Callback):
    """The masks that the batches saw, by epoch."""

    def on_fit_begin(self, trainer):
        self.masks = {}

    def on_batch_end(self, trainer):
        (row,) = rows_of(trainer.output)
        self.masks.setdefault(trainer.epoch, set()).add(row)


def dropout_trainer(**options):
    model = nn.Sequential([nn.Dropout(0.5, **options), nn.PReLU()], input_shape=(64,), seed=0)
    return nn.Trainer(model, nn.SquaredError(), nn.SGD(lr=1e-3))


def test_a_trainer_counts_epochs():
    """One mask in an epoch, another in each epoch, also of a second fit."""
    trainer, watch = dropout_trainer(resample="epoch"), Masks()
    seen = set()
    for _ in range(2):
        trainer.fit(ONES[:, :64], ONES[:, :64], epochs=3, batch_size=8, callbacks=[watch], verbose=False)
        assert [len(masks) for masks in watch.masks.values()] == [1, 1, 1]
        seen |= set().union(*watch.masks.values())
    assert len(seen) == 6


@pytest.mark.parametrize("resample", ["sample", "batch", "epoch"])
def test_training_resumes_within_an_epoch(resample, tmp_path):
    options = {"resample": resample, "test_factor": "empirical", "scaling": "test"}
    x = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    path, whole = tmp_path / "middle.safetensors", dropout_trainer(**options)
    whole.fit(x, x, epochs=3, batch_size=8, verbose=False)

    class Stop(nn.Callback):
        def on_batch_end(self, trainer):
            if (trainer.epoch, trainer.batch) == (1, 2):
                trainer.save(path)
                trainer.stop_training = True

    dropout_trainer(**options).fit(x, x, epochs=3, batch_size=8, callbacks=[Stop()], verbose=False)
    resumed = dropout_trainer(**options)
    resumed.fit(x, x, epochs=3, batch_size=8, resume_from=path, verbose=False)
    for name, array in whole.model.state_dict().items():
        assert resumed.model.state_dict()[name].tobytes() == array.tobytes(), name
    assert resumed.predict(x).tobytes() == whole.predict(x).tobytes()
    assert whole.model.buffers["dropout1.seen"] == 120


def test_a_loop_of_ones_own_goes_on_with_the_mask_of_the_epoch(tmp_path):
    x, path, trainer = ONES[:8, :64], tmp_path / "end.safetensors", dropout_trainer(resample="epoch")
    trainer.fit(x, x, epochs=2, verbose=False)
    trainer.save(path)
    other = dropout_trainer(resample="epoch")
    other.load(path)
    for t in (trainer, other):
        t.train_step(x, x)
    assert rows_of(other.output) == rows_of(trainer.output)


# test_factor


@pytest.mark.parametrize("resample", ["sample", "batch", "epoch"])
@pytest.mark.parametrize("scaling", ["test", "inverted"])
def test_the_empirical_factor(resample, scaling):
    """Inference scales each unit by the fraction of samples that it was active for, counted here again."""
    layer = nn.Dropout(keep_prob=0.8, scaling=scaling, test_factor="empirical", resample=resample)
    model = nn.Sequential([layer], input_shape=(4, 5), seed=0, dtype="float64")
    x = 1 + np.random.default_rng(0).random((9, 4, 5))
    inverted = scaling == "inverted"
    np.testing.assert_allclose(model.predict(x), x * (1 if inverted else 0.8), rtol=1e-15)
    active, seen = np.zeros((4, 5)), 0
    for step in range(6):
        y = model.forward(x[: 9 - step], training=True)
        active += (y != 0).sum(axis=0)
        seen += len(y)
        model.workspace.epoch += step % 2
    assert seen == 39
    fraction = active / seen
    assert len(np.unique(fraction)) > 2
    expected = fraction / 0.8 if inverted else fraction
    np.testing.assert_allclose(model.predict(x), expected * x, rtol=1e-15)
    np.testing.assert_allclose(model.for_inference().predict(x), expected * x, rtol=1e-15)
    model.forward(x)
    np.testing.assert_allclose(model.backward(2 * x), 2 * expected * x, rtol=1e-15)


def test_the_fraction_comes_close_to_keep_prob_and_is_saved(tmp_path):
    layer = nn.Dropout(keep_prob=0.8, scaling="test", test_factor="empirical")
    model = nn.Sequential([layer], input_shape=(1000,), seed=0)
    for _ in range(20):
        model.forward(ONES, training=True)
    fraction = model.predict(ONES[:1])[0]
    assert abs(fraction - 0.8).max() < 5 * np.sqrt(0.16 / 1000)
    assert model.buffers.keys() == {"dropout1.active", "dropout1.seen"}
    path = tmp_path / "model.safetensors"
    model.save(path)
    assert nn.load(path).predict(ONES[:1])[0].tobytes() == fraction.tobytes()
    assert network().buffers == {}


def test_the_expectation_of_a_linear_network_is_that_of_its_masks():
    """As by keep_prob, but for the masks that were drawn: the mean of their outputs, exactly."""
    layers = [nn.Dropout(keep_prob=0.8, scaling="test", test_factor="empirical"), nn.Dense(3)]
    model = nn.Sequential(layers, input_shape=(8,), seed=0, dtype="float64")
    x = np.tile(np.random.default_rng(0).normal(size=8), (50, 1))
    outputs = np.concatenate([model.forward(x, training=True) for _ in range(4)])
    np.testing.assert_allclose(model.predict(x[:1])[0], outputs.mean(axis=0), rtol=1e-13)
