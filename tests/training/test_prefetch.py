"""Augmented batches from a thread: the same bits, bounded, and no thread is left behind."""

import os
import signal
import threading
import time
import traceback

import numpy as np
import pytest

from fastnn import augmentation as aug
from fastnn.data.batches import Batches
from fastnn.errors import ShapeError
from fastnn.layers.containers import Sequential
from fastnn.layers.dense import Dense
from fastnn.layers.reshape import Flatten
from fastnn.losses import SoftmaxCrossEntropy
from fastnn.optimizers import SGD
from fastnn.training import Callback, Trainer
from fastnn.training.prefetch import Feed, ahead


def pictures(n=50, shape=(6, 6, 1)):
    x = np.random.default_rng(1).random((n, *shape)).astype(np.float32)
    return x, (x[:, :3].mean((1, 2, 3)) > 0.5).astype(np.int64)


def seer(shape=(6, 6, 1), lr=0.1):
    model = Sequential([Flatten(), Dense(2)], input_shape=shape, seed=3)
    return Trainer(model, SoftmaxCrossEntropy(), SGD(lr=lr))


def no_thread_is_left():
    return not [thread for thread in threading.enumerate() if thread.name == "fastnn batches"]


class Fails(aug.RandomFlip):
    """Until `after` batches were changed."""

    def __init__(self, after=0):
        super().__init__()
        self.after = after

    def change(self, x, y, draws):
        self.after -= 1
        if self.after < 0:
            raise ZeroDivisionError("the augmentation's own fault")
        super().change(x, y, draws)


AUGMENT = aug.Compose([aug.RandomShift(1), aug.RandomFlip(), aug.RandomBrightness(0.1)])


def test_the_model_sees_augmented_images_of_the_right_step():
    x, y = pictures()
    batches = Batches(x, y, 8, seed=5)
    for prefetch in (0, 1, 3):
        feed = Feed(batches, AUGMENT, prefetch, seed=11)
        seen = [(a.copy(), b.copy()) for a, b in feed.epoch(2, 3)]
        assert len(seen) == 4
        for i, ((image, label), (plain, target)) in enumerate(zip(seen, batches.epoch(2, 3)), 3):
            np.testing.assert_array_equal(image, AUGMENT(plain, seed=11, step=(2 << 32) + i))
            np.testing.assert_array_equal(label, target)
    assert no_thread_is_left()


def test_prefetch_changes_no_bit_and_validation_is_not_augmented():
    x, y = pictures()
    thetas, options = [], {"epochs": 3, "batch_size": 8, "validation_data": (x, y), "verbose": False}
    for prefetch in (0, 1, 2, 30, None):
        t = seer()
        history = t.fit(x, y, augment=AUGMENT, prefetch=prefetch, **options)
        assert history["val_loss"][-1] == pytest.approx(t.evaluate(x, y)["loss"], rel=1e-6)
        thetas.append(t.model.theta.copy())
    assert all(np.array_equal(theta, thetas[0]) for theta in thetas)
    plain, ahead = seer(), seer()
    plain.fit(x, y, **options)
    ahead.fit(x, y, prefetch=2, **options)
    assert np.array_equal(plain.model.theta, ahead.model.theta)
    assert not np.array_equal(plain.model.theta, thetas[0])


def test_another_fit_draws_other_numbers():
    x, y = pictures()
    t, seen = seer(), []

    class Sees(aug.RandomShift):
        def change(self, x, y, draws):
            seen.append(draws.copy())
            super().change(x, y, draws)

    for _ in range(2):
        t.fit(x, y, epochs=2, batch_size=None, augment=Sees(2), verbose=False)
    seen = [draws for draws in seen if draws.shape[1] == 50]  # not the check of the first image
    assert len({draws.tobytes() for draws in seen}) == len(seen) == 4


def test_streams_weights_autoencoders_and_bytes():
    x, y = pictures()
    weight = np.linspace(0.5, 1, 50)
    batches = [(x[i : i + 10], y[i : i + 10], weight[i : i + 10]) for i in range(0, 50, 10)]
    wanted, t = seer(), seer()
    options = {"epochs": 2, "augment": AUGMENT, "verbose": False}
    wanted.fit(x, y, batch_size=10, shuffle=False, sample_weight=weight, **options)
    t.fit(batches, **options)
    np.testing.assert_allclose(t.model.theta, wanted.model.theta, rtol=1e-5)
    images = next(Feed(Batches(x, x, 10), AUGMENT, 1, 0).epoch(0))
    assert images[0] is images[1]  # what an autoencoder is to return
    feed = Feed(Batches((255 * x).astype(np.uint8), y, 10, shuffle=False), aug.RandomFlip("both", 1.0), 0, 0)
    np.testing.assert_allclose(next(feed.epoch(0))[0], np.floor(255 * x[:10, ::-1, ::-1]) / 255, rtol=1e-6)


def test_crops_of_another_size():
    x, y = pictures(shape=(8, 8, 1))
    t = seer()
    t.fit(x, y, augment=aug.RandomCrop(6), validation_data=(x[:, 1:-1, 1:-1], y), verbose=False)
    unbuilt = Trainer(Sequential([Flatten(), Dense(2)], seed=0), SoftmaxCrossEntropy(), SGD(lr=0.1))
    unbuilt.fit(x, y, augment=aug.RandomCrop(5), verbose=False)
    assert unbuilt.model.input_shape == (5, 5, 1)
    with pytest.raises(ShapeError, match=r"x: expected shape \(N, 6, 6, 1\). Received: shape=\(1, 7, 7, 1\)"):
        seer().fit(x, y, augment=aug.RandomCrop(7), verbose=False)


def test_batches_are_lent_again():
    x, y = pictures(400)
    feed = Feed(Batches(x, y, 16, seed=0), AUGMENT, 2, 0)
    for epoch in range(6):
        for _ in feed.epoch(epoch):
            pass
    # Of 150 batches: one is ready, the changes of the next alternate between two arrays, and a loop that gets
    # a batch still has the one before.
    assert len(feed._workspace.arrays()) <= 1 + 2 + 2


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_than_that_ahead(count):
    made, threads = [], set()

    def source():
        for i in range(20):
            made.append(i)
            threads.add(threading.current_thread())
            yield (i, i)

    for taken, (i, _) in enumerate(ahead(source(), count), 1):
        while len(made) < min(taken + count, 20):
            time.sleep(0.001)
        time.sleep(0.005)  # in which the thread must not go on
        assert i == taken - 1 and len(made) == min(taken + count, 20)
    assert threading.main_thread() not in threads and len(threads) == 1


def test_the_next_batch_is_made_while_this_one_is_used():
    begun = threading.Event()

    def source():
        yield (0, 0)
        begun.set()
        yield (1, 1)

    batches = ahead(source(), 1)
    next(batches)
    assert begun.wait(20)
    batches.close()
    assert no_thread_is_left()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_errors_come_with_traceback_and_batch(prefetch):
    x, y = pictures()
    t = seer()
    with pytest.raises(ZeroDivisionError, match="own fault") as info:
        t.fit(x, y, epochs=4, batch_size=10, augment=Fails(8), prefetch=prefetch, verbose=False)
    assert any(frame.name == "change" for frame in traceback.extract_tb(info.value.__traceback__))
    if hasattr(info.value, "__notes__"):
        assert info.value.__notes__ == ["This happened while batch 3 of epoch 2 was prepared."]
    assert t.optimizer.n_steps == 7 and no_thread_is_left()

    def source(epoch):
        yield x[:10], y[:10]
        raise OSError("no more pictures")

    with pytest.raises(OSError, match="no more pictures"):
        seer().fit(source, augment=AUGMENT, prefetch=prefetch, verbose=False)
    with pytest.raises(ValueError, match="expected at least 1 batches in epoch 1"):
        seer().fit([], augment=AUGMENT, prefetch=prefetch, verbose=False)


class At(Callback):
    def __init__(self, function):
        self.function = function

    def on_batch_end(self, trainer):
        if trainer.epoch == 1 and trainer.batch == 2:
            self.function(trainer)


def test_the_thread_ends_with_the_training():
    x, y = pictures()
    options = {"epochs": 4, "batch_size": 5, "augment": AUGMENT, "prefetch": 2, "verbose": False}

    def fit(function, **others):
        t = seer()
        t.fit(x, y, callbacks=[At(function)], **(options | others))
        return t

    stopped = fit(lambda t: setattr(t, "stop_training", True))
    assert stopped.batch == 2 and no_thread_is_left()
    interrupted = fit(lambda t: os.kill(os.getpid(), signal.SIGINT))
    assert interrupted.interrupted and interrupted.batch == 2 and no_thread_is_left()
    with pytest.raises(KeyError) as kept:  # whose traceback keeps the frames of the training
        fit(lambda t: {}["nothing"])
    assert kept.value.__traceback__ is not None and no_thread_is_left()


def test_ctrl_c_while_the_source_does_not_answer():
    x, y = pictures()
    answer = threading.Event()

    def source(epoch):
        yield x, y
        answer.wait()

    def press():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            answer.wait(0.2)

    timer = threading.Timer(0.3, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        seer().fit(source, augment=AUGMENT, verbose=False)
    answer.set()
    timer.join()
    for thread in threading.enumerate():
        if thread.name == "fastnn batches":
            thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_trains_too():
    x, y = pictures()
    t = seer()
    options = {"epochs": 2, "batch_size": 8, "augment": AUGMENT, "verbose": False}
    wanted = seer()
    wanted.fit(x, y, **options)
    child = os.fork()
    if not child:
        try:
            signal.alarm(60)
            t.fit(x, y, **options)
            os._exit(0 if np.array_equal(t.model.theta, wanted.model.theta) else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"augment": aug.RandomFlip},
            TypeError,
            r"augment: expected an augmentation, such as nn\.augmentation",
        ),
        ({"augment": AUGMENT, "prefetch": -1}, ValueError, "prefetch: expected a number of batches"),
        ({"prefetch": 1.5}, ValueError, r"prefetch: .* Received: 1\.5"),
    ],
)
def test_wrong_augmentation(options, error, message):
    with pytest.raises(error, match=message):
        seer().fit(*pictures(), verbose=False, **options)


def test_only_images_are_augmented():
    t = Trainer(Sequential([Dense(2)], (4,)), SoftmaxCrossEntropy(), SGD(lr=0.1))
    with pytest.raises(ShapeError, match=r"RandomFlip: x: expected images \(N, H, W, C\)"):
        t.fit(np.zeros((6, 4), np.float32), np.zeros(6, int), augment=aug.RandomFlip(), verbose=False)
