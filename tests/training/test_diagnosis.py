import numpy as np
import pytest

from fastnn.errors import NonFiniteError
from fastnn.layers.activations import ReLU
from fastnn.layers.containers import Residual, Sequential
from fastnn.layers.dense import Dense
from fastnn.layers.dropout import Dropout
from fastnn.layers.normalization import BatchNorm
from fastnn.losses import SoftmaxCrossEntropy, SquaredError
from fastnn.optimizers import SGD, Adam
from fastnn.training import Callback, Trainer


def data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0.5)


def trainer(lr=0.05, optimizer=None, loss=None, metrics=("accuracy",), layers=None, **options):
    layers = [Dense(8, activation="tanh"), Dense(3)] if layers is None else layers
    model = Sequential(layers, input_shape=(4,), seed=3)
    return Trainer(model, loss or SoftmaxCrossEntropy(), optimizer or SGD(lr=lr), metrics, **options)


class Do(Callback):
    """A callback that runs a function at one event."""

    def __init__(self, event, function):
        setattr(self, event, function)


X, Y = data()


def test_a_learning_rate_too_high_is_explained_and_undone():
    x, y = data()
    t = trainer(lr=1e30, layers=[Dense(8, activation="relu"), Dense(8, activation="relu"), Dense(3)])
    before = t.model.theta.copy()
    with pytest.raises(NonFiniteError) as caught:
        t.fit(x * 100, y, epochs=3, batch_size=20, verbose=False)
    text = str(caught.value)
    assert "in epoch 1, batch 2 (step 2), lr=1e+30" in text
    assert "Likely cause: inputs that are not scaled" in text and "learning rate too high" in text
    assert text.endswith("back where epoch 1 began, step 0.")
    assert np.array_equal(t.model.theta, before) and t.optimizer.n_steps == 0 and t.batch == 0


def poison(at_step, value=np.nan):
    def spoil(t):
        if t.optimizer.n_steps == at_step:
            t.model["dense1"].weight.data[0, 0] = value

    return Do("on_batch_end", spoil)


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1), Adam(lr=0.1)])
def test_spoiled_parameters_go_back_to_the_start_of_the_epoch(optimizer):
    x, y = data()
    layers = [Dense(8), BatchNorm(), Dropout(0.2), Dense(3)]
    t = trainer(optimizer=optimizer, layers=layers)
    good = {}

    def keep(t):
        good.update(t.model.state_dict() | {"step": t.model.workspace.step})
        good.update({f"o.{k}": v for k, v in t.optimizer.state_dict().items()})

    callbacks = [Do("on_epoch_begin", keep), poison(5)]
    with pytest.raises(
        NonFiniteError, match=r"(?s)epoch 2, batch 3 \(step 6\).*parameter dense1.weight, 1 of 32 values"
    ):
        t.fit(x, y, epochs=3, batch_size=20, callbacks=callbacks, verbose=False)
    now = t.model.state_dict() | {"step": t.model.workspace.step}
    now |= {f"o.{k}": v for k, v in t.optimizer.state_dict().items()}
    assert now.keys() == good.keys() and all(np.array_equal(now[name], good[name]) for name in good)
    assert (t.epoch, t.batch, len(t.history)) == (1, 0, 1)
    h = t.fit(x, y, epochs=3, batch_size=20, verbose=False)  # and training can go on
    assert np.isfinite(h["loss"]).all()


def test_parameters_spoiled_by_the_last_update_of_an_epoch():
    x, y = data()
    t = trainer()
    message = r"(?s)after epoch 1\. Received: dense1\.weight.*back where epoch 1 began, step 0"
    with pytest.raises(NonFiniteError, match=message):
        t.fit(x, y, batch_size=20, callbacks=[poison(3, np.inf)], verbose=False)
    assert np.isfinite(t.model.theta).all()


def test_a_bad_batch_keeps_the_last_good_step():
    x, y = data()
    bad = x.copy()
    bad[3, 1] = np.nan
    t = trainer(layers=[Dense(8), BatchNorm(), Dense(3)])
    good = trainer(layers=[Dense(8), BatchNorm(), Dense(3)])
    good.train_step(x, y)
    with pytest.raises(
        NonFiniteError, match=r"(?s)epoch 1, batch 2.*tensor: x, 1 of 240 values are nan, first in row 3"
    ):
        t.fit([(x, y), (bad, y)], verbose=False)
    assert np.array_equal(t.model.theta, good.model.theta) and t.optimizer.n_steps == 1
    assert all(np.isfinite(array).all() for array in t.model.buffers.values())
    assert t.model.workspace.step == 1


@pytest.mark.parametrize(
    "x, y, w, message",
    [
        (X * np.float32(1e38), Y, None, r"output of dense1 \(Dense\).*inputs that are not scaled"),
        (X, Y, np.zeros(60, np.float32), "sample_weight: expected a positive sum"),
        (X, Y, np.full(60, np.nan, np.float32), "sample_weight"),
    ],
)
def test_train_step_names_the_cause(x, y, w, message):
    t = trainer(layers=[Dense(4, weight_init=lambda shape, rng: np.full(shape, 9.0)), ReLU(), Dense(3)])
    before = t.model.theta.copy()
    with pytest.raises((NonFiniteError, ValueError), match=f"(?s){message}"):
        t.train_step(x, y, w)
    assert np.array_equal(t.model.theta, before)
    assert "forward" not in vars(t.model.layers[0]) and t.model.workspace.step <= 1


def test_overflow_inside_a_nested_model_and_in_the_loss():
    t = trainer(
        layers=[Residual([Dense(4, weight_init=lambda shape, rng: np.full(shape, 1e30))], name="r"), Dense(3)]
    )
    with pytest.raises(NonFiniteError, match=r"output of dense1 \(Dense\)|output of \w+ \(Dense\)"):
        t.train_step(np.abs(X) * np.float32(1e20), Y)
    t = Trainer(Sequential([Dense(1)], (4,)), SquaredError(), SGD(lr=0.1))
    with pytest.raises(NonFiniteError, match=r"output is finite.*largest target 1e"):
        t.train_step(X, np.full((60, 1), 1e30, np.float32))
