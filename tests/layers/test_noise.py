"""Noise layers: moments, seeds, resuming, and what they are in inference (the notes, S6.3, S7.8, S7.10)."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_layer

LAYERS = [
    nn.GaussianNoise(0.3),
    nn.GaussianNoise(0.0),
    nn.MaskingNoise(0.7),
    nn.MaskingNoise(1.0),
    nn.AlphaDropout(0.2),
    nn.AlphaDropout(keep_prob=1.0),
    nn.StochasticGate(),
    nn.StochasticGate("gaussian_cdf"),
    nn.StochasticGate("logistic"),
]
RANDOM = [layer for layer in LAYERS if 1.0 not in layer.config().values() and getattr(layer, "std", 1)]
RANDOM = [layer for layer in RANDOM if getattr(layer, "rate", 1)]


def as_model(layer, shape=(1000,), seed=0, dtype="float32"):
    fresh = nn.layers.from_config(nn.layers.to_config(layer))
    return nn.Sequential([fresh], input_shape=shape, seed=seed, dtype=dtype)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(layer, dtype):
    check_layer(layer, (4, 5), dtype=dtype, verbose=False)


def drawn(layer, n_steps=3, seed=0, first=0):
    """Outputs of training passes for ones."""
    model, x = as_model(layer, seed=seed), np.ones((50, 1000), np.float32)
    model.workspace.step = first
    return [model.forward(x, training=True).copy() for _ in range(n_steps)]


@pytest.mark.parametrize("layer", RANDOM, ids=repr)
def test_seed_step_and_layer(layer):
    """The same for the same seed and step, another for each step, seed and layer; a resumed run goes on."""
    first, again = drawn(layer), drawn(layer)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(drawn(layer, 1, first=2)[0], first[2])
    others = [first[1], first[2], drawn(layer, 1, seed=1)[0]]
    twice = [nn.layers.from_config(nn.layers.to_config(layer)) for _ in range(2)]
    both = nn.Sequential([nn.Concat(twice)], input_shape=(1000,), seed=0)
    y = both.forward(np.ones((50, 1000), np.float32), training=True)
    others.append(y[:, 1000:])
    reference = first[0] - first[0].mean()
    for k, other in enumerate(others):
        base = reference if k < 3 else y[:, :1000] - y[:, :1000].mean()
        correlation = (base * (other - other.mean())).mean() / (base.std() * other.std())
        assert abs(correlation) < 5 / np.sqrt(base.size)


@pytest.mark.parametrize("layer", RANDOM, ids=repr)
def test_a_resumed_training_draws_the_same(layer, tmp_path):
    def trainer():
        model = nn.Sequential(
            [nn.Dense(20), nn.layers.from_config(nn.layers.to_config(layer)), nn.Dense(2)], (5,), seed=4
        )
        return nn.Trainer(model, nn.SquaredError(), nn.SGD(lr=0.01))

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 5)).astype(np.float32), rng.normal(size=(32, 2)).astype(np.float32)
    whole = trainer()
    for _ in range(6):
        whole.train_step(x, y)
    first, second = trainer(), trainer()
    for _ in range(3):
        first.train_step(x, y)
    second.model.load_state_dict(first.model.state_dict())
    second.model.workspace.step = first.model.workspace.step
    for _ in range(3):
        second.train_step(x, y)
    np.testing.assert_array_equal(second.model.theta, whole.model.theta)


def test_gaussian_noise():
    x = np.random.default_rng(0).normal(size=(500, 1000))
    model = as_model(nn.GaussianNoise(0.3), dtype="float64")
    noise = model.forward(x, training=True) - x
    n = noise.size
    assert abs(noise.mean()) < 5 * 0.3 / np.sqrt(n)
    assert abs(noise.std() / 0.3 - 1) < 5 / np.sqrt(2 * n)
    assert abs((noise * x).mean()) < 5 * 0.3 / np.sqrt(n)
    np.testing.assert_array_equal(model.backward(x), x)
    np.testing.assert_array_equal(model.predict(x[:10]), x[:10])


def test_input_noise_is_l2_for_a_linear_model():
    """S6.3: E (y~ - t)^2 = (y - t)^2 + std^2 sum w^2."""
    std, w, x, target = 0.4, np.array([0.7, -1.3, 0.3]), np.array([0.5, 1.0, -2.0]), 0.25
    model = as_model(nn.GaussianNoise(std), shape=(3,), dtype="float64")
    n = 400_000
    noisy = model.forward(np.tile(x, (n, 1)), training=True)
    error, clean = (noisy @ w - target) ** 2, (x @ w - target) ** 2
    assert abs(error.mean() - clean - std**2 * (w @ w)) < 5 * error.std() / np.sqrt(n)


@pytest.mark.parametrize("keep_prob", [0.1, 0.5, 0.8])
def test_masking_noise(keep_prob):
    """Zero or untouched; the fraction kept lies in its binomial interval."""
    x = np.random.default_rng(0).normal(size=(100, 1000)).astype(np.float32)
    model = as_model(nn.MaskingNoise(keep_prob))
    y = model.forward(x, training=True).copy()
    kept = y != 0
    np.testing.assert_array_equal(y[kept], x[kept])
    assert abs(kept.mean() - keep_prob) < 5 * np.sqrt(keep_prob * (1 - keep_prob) / y.size)
    np.testing.assert_array_equal(model.backward(x), y)
    np.testing.assert_array_equal(model.predict(x), x)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    x = np.random.default_rng(0).normal(size=(1000, 1000))
    model = as_model(nn.AlphaDropout(rate), dtype="float64")
    y = model.forward(x, training=True).copy()
    fourth = ((y - y.mean()) ** 4).mean()
    assert abs(y.mean()) < 5 / np.sqrt(y.size)
    assert abs(y.var() - 1) < 5 * np.sqrt((fourth - 1) / y.size)
    q, lowest = 1 - rate, -1.7580993408473766
    a = (q + lowest**2 * q * rate) ** -0.5
    dropped = np.isclose(y, a * lowest - a * rate * lowest, rtol=0, atol=1e-14)
    assert abs(dropped.mean() - rate) < 5 * np.sqrt(rate * q / y.size)
    dx = model.backward(np.ones_like(x))
    np.testing.assert_array_equal(dx == 0, dropped)
    np.testing.assert_allclose(dx[~dropped], a, rtol=1e-15)
    np.testing.assert_array_equal(model.predict(x[:5]), x[:5])


def test_alpha_dropout_as_in_pytorch():
    """Other masks, the same two values for a constant, and so the same moments."""
    torch = pytest.importorskip("torch")
    x = np.full((200, 1000), 0.5, np.float64)
    ty = torch.nn.functional.alpha_dropout(torch.tensor(x), 0.2, training=True).numpy()
    y = as_model(nn.AlphaDropout(0.2), dtype="float64").forward(x, training=True)
    np.testing.assert_allclose(np.unique(y), np.unique(ty), rtol=1e-12)
    deviation = y.std() * np.sqrt(2 / y.size)
    assert abs(y.mean() - ty.mean()) < 5 * deviation
    assert abs(y.std() - ty.std()) < 5 * deviation


def test_the_constant_gate_is_dropout_with_test_scaling():
    """S7.8, bit for bit."""
    x = np.random.default_rng(0).normal(size=(30, 1000)).astype(np.float32)
    gate, dropout = as_model(nn.StochasticGate("constant", 0.8)), as_model(nn.Dropout(0.2, scaling="test"))
    for training in (True, False):
        np.testing.assert_allclose(gate.forward(x, training), dropout.forward(x, training), rtol=1e-7)
        np.testing.assert_allclose(gate.backward(x), dropout.backward(x), rtol=1e-7)


@pytest.mark.parametrize(("phi", "activation"), [("gaussian_cdf", nn.GELU()), ("logistic", nn.SiLU())])
def test_the_expectation_of_the_gates(phi, activation):
    """S7.8: in training x or 0, on average x phi(x); in inference x phi(x) itself."""
    x = np.tile(np.linspace(-3, 3, 1000), (2000, 1))
    gate, smooth = (as_model(layer, dtype="float64") for layer in (nn.StochasticGate(phi), activation))
    expected = smooth.predict(x[:1])[0]
    y = gate.forward(x, training=True)
    assert ((y == x) | (y == 0)).all()
    p = expected / x[0]
    z = (y.mean(axis=0) - expected) / (abs(x[0]) * np.sqrt(p * (1 - p) / len(x)))
    assert abs(z).max() < 5.5
    assert abs(z @ z - 1000) < 5 * np.sqrt(2 * 1000)
    np.testing.assert_array_equal(gate.predict(x[:3]), smooth.predict(x[:3]))
    gate.forward(x[:3]), smooth.forward(x[:3])
    np.testing.assert_array_equal(gate.backward(x[:3]), smooth.backward(x[:3]))


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_prepared_for_inference(layer):
    model = nn.Sequential(
        [nn.Dense(6), nn.layers.from_config(nn.layers.to_config(layer)), nn.Dense(2)], (5,), seed=0
    )
    x = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_allclose(model.for_inference(7).predict(x), model.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.GaussianNoise(-1), r"GaussianNoise: std: expected a number in \[0, inf\).*Received: -1"),
        (lambda: nn.GaussianNoise(float("nan")), "GaussianNoise: std: expected a number"),
        (lambda: nn.MaskingNoise(0.0), r"MaskingNoise: keep_prob, so rate: expected a number in \[0, 1\)"),
        (lambda: nn.MaskingNoise(1.5), "MaskingNoise: keep_prob"),
        (lambda: nn.AlphaDropout(), "AlphaDropout: expected either rate or keep_prob"),
        (lambda: nn.AlphaDropout(1.0), r"AlphaDropout: rate: expected a number in \[0, 1\)"),
        (lambda: nn.StochasticGate("relu"), r"StochasticGate: phi: expected 'constant', .*Received: 'relu'"),
        (lambda: nn.StochasticGate(keep_prob=2.0), "StochasticGate: keep_prob"),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()
