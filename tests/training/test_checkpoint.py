import os

import numpy as np
import pytest

import fastnn as nn
from fastnn import files, optimizers, schedules
from fastnn.data.batches import Batches
from fastnn.errors import FileFormatError
from fastnn.layers.containers import Residual, Sequential
from fastnn.layers.dense import Dense
from fastnn.layers.dropout import Dropout
from fastnn.layers.normalization import BatchNorm
from fastnn.losses import SoftmaxCrossEntropy, SquaredError
from fastnn.optimizers import SGD, Adam
from fastnn.training import Callback, Checkpoint, CSVLogger, EarlyStopping, Trainer

OPTIMIZERS = {
    "sgd": lambda: SGD(lr=0.05),
    "momentum": lambda: SGD(lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda: Adam(lr=0.01, weight_decay=1e-3, decoupled=True),
    "schedule": lambda: Adam(lr=lambda step: 0.01 / (1 + step)),
}


def data(n=70):
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0.5)


def trainer(optimizer="adam", units=8, model_seed=3, loss=None, metrics=("accuracy", "f1"), **options):
    layers = [
        Dense(units, activation="tanh"),
        Dropout(0.3),
        Residual([Dense(units, activation="relu"), BatchNorm(), Dropout(0.1)]),
        Dense(3),
    ]
    model = Sequential(layers, input_shape=(4,), seed=model_seed)
    return Trainer(model, loss or SoftmaxCrossEntropy(), OPTIMIZERS[optimizer](), metrics, **options)


class StopAt(Callback):
    order = 9

    def __init__(self, epoch, batch):
        self.at = epoch, batch

    def on_batch_end(self, trainer):
        if (trainer.epoch, trainer.batch) == self.at:
            trainer.stop_training = True

    def on_epoch_end(self, trainer):
        if (trainer.epoch, trainer.batch) == self.at:
            trainer.stop_training = True


def same(a, b):
    """Two trainers in the same state, bit for bit."""
    assert np.array_equal(a.model.theta, b.model.theta)
    pairs = [
        (a.model.state_dict(), b.model.state_dict()),
        (a.optimizer.state_dict(), b.optimizer.state_dict()),
    ]
    for left, right in pairs:
        assert left.keys() == right.keys() and all(np.array_equal(left[k], right[k]) for k in left)
    assert a.history.epochs == b.history.epochs
    for name in a.history:
        assert name == "time" or a.history[name] == b.history[name], name


FIT = {"batch_size": 9, "validation_split": 0.2, "verbose": False}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stop", [(2, 0), (2, 3), (0, 1), (1, 7)])
def test_resumed_is_uninterrupted(tmp_path, optimizer, stop):
    x, y = data()
    whole, first = trainer(optimizer), trainer(optimizer)
    whole.fit(x, y, epochs=5, **FIT)
    path = tmp_path / "c"
    first.fit(x, y, epochs=5, callbacks=[Checkpoint(path, every_batches=1), StopAt(*stop)], **FIT)
    assert (first.epoch, first.batch) == stop
    # Another seed of the model: what is drawn comes from the file.
    resumed = trainer(optimizer, model_seed=99)
    resumed.fit(x, y, epochs=5, resume_from=path, **FIT)
    same(whole, resumed)
    assert not np.array_equal(first.model.theta, resumed.model.theta)


def test_resumed_twice(tmp_path):
    x, y = data()
    whole, path = trainer(), tmp_path / "c"
    whole.fit(x, y, epochs=5, **FIT)
    for i, stop in enumerate([(1, 2), (3, 1), (5, 0)]):
        t = trainer(model_seed=(3, 50, 60)[i])
        callbacks = [Checkpoint(path, every_batches=1), StopAt(*stop)]
        t.fit(x, y, epochs=5, callbacks=callbacks, resume_from=path if i else None, **FIT)
    same(whole, t)


def test_resume_of_a_second_fit_and_of_batches(tmp_path):
    x, y = data()
    whole, first, resumed = trainer(), trainer(), trainer()
    for t in (whole, first):
        t.fit(x, y, epochs=1, **FIT)
    whole.fit(x, y, epochs=4, **FIT)
    first.fit(x, y, epochs=4, callbacks=[Checkpoint(tmp_path / "c"), StopAt(2, 0)], **FIT)
    resumed.fit(x, y, epochs=4, resume_from=tmp_path / "c", **FIT)
    same(whole, resumed)

    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 70, 10)]
    for source in (batches, lambda epoch: iter(batches[:: 1 - 2 * (epoch % 2)]), Batches(x, y, 10, seed=4)):
        whole, first, resumed = trainer(), trainer(), trainer()
        whole.fit(source, epochs=3, verbose=False)
        save = [Checkpoint(tmp_path / "d", every_batches=1), StopAt(1, 4)]
        first.fit(source, epochs=3, verbose=False, callbacks=save)
        resumed.fit(source, epochs=3, verbose=False, resume_from=tmp_path / "d")
        same(whole, resumed)


def test_resumed_weights_and_no_shuffle(tmp_path):
    x, y = data()
    options = FIT | {"sample_weight": np.linspace(0, 1, 70), "shuffle": False}
    whole, first, resumed = trainer(), trainer(), trainer()
    whole.fit(x, y, epochs=3, **options)
    save = [Checkpoint(tmp_path / "c", every_batches=1), StopAt(1, 2)]
    first.fit(x, y, epochs=3, callbacks=save, **options)
    resumed.fit(x, y, epochs=3, resume_from=tmp_path / "c", **options)
    same(whole, resumed)


def small_lr(optimizer):
    """Its learning rate as a schedule; a line search looks for one itself."""
    return {} if getattr(optimizer, "needs_closure", False) else {"lr": schedules.cosine(0.01, 12)}


@pytest.mark.parametrize("name", [name for name in optimizers.__all__ if name != "Optimizer"])
def test_every_optimizer_resumes_with_schedule_augmentation_and_dropout(tmp_path, name):
    """The stop is inside the second epoch; the resumed trainer prepares another number of batches ahead."""
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 5, 5, 1), np.float32), rng.integers(0, 3, 40)
    options = {"epochs": 3, "batch_size": 10, "verbose": False}
    options["augment"] = nn.augmentation.Compose(
        [nn.augmentation.RandomAffine(20, 1, (0.8, 1.2)), nn.augmentation.RandomFlip()]
    )

    def make(seed):
        layers = [nn.Flatten(), Dense(6, activation="tanh"), Dropout(0.3), Dense(3)]
        optimizer = getattr(optimizers, name)
        model = Sequential(layers, (5, 5, 1), seed=seed)
        return Trainer(model, SoftmaxCrossEntropy(), optimizer(**small_lr(optimizer)))

    whole, first, resumed = make(3), make(3), make(99)
    whole.fit(x, y, **options)
    stop = [Checkpoint(tmp_path / "c", every_batches=1), StopAt(1, 2)]
    first.fit(x, y, callbacks=stop, **options)
    resumed.fit(x, y, resume_from=tmp_path / "c", prefetch=0, **options)
    same(whole, resumed)
    assert not np.array_equal(first.model.theta, resumed.model.theta)
    with pytest.raises(ValueError, match=r"data\.augment: saved .Compose\(augmentations=.*, now 'nothing'"):
        make(3).fit(x, y, resume_from=tmp_path / "c", **(options | {"augment": None}))


class Scripted(Callback):
    order = -5

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, trainer):
        trainer.history["val_loss"][-1] = self.values[trainer.epoch - 1]


@pytest.mark.parametrize("stop", range(1, 7))
def test_early_stopping_goes_on_counting(tmp_path, stop):
    x, y = data()
    values = [5.0, 2.0, 3.0, 4.0, 4.0, 4.0, 0.0]

    def callbacks(path):
        # Checkpoint is listed first: it must save what EarlyStopping decided about this very epoch.
        return [Checkpoint(path), Scripted(values), EarlyStopping(patience=4)]

    whole, first, resumed = trainer(), trainer(), trainer()
    whole.fit(x, y, epochs=7, callbacks=callbacks(tmp_path / "a"), **FIT)
    assert whole.epoch == 6
    first.fit(x, y, epochs=7, callbacks=[*callbacks(tmp_path / "b"), StopAt(stop, 0)], **FIT)
    resumed.fit(x, y, epochs=7, callbacks=callbacks(tmp_path / "b"), resume_from=tmp_path / "b", **FIT)
    same(whole, resumed)
    fresh = trainer()  # a new EarlyStopping begins to count at the resumed epoch
    fresh.fit(
        x, y, epochs=7, callbacks=[EarlyStopping(patience=1)] * (stop < 6), resume_from=tmp_path / "b", **FIT
    )
    assert fresh.epoch > stop


def test_best_only_remembers_the_best(tmp_path):
    x, y = data()
    best = tmp_path / "best"

    def callbacks():
        return [
            Scripted([3.0, 1.0, 2.0, 2.0]),
            Checkpoint(best, best_only=True),
            Checkpoint(tmp_path / "last"),
        ]

    trainer().fit(x, y, epochs=2, callbacks=callbacks(), **FIT)
    before = files.load(best).theta.copy()
    trainer().fit(x, y, epochs=4, callbacks=callbacks(), resume_from=tmp_path / "last", **FIT)
    assert np.array_equal(files.load(best).theta, before)


def test_csv_log_of_a_resumed_training_is_whole(tmp_path):
    x, y = data()
    trainer().fit(x, y, epochs=2, callbacks=[Checkpoint(tmp_path / "c")], **FIT)
    h = trainer().fit(
        x, y, epochs=4, callbacks=[CSVLogger(tmp_path / "l")], resume_from=tmp_path / "c", **FIT
    )
    assert h.epochs == [1, 2, 3, 4] and len((tmp_path / "l").read_text().splitlines()) == 5


def test_load_reads_checkpoints(tmp_path):
    x, y = data()
    t = trainer()
    t.fit(x, y, epochs=2, callbacks=[Checkpoint(tmp_path / "c")], **FIT)
    model = files.load(tmp_path / "c")
    assert np.array_equal(model.predict(x), t.model.predict(x))


def test_save_and_load_in_a_loop_of_ones_own(tmp_path):
    x, y = data()
    whole, first, resumed = trainer(), trainer(), trainer(model_seed=8)
    for _ in range(4):
        whole.train_step(x, y)
    for _ in range(2):
        first.train_step(x, y)
    first.save(tmp_path / "c")
    resumed.load(tmp_path / "c")
    for _ in range(2):
        resumed.train_step(x, y)
    same(whole, resumed)


def test_a_checkpoint_after_ctrl_c_or_the_end_continues(tmp_path):
    x, y = data()
    whole, first, resumed = trainer(), trainer(), trainer()
    whole.fit(x, y, epochs=4, **FIT)
    first.fit(x, y, epochs=4, callbacks=[StopAt(2, 2)], **FIT)
    first.save(tmp_path / "c")
    resumed.fit(x, y, epochs=4, resume_from=tmp_path / "c", **FIT)
    same(whole, resumed)
    done = resumed.model.theta.copy()
    resumed.save(tmp_path / "c")
    assert len(resumed.fit(x, y, epochs=4, resume_from=tmp_path / "c", **FIT)) == 4
    assert np.array_equal(resumed.model.theta, done)


@pytest.mark.parametrize(
    "other, fit, message",
    [
        ({"units": 9}, {}, r"model\.layers\[0\]\.units: saved 8, now 9"),
        ({"optimizer": "momentum"}, {}, r"optimizer\.class: saved 'Adam', now 'SGD'"),
        (
            {"loss": SquaredError(), "metrics": ["r2"]},
            {},
            r"loss: saved .SoftmaxCrossEntropy\(\)., now .SquaredError",
        ),
        ({"metrics": ["f1", "accuracy"]}, {}, r"metrics\[0\]: saved 'accuracy', now 'f1'"),
        ({}, {"batch_size": 10}, r"data\.batch_size: saved 9, now 10"),
        ({}, {"shuffle": False}, r"data\.shuffle: saved True, now False"),
        ({}, {"validation_split": 0.1}, r"data\.validation_split: saved 0\.2, now 0\.1"),
    ],
)
def test_another_training_is_refused_and_nothing_changes(tmp_path, other, fit, message):
    x, y = data()
    trainer().fit(x, y, callbacks=[Checkpoint(tmp_path / "c")], **FIT)
    t = trainer(**other)
    before = t.model.theta.copy()
    targets = np.eye(3, dtype=np.float32)[y] if "loss" in other else y
    with pytest.raises(
        ValueError, match=rf"(?s)expected the training that was saved.*{message}.*fastnn\.load"
    ):
        t.fit(x, targets, resume_from=tmp_path / "c", **(FIT | fit))
    assert np.array_equal(t.model.theta, before) and t.optimizer.n_steps == 0 and t.data is None


def test_a_checkpoint_without_later_arguments_continues(tmp_path):
    """What was saved before Adam had `amsgrad` and Dropout `scaling` is like their defaults, no others."""
    path, newer = tmp_path / "older.safetensors", ("amsgrad", "bias_correction", "scaling")

    def forget(value):
        if isinstance(value, dict):
            return {key: forget(inner) for key, inner in value.items() if key not in newer}
        return [forget(inner) for inner in value] if isinstance(value, list) else value

    x, y = data()
    first = trainer()
    first.fit(x, y, epochs=2, batch_size=16, verbose=False)
    first.save(path)
    tensors, metadata = files.read(path)
    assert "amsgrad" in str(metadata) and "scaling" in str(metadata)
    text = {key: files.dump_json(forget(value), key) for key, value in metadata.items()}
    files.write(path, tensors, text)
    whole = trainer()
    whole.fit(x, y, epochs=4, batch_size=16, verbose=False)
    resumed = trainer()
    resumed.fit(x, y, epochs=4, batch_size=16, verbose=False, resume_from=path)
    same(resumed, whole)
    other = trainer()
    other.optimizer.amsgrad = True
    with pytest.raises(ValueError, match=r"optimizer\.amsgrad: saved False, now True"):
        other.fit(x, y, epochs=4, batch_size=16, verbose=False, resume_from=path)


def test_other_data_and_other_layers_are_refused(tmp_path):
    x, y = data()
    trainer().fit(x, y, callbacks=[Checkpoint(tmp_path / "c")], **FIT)
    with pytest.raises(ValueError, match=r"data\.n_samples: saved 56, now 48"):
        trainer().fit(x[:60], y[:60], resume_from=tmp_path / "c", **FIT)
    shorter = Trainer(Sequential([Dense(3)], (4,)), SoftmaxCrossEntropy(), Adam(lr=0.01))
    with pytest.raises(
        ValueError, match=r"model\.layers: saved 4 \(Dense, Dropout, Residual, Dense\), now 1 \(Dense\)"
    ):
        shorter.load(tmp_path / "c")


def test_a_models_file_is_no_checkpoint(tmp_path):
    x, y = data()
    trainer().model.save(tmp_path / "m")
    with pytest.raises(FileFormatError, match="Received: a model without its training"):
        trainer().fit(x, y, resume_from=tmp_path / "m", **FIT)
    with pytest.raises(FileNotFoundError):
        trainer().fit(x, y, resume_from=tmp_path / "none", **FIT)


def test_a_full_disk_during_training_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    x, y = data()
    path = tmp_path / "c"
    t = trainer()
    t.fit(x, y, epochs=2, callbacks=[Checkpoint(path)], **FIT)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the older file is unharmed"):
        trainer().fit(x, y, epochs=4, callbacks=[Checkpoint(path)], resume_from=path, **FIT)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["c"] and np.array_equal(files.load(path).theta, t.model.theta)
