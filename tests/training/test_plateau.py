"""Rates that follow the validation loss: scripted losses, roll-back and resumption bit for bit, PyTorch."""

import numpy as np
import pytest

from fastnn import BatchNorm, Dense, Dropout, Sequential, files, schedules
from fastnn.losses import SoftmaxCrossEntropy
from fastnn.optimizers import SGD, Adam
from fastnn.training import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    HalveOnWorse,
    ReduceLROnPlateau,
    Trainer,
)

NAN = float("nan")
FIT = {"batch_size": 10, "validation_split": 0.25, "verbose": False}


def data(n=40):
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


def trainer(lr=0.1, optimizer=Adam, seed=3):
    layers = [Dense(6, activation="tanh"), BatchNorm(), Dropout(0.3), Dense(2)]
    return Trainer(Sequential(layers, (4,), seed=seed), SoftmaxCrossEntropy(), optimizer(lr=lr), ["accuracy"])


def state(t):
    """All that a training changes, but for the factor of the rate."""
    optimizer = t.optimizer.state_dict()
    optimizer.pop("lr_scale", None)
    return {"step": t.model.workspace.step, **t.model.state_dict(), **optimizer}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class Script(Callback):
    """Gives each try of an epoch its validation loss, and keeps what it began and ended with."""

    order = -5

    def __init__(self, values, name="val_loss"):
        self.values, self.name = list(values), name
        self.begun, self.tries = [], []

    def on_epoch_begin(self, trainer):
        self.losses = []
        self.begun.append((trainer.epoch, trainer.optimizer.current_lr(), state(trainer), self.losses))

    def on_batch_end(self, trainer):
        self.losses.append(trainer.last_loss)

    def on_epoch_end(self, trainer):
        trainer.history[self.name][-1] = self.values[len(self.tries)]
        self.tries.append((trainer.epoch, trainer.optimizer.current_lr(), state(trainer)))


class Lower(Callback):
    """Lowers the rate by hand, from an epoch on."""

    def __init__(self, epoch, lr_scale):
        self.epoch, self.lr_scale = epoch, lr_scale

    def on_epoch_begin(self, trainer):
        if trainer.epoch >= self.epoch:
            trainer.optimizer.lr_scale = self.lr_scale


def run(values, watch, t=None, epochs=None, more=(), name="val_loss"):
    t, script = t or trainer(), Script(values, name)
    x, y = data()
    h = t.fit(x, y, epochs=epochs or len(values), callbacks=[*more, watch, script], **FIT)
    return t, h, script


# HalveOnWorse


def test_a_worse_epoch_is_done_again_with_half_the_rate():
    watch = HalveOnWorse()
    _, h, script = run([5, 4, 6, 3.5, 3], watch, epochs=4)
    assert [(epoch, lr) for epoch, lr, _ in script.tries] == [
        (1, 0.1), (2, 0.1), (3, 0.1), (3, 0.05), (4, 0.05),
    ]  # fmt: skip
    assert h["val_loss"] == [5, 4, 3.5, 3] and h.epochs == [1, 2, 3, 4]
    assert h["lr"] == [0.1, 0.1, 0.05, 0.05]
    # Weights, buffers, moments and dropout's counter are bitwise those of the last good epoch.
    assert same(script.begun[3][2], script.tries[1][2]) and same(script.begun[3][2], script.begun[2][2])
    assert not same(script.tries[3][2], script.tries[2][2])
    # The first loss comes before an update: the same batch and the same dropout. The second comes after one.
    assert script.begun[2][3][0] == script.begun[3][3][0] and script.begun[2][3][1] != script.begun[3][3][1]
    assert (watch.retries, watch.gave_up) == (0, False)


def test_the_result_is_that_of_a_training_with_the_lower_rate_from_there():
    t, h, _ = run([5, 4, 6, 7, 3, 2], HalveOnWorse(), epochs=4)
    plain, x, y = trainer(), *data()
    expected = plain.fit(x, y, epochs=4, callbacks=[Lower(2, 0.25)], **FIT)
    assert same(state(t), state(plain)) and h["loss"] == expected["loss"]
    assert t.optimizer.lr_scale == 0.25 and t.epoch == 4


def test_it_gives_up_with_the_last_good_epoch(tmp_path):
    stopper, path = EarlyStopping(patience=1), tmp_path / "log.csv"
    more = [stopper, CSVLogger(path), Checkpoint(tmp_path / "c{epoch}")]
    watch = HalveOnWorse(max_retries=2)
    t, h, script = run([5, 4, 6, 6, 6, 0], watch, epochs=9, more=more)
    assert [(epoch, lr) for epoch, lr, _ in script.tries] == [
        (1, 0.1), (2, 0.1), (3, 0.1), (3, 0.05), (3, 0.025),
    ]  # fmt: skip
    assert same(state(t), script.tries[1][2]) and t.epoch == len(h) == 2 and h["val_loss"] == [5, 4]
    assert watch.gave_up and t.stop_training
    # Nobody else was told of the tries that do not count.
    assert (stopper.best, stopper.best_epoch, stopper.state_dict()["waited"]) == (4, 2, 0)
    assert len(path.read_text().splitlines()) == 3
    assert sorted(file.name for file in tmp_path.glob("c*")) == ["c1", "c2"]
    assert np.array_equal(files.load(tmp_path / "c2").theta, t.model.theta)


def test_it_says_why_training_ended(capsys):
    x, y = data()
    t = trainer()
    script, options = Script([5, 6, 6]), FIT | {"verbose": True}
    t.fit(x, y, epochs=3, callbacks=[HalveOnWorse(max_retries=1), script], **options)
    expected = "HalveOnWorse: stopped after epoch 1; 2 tries of the next made val_loss worse"
    assert expected in capsys.readouterr().err


def test_retries_are_counted_anew_for_each_epoch():
    watch = HalveOnWorse(max_retries=2)
    _, h, script = run([5, 6, 6, 4, 5, 5, 3], watch, epochs=3)
    assert h["val_loss"] == [5, 4, 3] and not watch.gave_up
    assert script.tries[-1][1] == pytest.approx(0.1 / 16, rel=1e-15)


def test_the_lowest_rate():
    watch = HalveOnWorse(min_lr=0.04, max_retries=9)
    t, h, script = run([5, 6, 6, 6, 6], watch, epochs=3)
    assert [lr for _, lr, _ in script.tries] == pytest.approx([0.1, 0.1, 0.05, 0.04], rel=1e-12)
    assert watch.gave_up and len(h) == 1 and same(state(t), script.tries[0][2])


@pytest.mark.parametrize("factor", [0.5, 0.3, 0.7])
def test_the_lowest_rate_is_reached_once(factor):
    """Whatever is rounded: a rate at `min_lr` cannot be lowered further."""
    for lr in np.random.default_rng(0).random(200):
        optimizer, watch = SGD(lr), HalveOnWorse(factor, min_lr=0.1 * lr)
        lowered = [watch.lower(optimizer) for _ in range(9)]
        needed = int(np.ceil(np.log(0.1) / np.log(factor)))
        assert lowered == [True] * needed + [False] * (9 - needed)
        assert optimizer.current_lr() == pytest.approx(0.1 * lr, rel=1e-12)


def test_a_schedule_is_scaled():
    plain = schedules.exponential(0.1, 0.05)
    _, _, script = run([5, 4, 6, 3, 2], HalveOnWorse(0.25), trainer(plain), epochs=4)
    # 3 updates an epoch; the last try of epoch 3 ends after 9 updates.
    assert [lr for _, lr, *_ in script.begun] == [
        plain(0), plain(3), plain(6), 0.25 * plain(6), 0.25 * plain(9)
    ]  # fmt: skip


def test_without_going_back():
    watch = HalveOnWorse(restore=False)
    t, h, _ = run([5, 6, 4, 7, 3], watch)
    assert h["val_loss"] == [5, 6, 4, 7, 3] and h["lr"] == [0.1, 0.1, 0.05, 0.05, 0.025]
    assert watch.state_dict()["start"] is None and t.epoch == 5


@pytest.mark.parametrize(
    ("values", "options", "kept"),
    [
        ([5, 5, 5], {}, [5, 5, 5]),  # equal is not worse
        ([5, NAN, 4], {}, [5, 4]),
        ([NAN, 5, 4], {}, [NAN, 5, 4]),
        ([5, 5.1, 5.2, 5.3], {"min_delta": 0.11}, [5, 5.1, 5.2, 5.3]),
        ([5, 5.2, 5.1], {"min_delta": 0.11}, [5, 5.1]),
        ([5, 4, 6], {"mode": "max"}, [5, 6]),
    ],
)
def test_what_is_worse(values, options, kept):
    _, h, _ = run(values, HalveOnWorse(**options), epochs=len(kept))
    np.testing.assert_array_equal(h["val_loss"], kept)


def test_a_metric_that_should_rise():
    _, h, _ = run([0.5, 0.6, 0.55, 0.7], HalveOnWorse(monitor="val_accuracy"), epochs=3, name="val_accuracy")
    assert h["val_accuracy"] == [0.5, 0.6, 0.7]


class ByRate(Callback):
    """The validation loss is a function of epoch and rate, so that it is the same after resuming."""

    order = -5

    def on_epoch_end(self, trainer):
        highest = {3: 0.3, 5: 0.2}.get(trainer.epoch, 1)
        is_worse = trainer.optimizer.lr_scale > highest
        trainer.history["val_loss"][-1] = 10.0 if is_worse else 9.0 - trainer.epoch


class StopAt(Callback):
    order = 9

    def __init__(self, epoch, batch, lr_scale):
        self.at = epoch, batch, lr_scale

    def look(self, trainer):
        if (trainer.epoch, trainer.batch, trainer.optimizer.lr_scale) == self.at:
            trainer.stop_training = True

    on_batch_end = on_epoch_end = look


@pytest.mark.parametrize("lr", [0.1, schedules.exponential(0.1, 0.05)])
@pytest.mark.parametrize(
    "stop",
    [(1, 2, 1), (2, 0, 1), (2, 1, 1), (2, 1, 0.5), (2, 2, 0.25), (3, 0, 0.25), (4, 2, 0.25), (4, 2, 0.125)],
)
def test_resumed_is_uninterrupted(tmp_path, lr, stop):
    x, y = data()
    path = tmp_path / "c"

    def callbacks():
        return [Checkpoint(path, every_batches=1), HalveOnWorse(), ByRate()]

    whole, first, resumed = trainer(lr), trainer(lr), trainer(lr, seed=77)
    whole.fit(x, y, epochs=6, callbacks=callbacks(), **FIT)
    assert whole.history["val_loss"] == [8, 7, 6, 5, 4, 3] and whole.optimizer.lr_scale == 0.125
    first.fit(x, y, epochs=6, callbacks=[*callbacks(), StopAt(*stop)], **FIT)
    assert (first.epoch, first.batch, first.optimizer.lr_scale) == stop
    resumed.fit(x, y, epochs=6, callbacks=callbacks(), resume_from=path, **FIT)
    assert same(state(whole), state(resumed)) and resumed.optimizer.lr_scale == 0.125
    for name in whole.history:
        assert name == "time" or whole.history[name] == resumed.history[name], name


def test_retries_go_on_counting_after_resuming(tmp_path):
    class Worse(Callback):
        order = -5

        def on_epoch_end(self, trainer):
            trainer.history["val_loss"][-1] = trainer.epoch

    x, y = data()
    stop = StopAt(1, 1, 0.5)  # in the second try of epoch 2
    first, resumed, watch = trainer(), trainer(), HalveOnWorse(max_retries=2)
    callbacks = [Checkpoint(tmp_path / "c", every_batches=1), Worse()]
    first.fit(x, y, epochs=3, callbacks=[*callbacks, HalveOnWorse(max_retries=2), stop], **FIT)
    resumed.fit(x, y, epochs=3, callbacks=[*callbacks, watch], resume_from=tmp_path / "c", **FIT)
    assert (watch.retries, watch.gave_up, resumed.epoch) == (2, True, 1)


def test_begun_inside_an_epoch_it_goes_back_to_there(tmp_path):
    """A callback that the stopped training did not have knows the resumed position, not the epoch's start."""
    x, y = data()
    first, plain, resumed = trainer(), trainer(), trainer()
    callbacks = [Checkpoint(tmp_path / "c", every_batches=1)]
    first.fit(x, y, epochs=2, callbacks=[*callbacks, StopAt(1, 2, 1)], **FIT)
    script = Script([99, 0])
    options = FIT | {"resume_from": tmp_path / "c"}
    h = resumed.fit(x, y, epochs=2, callbacks=[HalveOnWorse(), script], **options)
    assert len(script.tries) == 2 and len(h) == 2 and len(script.begun[1][3]) == 1  # the batch that was left
    expected = plain.fit(x, y, epochs=2, callbacks=[Lower(1, 0.5)], **options)
    assert same(state(resumed), state(plain)) and h["loss"] == expected["loss"]


def test_a_training_that_gave_up_stays_so(tmp_path):
    t, h, _ = run([5, 6, 6], HalveOnWorse(max_retries=1), epochs=3)
    t.save(tmp_path / "c")
    again = trainer(seed=5)
    x, y = data()
    h = again.fit(x, y, epochs=3, callbacks=[HalveOnWorse(max_retries=1)], resume_from=tmp_path / "c", **FIT)
    assert len(h) == 1 and same(state(t), state(again))


def test_one_object_serves_two_trainings():
    watch = HalveOnWorse(max_retries=1)
    run([5, 6, 6], watch, epochs=3)
    assert watch.gave_up
    _, h, _ = run([9, 8], watch)
    assert len(h) == 2 and not watch.gave_up


def test_in_a_second_fit_the_rate_stays_low():
    t, _, _ = run([5, 6, 4], HalveOnWorse(), epochs=2)
    _, h, _ = run([9, 8], HalveOnWorse(), t)
    assert h["lr"] == [0.05, 0.05]


# ReduceLROnPlateau


def test_lowered_after_exactly_patience_epochs():
    watch = ReduceLROnPlateau(patience=2)
    _, h, _ = run([5, 4, 4, 4, 4, 4, 3, 3, 3, 3], watch)
    assert h["lr"] == [0.1] * 4 + [0.05] * 2 + [0.025] * 3 + [0.0125]
    assert (watch.best, watch.best_epoch) == (3, 7)


def test_nothing_else_changes():
    """The same as a training whose rate is lowered by hand."""
    t, _, _ = run([5, 5, 5, 4, 3], ReduceLROnPlateau(patience=2))
    plain, x, y = trainer(), *data()
    plain.fit(x, y, epochs=5, callbacks=[Lower(3, 0.5)], **FIT)
    assert same(state(t), state(plain))


@pytest.mark.parametrize(
    ("patience", "min_delta", "min_lr", "factor"), [(1, 0, 0, 0.5), (3, 0, 0.02, 0.5), (2, 0.2, 0.005, 0.3)]
)
def test_pytorch_lowers_at_the_same_epochs(patience, min_delta, min_lr, factor):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(patience).normal(size=40) + np.linspace(2, 0, 40)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience - 1, threshold=min_delta, threshold_mode="abs",
        min_lr=min_lr, eps=0,
    )  # fmt: skip
    expected = []
    for value in values:
        expected.append(optimizer.param_groups[0]["lr"])
        scheduler.step(value)
    watch = ReduceLROnPlateau(factor=factor, patience=patience, min_delta=min_delta, min_lr=min_lr)
    _, h, _ = run(values, watch, trainer(optimizer=SGD))
    assert h["lr"] == pytest.approx(expected, rel=1e-12)
    assert len(set(expected)) > 2


def test_a_schedule_is_scaled_on_a_plateau():
    plain = schedules.cosine(0.1, 100)
    _, h, _ = run([5, 5, 5, 5], ReduceLROnPlateau(patience=1), trainer(plain))
    assert h["lr"] == pytest.approx([f * plain(s) for f, s in ((1, 3), (1, 6), (0.5, 9), (0.25, 12))])


@pytest.mark.parametrize("stop", range(1, 6))
def test_a_resumed_plateau_is_uninterrupted(tmp_path, stop):
    x, y = data()
    values = [5.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    path = tmp_path / "c"

    class Values(Callback):
        order = -5

        def on_epoch_end(self, trainer):
            trainer.history["val_loss"][-1] = values[trainer.epoch - 1]

    def callbacks():
        return [Checkpoint(path), Values(), ReduceLROnPlateau(patience=3)]

    whole, resumed = trainer(), trainer(seed=9)
    whole.fit(x, y, epochs=6, callbacks=callbacks(), **FIT)
    assert whole.history["lr"] == [0.1] * 5 + [0.05]
    trainer().fit(x, y, epochs=stop, callbacks=callbacks(), **FIT)
    resumed.fit(x, y, epochs=6, callbacks=callbacks(), resume_from=path, **FIT)
    assert same(state(whole), state(resumed)) and whole.history["lr"] == resumed.history["lr"]


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HalveOnWorse(factor=1), r"HalveOnWorse: factor: expected a number in \(0, 1\)"),
        (lambda: HalveOnWorse(factor=0), "HalveOnWorse: factor"),
        (lambda: HalveOnWorse(factor="half"), "HalveOnWorse: factor"),
        (lambda: HalveOnWorse(min_lr=-1), "HalveOnWorse: min_lr: expected a number"),
        (lambda: HalveOnWorse(max_retries=0), "HalveOnWorse: max_retries: expected an integer of at least 1"),
        (lambda: HalveOnWorse(max_retries=1.5), "HalveOnWorse: max_retries"),
        (lambda: HalveOnWorse(min_delta=-1), "min_delta: expected"),
        (lambda: HalveOnWorse(mode="best"), "mode: expected"),
        (lambda: ReduceLROnPlateau(factor=2), r"ReduceLROnPlateau: factor: expected a number in \(0, 1\)"),
        (lambda: ReduceLROnPlateau(min_lr=NAN), "ReduceLROnPlateau: min_lr: expected a number"),
        (lambda: ReduceLROnPlateau(patience=0), "ReduceLROnPlateau: patience: expected an integer"),
        (lambda: ReduceLROnPlateau(patience=True), "ReduceLROnPlateau: patience"),
        (lambda: ReduceLROnPlateau(min_delta=NAN), "min_delta: expected"),
    ],
)
def test_wrong_options(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


@pytest.mark.parametrize("watch", [HalveOnWorse(), ReduceLROnPlateau(patience=2)])
def test_without_validation_data(watch):
    t = trainer()
    before = state(t)
    message = rf"^{type(watch).__name__}: monitor: expected one of loss, .*'val_loss'; it needs validation"
    with pytest.raises(ValueError, match=message):
        t.fit(*data(), callbacks=[watch], verbose=False)
    assert same(state(t), before)
