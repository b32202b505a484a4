"""Dropout: the mask's statistics, and that it is a function of seed, step, layer and element alone."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_layer


@pytest.fixture
def any_threads():
    before = nn.get_num_threads()
    yield
    nn.set_num_threads(before)


def network(rate=0.25, shape=(1000,), seed=0, dtype="float32"):
    return nn.Sequential([nn.Dropout(rate)], input_shape=shape, seed=seed, dtype=dtype)


ONES = np.ones((50, 1000), np.float32)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(rate, dtype):
    check_layer(nn.Dropout(rate), (4, 5), dtype=dtype, verbose=False)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_statistics(rate):
    y = network(rate).forward(ONES, training=True)
    kept = y != 0
    assert np.unique(y[kept]).tolist() == [np.float32(1) * np.float32(1 / (1 - rate))]
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs(kept.mean() - (1 - rate)) < 4 * deviation
    assert abs(y.mean() - 1) < 4 * deviation / (1 - rate)  # what follows sees the same mean as in inference
    # Neither rows nor columns nor neighbours share their fate.
    for part in (kept.mean(axis=0), kept.mean(axis=1)):
        n = y.size // part.size
        assert abs(part.std() / np.sqrt(rate * (1 - rate) / n) - 1) < 0.35
    both = (kept[:, 1:] & kept[:, :-1]).mean()
    assert abs(both - (1 - rate) ** 2) < 6 * deviation


def test_backward_has_the_mask_of_forward():
    model = network()
    y = model.forward(ONES, training=True).copy()
    model.forward(ONES, training=True)
    model.forward(2 * ONES, training=True)
    dx = model.backward(ONES)
    assert (dx != y).any()
    y = model.forward(ONES, training=True)
    assert (model.backward(ONES) == y).all()
    assert (model.backward(3 * ONES) == 3 * y).all()


def test_inference_changes_nothing():
    model = network(0.5)
    x = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32)
    assert (model.forward(x) == x).all()
    assert (model.backward(x) == x).all()
    assert (model.predict(x) == x).all()
    assert model.workspace.step == 0


def test_bits_for_any_number_of_threads(any_threads):
    results = []
    for n in (1, 2, 3, 4):
        nn.set_num_threads(n)
        model = network(0.5, (2000,), seed=5)
        x = np.ones((300, 2000), np.float32)  # enough for all threads
        results.append((model.forward(x, training=True).tobytes(), model.backward(x).tobytes()))
    assert len(set(results)) == 1


def masks(n, **options):
    model = network(0.5, **options)
    return [model.forward(ONES, training=True) != 0 for _ in range(n)]


def agreement(a, b):
    return (a == b).mean()


def test_each_step_has_its_own_mask():
    first, second, third = masks(3)
    for a, b in ((first, second), (second, third), (first, third)):
        assert abs(agreement(a, b) - 0.5) < 0.01


def test_the_mask_is_a_function_of_seed_and_step():
    for a, b in zip(masks(3), masks(3)):
        assert (a == b).all()
    assert abs(agreement(masks(1)[0], masks(1, seed=1)[0]) - 0.5) < 0.01
    model = network(0.5)
    model.workspace.step = 2  # as a resumed training does
    assert (masks(3)[2] == (model.forward(ONES, training=True) != 0)).all()


def test_the_mask_does_not_depend_on_the_dtype():
    single = network(0.5).forward(ONES, training=True)
    double = network(0.5, dtype="float64").forward(ONES.astype(np.float64), training=True)
    assert ((single != 0) == (double != 0)).all()


def test_layers_have_masks_of_their_own():
    model = nn.Sequential([nn.Concat([nn.Dropout(0.5), nn.Dropout(0.5)])], input_shape=(1000,), seed=0)
    y = model.forward(ONES, training=True)
    assert abs(agreement(y[:, :1000] != 0, y[:, 1000:] != 0) - 0.5) < 0.01


def test_the_steps_of_training_are_counted():
    model = nn.Sequential([nn.Residual([nn.Dropout(0.5)]), nn.Dense(2)], input_shape=(4,), seed=0)
    x = np.ones((2, 4), np.float32)
    for _ in range(3):
        model.forward(x, training=True)
        model.forward(x)
        model.predict(x)
    assert model.workspace.step == 3


def test_keep_prob_is_the_other_side_of_rate():
    layer = nn.Dropout(keep_prob=0.8)
    assert layer.rate == pytest.approx(0.2)
    assert layer.config() == {"rate": layer.rate, "keep_prob": None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either rate or keep_prob"),
        ({"rate": 0.5, "keep_prob": 0.5}, "expected either rate or keep_prob"),
        ({"rate": 1.0}, r"rate: expected a number in \[0, 1\)\. Received: 1\.0"),
        ({"rate": -0.1}, r"rate: expected a number in \[0, 1\)"),
        ({"rate": float("nan")}, r"rate: expected a number in \[0, 1\)"),
        ({"keep_prob": 0.0}, r"rate: expected a number in \[0, 1\)"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        nn.Dropout(**options)
