"""Layer normalization kernels against their twins, exact sums and PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import layer_norm as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import layer_norm as reference

DTYPES = ["float32", "float64"]
SHAPES = [(1, 3), (5, 7), (33, 16), (3, 4, 65), (2, 5, 5, 48), (1030, 31), (17, 1000)]
EPS = 1e-5


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def run(module, shape, dtype, seed=0):
    """All outputs of both kernels."""
    rng = np.random.default_rng(seed)
    c, rows = shape[-1], int(np.prod(shape[:-1]))
    x, dy = (rng.normal(1, 2, shape).astype(dtype) for _ in range(2))
    gamma, beta = (rng.standard_normal(c).astype(dtype) for _ in range(2))
    y, mean, inv_std = np.full_like(x, np.nan), np.full(rows, np.nan, dtype), np.full(rows, np.nan, dtype)
    module.layernorm_forward(x, gamma, beta, y, mean, inv_std, EPS)
    dx, dgamma, dbeta = np.full_like(x, np.nan), np.full_like(gamma, np.nan), np.full_like(gamma, np.nan)
    module.layernorm_backward(dy, x, gamma, mean, inv_std, dx, dgamma, dbeta)
    return dict(y=y, mean=mean, inv_std=inv_std, dx=dx, dgamma=dgamma, dbeta=dbeta)


def close(received, expected, dtype):
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(received, expected, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_twin(shape, dtype):
    received, expected = run(compiled, shape, dtype), run(reference, shape, dtype)
    for name, value in expected.items():
        close(received[name], value, dtype)


# With two columns the deviation may be tiny and 1 / deviation amplifies rounding: at least three here.
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(3, 200), st.integers(0, 50))
def test_equals_twin_on_any_shape(rows, channels, seed):
    received = run(compiled, (rows, channels), "float64", seed)
    for name, value in run(reference, (rows, channels), "float64", seed).items():
        close(received[name], value, "float64")


@pytest.mark.parametrize("module", [compiled, reference])
def test_by_hand(module):
    x = np.array([[1.0, 3], [5, 5]])
    gamma, beta = np.array([2.0, 4]), np.array([1.0, 7])
    y, mean, inv_std = np.empty_like(x), np.empty(2), np.empty(2)
    module.layernorm_forward(x, gamma, beta, y, mean, inv_std, 0.0625)
    np.testing.assert_allclose(mean, [2, 5])
    np.testing.assert_allclose(inv_std, [1 / np.sqrt(1.0625), 4])
    np.testing.assert_allclose(y, [[1 - 2 / np.sqrt(1.0625), 7 + 4 / np.sqrt(1.0625)], [1, 7]])


@pytest.mark.parametrize("module", [compiled, reference])
def test_one_channel_and_nothing(module):
    """A single channel is its own mean: y = beta, and nothing goes back."""
    one = np.ones(1)
    x, y, mean, inv_std = np.array([[3.0], [4.0]]), np.empty((2, 1)), np.empty(2), np.empty(2)
    module.layernorm_forward(x, one, 5 * one, y, mean, inv_std, EPS)
    np.testing.assert_array_equal(y, 5)
    dx, dgamma, dbeta = np.empty_like(x), np.empty(1), np.empty(1)
    module.layernorm_backward(x, x, one, mean, inv_std, dx, dgamma, dbeta)
    np.testing.assert_array_equal(dx, 0)
    np.testing.assert_array_equal(dgamma, 0)
    np.testing.assert_array_equal(dbeta, 7)
    empty, none, gamma = np.empty((0, 3)), np.empty(0), np.ones(3)
    module.layernorm_forward(empty, gamma, gamma, empty, none, none, EPS)
    dgamma, dbeta = np.full(3, np.nan), np.full(3, np.nan)
    module.layernorm_backward(empty, empty, gamma, none, none, empty, dgamma, dbeta)
    assert not dgamma.any()
    assert not dbeta.any()


def test_accumulate_no_input_gradient_and_in_place():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 40, 7))
    gamma, mean, inv_std = rng.standard_normal(7), np.empty(40), np.empty(40)
    y, beta = np.empty_like(x), np.zeros(7)
    compiled.layernorm_forward(x, gamma, beta, y, mean, inv_std, EPS)
    dx, dgamma, dbeta = np.empty_like(x), np.empty(7), np.empty(7)
    compiled.layernorm_backward(dy, x, gamma, mean, inv_std, dx, dgamma, dbeta)
    dgamma2, dbeta2 = np.full(7, 2.0), np.full(7, 3.0)
    compiled.layernorm_backward(dy, x, gamma, mean, inv_std, None, dgamma2, dbeta2, accumulate=True)
    np.testing.assert_allclose(dgamma2, dgamma + 2)
    np.testing.assert_allclose(dbeta2, dbeta + 3)
    compiled.layernorm_backward(dy, x, gamma, mean, inv_std, dy, dgamma, dbeta)
    np.testing.assert_array_equal(dy, dx)
    compiled.layernorm_forward(x, gamma, beta, x, mean, inv_std, EPS)
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("offset", [1e3, -1e4])
def test_a_large_mean_does_not_cancel(offset):
    x = (np.random.default_rng(0).standard_normal((20, 3001)) + offset).astype(np.float32)
    ones = np.ones(3001, np.float32)
    y, mean, inv_std = np.empty_like(x), np.empty(20, np.float32), np.empty(20, np.float32)
    compiled.layernorm_forward(x, ones, ones, y, mean, inv_std, 0.0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(inv_std, 1 / exact.std(axis=1), rtol=2e-6)
    np.testing.assert_allclose(mean, exact.mean(axis=1), rtol=2e-7)


def test_nan_stays_in_its_row():
    x = np.ones((30, 40), np.float32)
    x[20, 2] = np.nan
    ones, rows = np.ones(40, np.float32), np.empty(30, np.float32)
    y = np.empty_like(x)
    compiled.layernorm_forward(x, ones, ones, y, rows, rows.copy(), EPS)
    assert np.isnan(y[20]).all()
    assert np.isfinite(np.delete(y, 20, axis=0)).all()


@pytest.mark.parametrize("shape", [(3000, 64), (40, 14, 14, 6), (70, 1513)], ids=str)
def test_bits_do_not_depend_on_threads(shape):
    results = []
    for n in (1, 2, 3):
        set_num_threads(n)
        results.append({k: v.tobytes() for k, v in run(compiled, shape, "float32").items()})
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("shape", [(64, 33), (4, 9, 9, 6)], ids=str)
def test_equals_torch(shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, dy, gamma, beta = (rng.normal(1, 2, s) for s in (shape, shape, shape[-1:], shape[-1:]))
    tx, tg, tb = (torch.tensor(a, requires_grad=True) for a in (x, gamma, beta))
    ty = torch.nn.functional.layer_norm(tx, shape[-1:], tg, tb, EPS)
    ty.backward(torch.tensor(dy))
    rows = int(np.prod(shape[:-1]))
    y, mean, inv_std, dx = np.empty(shape), np.empty(rows), np.empty(rows), np.empty(shape)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(beta)
    compiled.layernorm_forward(x, gamma, beta, y, mean, inv_std, EPS)
    compiled.layernorm_backward(dy, x, gamma, mean, inv_std, dx, dgamma, dbeta)
    for received, expected in ((y, ty.detach()), (dx, tx.grad), (dgamma, tg.grad), (dbeta, tb.grad)):
        close(received, expected.numpy(), "float64")


def test_errors():
    x, c, rows = np.zeros((4, 3), np.float32), np.ones(3, np.float32), np.ones(4, np.float32)
    with pytest.raises(TypeError, match="x: expected float32 or float64"):
        compiled.layernorm_forward(x.astype(int), c, c, x, rows, rows, EPS)
    with pytest.raises(ValueError, match="gamma: expected length 3"):
        compiled.layernorm_forward(x, rows, rows, x, rows, rows, EPS)
    with pytest.raises(ValueError, match="mean: expected length 4"):
        compiled.layernorm_forward(x, c, c, x, c, c, EPS)
    with pytest.raises(ValueError, match="2 axes or more"):
        compiled.layernorm_forward(c, c, c, c, rows, rows, EPS)
    with pytest.raises(ValueError, match="dgamma: expected the shape of gamma"):
        compiled.layernorm_backward(x, x, c, rows, rows, None, rows, c)
    with pytest.raises(TypeError, match="dy: expected dtype float32"):
        compiled.layernorm_backward(x.astype(np.float64), x, c, rows, rows, None, c, c)
