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


def network(rate=0.25, shape=(1000,), seed=0, dtype="float32", scaling="inverted"):
    return nn.Sequential([nn.Dropout(rate, scaling=scaling)], input_shape=shape, seed=seed, dtype=dtype)


ONES = np.ones((50, 1000), np.float32)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(rate, dtype):
    check_layer(nn.Dropout(rate), (4, 5), dtype=dtype, verbose=False)
    check_layer(nn.Dropout(rate, scaling="test"), (4, 5), dtype=dtype, verbose=False)


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
    assert layer.config() == {"rate": layer.rate, "keep_prob": None, "scaling": "inverted"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either rate or keep_prob"),
        ({"rate": 0.5, "keep_prob": 0.5}, "expected either rate or keep_prob"),
        ({"rate": 1.0}, r"rate: expected a number in \[0, 1\)\. Received: 1\.0"),
        ({"rate": -0.1}, r"rate: expected a number in \[0, 1\)"),
        ({"rate": float("nan")}, r"rate: expected a number in \[0, 1\)"),
        ({"keep_prob": 0.0}, r"rate: expected a number in \[0, 1\)"),
        ({"rate": 0.5, "scaling": "none"}, r"scaling: expected one of .inverted., .test.\. Received: .none."),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        nn.Dropout(**options)


def test_the_two_scalings():
    """V14: the same mask; "test" scales in inference instead, so the ratio is keep_prob in both."""
    inverted, test = (network(0.2, scaling=scaling) for scaling in ("inverted", "test"))
    np.testing.assert_allclose(
        test.forward(ONES, training=True), 0.8 * inverted.forward(ONES, training=True), rtol=1e-6
    )
    np.testing.assert_allclose(test.backward(ONES), 0.8 * inverted.backward(ONES), rtol=1e-6)
    np.testing.assert_allclose(test.predict(ONES), 0.8 * inverted.predict(ONES), rtol=1e-6)
    test.forward(ONES)
    np.testing.assert_allclose(test.backward(ONES), 0.8, rtol=1e-6)


def test_trajectories_of_the_two_scalings_agree():
    """V14: with W' = p W behind the dropout and the rate p^2 lr for them, training is the same."""
    p, lr = 0.8, 0.05
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
    models = []
    for scaling in ("inverted", "test"):
        layers = [
            nn.Dense(8, activation="relu"), nn.Dropout(keep_prob=p, scaling=scaling),
            nn.Dense(2, use_bias=False),
        ]  # fmt: skip
        models.append(nn.Sequential(layers, input_shape=(6,), seed=3, dtype="float64"))
    inverted, test = models
    test["dense2"].weight.data[...] /= p  # y = m h W / p: the weights that see the smaller outputs are larger
    loss = nn.SquaredError()
    for _ in range(30):
        for model, factor in ((inverted, 1.0), (test, 1 / p**2)):
            loss.forward(model.forward(x, training=True), target)
            model.zero_grad()
            model.backward(loss.backward())
            for name, parameter in model.parameters.items():
                rate = lr * factor if name == "dense2.weight" else lr
                parameter.data[...] -= rate * parameter.grad
    np.testing.assert_allclose(test["dense1"].weight.data, inverted["dense1"].weight.data, rtol=1e-9)
    np.testing.assert_allclose(p * test["dense2"].weight.data, inverted["dense2"].weight.data, rtol=1e-9)
    np.testing.assert_allclose(test.predict(x), inverted.predict(x), rtol=1e-8, atol=1e-12)


def every_mask(n, keep_prob):
    """All 2^n masks and their probabilities."""
    masks = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    kept = masks.sum(axis=1)
    return masks, keep_prob**kept * (1 - keep_prob) ** (n - kept)


@pytest.mark.parametrize("scaling", ["inverted", "test"])
def test_inference_is_the_mean_over_all_masks_of_a_linear_network(scaling):
    """S6.8: exactly, by enumeration of 2^8 masks."""
    n, keep_prob = 8, 0.8
    rng = np.random.default_rng(0)
    layers = [nn.Dropout(keep_prob=keep_prob, scaling=scaling), nn.Dense(3)]
    model = nn.Sequential(layers, input_shape=(n,), seed=0, dtype="float64")
    x = rng.normal(size=n)
    masks, probability = every_mask(n, keep_prob)
    dense = model["dense1"]
    scale = 1 / keep_prob if scaling == "inverted" else 1.0
    outputs = (masks * x * scale) @ dense.weight.data.T + dense.bias.data
    np.testing.assert_allclose(model.predict(x[None])[0], probability @ outputs, rtol=0, atol=1e-15 * 2**4)


def test_inference_is_the_geometric_mean_of_softmax_regression():
    """S6.8: the normalised geometric mean over all masks is the scaled network, the mean is not."""
    n, keep_prob = 8, 0.8
    layers = [nn.Dropout(keep_prob=keep_prob, scaling="test"), nn.Dense(5), nn.Softmax()]
    model = nn.Sequential(layers, input_shape=(n,), seed=0, dtype="float64")
    x = 2 * np.random.default_rng(1).normal(size=n)
    masks, probability = every_mask(n, keep_prob)
    logits = (masks * x) @ model["dense1"].weight.data.T
    subnets = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    geometric = np.exp(probability @ np.log(subnets))
    predicted = model.predict(x[None])[0]
    np.testing.assert_allclose(predicted, geometric / geometric.sum(), rtol=0, atol=1e-15)
    assert abs(predicted - probability @ subnets).max() > 1e-3


def test_units_that_are_dropped_get_no_gradient():
    model = nn.Sequential(
        [nn.Dropout(0.5), nn.Dense(3)], input_shape=(200,), seed=0
    )  # fmt: skip
    x = np.ones((1, 200), np.float32)
    model.forward(x, training=True)
    dx = model.backward(np.ones((1, 3), np.float32))
    mask = nn.Sequential([nn.Dropout(0.5)], input_shape=(200,), seed=0).forward(x, training=True)
    assert 60 < (mask == 0).sum() < 140
    np.testing.assert_array_equal(dx[mask == 0], 0)
    assert (dx[mask != 0] != 0).all()
    assert (model["dense1"].weight.grad[:, mask[0] == 0] == 0).all()
