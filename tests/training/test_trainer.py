import gc
import os
import signal
import threading
import tracemalloc

import numpy as np
import pytest

from fastnn import metrics
from fastnn.data.batches import Batches
from fastnn.layers.containers import Sequential
from fastnn.layers.dense import Dense
from fastnn.layers.dropout import Dropout
from fastnn.layers.reshape import Flatten, Reshape
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


# One step


def test_train_step_is_gradient_descent():
    x, y = data()
    t = trainer(lr=0.1)
    before = t.model.theta.copy()
    loss = t.train_step(x, y)
    assert loss == pytest.approx(
        t.loss.evaluate(Sequential([Dense(8, activation="tanh"), Dense(3)], (4,), 3).predict(x), y)
    )
    assert np.allclose(t.model.theta, before - 0.1 * t.model.grad, rtol=1e-5, atol=1e-7)
    assert t.optimizer.n_steps == 1 and np.abs(t.model.grad).max() > 0


def test_train_step_builds_a_model_without_input_shape():
    x, y = data()
    t = Trainer(Sequential([Dense(3)], seed=0), SoftmaxCrossEntropy(), SGD(lr=0.1))
    losses = [t.train_step(x, y) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_fit_is_a_loop_over_train_step():
    x, y = data()
    a, b = trainer(seed=5), trainer(seed=5)
    a.fit(x, y, epochs=3, batch_size=7, verbose=False)
    for epoch in range(3):
        for batch in Batches(x, y, 7, seed=5).epoch(epoch):
            b.train_step(*batch)
    assert np.array_equal(a.model.theta, b.model.theta)


def test_the_seed_is_the_models_by_default():
    assert trainer().seed == 3 and trainer(seed=9).seed == 9
    assert trainer(seed=np.random.default_rng(0)).seed == trainer(seed=np.random.default_rng(0)).seed


def test_every_fit_has_its_own_order():
    x, y = data()
    seen = []
    t = trainer(lr=0.0)
    for _ in range(2):
        t.fit(
            x,
            y,
            batch_size=60,
            verbose=False,
            callbacks=[Do("on_batch_end", lambda t: seen.append(t.output.copy()))],
        )
    assert not np.array_equal(*seen)


# History and evaluation


def test_history_columns_and_values():
    x, y = data()
    t = trainer(lr=0.0, metrics=["accuracy", "f1"])
    h = t.fit(x, y, epochs=2, batch_size=7, validation_split=0.2, verbose=False)
    assert h.names == ["loss", "accuracy", "f1", "val_loss", "val_accuracy", "val_f1", "lr", "time"]
    assert h.epochs == [1, 2] and h is t.history and h["lr"] == [0.0, 0.0] and min(h["time"]) > 0
    # The parameters do not move, so both parts together are all samples.
    whole = t.evaluate(x, y)
    assert whole["loss"] == pytest.approx(0.8 * h["loss"][0] + 0.2 * h["val_loss"][0], rel=1e-6)
    assert whole["accuracy"] == pytest.approx(0.8 * h["accuracy"][0] + 0.2 * h["val_accuracy"][0])


def test_the_validation_split_is_stratified_and_the_same_in_every_fit():
    x, y = data(100)
    t = trainer(lr=0.0)
    values = [t.fit(x, y, validation_split=0.3, verbose=False)["val_loss"][0] for _ in range(2)]
    assert values[0] == values[1]
    rows = np.eye(3, dtype=np.float32)[y]
    by_rows = trainer(lr=0.0).fit(x, rows, validation_split=0.3, verbose=False)["val_loss"][0]
    assert by_rows == pytest.approx(values[0], rel=1e-5)  # one-hot targets are stratified the same way


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_evaluate_does_not_depend_on_the_batches(batch_size):
    x, y = data()
    t = trainer(metrics=["accuracy", "f1", "top_2_accuracy"])
    output = t.model.predict(x)
    got = t.evaluate(x, y, batch_size=batch_size)
    assert got["loss"] == pytest.approx(t.loss.evaluate(output, y), rel=1e-6)
    assert got["accuracy"] == np.mean(output.argmax(1) == y)
    assert got["f1"] == pytest.approx(metrics.f1(output, y))
    assert t.model.workspace.keep and t.model.layers[0].saved is None


def test_evaluate_with_weights():
    x, y = data()
    t, w = trainer(), np.random.default_rng(0).random(60)
    whole = t.loss.evaluate(t.model.predict(x), y, w)
    assert t.evaluate(x, y, sample_weight=w, batch_size=7)["loss"] == pytest.approx(whole, rel=1e-6)


def test_weights_of_zero_leave_samples_out():
    x, y = data()
    w = np.ones(60, np.float32)
    w[30:] = 0
    a, b = trainer(), trainer()
    a.fit(x, y, epochs=3, batch_size=None, sample_weight=w, shuffle=False, verbose=False)
    b.fit(x[:30], y[:30], epochs=3, batch_size=None, shuffle=False, verbose=False)
    assert np.allclose(a.model.theta, b.model.theta, atol=1e-6)


def test_summed_loss_adds_up_over_batches():
    x, _ = data()
    target = np.zeros((60, 3), np.float32)
    t = trainer(loss=SquaredError("sum"), metrics=["mean_absolute_error"])
    output = t.model.predict(x)
    assert t.evaluate(x, target, batch_size=7)["loss"] == pytest.approx(float((output**2).sum()), rel=1e-5)


def test_bytes_are_scaled_in_fit_evaluate_and_predict():
    x = np.random.default_rng(0).integers(0, 256, (40, 4), np.uint8)
    y = (x[:, 0] > 127).astype(np.uint8)
    scaled = x.astype(np.float32) / np.float32(255)
    a, b = trainer(), trainer()
    a.fit(x, y, epochs=2, verbose=False)
    b.fit(scaled, y, epochs=2, verbose=False)
    assert np.array_equal(a.model.theta, b.model.theta)
    assert a.evaluate(x, y) == b.evaluate(scaled, y)
    assert np.array_equal(a.predict(x, batch_size=7), b.predict(scaled, batch_size=7))


def test_an_autoencoder_has_its_inputs_as_targets():
    x = np.random.default_rng(0).integers(0, 256, (40, 2, 2, 1), np.uint8)
    layers = [Flatten(), Dense(4), Reshape((2, 2, 1))]
    t = Trainer(Sequential(layers, (2, 2, 1), seed=0), SquaredError(), Adam(lr=0.05))
    h = t.fit(x, x, epochs=30, verbose=False)
    assert h["loss"][-1] < 0.1 * h["loss"][0]


def test_memory_maps(tmp_path):
    x, y = data()
    np.save(tmp_path / "x.npy", x)
    a, b = trainer(), trainer()
    a.fit(np.load(tmp_path / "x.npy", mmap_mode="r"), y, epochs=2, validation_split=0.2, verbose=False)
    b.fit(x, y, epochs=2, validation_split=0.2, verbose=False)
    assert np.array_equal(a.model.theta, b.model.theta)


# How training ends


def test_ctrl_c_ends_after_the_batch():
    x, y = data()
    t = trainer()

    def interrupt(t):
        if (t.epoch, t.batch) == (2, 2):
            os.kill(os.getpid(), signal.SIGINT)

    h = t.fit(x, y, epochs=9, batch_size=20, verbose=False, callbacks=[Do("on_batch_end", interrupt)])
    assert len(h) == 2 and t.interrupted and (t.epoch, t.batch, t.optimizer.n_steps) == (2, 2, 8)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(t.fit(x, y, epochs=1, verbose=False)) == 1 and not t.interrupted


def test_ctrl_c_says_so(capsys):
    x, y = data()
    stop = Do("on_batch_end", lambda t: os.kill(os.getpid(), signal.SIGINT))
    trainer().fit(x, y, batch_size=20, verbose=False, callbacks=[stop])
    assert "Ctrl-C: training stopped in epoch 1 after batch 1" in capsys.readouterr().err


def test_a_second_ctrl_c_raises_and_callbacks_end():
    x, y = data()
    ended = []

    def interrupt(t):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    callbacks = [Do("on_batch_end", interrupt), Do("on_fit_end", ended.append)]
    with pytest.raises(KeyboardInterrupt):
        trainer().fit(x, y, verbose=False, callbacks=callbacks)
    assert len(ended) == 1


def test_a_keyboard_interrupt_from_the_data_ends_cleanly():
    x, y = data()

    def batches(epoch):
        yield x, y
        if epoch == 1:
            raise KeyboardInterrupt

    h = trainer().fit(batches, epochs=5, verbose=False)
    assert len(h) == 1


def test_a_users_signal_handler_is_left_alone():
    x, y = data()
    calls = []
    before = signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    try:
        stop = Do("on_batch_end", lambda t: os.kill(os.getpid(), signal.SIGINT))
        assert len(trainer().fit(x, y, batch_size=60, verbose=False, callbacks=[stop])) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [1]


def test_fit_in_another_thread():
    x, y = data()
    result = []
    thread = threading.Thread(target=lambda: result.append(trainer().fit(x, y, verbose=False)))
    thread.start()
    thread.join()
    assert len(result[0]) == 1


def test_stop_training_ends_within_the_epoch():
    x, y = data()
    t = trainer()
    stop = Do("on_batch_end", lambda t: setattr(t, "stop_training", True))
    assert len(t.fit(x, y, epochs=3, batch_size=20, callbacks=stop, verbose=False)) == 0 and t.batch == 1


def test_errors_of_callbacks_come_through_and_the_others_end():
    x, y = data()
    ended = []

    def fail(t):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        trainer().fit(
            x, y, verbose=False, callbacks=[Do("on_epoch_end", fail), Do("on_fit_end", ended.append)]
        )
    assert len(ended) == 1


def test_initial_epoch_numbers_the_epochs():
    x, y = data()
    assert trainer().fit(x, y, epochs=5, initial_epoch=3, verbose=False).epochs == [4, 5]


# Memory


def test_steady_steps_allocate_nothing_that_stays():
    x, y = data()
    t = trainer(optimizer=Adam(lr=1e-3), layers=[Dense(64, activation="relu"), Dropout(0.5), Dense(3)])
    for _ in range(20):
        t.train_step(x, y)
    gc.collect()
    held = t.model.workspace.n_bytes
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        t.train_step(x, y)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert t.model.workspace.n_bytes == held
    assert now - before < 2000  # numbers and views; one activation is 15360 bytes
    assert peak - before < 10_000


def test_epochs_allocate_nothing_that_stays():
    x, y = data(200)
    t = trainer(optimizer=Adam(lr=1e-3), layers=[Dense(64, activation="relu"), Dropout(0.5), Dense(3)])
    sizes = []

    def measure(t):
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    t.fit(x, y, epochs=12, validation_split=0.2, verbose=False, callbacks=[Do("on_epoch_end", measure)])
    tracemalloc.stop()
    assert sizes[-1] - sizes[5] < 5000  # the history's numbers
