"""Pooling kernels against their twins, PyTorch and counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import pooling as compiled
from fastnn._ext import threads
from fastnn.reference import pooling as reference

CASES = [  # shape, pool_size, stride, padding
    ((2, 28, 28, 6), (2, 2), (2, 2), (0, 0, 0, 0)),
    ((3, 10, 10, 16), (2, 2), (2, 2), (0, 0, 0, 0)),
    ((2, 7, 9, 3), (2, 2), (2, 2), (0, 0, 0, 0)),  # a row and a column are left over
    ((2, 9, 9, 40), (3, 3), (2, 2), (1, 1, 1, 1)),
    ((1, 6, 5, 17), (3, 3), (1, 1), (1, 1, 1, 1)),
    ((2, 8, 7, 1), (3, 2), (2, 3), (1, 0, 0, 1)),
    ((1, 9, 9, 2), (2, 2), (3, 3), (0, 0, 0, 0)),  # pixels that no window holds
    ((2, 4, 6, 5), (4, 6), (4, 6), (0, 0, 0, 0)),
    ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((0, 4, 4, 3), (2, 2), (2, 2), (0, 0, 0, 0)),
    ((2, 4, 4, 0), (2, 2), (2, 2), (0, 0, 0, 0)),
]
DTYPES = ["float32", "float64"]


def out_shape(shape, pool_size, stride, padding):
    n, h, w, c = shape
    top, bottom, left, right = padding
    oh = (h + top + bottom - pool_size[0]) // stride[0] + 1
    return n, oh, (w + left + right - pool_size[1]) // stride[1] + 1, c


def arrays(case, dtype, seed=0):
    """x with many equal values, dy, and outputs full of NaN."""
    shape, *geometry = case
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 4, shape).astype(dtype)
    y = np.full(out_shape(shape, *geometry), np.nan, dtype)
    dy = rng.standard_normal(y.shape).astype(dtype)
    return x, y, dy, geometry


def close(actual, expected, dtype):
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def compare(case, dtype, seed=0):
    x, y, dy, geometry = arrays(case, dtype, seed)
    index, dx = np.full(y.shape, 255, np.uint8), np.full_like(x, np.nan)
    y2, index2, dx2 = y.copy(), index.copy(), dx.copy()
    compiled.max_pool2d_forward(x, y, index, *geometry)
    reference.max_pool2d_forward(x, y2, index2, *geometry)
    np.testing.assert_array_equal(y, y2)
    np.testing.assert_array_equal(index, index2)
    y[...] = np.nan
    compiled.max_pool2d_forward(x, y, None, *geometry)
    np.testing.assert_array_equal(y, y2)
    compiled.max_pool2d_backward(dy, index, dx, *geometry)
    reference.max_pool2d_backward(dy, index, dx2, *geometry)
    close(dx, dx2, dtype)
    for include in (True, False):
        compiled.avg_pool2d_forward(x, y, *geometry, count_include_pad=include)
        reference.avg_pool2d_forward(x, y2, *geometry, count_include_pad=include)
        close(y, y2, dtype)
        dx[...] = np.nan
        compiled.avg_pool2d_backward(dy, dx, *geometry, count_include_pad=include)
        reference.avg_pool2d_backward(dy, dx2, *geometry, count_include_pad=include)
        close(dx, dx2, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_twin(case, dtype):
    compare(case, dtype)


@st.composite
def cases(draw):
    ph, pw, sh, sw = (draw(st.integers(1, 4)) for _ in range(4))
    padding = tuple(draw(st.integers(0, size - 1)) for size in (ph, ph, pw, pw))
    h = draw(st.integers(max(1, ph - padding[0] - padding[1]), 9))
    w = draw(st.integers(max(1, pw - padding[2] - padding[3]), 9))
    return (draw(st.integers(0, 3)), h, w, draw(st.integers(0, 36))), (ph, pw), (sh, sw), padding


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from(DTYPES), st.integers(0, 100))
def test_equals_twin_on_any_shape(case, dtype, seed):
    compare(case, dtype, seed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("module", [compiled, reference])
def test_by_hand(module, dtype):
    x = np.array([1, 3, 2, 2, 5, 5, 0, -1, 4, 4, 4, 4], dtype).reshape(1, 3, 4, 1)
    y, index = np.empty((1, 1, 2, 1), dtype), np.empty((1, 1, 2, 1), np.uint8)
    module.max_pool2d_forward(x, y, index, (2, 2), (2, 2), (0, 0, 0, 0))
    assert y.ravel().tolist() == [5, 2]
    assert index.ravel().tolist() == [2, 0]  # the first of equals
    dx = np.empty_like(x)
    module.max_pool2d_backward(
        np.array([7, 8], dtype).reshape(y.shape), index, dx, (2, 2), (2, 2), (0, 0, 0, 0)
    )
    assert dx.ravel().tolist() == [0, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0]
    module.avg_pool2d_forward(x, y, (2, 2), (2, 2), (0, 0, 0, 0))
    assert y.ravel().tolist() == [3.5, 0.75]


@pytest.mark.parametrize("module", [compiled, reference])
@pytest.mark.parametrize("channels", [1, 5, 16, 33])
def test_nan_wins_and_padding_never(module, channels):
    x = np.full((2, 4, 4, channels), -np.inf, np.float32)
    x[0, 1, 1, 0] = np.nan
    x[0, 0, 0] = 9
    y, index = np.empty((2, 3, 3, channels), np.float32), np.empty((2, 3, 3, channels), np.uint8)
    module.max_pool2d_forward(x, y, index, (2, 2), (2, 2), (1, 1, 1, 1))
    assert np.isnan(y[0, 1, 1, 0])
    assert index[0, 1, 1, 0] == 0
    assert y[0, 0, 0].tolist() == [9] * channels
    assert (y[1] == -np.inf).all()
    assert (index[1, 0, 0] == 3).all()  # the window's only pixel in the image
    assert (index[1, 1, 1] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 7, 7, 130), (1, 56, 56, 3), (3, 1, 1, 64), (0, 2, 2, 4), (2, 2, 2, 0)])
def test_global_equals_twin(shape, dtype):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal((shape[0], shape[3])).astype(dtype)
    y, y2, dx, dx2 = np.full_like(dy, np.nan), dy.copy(), np.full_like(x, np.nan), x.copy()
    compiled.global_avg_pool2d_forward(x, y)
    reference.global_avg_pool2d_forward(x, y2)
    compiled.global_avg_pool2d_backward(dy, dx)
    reference.global_avg_pool2d_backward(dy, dx2)
    close(y, y2, dtype)
    close(dx, dx2, dtype)


def test_global_average_of_a_large_image_is_accurate():
    x = np.full((1, 512, 512, 2), 1.1, np.float32)
    y = np.empty((1, 2), np.float32)
    compiled.global_avg_pool2d_forward(x, y)
    np.testing.assert_allclose(y, 1.1, rtol=1e-6)


@pytest.mark.parametrize(
    "case", [((16, 24, 24, 6), *CASES[0][1:]), ((8, 25, 25, 20), *CASES[3][1:])], ids=str
)
def test_bits_do_not_depend_on_threads(case):
    x, y, dy, geometry = arrays(case, "float32")
    x += np.random.default_rng(1).standard_normal(x.shape).astype("float32")
    index, dx, mean = np.empty(y.shape, np.uint8), np.empty_like(x), x[:, 0, 0].copy()
    before, results = threads.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            compiled.max_pool2d_forward(x, y, index, *geometry)
            results.append([y.tobytes(), index.tobytes()])
            compiled.max_pool2d_backward(dy, index, dx, *geometry)
            results[-1].append(dx.tobytes())
            compiled.avg_pool2d_forward(x, y, *geometry, count_include_pad=False)
            compiled.avg_pool2d_backward(dy, dx, *geometry, count_include_pad=False)
            compiled.global_avg_pool2d_forward(x, mean)
            results[-1] += [y.tobytes(), dx.tobytes(), mean.tobytes()]
    finally:
        threads.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[4]], ids=str)
def test_equals_torch(case):
    torch = pytest.importorskip("torch")
    x, y, dy, (pool_size, stride, padding) = arrays(case, "float32")
    index, dx = np.empty(y.shape, np.uint8), np.empty_like(x)
    tx = torch.from_numpy(x).permute(0, 3, 1, 2).requires_grad_()
    tdy = torch.from_numpy(dy).permute(0, 3, 1, 2)
    both = padding[0], padding[2]
    ty = torch.nn.functional.max_pool2d(tx, pool_size, stride, both)
    ty.backward(tdy)
    compiled.max_pool2d_forward(x, y, index, pool_size, stride, padding)
    compiled.max_pool2d_backward(dy, index, dx, pool_size, stride, padding)
    close(y, ty.detach().permute(0, 2, 3, 1).numpy(), "float32")
    close(dx, tx.grad.permute(0, 2, 3, 1).numpy(), "float32")
    for include in (True, False):
        tx.grad = None
        ty = torch.nn.functional.avg_pool2d(tx, pool_size, stride, both, count_include_pad=include)
        ty.backward(tdy)
        compiled.avg_pool2d_forward(x, y, pool_size, stride, padding, include)
        compiled.avg_pool2d_backward(dy, dx, pool_size, stride, padding, include)
        close(y, ty.detach().permute(0, 2, 3, 1).numpy(), "float32")
        close(dx, tx.grad.permute(0, 2, 3, 1).numpy(), "float32")


def test_errors():
    x, y = np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 2, 2, 3), np.float32)
    index = np.zeros(y.shape, np.uint8)
    ok = dict(pool_size=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0))
    with pytest.raises(TypeError, match="x: expected float32 or float64"):
        compiled.max_pool2d_forward(x.astype(int), y, index, **ok)
    with pytest.raises(TypeError, match="y: expected dtype float32"):
        compiled.max_pool2d_forward(x, y.astype(np.float64), index, **ok)
    with pytest.raises(TypeError, match="index"):
        compiled.max_pool2d_forward(x, y, index.astype(np.int64), **ok)
    with pytest.raises(TypeError, match="index"):
        compiled.max_pool2d_backward(y, None, x, **ok)
    with pytest.raises(ValueError, match="contiguous"):
        compiled.avg_pool2d_forward(x.transpose(0, 2, 1, 3), y, **ok)
    with pytest.raises(ValueError, match="y: expected length 2 along axis 1"):
        compiled.max_pool2d_forward(x, np.zeros((1, 3, 2, 3), np.float32), None, **ok)
    with pytest.raises(ValueError, match="padding"):
        compiled.max_pool2d_forward(x, y, index, (2, 2), (2, 2), (2, 0, 0, 0))
    with pytest.raises(ValueError, match="stride"):
        compiled.max_pool2d_forward(x, y, index, (2, 2), (0, 2), (0, 0, 0, 0))
    with pytest.raises(ValueError, match="pool_size"):
        compiled.max_pool2d_forward(x, y, index, (5, 2), (2, 2), (0, 0, 0, 0))
    big = np.zeros((1, 16, 16, 1), np.float32)
    with pytest.raises(ValueError, match="255 positions"):
        small = big[:, :1, :1].copy()
        compiled.max_pool2d_forward(big, small, small.astype(np.uint8), (16, 16), (1, 1), (0, 0, 0, 0))
    with pytest.raises(ValueError, match="at least one pixel"):
        compiled.global_avg_pool2d_forward(np.zeros((2, 0, 3, 4), np.float32), np.zeros((2, 4), np.float32))
