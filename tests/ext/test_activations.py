"""Activations and softmax against their twins, and the numbers of the notes (S2.13, S7)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import activations as compiled
from fastnn._ext.common import ACTIVATION_CODES
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import activations as reference

NAMES = list(ACTIVATION_CODES)
DTYPES = ["float32", "float64"]


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def f(name, x, alpha=0.01):
    y = np.empty_like(x)
    compiled.activation_forward(x, y, name, alpha)
    return y


def df(name, x, alpha=0.01):
    saved = x if name in compiled.SAVES_INPUT else f(name, x, alpha)
    da = np.empty_like(x)
    compiled.activation_backward(np.ones_like(x), saved, da, name, alpha)
    return da


def assert_close(received, expected):
    eps = np.finfo(received.dtype).eps
    np.testing.assert_allclose(received, expected, rtol=16 * eps, atol=8 * eps)


def test_lists_agree():
    assert compiled.SAVES_INPUT == reference.SAVES_INPUT
    assert set(NAMES) >= compiled.SAVES_INPUT
    assert compiled.activation_forward.__name__ == reference.activation_forward.__name__


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(NAMES), st.sampled_from(DTYPES), st.lists(st.integers(0, 9), max_size=3),
    st.sampled_from([0.01, 0.25, 1.0, 2.0]), st.sampled_from([0.1, 1.0, 10.0]), st.integers(0, 99),
)  # fmt: skip
def test_equals_twin(name, dtype, shape, alpha, scale, seed):
    rng = np.random.default_rng(seed)
    x, dy = (scale * rng.standard_normal((2, *shape))).astype(dtype)
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    y, da, expected = np.empty_like(x), np.empty_like(x), np.empty(shape)
    compiled.activation_forward(x, y, name, alpha)
    reference.activation_forward(x.astype(np.float64), expected, name, alpha)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=32 * eps, atol=8 * eps)
    saved = x if name in compiled.SAVES_INPUT else y
    compiled.activation_backward(dy, saved, da, name, alpha)
    reference.activation_backward(dy.astype(np.float64), saved.astype(np.float64), expected, name, alpha)
    np.testing.assert_allclose(da, expected, rtol=32 * eps, atol=16 * eps * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_extremes(name, dtype):
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.array([np.nan, np.inf, -np.inf, huge, -huge, tiny, -tiny, 0.0, -0.0, 1000, -1000], dtype)
    y, d = f(name, x, 0.5), df(name, x, 0.5)
    assert np.isnan(y[0]) and np.isfinite(d[2:]).all()
    choice = "linear", "relu", "leaky_relu", "elu", "selu", "hard_sigmoid", "hard_tanh", "step", "relu_right"
    assert np.isnan(d[0]) or name in choice
    low, high = {
        "linear": (-np.inf, np.inf), "leaky_relu": (-np.inf, np.inf), "elu": (-0.5, np.inf), "tanh": (-1, 1),
        "selu": (-1.7580993408473766, np.inf), "sigmoid": (0, 1), "step": (0, 1), "hard_sigmoid": (0, 1),
        "hard_tanh": (-1, 1),
    }.get(name, (0, np.inf))  # fmt: skip
    np.testing.assert_allclose(y[1:3], [high, low], rtol=1e-6)
    at_0 = {"sigmoid": 0.5, "hard_sigmoid": 0.5, "softplus": np.log(2), "step": 1}.get(name, 0)
    np.testing.assert_allclose(y[7:9], at_0, rtol=1e-6)
    if name not in ("sigmoid", "hard_sigmoid", "softplus", "step"):
        assert np.all(abs(y[5:7]) <= 2 * tiny)
    if name in ("elu", "relu", "softplus", "selu", "silu", "gelu", "gelu_tanh", "gelu_sigmoid", "hard_swish"):
        np.testing.assert_allclose(
            y[9:], [1000 * (reference.SELU_LAMBDA if name == "selu" else 1), low], rtol=1e-6
        )


def test_denormal_results():
    """exp(-100) is no normal float32, but it is not 0 either."""
    y = f("sigmoid", np.array([-100, -103.9, -105], np.float32))
    np.testing.assert_array_equal(y, np.exp(np.array([-100, -103.9, -105])).astype(np.float32))
    assert y[1] > 0 and y[2] == 0


def test_signs_of_zero_and_nan_through_relu():
    assert np.signbit(f("tanh", np.array([-0.0]))[0])
    x = np.array([np.nan, -1, 2], np.float32)
    np.testing.assert_array_equal(f("relu", x), [np.nan, 0, 2])
    np.testing.assert_array_equal(df("relu", np.array([-1.0, 0.0, 1e-30])), [0, 0, 1])
    np.testing.assert_array_equal(df("leaky_relu", np.array([-1.0, 0.0, 1e-30]), 0.1), [0.1, 0.1, 1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_position_threads_and_place(name, dtype):
    """Neither the place in the array nor the number of threads nor writing in place changes a bit."""
    x = (3 * np.random.default_rng(1).standard_normal(70001)).astype(dtype)
    dy = x[::-1].copy()
    set_num_threads(1)
    y, da = f(name, x), np.empty_like(x)
    saved = x if name in compiled.SAVES_INPUT else y
    compiled.activation_backward(dy, saved, da, name, 0.01)
    set_num_threads(3)
    np.testing.assert_array_equal(f(name, x), y)
    again = np.empty_like(x)
    compiled.activation_backward(dy, saved, again, name, 0.01)
    np.testing.assert_array_equal(again, da)
    for start, stop in [(1, 40), (3, 4), (17, 70001)]:
        part = x[start:stop].copy()
        np.testing.assert_array_equal(f(name, part), y[start:stop])
        compiled.activation_forward(part, part, name, 0.01)
        np.testing.assert_array_equal(part, y[start:stop])
        part = dy[start:stop].copy()
        compiled.activation_backward(part, saved[start:stop], part, name, 0.01)
        np.testing.assert_array_equal(part, da[start:stop])


@pytest.mark.parametrize("name", NAMES)
def test_derivative(name):
    """Against central differences, away from the kink."""
    x = np.concatenate([np.linspace(-6, -0.01, 101), np.linspace(0.01, 6, 101)])
    h = 1e-6
    np.testing.assert_allclose(
        df(name, x, 0.3), (f(name, x + h, 0.3) - f(name, x - h, 0.3)) / (2 * h), atol=2e-9
    )


# The notes

GRID = np.concatenate([np.linspace(-12, 12, 4801), [-1e3, 1e3]])


def test_sigmoid_and_tanh_identities():
    """S2.13: sigma' = sigma (1 - sigma) <= 1/4, tanh x = 2 sigma(2x) - 1, tanh' = 1 - tanh^2."""
    s, t = f("sigmoid", GRID), f("tanh", GRID)
    assert_close(t, 2 * f("sigmoid", 2 * GRID) - 1)
    assert_close(s + f("sigmoid", -GRID), np.ones_like(s))
    assert_close(df("sigmoid", GRID), s * (1 - s))
    assert df("sigmoid", GRID).max() == 0.25
    assert_close(df("tanh", GRID), 1 - t * t)
    assert_close(df("softplus", GRID), s)


def test_ranges_are_open_until_rounding():
    """(0, 1) and (-1, 1), not [0, 1] and [-1, 1]: the ends come only from rounding, far out."""
    x = np.linspace(-35, 35, 2001)
    s, t = f("sigmoid", x), f("tanh", x / 2)
    assert s.min() > 0 and s.max() < 1
    assert t.min() > -1 and t.max() < 1
    assert f("sigmoid", np.array([-700.0]))[0] > 0  # below, there is room for small numbers
    assert f("sigmoid", np.array([40.0]))[0] == f("tanh", np.array([20.0]))[0] == 1


def test_relu_ramp_and_leaky_relu():
    """S7.4 and S7.5: max(0, x + 1) - max(0, x - 1) is a ramp; slopes 0 and 1 give relu and linear."""
    assert_close(f("relu", GRID + 1) - f("relu", GRID - 1), np.clip(GRID + 1, 0, 2))
    np.testing.assert_array_equal(f("leaky_relu", GRID, 0.0), f("relu", GRID))
    np.testing.assert_array_equal(f("leaky_relu", GRID, 1.0), GRID)
    np.testing.assert_array_equal(f("leaky_relu", GRID, 0.1), np.maximum(0.1 * GRID, GRID))


def test_elu_derivative_is_continuous_only_with_alpha_1():
    """S7.6"""
    for alpha in (0.5, 1.0, 2.0):
        left, right = df("elu", np.array([-1e-12, 1e-12]), alpha)
        assert left == pytest.approx(alpha) and right == 1


def test_gelu_numbers():
    """S7.9: how far the two approximations are off, and the minima."""
    x = np.linspace(-8, 8, 160001)
    exact = f("gelu", x)
    error = abs(exact - f("gelu_sigmoid", x))
    assert error.max() == pytest.approx(0.0203, abs=5e-5)
    assert abs(x[error.argmax()]) == pytest.approx(2.27, abs=0.01)
    phi = reference.erfc(-x / np.sqrt(2)) / 2
    assert abs(phi - f("sigmoid", 1.702 * x)).max() == pytest.approx(0.0095, abs=5e-5)
    assert abs(exact - f("gelu_tanh", x)).max() == pytest.approx(0.00047, abs=5e-6)
    assert exact.min() == pytest.approx(-0.1700, abs=5e-5)
    assert x[exact.argmin()] == pytest.approx(-0.7518, abs=1e-4)
    assert f("gelu_sigmoid", x).min() == pytest.approx(-0.1636, abs=5e-5)


def test_selu_keeps_mean_0_and_variance_1():
    """S7.10: of standard normal inputs, by Gauss-Legendre quadrature on both sides of the kink."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z = np.concatenate([6 * nodes - 6, 6 * nodes + 6])
    w = np.tile(6 * weights, 2) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    y = f("selu", z)
    assert w @ y == pytest.approx(0, abs=1e-14)
    assert w @ (y * y) == pytest.approx(1, abs=1e-14)
    assert f("selu", np.array([-100.0]))[0] == pytest.approx(-1.75810, abs=5e-6)
    for shift, scale in ((0, 2), (1, 1), (0, 0.5)):  # of no other inputs
        other = f("selu", shift + scale * z)
        mean, square = w @ other, w @ (other * other)
        assert max(abs(mean), abs(square - mean**2 - 1)) > 0.2


def test_silu_numbers():
    """S7.11: the minimum, and x sigma(1.702 x) as a scaled silu."""
    x = np.linspace(-3, 3, 60001)
    y = f("silu", x)
    assert y.min() == pytest.approx(-0.27846, abs=5e-6)
    assert x[y.argmin()] == pytest.approx(-1.27846, abs=1e-4)
    assert_close(f("gelu_sigmoid", x), f("silu", 1.702 * x) / 1.702)


def test_swish_between_half_and_relu():
    """S7.11: beta = 0 is x / 2, 1.702 is gelu_sigmoid bit for bit, and large beta comes close to relu."""
    np.testing.assert_array_equal(f("swish", GRID, 0.0), GRID / 2)
    for x in (GRID, GRID.astype(np.float32)):
        np.testing.assert_array_equal(f("swish", x, 1.702), f("gelu_sigmoid", x))
        np.testing.assert_array_equal(f("swish", x, 1.0), f("silu", x))
    assert abs(f("swish", GRID, 1000.0) - f("relu", GRID)).max() < 0.2785 / 1000
    assert abs(f("swish", GRID, 1.702) - f("gelu", GRID)).max() == pytest.approx(0.0203, abs=5e-5)


def test_kinks_of_the_hard_functions():
    """As in PyTorch: the slope of the outer pieces."""
    kinks = np.array([-3.0, 3.0])
    np.testing.assert_array_equal(f("hard_sigmoid", kinks), [0, 1])
    np.testing.assert_array_equal(df("hard_sigmoid", kinks), [0, 0])
    np.testing.assert_array_equal(f("hard_swish", kinks), [0, 3])
    np.testing.assert_array_equal(df("hard_swish", kinks), [0, 1])
    np.testing.assert_array_equal(df("hard_tanh", np.array([-1.0, 1.0])), [0, 0])
    np.testing.assert_allclose(f("hard_swish", GRID), GRID * f("hard_sigmoid", GRID), atol=1e-15)


def test_step_and_the_derivative_of_relu_at_zero():
    """The notes' ReLU'(0) = 1, the frameworks' 0; a step has no slope."""
    x = np.array([-1.0, -0.0, 0.0, 1e-300])
    np.testing.assert_array_equal(f("step", x), [0, 1, 1, 1])
    np.testing.assert_array_equal(df("step", x), [0, 0, 0, 0])
    np.testing.assert_array_equal(f("relu_right", x), f("relu", x))
    np.testing.assert_array_equal(df("relu", x), [0, 0, 0, 1])
    np.testing.assert_array_equal(df("relu_right", x), [0, 1, 1, 1])


# Sum and softmax


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5, 7), (9001,)])
def test_add_forward(shape, dtype):
    rng = np.random.default_rng(0)
    a, b = (np.asarray(rng.standard_normal(shape), dtype) for _ in range(2))
    for name in ("linear", "relu", "tanh"):
        y, expected = np.empty_like(a), np.empty_like(a)
        reference.add_forward(a, b, expected, name)
        for n in (1, 2):
            set_num_threads(n)
            compiled.add_forward(a, b, y, name)
            assert_close(y, expected)
        in_place = a.copy()
        compiled.add_forward(in_place, b, in_place, name)
        np.testing.assert_array_equal(in_place, y)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from(DTYPES), st.sampled_from([1.0, 30.0, 1e4]))
def test_softmax_equals_twin(n, k, dtype, scale):
    rng = np.random.default_rng(n + 100 * k)
    x, dy = (scale * rng.standard_normal((n, k))).astype(dtype), rng.standard_normal((n, k)).astype(dtype)
    y, expected, dx = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    compiled.softmax_forward(x, y)
    reference.softmax_forward(x, expected)
    assert_close(y, expected)
    in_place = x.copy()
    compiled.softmax_forward(in_place, in_place)
    np.testing.assert_array_equal(in_place, y)
    compiled.softmax_backward(dy, y, dx)
    reference.softmax_backward(dy, y, expected)
    np.testing.assert_allclose(dx, expected, atol=32 * np.finfo(dtype).eps)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from(DTYPES), st.sampled_from([1.0, 30.0, 1e4]))
def test_log_softmax_equals_twin(n, k, dtype, scale):
    rng = np.random.default_rng(n + 100 * k)
    x, dy = (scale * rng.standard_normal((n, k))).astype(dtype), rng.standard_normal((n, k)).astype(dtype)
    y, expected, dx = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    compiled.log_softmax_forward(x, y)
    reference.log_softmax_forward(x, expected)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=4 * eps, atol=8 * eps)
    in_place = x.copy()
    compiled.log_softmax_forward(in_place, in_place)
    np.testing.assert_array_equal(in_place, y)
    compiled.log_softmax_backward(dy, y, dx)
    reference.log_softmax_backward(dy, y, expected)
    np.testing.assert_allclose(dx, expected, rtol=16 * eps, atol=64 * eps)


def test_log_softmax_properties_and_threads():
    """Exponentials add up to 1, a shift changes nothing, +-1e4 and -inf stay exact, threads change no bit."""
    x = np.random.default_rng(0).standard_normal((777, 10)) * 5
    x[0], x[1, 0], x[2] = 1e4, -1e4, [-np.inf] * 9 + [0.0]
    dy = np.random.default_rng(1).standard_normal(x.shape)
    results = []
    for n in (1, 2, 3):
        set_num_threads(n)
        y, dx = np.empty_like(x), np.empty_like(x)
        compiled.log_softmax_forward(x, y)
        compiled.log_softmax_backward(dy, y, dx)
        results.append(y.tobytes() + dx.tobytes())
    assert len(set(results)) == 1
    assert_close(np.exp(y).sum(axis=1), np.ones(777))
    shifted = np.empty_like(x)
    compiled.log_softmax_forward(x + 64, shifted)
    np.testing.assert_allclose(shifted, y, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(y[0], -np.log(10), rtol=1e-15)
    assert y[1, 0] == pytest.approx(-1e4 - np.log(np.exp(x[1, 1:]).sum()), rel=1e-15)
    assert y[2].tolist() == [-np.inf] * 9 + [0]
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-13)
    x[5, 3] = np.nan
    compiled.log_softmax_forward(x, y)
    assert np.isnan(y[5]).all() and np.isfinite(y[6]).all()


def test_softmax_properties_and_threads():
    """Rows sum to 1, do not feel a shift, are finite for +-1e4, and keep their bits with more threads."""
    x = np.random.default_rng(0).standard_normal((777, 10)) * 5
    x[0], x[1, 0], x[2] = 1e4, -1e4, [-np.inf] * 9 + [0.0]
    y, shifted, again = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    set_num_threads(1)
    compiled.softmax_forward(x, y)
    compiled.softmax_forward(x + 64, shifted)
    assert_close(y.sum(axis=1), np.ones(777))
    np.testing.assert_allclose(shifted, y, rtol=1e-13)
    np.testing.assert_array_equal(y[2], [0] * 9 + [1])
    set_num_threads(3)
    compiled.softmax_forward(x, again)
    np.testing.assert_array_equal(again, y)
    x[5, 3] = np.nan
    compiled.softmax_forward(x, y)
    assert np.isnan(y[5]).all() and np.isfinite(y[6]).all()


def test_errors():
    x = np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match="activation: expected one of linear, relu"):
        compiled.activation_forward(x, x, "rely")
    with pytest.raises(TypeError, match=r"x: expected float32 or float64. Received: dtype=int64"):
        compiled.activation_forward(np.zeros(3, np.int64), x, "relu")
    with pytest.raises(TypeError, match=r"y: expected dtype float32.*Received: dtype=float64"):
        compiled.activation_forward(x, x.astype(np.float64), "relu")
    with pytest.raises(ValueError, match="x: expected a C-contiguous array"):
        compiled.activation_forward(x.T, x, "relu")
    with pytest.raises(ValueError, match=r"y: expected the shape of x, \(4, 6\). Received: shape=\(24,\)"):
        compiled.activation_forward(x, x.reshape(24), "relu")
    with pytest.raises(ValueError, match=r"saved: expected the shape of dy"):
        compiled.activation_backward(x, x[:3], x, "relu")
    with pytest.raises(ValueError, match="alpha: expected alpha >= 0"):
        compiled.activation_backward(x, x, x, "elu", -0.5)
    with pytest.raises(ValueError, match="b: expected the shape of a"):
        compiled.add_forward(x, x[:1], x)
    with pytest.raises(ValueError, match="x: expected 2 axes"):
        compiled.softmax_forward(x[0], x[0])
    with pytest.raises(TypeError, match=r"dx: expected an array. Received: None"):
        compiled.softmax_backward(x, x, None)
    with pytest.raises(ValueError, match=r"dx: expected an array of its own. Received: dy"):
        compiled.log_softmax_backward(x, x, x)


@pytest.mark.parametrize("name", NAMES)
def test_equals_torch(name):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    functions = {
        "linear": lambda x: x * 1, "relu": F.relu, "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
        "elu": lambda x: F.elu(x, 0.3), "selu": F.selu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
        "softplus": lambda x: F.softplus(x, threshold=1000), "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
        "gelu_sigmoid": lambda x: x * torch.sigmoid(1.702 * x), "swish": lambda x: x * torch.sigmoid(0.3 * x),
        # F.hardsigmoid computes in float64 too with the float32 number next to 1 / 6.
        "hard_sigmoid": lambda x: F.relu6(x + 3) / 6, "hard_tanh": F.hardtanh, "hard_swish": F.hardswish,
        "relu_right": F.relu,
        "step": lambda x: (x >= 0).to(x.dtype) + 0 * x,
    }  # fmt: skip
    x = np.linspace(-9, 9, 1000)
    t = torch.tensor(x, requires_grad=True)
    y = functions[name](t)
    y.sum().backward()
    np.testing.assert_allclose(f(name, x, 0.3), y.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(df(name, x, 0.3), t.grad.numpy(), rtol=1e-12, atol=1e-14)
