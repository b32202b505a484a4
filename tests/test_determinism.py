"""The same seed gives the same bits for any number of threads; a steady training step needs no memory."""

import tracemalloc

import numpy as np
import pytest

import fastnn as nn


@pytest.fixture(autouse=True)
def one_thread():
    """Tests that want more say so."""
    before = nn.get_num_threads()
    nn.set_num_threads(1)
    yield
    nn.set_num_threads(before)


@pytest.fixture(scope="module")
def sample():
    (x, y), _ = nn.datasets.fashion_mnist_sample()
    return x[:1600], y[:1600]


def lenet(**options):
    model = nn.models.lenet5(dropout=0.25, seed=0, **options)
    return nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=1e-3, weight_decay=1e-4))


def steps(trainer, sample, n, batch_size=32):
    x, y = sample
    for step in range(n):
        part = slice(step % 50 * batch_size, (step % 50 + 1) * batch_size)
        trainer.train_step(x[part], y[part])
    return trainer.model.theta


def test_lenet_on_one_to_four_threads(sample):
    thetas = []
    for n in (1, 2, 3, 4):
        nn.set_num_threads(n)
        thetas.append(steps(lenet(), sample, 50).tobytes())
    assert len(set(thetas)) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer_on_one_to_four_threads(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 12, 12, 3)).astype(dtype), rng.integers(0, 5, 64)
    results = []
    for n in (1, 2, 3, 4):
        nn.set_num_threads(n)
        model = nn.Sequential(
            [
                nn.Conv2D(16, 3, padding="same", use_bias=False), nn.BatchNorm(), nn.ReLU(),
                nn.Residual([nn.Conv2D(16, 3, padding="same"), nn.BatchNorm()], activation="relu"),
                nn.Concat(
                    [nn.Conv2D(8, 1), nn.Conv2D(16, 3, padding="same", groups=16), nn.MaxPool2D(3, 1, "same")]
                ),
                nn.AvgPool2D(2), nn.Conv2D(32, 3, stride=2, activation="gelu"), nn.Dropout(0.5),
                nn.GlobalAvgPool2D(), nn.Dense(5),
            ],
            input_shape=(12, 12, 3), seed=0, dtype=dtype,
        )  # fmt: skip
        trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Momentum(lr=0.01, momentum=0.9))
        for _ in range(8):
            trainer.train_step(x, y)
        buffers = b"".join(array.tobytes() for array in model.buffers.values())
        results.append((model.theta.tobytes(), buffers, model.predict(x, 10).tobytes()))
    assert len(set(results)) == 1


def test_fit_twice(sample):
    thetas = []
    for n in (1, 2):
        nn.set_num_threads(n)
        trainer = lenet()
        trainer.fit(
            sample[0][:400], sample[1][:400], epochs=2, batch_size=48, validation_split=0.2, verbose=False
        )
        thetas.append(trainer.model.theta.tobytes())
    assert thetas[0] == thetas[1]


def test_another_seed_is_another_training(sample):
    other = nn.models.lenet5(dropout=0.25, seed=1)
    trainer = nn.Trainer(other, nn.SoftmaxCrossEntropy(), nn.Adam(lr=1e-3, weight_decay=1e-4))
    assert (steps(trainer, sample, 2) != steps(lenet(), sample, 2)).any()


def test_a_steady_training_step_needs_no_memory(sample):
    trainer = lenet()
    steps(trainer, sample, 5)
    spaces = trainer.model.workspace, trainer.loss.workspace
    before = [space.n_bytes for space in spaces]
    tracemalloc.start()
    try:
        steps(trainer, sample, 100)
        first, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        steps(trainer, sample, 100)
        last, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [space.n_bytes for space in spaces] == before
    theta = trainer.model.theta.nbytes
    assert last - first < 2000  # no growth
    assert peak - first < theta / 4  # and no array of the size of a gradient or an activation in between


def test_batches_of_other_sizes_use_the_same_memory(sample):
    trainer = lenet()
    steps(trainer, sample, 3, batch_size=32)
    before = trainer.model.workspace.n_bytes
    for batch_size in (32, 31, 1, 32, 17, 32):
        steps(trainer, sample, 2, batch_size)
    assert trainer.model.workspace.n_bytes == before


def test_predicting_between_steps_uses_the_same_memory(sample):
    trainer = lenet()
    x = sample[0]
    for _ in range(2):
        steps(trainer, sample, 2)
        trainer.model.predict(x[:100], batch_size=32)
    before = trainer.model.workspace.n_bytes
    for _ in range(5):
        steps(trainer, sample, 2)
        trainer.model.predict(x[:100], batch_size=32)
    assert trainer.model.workspace.n_bytes == before
