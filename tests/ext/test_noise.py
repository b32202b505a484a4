"""Noise against its twin, how random it is, and the expectation of the gates (the notes, S6.3 and S7.8)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import noise as compiled
from fastnn._ext.activations import activation_forward
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import noise as reference

KEYS = st.integers(0, 2**64 - 1)
DTYPES = ["float32", "float64"]
PHIS = {"gaussian_cdf": "gelu", "logistic": "silu"}


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def normal(n, key, dtype="float64"):
    z = np.empty(n, dtype)
    compiled.gaussian_noise_forward(np.zeros(n, dtype), z, 1.0, key)
    return z


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=3), st.floats(0, 10), KEYS, st.sampled_from(DTYPES))
def test_gaussian_equals_twin(shape, std, key, dtype):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape), dtype)
    y, expected = np.full_like(x, np.nan), np.full_like(x, np.nan)
    with np.errstate(over="ignore"):
        compiled.gaussian_noise_forward(x, y, std, key)
        reference.gaussian_noise_forward(x, expected, std, key)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=4 * eps, atol=32 * eps * std)


@pytest.mark.parametrize("phi", PHIS)
@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=3), KEYS, st.sampled_from(DTYPES))
def test_gate_equals_twin(phi, shape, key, dtype):
    """Bit for bit: a gate differs only where u and phi(x) agree to the last place, which these do not."""
    rng = np.random.default_rng(1)
    x, dy = (np.asarray(2 * rng.standard_normal(shape), dtype) for _ in range(2))
    y, dx, expected = (np.full_like(x, np.nan) for _ in range(3))
    with np.errstate(over="ignore"):
        compiled.stochastic_gate_forward(x, y, phi, key)
        reference.stochastic_gate_forward(x, expected, phi, key)
        np.testing.assert_array_equal(y, expected)
        compiled.stochastic_gate_backward(dy, x, dx, phi, key)
        reference.stochastic_gate_backward(dy, x, expected, phi, key)
    np.testing.assert_array_equal(dx, expected)
    np.testing.assert_array_equal(dx != 0, y != 0)  # the gates of forward


def test_threads_place_and_dtype():
    x = np.random.default_rng(0).standard_normal(100_003).astype(np.float32)
    results = []
    for n in (1, 2, 3):
        set_num_threads(n)
        outputs = [np.empty_like(x) for _ in range(3)]
        compiled.gaussian_noise_forward(x, outputs[0], 0.3, 99)
        compiled.stochastic_gate_forward(x, outputs[1], "logistic", 99)
        compiled.stochastic_gate_backward(outputs[0], x, outputs[2], "gaussian_cdf", 99)
        results.append([array.tobytes() for array in outputs])
    assert results[0] == results[1] == results[2]
    again = x.copy()
    compiled.gaussian_noise_forward(again, again, 0.3, 99)
    assert again.tobytes() == results[0][0]
    again = x.copy()
    compiled.stochastic_gate_forward(again, again, "logistic", 99)
    assert again.tobytes() == results[0][1]
    part = x[:1001].copy()
    compiled.gaussian_noise_forward(part, part, 0.3, 99)
    assert part.tobytes() == results[0][0][: part.nbytes]
    np.testing.assert_allclose(normal(5000, 3, "float32"), normal(5000, 3), atol=5e-6)


def test_moments_and_distribution():
    """The first eight moments of a normal number, and 64 cells of equal probability."""
    n = 1 << 20
    z = normal(n, 12345)
    for power, moment in enumerate([0, 1, 0, 3, 0, 15, 0, 105], start=1):
        double_factorial = math.prod(range(2 * power - 1, 0, -2))  # E z^(2 power)
        assert abs((z**power).mean() - moment) < 5 * math.sqrt((double_factorial - moment**2) / n), power
    cells = np.bincount((32 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))).astype(int), minlength=64)
    expected = n / 64
    chi_square = ((cells - expected) ** 2 / expected).sum()
    assert abs(chi_square - 63) < 5 * math.sqrt(2 * 63)
    assert 4.2 < abs(z).max() < 5.8


def correlation(a, b):
    """In standard deviations, for independent numbers."""
    return (a @ b) / math.sqrt(len(a))


def test_no_correlation_between_neighbours_and_keys():
    z = normal(300_007, 7)
    for lag in (1, 2, 3, 8, 16, 64, 1024, 8192, 65536):
        assert abs(correlation(z[lag:], z[:-lag])) < 5, lag
        assert abs(correlation(z[lag:] ** 2 - 1, z[:-lag] ** 2 - 1)) < 2 * 5, lag
    for key in (6, 8, *(7 ^ (1 << bit) for bit in range(64)), 7 ^ (2**64 - 1)):
        assert abs(correlation(z, normal(len(z), key))) < 5, key


@pytest.mark.parametrize("phi", PHIS)
def test_the_mean_of_the_gates_is_the_activation(phi):
    """Monte-Carlo: E[m x] = x phi(x), within five standard deviations of a binomial number."""
    x = np.array([-3.0, -1.0, -0.3, 0.2, 1.0, 2.5, 8.0])
    n, expected = 200_000, np.empty_like(x)
    activation_forward(x, expected, PHIS[phi])
    y = np.empty((n, len(x)))
    compiled.stochastic_gate_forward(np.tile(x, (n, 1)), y, phi, 5)
    p = expected / x
    deviation = abs(x) * np.sqrt(p * (1 - p) / n)
    assert (abs(y.mean(axis=0) - expected) <= 5 * deviation + 1e-6).all()


@pytest.mark.parametrize("module", [compiled, reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("phi", PHIS)
def test_gates_of_zero_and_extremes(phi, dtype, module):
    x = np.tile(np.array([0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], dtype), 500)
    y, dx = np.empty_like(x), np.empty_like(x)
    module.stochastic_gate_forward(x, y, phi, 1)
    module.stochastic_gate_backward(np.ones_like(x), x, dx, phi, 1)
    y, dx = y.reshape(500, 6), dx.reshape(500, 6)
    assert abs(dx[:, 0].mean() - 0.5) < 0.12  # phi(0) = 1/2
    np.testing.assert_array_equal(y[:, [0, 1, 2, 4, 5]], np.tile([0, np.inf, 0, x[4], 0], (500, 1)))
    assert np.isnan(y[:, 3]).all()


def test_errors():
    x = np.zeros(5, np.float32)
    for std in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="std: expected a finite number of at least 0"):
            compiled.gaussian_noise_forward(x, x, std, 0)
    with pytest.raises(ValueError, match=r"phi: expected 'gaussian_cdf' or 'logistic'\. Received: 'relu'"):
        compiled.stochastic_gate_forward(x, x, "relu", 0)
    with pytest.raises(ValueError, match="x: expected the shape of dy"):
        compiled.stochastic_gate_backward(x, x[:4], x, "logistic", 0)
    with pytest.raises(ValueError, match="y: expected the shape of x"):
        compiled.gaussian_noise_forward(x, x[:4], 1.0, 0)
    with pytest.raises(TypeError, match="y: expected dtype float32"):
        compiled.stochastic_gate_forward(x, x.astype(np.float64), "logistic", 0)
    with pytest.raises(OverflowError):
        compiled.gaussian_noise_forward(x, x, 1.0, -1)
