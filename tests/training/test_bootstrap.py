"""Bagging: seeds and bits, bootstrap samples, the out-of-bag estimate, what it improves, and failures."""

import os
import signal
import sys
import threading
import types

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels
from fastnn.training import Callback

X, Y = nn.datasets.moons(240, noise=0.3, seed=0)


def build(seed, units=8, lr=0.02, **options):
    model = nn.Sequential([nn.Dense(units, activation="tanh"), nn.Dense(2)], (2,), seed=seed, **options)
    return nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=lr), metrics=["accuracy"])


def sendable():
    """The same as a function that other processes need not import: pytest's modules have no place there."""

    def build(seed):
        model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(2)], (2,), seed=seed)
        return nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=0.02), metrics=["accuracy"])

    return build


def same(a, b):
    return all(np.array_equal(m.theta, n.theta) for m, n in zip(a.models, b.models))


def curves(ensemble):
    return [h["loss"] for h in ensemble.histories]


def test_the_same_seed_gives_the_same_bits_in_any_number_of_processes():
    pytest.importorskip("joblib")
    options = {"k": 3, "epochs": 3, "seed": 5}
    alone = nn.bagging(sendable(), (X, Y), n_jobs=1, **options)
    for n_jobs in (2, 3):
        others = nn.bagging(sendable(), (X, Y), n_jobs=n_jobs, **options)
        assert same(alone, others) and curves(alone) == curves(others) and alone.oob == others.oob
        assert all(map(np.array_equal, alone.samples, others.samples))
    assert not same(alone, nn.bagging(build, (X, Y), k=3, epochs=3, seed=6, n_jobs=1))


def test_processes_share_the_threads_and_the_kernels():
    pytest.importorskip("joblib")

    class Look(nn.Callback):
        def on_fit_begin(self, trainer):
            fresh = "pytest" not in sys.modules  # a forked process would have it
            raise LookupError(f"{nn.get_num_threads()} {kernels.kernels_in_use()} {fresh} {os.getpid()}")

    before, which = nn.get_num_threads(), nn.use_kernels("reference")
    nn.set_num_threads(4)
    try:
        with pytest.raises(RuntimeError, match="LookupError: 2 reference True") as caught:
            nn.bagging(sendable(), (X, Y), k=2, epochs=1, n_jobs=2, callbacks=[Look()])
        assert str(os.getpid()) not in str(caught.value).split()
    finally:
        nn.set_num_threads(before)
        nn.use_kernels(which)


def test_bootstrap_samples():
    ensemble = nn.bagging(build, (X, Y), k=20, epochs=1, n_jobs=1)
    n = len(X)
    left_out = [n - len(np.unique(sample)) for sample in ensemble.samples]
    assert all(len(sample) == n for sample in ensemble.samples)
    expected = n * (1 - 1 / n) ** n  # variance n (q_1 - q_1^2) + n (n - 1) (q_2 - q_1^2)
    q1, q2 = (1 - 1 / n) ** n, (1 - 2 / n) ** n
    variance = n * (q1 - q1**2) + n * (n - 1) * (q2 - q1**2)
    assert abs(np.mean(left_out) - expected) < 4 * np.sqrt(variance / 20)
    assert len({sample.tobytes() for sample in ensemble.samples}) == 20


def test_a_member_is_what_a_training_on_its_sample_gives():
    ensemble = nn.bagging(build, (X, Y), k=2, epochs=3, n_jobs=1, batch_size=16)
    for model, sample, history in zip(ensemble.models, ensemble.samples, ensemble.histories):
        trainer = build(model.seed)
        again = trainer.fit(X[sample], Y[sample], epochs=3, batch_size=16, verbose=False)
        assert np.array_equal(trainer.model.theta, model.theta) and again["loss"] == history["loss"]


@pytest.mark.parametrize("combine", ["mean", "vote", "geometric"])
def test_out_of_bag_by_hand(combine):
    ensemble = nn.bagging(build, (X, Y), k=4, epochs=5, n_jobs=1, combine=combine)
    right, losses, loss = [], [], nn.SoftmaxCrossEntropy()
    for i in range(len(X)):
        members = [m for m, s in zip(ensemble.models, ensemble.samples) if i not in s]
        if members:
            alone = nn.Ensemble(members, combine, "softmax")
            right.append(alone.predict(X[i : i + 1]).argmax() == Y[i])
            losses.append(alone.evaluate(X[i : i + 1], Y[i : i + 1], loss=loss)["loss"])
    assert ensemble.oob["share"] == len(right) / len(X) < 1
    assert ensemble.oob["accuracy"] == np.mean(right)
    assert ensemble.oob["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_out_of_bag_tells_the_error_on_new_data():
    ensemble = nn.bagging(build, (X, Y), k=20, epochs=30, n_jobs=1)
    assert ensemble.oob["share"] == 1.0
    x, y = nn.datasets.moons(4000, noise=0.3, seed=1)
    error = 1 - ensemble.evaluate(x, y)["accuracy"]
    standard_error = np.sqrt(error * (1 - error) / len(X))
    assert abs((1 - ensemble.oob["accuracy"]) - error) < 3 * standard_error


def test_the_ensemble_is_better_than_its_members_on_average():
    """Large networks trained long on few noisy samples: much variance, which is what averaging takes away."""
    x, y = nn.datasets.noisy_sine(30, noise=0.4, seed=0)
    x_test, y_test = nn.datasets.noisy_sine(500, noise=0.0, seed=1)

    def regression(seed):
        model = nn.Sequential([nn.Dense(30, activation="tanh"), nn.Dense(1)], x.shape[1:], seed=seed)
        return nn.Trainer(model, nn.SquaredError(), nn.Adam(lr=0.02))

    y, y_test = y.reshape(len(y), 1), y_test.reshape(len(y_test), 1)
    ensemble = nn.bagging(regression, (x, y), k=10, epochs=300, batch_size=10, n_jobs=1)
    loss = nn.SquaredError()
    each = np.array([loss.evaluate(m.predict(x_test), y_test) for m in ensemble.models])
    together = ensemble.evaluate(x_test, y_test, (), loss)["loss"]
    assert ensemble.activation == "linear"
    assert together < 0.8 * each.mean()
    # Exactly: the error of the mean is the members' mean error less their spread about the mean.
    answers = np.stack([m.predict(x_test) for m in ensemble.models]).astype(np.float64)
    assert together == pytest.approx(each.mean() - answers.var(0).mean(), rel=1e-4)


def test_without_bootstrap_and_with_different_architectures():
    builders = [build, lambda seed: build(seed, units=3), lambda seed: build(seed, units=20)]
    ensemble = nn.train_ensemble(builders, (X, Y), n_jobs=1, epochs=2, combine="vote")
    assert [m["dense1"].units for m in ensemble.models] == [8, 3, 20]
    assert ensemble.samples is None and ensemble.oob is None and len(ensemble.histories) == 3
    assert len({m.seed for m in ensemble.models}) == 3
    trainer = build(ensemble.models[0].seed)
    trainer.fit(X, Y, epochs=2, verbose=False)
    assert np.array_equal(trainer.model.theta, ensemble.models[0].theta)
    assert ensemble.evaluate(X, Y)["accuracy"] > 0.5
    assert nn.train_ensemble(builders, (X, Y), bootstrap=True, n_jobs=1, epochs=1).oob["share"] < 1


def test_what_fit_takes():
    weight = np.linspace(0.1, 1, len(X)).astype(np.float32)
    stopping = nn.EarlyStopping(patience=1, min_delta=10.0)
    ensemble = nn.bagging(
        build, (X, Y, weight), 2, n_jobs=1, epochs=9, validation_data=(X, Y), callbacks=[stopping]
    )
    assert [len(h) for h in ensemble.histories] == [2, 2]  # each has its own count
    assert stopping.best is None
    sample = ensemble.samples[1]
    trainer = build(ensemble.models[1].seed)
    trainer.fit(X[sample], Y[sample], sample_weight=weight[sample], epochs=1, verbose=False)
    assert np.array_equal(trainer.model.theta, ensemble.models[1].theta)
    assert nn.bagging(build, (X[:1], Y[:1]), 2, n_jobs=1).oob is None  # every sample is in every bag


def test_bytes_and_losses_know_the_outputs():
    images = (np.abs(X) * 60).astype(np.uint8)
    scaled = nn.bagging(build, (images.astype(np.float32) / 255, Y), 3, n_jobs=1)
    ensemble = nn.bagging(build, (images, Y), 3, n_jobs=1)
    assert ensemble.oob == pytest.approx(scaled.oob, rel=1e-5)

    def binary(seed):
        model = nn.Sequential([nn.Dense(1)], (2,), seed=seed)
        return nn.Trainer(model, nn.BinaryCrossEntropy(), nn.Adam(), metrics=["binary_accuracy"])

    def ends_in_sigmoid(seed):
        model = nn.Sequential([nn.Dense(1, activation="sigmoid")], (2,), seed=seed)
        return nn.Trainer(model, nn.SquaredError(), nn.Adam(), metrics=["binary_accuracy"])

    def log_probabilities(seed):
        model = nn.Sequential([nn.Dense(2), nn.LogSoftmax()], (2,), seed=seed)
        return nn.Trainer(model, nn.NLL(), nn.Adam(), metrics=["accuracy"])

    def logits(seed):
        return nn.Trainer(nn.Sequential([nn.Dense(2)], (2,), seed=seed), nn.SoftmaxCrossEntropy(), nn.Adam())

    target = Y[:, None].astype(np.float32)
    found = nn.bagging(log_probabilities, (X, Y), 2, n_jobs=1)
    assert found.activation == "softmax"
    assert found.oob["loss"] == pytest.approx(nn.bagging(logits, (X, Y), 2, n_jobs=1).oob["loss"], rel=1e-5)
    assert nn.bagging(binary, (X, target), 2, n_jobs=1).activation == "sigmoid"
    ensemble = nn.bagging(ends_in_sigmoid, (X, target), 2, n_jobs=1)
    assert (ensemble.activation, ensemble.kind) == ("linear", "binary")
    with pytest.raises(ValueError, match="builders: expected losses of one kind"):
        nn.train_ensemble([build, ends_in_sigmoid], (X, Y), n_jobs=1)


class FailAt(Callback):
    def __init__(self, units, action):
        self.units, self.action = units, action

    def on_epoch_end(self, trainer):
        if trainer.model["dense1"].units == self.units:
            self.action()


def fail():
    raise LookupError("nothing there")


def test_a_failure_names_the_member():
    builders = [build, lambda seed: build(seed, units=9), build]
    with pytest.raises(RuntimeError, match=r"^member 2 of 3: LookupError: nothing there$") as caught:
        nn.train_ensemble(builders, (X, Y), n_jobs=1, callbacks=[FailAt(9, fail)])
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_failure_in_another_process_names_the_member():
    pytest.importorskip("joblib")

    class Fail(Callback):
        def on_fit_begin(self, trainer):
            if trainer.model["dense1"].units == 9:
                raise LookupError("nothing there")

    def other(seed):
        model = nn.Sequential([nn.Dense(9), nn.Dense(2)], (2,), seed=seed)
        return nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=0.02), metrics=["accuracy"])

    with pytest.raises(RuntimeError, match=r"^member 2 of 2: LookupError: nothing there$"):
        nn.train_ensemble([sendable(), other], (X, Y), n_jobs=2, callbacks=[Fail()])


def test_ctrl_c_ends_all_and_names_the_member():
    interrupt = FailAt(8, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="member 1 of 3"):
        nn.bagging(build, (X, Y), 3, n_jobs=1, epochs=5, callbacks=[interrupt])


def test_what_cannot_be_sent(monkeypatch):
    pytest.importorskip("joblib")
    lock, ready = threading.Lock(), sendable()

    def locked(seed):
        with lock:
            return ready(seed)

    with pytest.raises(TypeError, match=r"expected what another process can import.*n_jobs=1 sends nothing"):
        nn.bagging(locked, (X, Y), 2, n_jobs=2)
    here_only = types.ModuleType("here_only")
    exec("def build(seed): return ready(seed)", here_only.__dict__ | {"ready": ready}, found := {})
    here_only.build = found["build"]
    here_only.build.__module__ = "here_only"
    monkeypatch.setitem(sys.modules, "here_only", here_only)
    with pytest.raises(TypeError, match="expected what another process can import"):
        nn.bagging(here_only.build, (X, Y), 2, n_jobs=2)
    assert len(nn.bagging(here_only.build, (X, Y), 2, n_jobs=1)) == 2
    assert len(nn.bagging(locked, (X, Y), 2, n_jobs=1)) == 2


def test_joblib_is_needed_for_processes_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert len(nn.bagging(build, (X, Y), 2, n_jobs=1)) == 2
    with pytest.raises(nn.MissingExtraError, match=r"pip install 'fastnn-edu\[parallel\]'.*n_jobs=1"):
        nn.bagging(build, (X, Y), 2, n_jobs=2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 0}, ValueError, "bagging: k: expected an integer of at least 1"),
        ({"n_jobs": 0}, ValueError, "n_jobs: expected an integer of at least 1"),
        ({"n_jobs": -1}, ValueError, "n_jobs: expected an integer of at least 1"),
        ({"seed": -1}, ValueError, "seed: expected"),
        ({"combine": "median"}, ValueError, "combine: expected 'mean', 'vote' or 'geometric'"),
        ({"data": X}, TypeError, r"data: expected arrays \(x, y\)"),
        ({"data": (X, Y[:-1])}, nn.ShapeError, r"data: expected as many targets.*\[240, 239\]"),
        ({"data": (X[:0], Y[:0])}, nn.ShapeError, "data: expected .*at least 1"),
        ({"validation_split": 0.1}, ValueError, "validation_split: expected 0 with bootstrap"),
        ({"build": nn.Trainer}, TypeError, "build: expected a function seed -> Trainer"),
        ({"build": lambda seed: build(seed).model}, TypeError, "build: expected a function that returns a"),
        ({"epochs": 0}, RuntimeError, "member 1 of 2: ValueError: epochs: expected"),
    ],
)
def test_errors(change, error, message):
    arguments = {"build": build, "data": (X, Y), "k": 2, "n_jobs": 1} | change
    with pytest.raises(error, match=message):
        nn.bagging(**arguments)


def test_errors_of_builders():
    with pytest.raises(TypeError, match="builders: expected a list of functions"):
        nn.train_ensemble(build, (X, Y))
    unbuilt = nn.Trainer(nn.Sequential([nn.Dense(2)]), nn.SoftmaxCrossEntropy(), nn.Adam())
    with pytest.raises(nn.NotBuiltError, match="give input_shape="):
        nn.bagging(lambda seed: unbuilt, (X, Y), 2)
    with pytest.raises(nn.ShapeError, match=r"Ensemble: models\[1\]"):
        nn.train_ensemble([build, lambda seed: build(seed, dtype="float64")], (X, Y))
