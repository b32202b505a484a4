import csv
import os
import signal

import numpy as np
import pytest

from fastnn import files
from fastnn.layers.containers import Sequential
from fastnn.layers.dense import Dense
from fastnn.losses import SoftmaxCrossEntropy
from fastnn.metrics import Metric
from fastnn.optimizers import SGD
from fastnn.training import Callback, Checkpoint, CSVLogger, EarlyStopping, Trainer

NAN = float("nan")


def data(n=40):
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


class Scripted(Callback):
    """Replaces the last value of a curve by the next of a script, and remembers the weights."""

    order = -5

    def __init__(self, name, values):
        self.name, self.values, self.weights = name, values, {}

    def on_epoch_end(self, trainer):
        trainer.history[self.name][-1] = self.values[trainer.epoch - 1]
        self.weights[trainer.epoch] = trainer.model.theta.copy()


def trainer():
    return Trainer(Sequential([Dense(2)], (4,), seed=0), SoftmaxCrossEntropy(), SGD(lr=0.1), ["accuracy"])


def run(values, stopper, name="val_loss", more=(), epochs=None):
    t, script = trainer(), Scripted(name, values)
    x, y = data()
    h = t.fit(
        x,
        y,
        epochs=epochs or len(values),
        validation_split=0.25,
        verbose=False,
        callbacks=[script, stopper, *more],
    )
    return t, h, script


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_stops_exactly_patience_epochs_after_the_best(patience):
    t, h, script = run([5, 4, 3, 6, 7, 8, 9, 1], EarlyStopping(patience=patience))
    assert len(h) == 3 + patience
    assert np.array_equal(t.model.theta, script.weights[3])


def test_an_improvement_starts_the_count_again():
    stopper = EarlyStopping(patience=2)
    _, h, _ = run([5, 6, 4, 5, 3, 4, 4, 0], stopper)
    assert len(h) == 7 and (stopper.best, stopper.best_epoch) == (3, 5)


def test_equal_and_nan_are_no_improvement():
    assert len(run([5, 5, 5, 1], EarlyStopping(patience=2))[1]) == 3
    t, h, script = run([NAN, 5, NAN, NAN, 1], EarlyStopping(patience=2))
    assert len(h) == 4 and np.array_equal(t.model.theta, script.weights[2])
    assert len(run([NAN] * 5, EarlyStopping(patience=3))[1]) == 3


def test_min_delta():
    _, h, _ = run([5.0, 4.95, 4.8, 4.79, 4.78, 1], EarlyStopping(patience=2, min_delta=0.1))
    assert len(h) == 5


def test_mode():
    t, h, script = run([0.5, 0.7, 0.6, 0.6, 0.9], EarlyStopping("val_accuracy", patience=2), "val_accuracy")
    assert len(h) == 4 and np.array_equal(t.model.theta, script.weights[2])
    assert len(run([5, 6, 7, 7, 8], EarlyStopping(mode="max", patience=1))[1]) == 4


def test_a_metric_of_ones_own_tells_its_mode():
    class Cost(Metric):
        name, mode = "cost", "min"

        def sums(self, output, target):
            return float(np.abs(output).sum())

    x, y = data()
    t = Trainer(Sequential([Dense(2)], (4,)), SoftmaxCrossEntropy(), SGD(lr=0.1), [Cost(), lambda o, t: 1.0])
    stopper, script = EarlyStopping("cost", patience=1), Scripted("cost", [3, 2, 4, 5])
    assert len(t.fit(x, y, epochs=4, verbose=False, callbacks=[script, stopper])) == 3
    with pytest.raises(ValueError, match="expected 'min' or 'max' for '<lambda>'"):
        t.fit(x, y, verbose=False, callbacks=[EarlyStopping("<lambda>")])


def test_restores_at_the_last_epoch_too_and_can_be_told_not_to():
    t, _, script = run([3, 1, 2], EarlyStopping(patience=9))
    assert np.array_equal(t.model.theta, script.weights[2])
    t, _, script = run([3, 1, 2], EarlyStopping(patience=9, restore_best=False))
    assert np.array_equal(t.model.theta, script.weights[3])


class At(Callback):
    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action

    def on_batch_end(self, trainer):
        if trainer.epoch == self.epoch:
            self.action(trainer)


def fail(trainer):
    raise RuntimeError("broken")


def test_restores_after_ctrl_c_and_after_errors():
    interrupt = At(3, lambda t: os.kill(os.getpid(), signal.SIGINT))
    t, h, script = run([3, 1, 2, 0], EarlyStopping(), more=[interrupt])
    assert len(h) == 3 and np.array_equal(t.model.theta, script.weights[2])
    script, t = Scripted("val_loss", [3, 1, 2, 0]), trainer()
    x, y = data()
    with pytest.raises(RuntimeError, match="broken"):
        t.fit(
            x,
            y,
            epochs=4,
            validation_split=0.25,
            verbose=False,
            callbacks=[script, EarlyStopping(), At(3, fail)],
        )
    assert np.array_equal(t.model.theta, script.weights[2])


def test_one_object_serves_two_trainings():
    stopper = EarlyStopping(patience=1)
    run([1, 2], stopper)
    _, h, _ = run([9, 8, 9, 9], stopper)
    assert len(h) == 3 and stopper.best == 8


# Counting updates


class Watch(Callback):
    """Before the stopper: sets the last batch's loss to the script's next value, and keeps the weights."""

    order = -5

    def __init__(self, values):
        self.values, self.weights = list(values), []

    def on_batch_end(self, trainer):
        trainer.last_loss = self.values[len(self.weights)]
        self.weights.append(trainer.model.theta.copy())


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_counts_updates_across_epochs(patience):
    """Four batches an epoch; the best is the second update of the second one."""
    x, y = data(16)
    t, watch = trainer(), Watch([5, 4, 4, 3.5, 3.2, 3, NAN, 3, 4, 5, 0])
    stopper = EarlyStopping("loss", patience=patience, unit="update")
    h = t.fit(x, y, epochs=9, batch_size=4, verbose=False, callbacks=[watch, stopper])
    stop = 3 if patience == 1 else 6 + patience
    best = 2 if patience == 1 else 6
    assert len(watch.weights) == stop and len(h) == (stop - 1) // 4
    assert np.array_equal(t.model.theta, watch.weights[best - 1])
    assert (stopper.best, stopper.best_epoch, stopper.best_batch) == ((4, 1, 2) if best == 2 else (3, 2, 2))


def test_updates_look_at_the_validation_data():
    x, y = data(40)
    t, seen = trainer(), []

    class Look(Callback):
        order = -5

        def on_batch_end(self, trainer):
            seen.append((trainer.evaluate(x[30:], y[30:])["loss"], trainer.model.theta.copy()))

    stopper = EarlyStopping("val_loss", patience=2, unit="update")
    t.optimizer.lr = 3.0  # too high: the loss goes up and down
    more = {"validation_data": (x[30:], y[30:]), "callbacks": [Look(), stopper]}
    t.fit(x[:30], y[:30], epochs=50, batch_size=5, verbose=False, **more)
    losses = [loss for loss, _ in seen]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 and stopper.best == losses[best]
    assert stopper.best_epoch == best // 6 + 1 and stopper.best_batch == best % 6 + 1
    assert np.array_equal(t.model.theta, seen[best][1])


def test_updates_of_several_batches_count_once():
    x, y = data(40)
    optimizer = SGD(lr=0.1, accumulate_steps=2)
    t = Trainer(Sequential([Dense(2)], (4,), seed=0), SoftmaxCrossEntropy(), optimizer)
    watch = Watch([9, 5, 9, 6, 9, 7, 9, 8])
    stopper = EarlyStopping("loss", patience=2, unit="update")
    t.fit(x, y, batch_size=4, verbose=False, callbacks=[watch, stopper])
    assert len(watch.weights) == 6 and stopper.best == 5


def test_updates_resume_within_an_epoch(tmp_path):
    x, y = data(16)
    values = [5, 4, 3, 3.5, 3.2, 9]

    def fit(t, values, more=(), **options):
        stopper = EarlyStopping("loss", patience=2, unit="update")
        calls = [Watch(values), stopper, *more]
        t.fit(x, y, epochs=9, batch_size=4, verbose=False, callbacks=calls, **options)
        return stopper

    whole = trainer()
    fit(whole, values)
    half = trainer()
    cut = At(0, lambda t: setattr(t, "stop_training", t.batch == 3))
    fit(half, values, [Checkpoint(tmp_path / "c", every_batches=3), cut])
    again = trainer()
    stopper = fit(again, values[3:], [Checkpoint(tmp_path / "d"), cut], resume_from=tmp_path / "c")
    assert (stopper.best, stopper.best_epoch, stopper.best_batch) == (3, 1, 3)
    assert np.array_equal(again.model.theta, whole.model.theta) and again.batch == 1


def test_state_of_an_older_version():
    stopper = EarlyStopping()
    stopper.load_state_dict({"best": 0.5, "best_epoch": 3, "waited": 1, "weights": None})
    assert (stopper.best, stopper.best_epoch, stopper.best_batch) == (0.5, 3, 0)


def test_updates_know_only_the_batch_and_the_validation():
    x, y = data()
    with pytest.raises(ValueError, match=r"monitor: expected one of loss\. Received: 'accuracy'"):
        trainer().fit(x, y, verbose=False, callbacks=[EarlyStopping("accuracy", unit="update")])
    with pytest.raises(ValueError, match="it needs validation data"):
        trainer().fit(x, y, verbose=False, callbacks=[EarlyStopping(unit="update")])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patience": 0}, "patience: expected an integer of at least 1"),
        ({"patience": 1.5}, "patience"),
        ({"min_delta": -1}, "min_delta: expected"),
        ({"mode": "best"}, "mode: expected"),
        ({"unit": "step"}, "unit: expected 'epoch' or 'update'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**options)


def test_checkpoint_every_and_names(tmp_path):
    x, y = data()
    trainer().fit(x, y, epochs=5, verbose=False, callbacks=[Checkpoint(tmp_path / "c{epoch}", every=2)])
    assert sorted(os.listdir(tmp_path)) == ["c2", "c4"]
    with pytest.raises(ValueError, match="every: expected"):
        Checkpoint("c", every=0)


def test_checkpoint_best_only(tmp_path):
    path = tmp_path / "best"
    _, _, script = run([3, 1, 2, 4], Checkpoint(path, best_only=True))
    assert np.array_equal(files.load(path).theta, script.weights[2])


def test_checkpoint_within_epochs(tmp_path):
    x, y = data()
    stop = At(0, lambda t: setattr(t, "stop_training", t.batch == 3))
    t = trainer()
    t.fit(x, y, batch_size=4, verbose=False, callbacks=[Checkpoint(tmp_path / "c", every_batches=2), stop])
    assert os.listdir(tmp_path) == ["c"] and not np.array_equal(
        files.load(tmp_path / "c").theta, t.model.theta
    )


def test_csv_logger_is_always_the_history(tmp_path):
    path, x, y = tmp_path / "log.csv", *data()
    rows = []

    class Look(Callback):
        order = 2

        def on_epoch_end(self, trainer):
            rows.append(path.read_text().count("\n"))

    h = trainer().fit(x, y, epochs=3, verbose=False, callbacks=[CSVLogger(path), Look()])
    assert rows == [2, 3, 4]
    h.to_csv(tmp_path / "h.csv")
    assert path.read_text() == (tmp_path / "h.csv").read_text()
    with open(path, newline="") as file:
        assert [float(r["loss"]) for r in csv.DictReader(file)] == h["loss"]
    with pytest.raises(FileNotFoundError, match="create"):
        trainer().fit(x, y, verbose=False, callbacks=[CSVLogger(tmp_path / "no" / "log.csv")])
