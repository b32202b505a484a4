"""PReLU, Swish and Maxout kernels against their twins, by hand, and for any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import parametric as compiled
from fastnn._ext.activations import activation_backward
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import parametric as reference

DTYPES = ["float32", "float64"]
MODULES = [compiled, reference]
SHAPES = [(0, 3), (1, 1), (1, 7), (5, 3), (33, 16), (3, 5, 7, 2), (700, 65), (20000, 3), (9001, 1)]


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def arrays(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(2)]


def close(received, expected, dtype, n=1):
    """Within rounding; a sum of n numbers is as exact as their magnitudes allow."""
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(received, expected, rtol=16 * eps, atol=8 * eps * max(1.0, np.sqrt(n)))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_prelu_equals_twin(shape, dtype, shared):
    x, dy = arrays(shape, dtype)
    alpha = np.linspace(-0.5, 1.5, 1 if shared else shape[-1]).astype(dtype)
    results = []
    for module in MODULES:
        y, dx, dalpha = np.full_like(x, np.nan), np.full_like(x, np.nan), np.full_like(alpha, np.nan)
        module.prelu_forward(x, alpha, y)
        module.prelu_backward(dy, x, alpha, dx, dalpha)
        more = np.full_like(alpha, 3)
        module.prelu_backward(dy, x, alpha, dx, more, accumulate=True)
        close(more, dalpha + 3, dtype, x.size)
        results.append((y, dx, dalpha))
    for received, expected in zip(*results):
        close(received, expected, dtype, x.size)


def test_prelu_by_hand():
    x, dy = np.array([[-2.0, 4], [0, -1]]), np.array([[1.0, 10], [100, 1000]])
    for module in MODULES:
        y, dx, dalpha = np.empty_like(x), np.empty_like(x), np.empty(2)
        module.prelu_forward(x, np.array([0.5, 0.25]), y)
        module.prelu_backward(dy, x, np.array([0.5, 0.25]), dx, dalpha)
        np.testing.assert_array_equal(y, [[-1, 4], [0, -0.25]])
        np.testing.assert_array_equal(dx, [[0.5, 10], [50, 250]])
        np.testing.assert_array_equal(dalpha, [-2, -1000])


@pytest.mark.parametrize("beta", [-0.7, 0.0, 1.0, 1.702, 30.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, ()], ids=str)
def test_swish_equals_twin(shape, dtype, beta):
    x, dy = arrays(shape, dtype)
    x, dy = np.asarray(3 * x, dtype), np.asarray(dy, dtype)
    beta = float(np.dtype(dtype).type(beta))
    dx, dbeta = np.full_like(x, np.nan), np.full(1, np.nan, dtype)
    expected, expected_dbeta = np.empty(shape), np.empty(1)
    compiled.swish_backward(dy, x, beta, dx, dbeta)
    wide = x.astype(np.float64), dy.astype(np.float64)
    reference.swish_backward(wide[1], wide[0], beta, expected, expected_dbeta)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(dx, expected, rtol=32 * eps, atol=32 * eps * max(1.0, abs(beta)))
    close(dbeta, expected_dbeta, dtype, 10 * x.size)
    same = np.empty_like(x)
    activation_backward(dy, x, same, "swish", beta)
    np.testing.assert_allclose(dx, same, rtol=32 * eps, atol=32 * eps * max(1.0, abs(beta)))
    more = np.full(1, 2, dtype)
    compiled.swish_backward(dy, x, beta, dx, more, accumulate=True)
    close(more, dbeta + 2, dtype, 10 * x.size)


def test_swish_of_extremes():
    x = np.array([np.inf, -np.inf, 1e30, -1e30, np.nan])
    for module in MODULES:
        dx, dbeta = np.empty_like(x), np.empty(1)
        module.swish_backward(np.ones_like(x), x, 1.0, dx, dbeta)
        np.testing.assert_array_equal(dx[:4], [1, 0, 1, 0])
        assert np.isnan(dx[4])
        assert np.isnan(dbeta[0])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 70), st.integers(1, 9), st.integers(0, 40), st.sampled_from(DTYPES), st.integers(0, 99))
def test_maxout_equals_twin(n, pieces, units, dtype, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(-3, 4, (n, pieces, units)).astype(dtype)  # with many ties
    dy = rng.standard_normal((n, units)).astype(dtype)
    results = []
    for module in MODULES:
        y, index, da = np.full_like(dy, np.nan), np.full(dy.shape, 99, np.uint8), np.full_like(a, np.nan)
        module.maxout_forward(a, y, index)
        module.maxout_backward(dy, index, da)
        alone = np.full_like(dy, np.nan)
        module.maxout_forward(a, alone, None)
        np.testing.assert_array_equal(alone, y)
        results.append((y, index, da))
    for received, expected in zip(*results):
        np.testing.assert_array_equal(received, expected)


def test_maxout_by_hand():
    a = np.array([[[1.0, 5, np.nan], [1, 7, 0], [0, 7, 9]]])
    for module in MODULES:
        y, index, da = np.empty((1, 3)), np.empty((1, 3), np.uint8), np.empty_like(a)
        module.maxout_forward(a, y, index)
        np.testing.assert_array_equal(y, [[1, 7, np.nan]])
        np.testing.assert_array_equal(index, [[0, 1, 0]])  # the first of equals; NaN stays visible
        module.maxout_backward(np.array([[1.0, 2, 3]]), index, da)
        np.testing.assert_array_equal(da, [[[1, 0, 3], [0, 2, 0], [0, 0, 0]]])


def test_threads():
    x, dy = arrays((3000, 70), "float32")
    alpha = np.linspace(0, 1, 70).astype(np.float32)
    a = np.ascontiguousarray(x.reshape(3000, 7, 10))
    results = []
    for n in (1, 2, 3):
        set_num_threads(n)
        outputs = [np.empty_like(x) for _ in range(3)]
        sums = [np.empty_like(alpha), np.empty(1, np.float32), np.empty(1, np.float32)]
        compiled.prelu_forward(x, alpha, outputs[0])
        compiled.prelu_backward(dy, x, alpha, outputs[1], sums[0])
        compiled.prelu_backward(dy, x, sums[1] * 0, outputs[1], sums[1])
        compiled.swish_backward(dy, x, 1.5, outputs[2], sums[2])
        y, index, da = np.empty((3000, 10), np.float32), np.empty((3000, 10), np.uint8), np.empty_like(a)
        compiled.maxout_forward(a, y, index)
        compiled.maxout_backward(y, index, da)
        results.append(b"".join(array.tobytes() for array in (*outputs, *sums, y, index, da)))
    assert results[0] == results[1] == results[2]


def test_in_place():
    x, dy = arrays((40, 9), "float64")
    alpha, dalpha = np.full(9, 0.3), np.empty(9)
    y, dx = x.copy(), dy.copy()
    compiled.prelu_forward(y, alpha, y)
    np.testing.assert_array_equal(y, np.where(x > 0, x, 0.3 * x))
    compiled.prelu_backward(dx, x, alpha, dx, dalpha)
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, 0.3 * dy))


def test_errors():
    x = np.zeros((4, 6), np.float32)
    alpha = np.zeros(6, np.float32)
    index = np.zeros((4, 6), np.uint8)
    with pytest.raises(ValueError, match=r"alpha: expected \(1,\) or \(C,\)"):
        compiled.prelu_forward(x, alpha[:5], x)
    with pytest.raises(TypeError, match="alpha: expected dtype float32"):
        compiled.prelu_forward(x, np.zeros(6), x)
    with pytest.raises(ValueError, match="y: expected the shape of x"):
        compiled.prelu_forward(x, alpha, x[:3])
    with pytest.raises(ValueError, match="dalpha: expected the shape of alpha"):
        compiled.prelu_backward(x, x, alpha, x, alpha[:1])
    with pytest.raises(ValueError, match="dbeta: expected length 1"):
        compiled.swish_backward(x, x, 1.0, x, alpha)
    with pytest.raises(ValueError, match="a: expected 3 axes"):
        compiled.maxout_forward(x, x, index)
    with pytest.raises(ValueError, match="y: expected length 4 along axis 0"):
        compiled.maxout_forward(np.zeros((4, 2, 6), np.float32), x[:3], index)
    with pytest.raises(TypeError, match="index: expected dtype uint8"):
        compiled.maxout_forward(np.zeros((4, 2, 6), np.float32), x, index.astype(int))
    with pytest.raises(ValueError, match="expected 1 to 255 pieces"):
        compiled.maxout_forward(np.zeros((4, 256, 6), np.float32), x, index)
    with pytest.raises(TypeError, match="index: expected an array"):
        compiled.maxout_backward(x, None, np.zeros((4, 2, 6), np.float32))


@pytest.mark.parametrize("shared", [True, False])
def test_prelu_equals_torch(shared):
    torch = pytest.importorskip("torch")
    x, dy = arrays((50, 7), "float64")
    alpha = np.linspace(-0.2, 0.9, 1 if shared else 7)
    tx, ta = torch.tensor(x, requires_grad=True), torch.tensor(alpha, requires_grad=True)
    ty = torch.nn.functional.prelu(tx, ta)
    ty.backward(torch.tensor(dy))
    y, dx, dalpha = np.empty_like(x), np.empty_like(x), np.empty_like(alpha)
    compiled.prelu_forward(x, alpha, y)
    compiled.prelu_backward(dy, x, alpha, dx, dalpha)
    for received, expected in ((y, ty.detach()), (dx, tx.grad), (dalpha, ta.grad)):
        np.testing.assert_allclose(received, expected.numpy(), rtol=1e-12, atol=1e-13)
