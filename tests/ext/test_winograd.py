"""The Winograd kernels against a direct convolution, their twins and exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from fastnn._ext import threads
from fastnn._ext import winograd as compiled
from fastnn.reference import winograd as reference

#: (N, H, W, C, F, padding): tails of every kind, several blocks, few and many filters.
SHAPES = [
    (1, 1, 1, 1, 1, (1, 1, 1, 1)),
    (1, 3, 3, 1, 2, (0, 0, 0, 0)),
    (2, 7, 9, 5, 3, (1, 1, 1, 1)),
    (3, 8, 8, 16, 32, (2, 2, 2, 2)),
    (2, 5, 13, 33, 47, (2, 1, 0, 2)),
    (1, 4, 40, 17, 65, (0, 2, 1, 0)),
    (9, 16, 16, 40, 24, (1, 1, 1, 1)),  # more than one block of tiles
    (1, 6, 5, 200, 190, (1, 1, 1, 1)),  # filters are transformed panel by panel, in parts
    (9, 16, 16, 270, 128, (1, 1, 1, 1)),  # the same with several blocks of tiles
]
LARGE = SHAPES[-1]


def arrays(shape, dtype="float64", seed=0):
    n, h, w, c, f, (top, bottom, left, right) = shape
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.standard_normal((n, h, w, c)), 0).astype(dtype)
    weight = (rng.standard_normal((f, 3, 3, c)) / max(1, 3 * c**0.5)).astype(dtype)
    da = rng.standard_normal((n, h + top + bottom - 2, w + left + right - 2, f)).astype(dtype)
    return x, weight, rng.standard_normal(f).astype(dtype), da


def direct(x, weight, da, padding):
    """y, dx and dw by their definition in float64, one tap of the kernel after the other."""
    x, weight, da = (v.astype(np.float64) for v in (x, weight, da))
    top, bottom, left, right = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    y, dpadded, dw = np.zeros(da.shape), np.zeros(padded.shape), np.zeros(weight.shape)
    oh, ow = da.shape[1:3]
    for i in range(3):
        for j in range(3):
            window = (slice(None), slice(i, i + oh), slice(j, j + ow))
            y += padded[window] @ weight[:, i, j].T
            dpadded[window] += da @ weight[:, i, j]
            dw[:, i, j] = np.tensordot(da, padded[window], axes=([0, 1, 2], [0, 1, 2]))
    return y, dpadded[:, top : top + x.shape[1], left : left + x.shape[2]], dw


def run(module, x, weight, bias, da, padding):
    """y, dx and dw of a module; the outputs are full of NaN before."""
    y, dx, dw = (np.full(v.shape, np.nan, v.dtype) for v in (da, x, weight))
    module.winograd_forward(x, weight, bias, y, padding)
    module.winograd_backward_input(da, weight, dx, padding)
    module.winograd_backward_weight(x, da, dw, padding)
    return y, dx, dw


def assert_close(received, expected, dtype, times=1):
    scale = np.sqrt(np.mean(expected**2)) if expected.size else 0
    atol = {"float32": 2e-5, "float64": 2e-13}[str(np.dtype(dtype))] * times * max(scale, 1e-3)
    np.testing.assert_allclose(received, expected, rtol=0, atol=atol)


def cook_toom(points, m, r):
    """A, G and B^T of F(m, r) at the points and infinity, in exact fractions."""
    n = len(points) + 1
    rows_a = [[p**k for k in range(m)] for p in points] + [[Fraction(k == m - 1) for k in range(m)]]
    rows_g, rows_b = [], []
    for p in [*points, None]:
        product, scale = [Fraction(1)], Fraction(1)
        for q in points:
            if q != p:  # times (x - q)
                product = [s - q * t for s, t in zip([Fraction(0), *product], [*product, Fraction(0)])]
                scale *= 1 if p is None else p - q
        rows_b.append(product + [Fraction(0)] * (n - len(product)))
        rows_g.append([Fraction(k == r - 1) if p is None else p**k / scale for k in range(r)])
    return rows_a, rows_g, rows_b


def test_matrices_are_exact():
    """sum_k A[k,i] G[k,r] B^T[k,j] is 1 for j = i + r and 0 otherwise: the convolution, without rounding."""
    p, q = Fraction(5, 8), Fraction(3, 2)
    a, g, b = cook_toom([Fraction(0), p, -p, q, -q], 4, 3)
    for i in range(4):
        for r in range(3):
            for j in range(6):
                assert sum(a[k][i] * g[k][r] * b[k][j] for k in range(6)) == (j == i + r)
    np.testing.assert_array_equal(reference.A, np.array(a, float))
    np.testing.assert_array_equal(reference.B.T, np.array(b, float))
    np.testing.assert_allclose(reference.G, np.array(g, float), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_direct(shape, dtype):
    x, weight, bias, da = arrays(shape, dtype)
    y, dx, dw = direct(x, weight, da, shape[-1])
    for received, expected in zip(run(compiled, x, weight, bias, da, shape[-1]), (y + bias, dx, dw)):
        assert_close(received, expected, dtype)


@pytest.mark.parametrize("shape", SHAPES[:-2])
def test_twin_equals_compiled(shape):
    args = (*arrays(shape), shape[-1])
    for received, expected in zip(run(compiled, *args), run(reference, *args)):
        assert_close(received, expected, "float64")


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 3), h=st.integers(1, 11), w=st.integers(1, 11), c=st.integers(0, 70),
    f=st.integers(0, 70), padding=st.tuples(*[st.integers(0, 2)] * 4),
    dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_random_shapes(n, h, w, c, f, padding, dtype):
    h, w = max(h, 2 - padding[0] - padding[1]), max(w, 2 - padding[2] - padding[3])
    x, weight, _, da = arrays((n, h, w, c, f, padding), dtype)
    expected = direct(x, weight, da, padding)
    for i, received in enumerate(run(compiled, x, weight, None, da, padding)):
        assert_close(received, expected[i], dtype)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3, 2), (2, 4, 4, 3, 0), (2, 4, 4, 0, 3)])
def test_size_zero(shape):
    x, weight, bias, da = arrays((*shape, (1, 1, 1, 1)))
    for module in (compiled, reference):
        y, dx, dw = run(module, x, weight, bias, da, (1, 1, 1, 1))
        np.testing.assert_array_equal(y, np.broadcast_to(bias, y.shape))
        assert not dx.any() and not dw.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "gelu"])
def test_bias_and_activation(activation, dtype):
    x, weight, bias, y = arrays((2, 7, 6, 9, 37, (1, 1, 1, 1)), dtype)
    for b in (bias, None):
        expected = np.empty_like(y)
        compiled.winograd_forward(x, weight, b, y, (1, 1, 1, 1), activation, 0.3)
        reference.winograd_forward(x, weight, b, expected, (1, 1, 1, 1), activation, 0.3)
        assert_close(y, expected, dtype)


@pytest.mark.parametrize("shape", [SHAPES[2], SHAPES[6], LARGE])
def test_accumulate(shape):
    x, weight, _, da = arrays(shape)
    dw, start = np.empty_like(weight), np.random.default_rng(1).standard_normal(weight.shape)
    total = start.copy()
    compiled.winograd_backward_weight(x, da, dw, shape[-1])
    compiled.winograd_backward_weight(x, da, total, shape[-1], accumulate=True)
    assert_close(total, start + dw, "float64")


@pytest.mark.parametrize("shape", [SHAPES[4], SHAPES[6], SHAPES[7], LARGE])
def test_same_bits_for_any_number_of_threads(shape):
    args = (*arrays(shape, "float32"), shape[-1])
    before = threads.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            results.append(run(compiled, *args))
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        for received, expected in zip(other, results[0]):
            np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("shape", [
    (2, 12, 12, 64, 64, (1, 1, 1, 1)), (2, 8, 8, 512, 64, (1, 1, 1, 1)), (2, 8, 8, 64, 512, (1, 1, 1, 1)),
    (16, 16, 16, 32, 32, (1, 1, 1, 1)),
])  # fmt: skip
def test_rounding(shape):
    """float32: the root of the mean squared error is below 2e-6 of the result's, as for a long plain sum."""
    x, weight, _, da = arrays(shape, "float32")
    expected = direct(x, weight, da, shape[-1])
    for received, exact in zip(run(compiled, x, weight, None, da, shape[-1]), expected):
        assert np.sqrt(np.mean((received - exact) ** 2)) < 2e-6 * np.sqrt(np.mean(exact**2))


def test_nan_is_visible():
    x, weight, bias, y = arrays((1, 12, 12, 4, 4, (1, 1, 1, 1)))
    x[0, 5, 5, 0] = np.nan
    compiled.winograd_forward(x, weight, bias, y, (1, 1, 1, 1), "relu")
    assert np.isnan(y[0, 4:7, 4:7]).all() and not np.isnan(y[0, 8:]).any()


def test_equals_torch():
    torch = pytest.importorskip("torch")
    x, weight, bias, da = arrays((2, 9, 10, 32, 48, (1, 1, 1, 1)), "float32")
    tx, tw, tb = (torch.tensor(v, requires_grad=True) for v in (x, weight, bias))
    ty = torch.nn.functional.conv2d(tx.permute(0, 3, 1, 2), tw.permute(0, 3, 1, 2), tb, padding=1)
    ty.backward(torch.tensor(da).permute(0, 3, 1, 2))
    expected = (ty.detach().permute(0, 2, 3, 1), tx.grad, tw.grad)
    for received, t in zip(run(compiled, x, weight, bias, da, (1, 1, 1, 1)), expected):
        assert_close(received, t.numpy(), "float32")


@pytest.mark.parametrize(("shape", "expected"), [
    ((8, 16, 16, 32, 32), True), ((8, 16, 16, 31, 64), False), ((8, 16, 16, 64, 31), False),  # channels
    ((2, 8, 8, 64, 64), True), ((1, 8, 8, 64, 64), False),  # pixels
    ((7, 4, 4, 64, 64), False), ((8, 4, 4, 64, 64), True),
    ((32, 6, 6, 64, 64), False), ((32, 7, 7, 64, 64), True), ((32, 9, 9, 64, 64), False),  # empty tiles
    ((32, 10, 10, 64, 64), True), ((99, 3, 3, 64, 64), False), ((0, 16, 16, 64, 64), False),
])  # fmt: skip
def test_pays(shape, expected):
    assert compiled.pays(*shape) is expected


def test_errors():
    x, weight, bias, y = arrays((2, 6, 6, 4, 5, (1, 1, 1, 1)))
    forward, p = compiled.winograd_forward, (1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"padding: expected .* Received: \(1, 1, 1, 3\)"):
        forward(x, weight, bias, y, (1, 1, 1, 3))
    with pytest.raises(ValueError, match="padding"):
        forward(x, weight, bias, y, (1, 1))
    with pytest.raises(ValueError, match="x: expected a C-contiguous"):
        forward(x[:, ::-1], weight, bias, y, p)
    with pytest.raises(TypeError, match="weight: expected dtype float64"):
        forward(x, weight.astype("float32"), bias, y, p)
    with pytest.raises(TypeError, match="x: expected float32 or float64"):
        forward(x.astype(int), weight, bias, y, p)
    with pytest.raises(ValueError, match="weight: expected length 3 along axis 1"):
        forward(x, np.zeros((5, 2, 3, 4)), bias, y, p)
    with pytest.raises(ValueError, match="y: expected length 6 along axis 2"):
        forward(x, weight, bias, y[:, :, :5].copy(), p)
    with pytest.raises(ValueError, match="bias: expected length 5"):
        forward(x, weight, bias[:3].copy(), y, p)
    with pytest.raises(ValueError, match="activation"):
        forward(x, weight, bias, y, p, "step")
    with pytest.raises(ValueError, match="dx: expected 4 axes"):
        compiled.winograd_backward_input(y, weight, x[0], p)
    with pytest.raises(ValueError, match="da: expected length 5 along axis 3"):
        compiled.winograd_backward_weight(x, x, weight, p)
    with pytest.raises(TypeError, match="dw: expected an array"):
        compiled.winograd_backward_weight(x, y, None, p)


def test_tiles_of_the_twin():
    x = np.arange(36.0).reshape(1, 6, 6, 1)
    tiles = reference.cut_tiles(x, 6, 2, 2, 1, 1)
    padded = np.pad(x[0, :, :, 0], ((1, 3), (1, 3)))
    np.testing.assert_array_equal(tiles[0, :, :, 0], sliding_window_view(padded, (6, 6))[::4, ::4])
