import numpy as np
import pytest

from fastnn.data.batches import Batches
from fastnn.errors import NotBuiltError, ShapeError
from fastnn.layers.containers import Sequential
from fastnn.layers.dense import Dense
from fastnn.losses import SoftmaxCrossEntropy, SquaredError
from fastnn.optimizers import SGD
from fastnn.training import Checkpoint, EarlyStopping, Trainer


def data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0.5)


def trainer(lr=0.05, optimizer=None, loss=None, metrics=("accuracy",), layers=None, **options):
    layers = [Dense(8, activation="tanh"), Dense(3)] if layers is None else layers
    model = Sequential(layers, input_shape=(4,), seed=3)
    return Trainer(model, loss or SoftmaxCrossEntropy(), optimizer or SGD(lr=lr), metrics, **options)


# Batches of the user's own


def test_iterables_functions_and_batches():
    x, y = data()
    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 60, 10)]
    wanted = trainer()
    wanted.fit(x, y, epochs=2, batch_size=10, shuffle=False, verbose=False)
    for source in (batches, lambda epoch: iter(batches), Batches(x, y, 10, shuffle=False)):
        t = trainer()
        h = t.fit(source, epochs=2, validation_data=batches[:2], verbose=False)
        assert np.array_equal(t.model.theta, wanted.model.theta)
        assert h["val_loss"][-1] == pytest.approx(t.evaluate(x[:20], y[:20])["loss"])
    assert t.evaluate(batches) == pytest.approx(t.evaluate(x, y))
    assert len(trainer().fit(iter(batches), epochs=1, verbose=False)) == 1


def test_functions_get_the_epoch():
    x, y = data()
    seen = []
    trainer().fit(lambda epoch: seen.append(epoch) or [(x, y)], epochs=3, verbose=False)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize(
    "source, options, error, message",
    [
        (iter([]), {"epochs": 2}, ValueError, "which is empty after the first; give a list"),
        ([], {}, ValueError, "expected at least 1 batches in epoch 1. Received: 0"),
        ([np.zeros((2, 4))], {}, TypeError, r"expected batches \(x, y\).*ndarray of shape"),
        ([(1, 2, 3, 4)], {}, TypeError, "Received: tuple of 4"),
        (3, {}, TypeError, "expected arrays, an iterable of batches"),
        (np.zeros((3, 4)), {}, ValueError, r"y: expected targets. Received: None; an autoencoder"),
        ([()], {"validation_split": 0.5}, ValueError, "use validation_data"),
        ([()], {"sample_weight": np.ones(3)}, ValueError, "expected it in the batches"),
    ],
)
def test_wrong_batches(source, options, error, message):
    t = trainer()
    before = t.model.theta.copy()
    with pytest.raises(error, match=message):
        t.fit(source, verbose=False, **options)
    assert np.array_equal(t.model.theta, before)


def test_batches_need_a_built_model():
    t = Trainer(Sequential([Dense(3)]), SoftmaxCrossEntropy(), SGD(lr=0.1))
    with pytest.raises(NotBuiltError, match="Give input_shape"):
        t.fit([data()], verbose=False)
    with pytest.raises(NotBuiltError):
        t.evaluate([data()])


# Wrong arguments change nothing

X, Y = data()
NAN = X.copy()
NAN[17, 2] = np.nan


@pytest.mark.parametrize(
    "x, y, options, error, message",
    [
        (X[:, :3], Y, {}, ShapeError, r"x: expected shape \(N, 4\). Received: shape=\(60, 3\)"),
        (X.astype(np.float64), Y, {}, TypeError, "expected dtype float32"),
        (X[:0], Y[:0], {}, ValueError, "at least one sample"),
        (X, Y[:50], {}, ShapeError, "y: expected 60 targets.*Received: 50"),
        (X, Y + 1, {}, ValueError, "labels from 0 to 2"),
        (X, Y[:, None], {}, ShapeError, r"target: expected integer labels \(60,\).*target\[:, 0\]"),
        (X, np.eye(4, dtype=np.float32)[Y], {}, ShapeError, "these rows have 4 classes"),
        (X, Y.astype(np.float32), {}, TypeError, "astype"),
        (NAN, Y, {}, ValueError, r"x: expected finite numbers. Received: nan at index \(17, 2\)"),
        (X, Y, {"epochs": 0}, ValueError, "epochs: expected an integer of at least 1"),
        (X, Y, {"epochs": 1.5}, ValueError, "epochs: expected an integer"),
        (X, Y, {"batch_size": 0}, ValueError, "batch_size"),
        (X, Y, {"validation_split": 1.0}, ValueError, r"validation_split: expected a number in \[0, 1\)"),
        (X, Y, {"validation_split": 0.001}, ValueError, "both parts"),
        (X, Y, {"validation_split": 0.1, "validation_data": (X, Y)}, ValueError, "one of the two"),
        (X, Y, {"validation_data": (X[:, :2], Y)}, ShapeError, r"expected shape \(N, 4\)"),
        (X, Y, {"validation_data": (NAN, Y)}, ValueError, "validation x: expected finite"),
        (X, Y, {"sample_weight": np.ones(3)}, ShapeError, r"sample_weight: expected shape \(60,\)"),
        (X, Y, {"sample_weight": -np.ones(60)}, ValueError, "sample_weight: expected numbers of at least 0"),
        (X, Y, {"sample_weight": np.zeros(60)}, ValueError, "not all 0"),
        (X, Y, {"callbacks": [EarlyStopping()]}, ValueError, "'val_loss'; it needs validation data"),
        (X, Y, {"callbacks": [EarlyStopping("los")]}, ValueError, "monitor: expected one of loss"),
        (X, Y, {"callbacks": [EarlyStopping]}, TypeError, "expected Callback objects"),
        (X, Y, {"callbacks": [Checkpoint("/nowhere/c")]}, FileNotFoundError, "create /nowhere"),
        (X, Y, {"callbacks": [Checkpoint("c", best_only=True)]}, ValueError, "needs validation data"),
    ],
)
def test_wrong_arguments_change_nothing(x, y, options, error, message):
    t = trainer()
    before = t.model.theta.copy()
    with pytest.raises(error, match=message):
        t.fit(x, y, verbose=False, **options)
    assert np.array_equal(t.model.theta, before) and t.optimizer.n_steps == 0 and not len(t.history)


def test_regression_target_is_not_broadcast():
    t = Trainer(Sequential([Dense(1)], (4,)), SquaredError(), SGD(lr=0.1))
    with pytest.raises(ShapeError, match=r"target\[:, None\]"):
        t.fit(X, X[:, 0], verbose=False)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"model": Dense(3)}, "model: expected a"),
        ({"loss": SoftmaxCrossEntropy}, r"write SoftmaxCrossEntropy\(\.\.\.\)"),
        ({"loss": "mse"}, "loss: expected a Loss object"),
        ({"optimizer": "adam"}, "optimizer: expected a Optimizer object"),
    ],
)
def test_wrong_parts(arguments, message):
    model = Sequential([Dense(3)], (4,))
    with pytest.raises(TypeError, match=message):
        Trainer(**({"model": model, "loss": SoftmaxCrossEntropy(), "optimizer": SGD(lr=0.1)} | arguments))


def test_metrics_need_different_names():
    with pytest.raises(ValueError, match="different names"):
        trainer(metrics=["accuracy", "accuracy"])
    assert [m.name for m in trainer(metrics="accuracy").metrics] == ["accuracy"]
