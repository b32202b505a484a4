"""Searches for a rate: on a quadratic the best is known; models come back bit for bit."""

import math

import numpy as np
import pytest

from fastnn import schedules
from fastnn.data.batches import Batches
from fastnn.errors import NonFiniteError, NotBuiltError
from fastnn.layers.containers import Sequential
from fastnn.layers.dense import Dense
from fastnn.layers.dropout import Dropout
from fastnn.layers.normalization import BatchNorm
from fastnn.losses import SoftmaxCrossEntropy, SquaredError
from fastnn.optimizers import SGD, Adam
from fastnn.training import Trainer, log_search, lr_range_test

GRID = 10.0 ** np.arange(-4, 1)


def quadratic(curvature, lr=0.1, n=20):
    """A trainer and data whose loss is `curvature w^2 / 2`."""
    model = Sequential([Dense(1, use_bias=False)], (1,), seed=1, dtype="float64")
    x = np.full((n, 1), math.sqrt(curvature))
    return Trainer(model, SquaredError(half=True), SGD(lr=lr)), (x, np.zeros((n, 1)))


def data(n=60):
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


def classifier(seed=3, lr=0.02):
    layers = [Dense(6, activation="tanh"), BatchNorm(), Dropout(0.3), Dense(2)]
    return Trainer(Sequential(layers, (4,), seed=seed), SoftmaxCrossEntropy(), Adam(lr=lr), ["accuracy"])


def state(t):
    return {"step": t.model.workspace.step, **t.model.state_dict(), **t.optimizer.state_dict()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# log_search


@pytest.mark.parametrize("curvature", [0.3, 3.0, 8.0, 40.0, 700.0])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_the_best_of_the_grid_is_the_one_with_the_smallest_factor(curvature, batch_size):
    """A step multiplies w by `1 - lr curvature`."""
    trainer, given = quadratic(curvature)
    found = log_search(trainer, given, GRID, batch_size=batch_size, refine=False)
    assert found.best_lr == GRID[np.argmin(np.abs(1 - GRID * curvature))]
    assert found.lrs.tolist() == GRID.tolist() and found.monitor == "val_loss"
    assert found.best_value == found.values.min() == found.values[found.lrs == found.best_lr][0]


def test_values_are_the_losses_after_the_last_epoch():
    trainer, given = quadratic(3.0)
    w = trainer.model.theta[0]
    found = log_search(trainer, given, GRID, epochs=3, batch_size=None)
    expected = 1.5 * (w * (1 - 3 * found.lrs) ** 3) ** 2
    assert found.values == pytest.approx(expected, rel=1e-10)


def test_refined_around_the_best():
    trainer, given = quadratic(3.0)
    found = log_search(trainer, given)
    assert found.lrs == pytest.approx([1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.3, 1], rel=1e-14)
    assert found.best_lr == pytest.approx(0.3)  # 1 - 0.3 * 3 = 0.1
    again = log_search(trainer, given, lrs=[0.1, 0.2, 0.05])  # 0.2 is best: 0.1, 0.4 and 0.6 are added
    assert again.lrs == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.6], rel=1e-14)


def test_everything_is_as_before():
    """The training after a search is the one without it, bit for bit."""
    x, y = data()
    schedule = schedules.exponential(0.02, 0.01)
    searched, plain = classifier(lr=schedule), classifier(lr=schedule)
    for t in (searched, plain):
        t.fit(x, y, epochs=2, validation_split=0.2, verbose=False)
        t.optimizer.lr_scale = 0.5
    before = state(searched)
    log_search(searched, (x, y), epochs=1)
    assert same(state(searched), before)
    lr_range_test(searched, (x, y), steps=10)
    assert same(state(searched), before) and same(before, state(plain))
    assert searched.optimizer.lr is schedule and searched.optimizer.lr_scale == 0.5
    assert searched.history.epochs == [1, 2] and searched.n_fits == 1
    for t in (searched, plain):
        t.fit(x, y, epochs=2, validation_split=0.2, verbose=False)
    assert same(state(searched), state(plain)) and searched.history["loss"] == plain.history["loss"]


def test_rates_are_not_scaled():
    """Whatever an earlier training made of `lr_scale`, the searches try the rates they name."""
    scaled, plain = classifier(), classifier()
    scaled.optimizer.lr_scale = 0.5
    for search in (log_search, lr_range_test):
        a, b = search(scaled, data()), search(plain, data())
        for name in ("values", "losses"):
            assert np.array_equal(getattr(a, name, 0), getattr(b, name, 0))
    assert scaled.optimizer.lr_scale == 0.5


def test_the_same_seed_gives_the_same_result():
    given = data()
    trainer = classifier()
    first, again, other = (log_search(trainer, given, epochs=1, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.values, again.values) and first.best_lr == again.best_lr
    assert not np.array_equal(first.values, other.values)
    built = log_search(classifier, given, epochs=1, seed=3)  # a function of the seed
    assert np.array_equal(built.values, log_search(classifier(3), given, epochs=1, seed=3).values)


def test_every_training_begins_at_the_same_place():
    """The order of the rates does not matter, nor does their number."""
    trainer, given = classifier(), data()
    alone = log_search(trainer, given, [0.01], refine=False)
    among = log_search(trainer, given, [1.0, 0.01, 0.1], refine=False)
    assert alone.values[0] == among.values[0]
    assert alone.histories[0]["loss"] == among.histories[0]["loss"]


def test_a_metric_and_data_of_every_kind():
    x, y = data()
    trainer = classifier()
    found = log_search(trainer, (x, y), monitor="val_accuracy")
    assert found.best_value == max(found.values)
    worst = log_search(trainer, (x, y), monitor="val_accuracy", mode="min")
    assert worst.best_value == min(worst.values)
    weight = np.linspace(0, 1, 60).astype(np.float32)
    batches, held = Batches(x[:40], y[:40], 10, seed=4), (x[40:], y[40:])
    for given, more in (
        ((x, y, weight), {}),
        (batches, {"validation_data": held}),
        ([(x[:40], y[:40])], {"validation_data": held}),
        ((x, y), {"validation_split": 0.3}),
        ((x, y), {"monitor": "loss", "validation_split": 0.0}),
    ):
        assert len(log_search(trainer, given, [0.1, 0.01], epochs=1, refine=False, **more).values) == 2


def test_rates_that_diverge_are_left_out():
    trainer, given = quadratic(3.0)
    before = state(trainer)
    found = log_search(trainer, given, [0.1, 1e200], refine=False)
    assert found.best_lr == 0.1 and math.isnan(found.values[1]) and found.histories[1] is None
    assert same(state(trainer), before)
    text = str(found).splitlines()
    assert text[0].split() == ["lr", "val_loss"] and text[1].split()[::2] == ["0.1", "best"]
    assert text[2].split() == ["1e+200", "nan"]
    with pytest.raises(NonFiniteError, match=r"stays finite\. Received: 1e\+200, 1e\+220; try smaller ones"):
        log_search(trainer, given, [1e200, 1e220])
    assert same(state(trainer), before)


def test_ctrl_c_ends_the_search():
    x, y = data()
    trainer, calls = classifier(), []

    def source(epoch):
        calls.append(epoch)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return iter([(x, y)])

    before = state(trainer)
    with pytest.raises(KeyboardInterrupt):
        log_search(trainer, source, validation_data=(x, y))
    assert len(calls) == 3 and same(state(trainer), before)


# lr_range_test


def test_rates_and_losses():
    trainer, given = quadratic(3.0)
    w = trainer.model.theta[0]
    found = lr_range_test(trainer, given, 1e-3, 10.0, steps=60, batch_size=4, stop_at=math.inf)
    assert found.lrs == pytest.approx(1e-3 * 10 ** (4 * np.arange(60) / 59), rel=1e-12)
    before = np.concatenate([[1.0], np.cumprod(1 - 3 * found.lrs)[:-1]])
    assert found.losses == pytest.approx(1.5 * (w * before) ** 2, rel=1e-9)
    average = 0.0
    for i, loss in enumerate(found.losses):
        average = 0.9 * average + 0.1 * loss
        assert found.smoothed[i] == pytest.approx(average / (1 - 0.9 ** (i + 1)), rel=1e-12)
    assert not found.diverged and trainer.model.theta[0] == w


def test_a_line_of_rates():
    trainer, given = quadratic(3.0)
    found = lr_range_test(trainer, given, 0.01, 0.3, steps=30, shape="linear", smoothing=0.0)
    assert found.lrs == pytest.approx(np.arange(1, 31) / 100, rel=1e-12)
    assert np.array_equal(found.losses, found.smoothed)


def test_it_ends_when_the_loss_rises():
    trainer, given = quadratic(3.0)
    found = lr_range_test(trainer, given, 1e-3, 1e3, steps=100)
    assert found.diverged and len(found.lrs) == len(found.losses) == len(found.smoothed) < 100
    assert found.smoothed[-1] > 4 * found.smoothed.min() and found.smoothed[-2] <= 4 * found.smoothed.min()
    assert 0.01 < found.steepest_lr < found.lowest_lr < found.lrs[-1]
    assert found.lrs[-1] > 2 / 3  # below that the loss cannot rise
    huge = lr_range_test(trainer, given, 1e-3, 1e300, steps=40, stop_at=math.inf)
    assert huge.diverged and np.isfinite(huge.losses).all()


def test_where_the_loss_falls_fastest():
    from fastnn.training import RangeTest

    lrs = np.geomspace(1e-4, 1, 9)
    smoothed = np.array([2.0, 2.0, 1.9, 1.6, 0.9, 0.5, 0.4, 0.6, 3.0])
    found = RangeTest(lrs, smoothed, smoothed, False)
    assert found.lowest_lr == lrs[6]
    assert found.steepest_lr == lrs[4]  # central differences: (0.5 - 1.6) / 2 is the lowest
    by_chance = smoothed + np.array([3.0, 0, 0, 0, 0, 0, 0, 0, 0])  # the first batch was a hard one
    assert RangeTest(lrs, by_chance, by_chance, False).steepest_lr == lrs[0]
    assert RangeTest(lrs, by_chance, by_chance, False, smoothing=0.67).steepest_lr == lrs[4]
    rising = RangeTest(lrs, smoothed[::-1] * 0 + np.arange(9), np.arange(9.0), False)
    assert rising.lowest_lr == rising.steepest_lr == lrs[0]
    with pytest.raises(ValueError, match=r"RangeTest: expected at least 2 updates.*Received: 1; .*lr_min"):
        _ = RangeTest(lrs[:1], smoothed[:1], smoothed[:1], True).steepest_lr


def test_the_range_test_repeats_and_goes_through_the_data_again():
    given, trainer = data(), classifier()
    first, again, other = (
        lr_range_test(trainer, given, steps=15, batch_size=16, seed=seed) for seed in (0, 0, 1)
    )
    assert len(first.losses) == 15  # 4 batches an epoch
    assert np.array_equal(first.losses, again.losses) and not np.array_equal(first.losses, other.losses)
    built = lr_range_test(classifier, given, steps=5, seed=3)
    assert np.array_equal(built.losses, lr_range_test(classifier(3), given, steps=5, seed=3).losses)
    x, y = given
    assert len(lr_range_test(trainer, lambda epoch: iter([(x, y)]), steps=3).losses) == 3
    assert len(lr_range_test(trainer, (x, y, np.ones(60, np.float32)), steps=3).losses) == 3


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lrs": []}, "log_search: lrs: expected at least one learning rate"),
        ({"lrs": [0.1, 0]}, r"log_search: lrs: expected a number in \(0, inf\)\. Received: 0"),
        (
            {"monitor": "val_los"},
            "log_search: monitor: expected one of loss, accuracy, val_loss, val_accuracy",
        ),
        ({"mode": "best"}, "mode: expected 'auto', 'min' or 'max'"),
        ({"epochs": 0}, "log_search: epochs: expected an integer of at least 1"),
        ({"validation_split": 2}, "validation_split: expected a number"),
    ],
)
def test_wrong_arguments_of_the_search(options, message):
    trainer = classifier()
    before = state(trainer)
    with pytest.raises(ValueError, match=f"^{message}"):
        log_search(trainer, data(), **options)
    assert same(state(trainer), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr_min": 0}, r"lr_range_test: lr_min: expected a number in \(0, inf\)"),
        ({"lr_min": 0.5, "lr_max": 0.1}, r"lr_range_test: lr_max: expected a number in \(0\.5, inf\)"),
        ({"steps": 1}, "lr_range_test: steps: expected an integer of at least 2"),
        ({"steps": 2.5}, "lr_range_test: steps: expected an integer"),
        ({"shape": "cosine"}, "lr_range_test: shape: expected 'exponential' or 'linear'"),
        ({"smoothing": 1}, r"lr_range_test: smoothing: expected a number in \[0, 1\)"),
        ({"stop_at": 1}, "lr_range_test: stop_at: expected a number"),
    ],
)
def test_wrong_arguments_of_the_range_test(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        lr_range_test(classifier(), data(), **options)


@pytest.mark.parametrize("search", [log_search, lr_range_test])
def test_what_is_no_trainer(search):
    with pytest.raises(TypeError, match=rf"^{search.__name__}: trainer: expected a Trainer, or a function"):
        search(classifier().model, data())
    unbuilt = Trainer(Sequential([Dense(2)]), SoftmaxCrossEntropy(), SGD(lr=0.1))
    with pytest.raises(NotBuiltError, match="input_shape"):
        search(unbuilt, data())
    with pytest.raises(ValueError, match=r"^y: expected targets"):
        search(classifier(), data()[0])
