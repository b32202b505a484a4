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

#: (N, H, W, C, F, padding, R): tails of every kind, several blocks, few and many filters; kernels of R x R.
SHAPES = [
    (1, 1, 1, 1, 1, (1, 1, 1, 1), 3),
    (1, 3, 3, 1, 2, (0, 0, 0, 0), 3),
    (2, 7, 9, 5, 3, (1, 1, 1, 1), 3),
    (3, 8, 8, 16, 32, (2, 2, 2, 2), 3),
    (2, 5, 13, 33, 47, (2, 1, 0, 2), 3),
    (1, 4, 40, 17, 65, (0, 2, 1, 0), 3),
    (1, 1, 1, 1, 1, (2, 2, 2, 2), 5),
    (1, 5, 5, 1, 2, (0, 0, 0, 0), 5),
    (2, 7, 9, 5, 3, (2, 2, 2, 2), 5),
    (2, 8, 8, 16, 32, (4, 4, 4, 4), 5),
    (2, 5, 13, 33, 47, (4, 1, 0, 3), 5),
    (1, 4, 40, 17, 65, (0, 3, 2, 0), 5),
]
#: The twin is slow for these.
LARGE = {
    "more than one block of tiles": (9, 16, 16, 40, 24, (1, 1, 1, 1), 3),
    "filters are transformed panel by panel, in parts": (1, 6, 5, 200, 190, (1, 1, 1, 1), 3),
    "the same with several blocks of tiles": (9, 16, 16, 270, 128, (1, 1, 1, 1), 3),
    "5x5, more than one block of tiles": (5, 12, 12, 40, 24, (2, 2, 2, 2), 5),
    "5x5, filters panel by panel": (1, 6, 5, 200, 190, (2, 2, 2, 2), 5),
    "5x5, the same with several blocks of tiles": (5, 12, 12, 270, 128, (2, 2, 2, 2), 5),
}
ALL = {**{str(shape): shape for shape in SHAPES}, **LARGE}


def arrays(shape, dtype="float64", seed=0):
    n, h, w, c, f, (top, bottom, left, right), r = shape
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.standard_normal((n, h, w, c)), 0).astype(dtype)
    weight = (rng.standard_normal((f, r, r, c)) / max(1, r * c**0.5)).astype(dtype)
    da = rng.standard_normal((n, h + top + bottom - r + 1, w + left + right - r + 1, f)).astype(dtype)
    return x, weight, rng.standard_normal(f).astype(dtype), da


def direct(x, weight, da, padding):
    """y, dx and dw by their definition in float64, one tap of the kernel after the other."""
    x, weight, da = (v.astype(np.float64) for v in (x, weight, da))
    top, bottom, left, right = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    y, dpadded, dw = np.zeros(da.shape), np.zeros(padded.shape), np.zeros(weight.shape)
    oh, ow = da.shape[1:3]
    for i, j in np.ndindex(weight.shape[1:3]):
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


def assert_close(received, expected, dtype, scale=None):
    """Beside the root mean square of the result, or of `scale`."""
    size = np.sqrt(np.mean((expected if scale is None else scale) ** 2)) if expected.size else 0
    atol = {"float32": 2e-5, "float64": 2e-13}[str(np.dtype(dtype))] * max(size, 1e-3)
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


@pytest.mark.parametrize("taps", [3, 5])
def test_matrices_are_exact(taps):
    """sum_k A[k,i] G[k,r] B^T[k,j] is 1 for j = i + r and 0 otherwise: the convolution, without rounding."""
    p, q = Fraction(5, 8), Fraction(3, 2)
    size = 7 - taps
    a, g, b = cook_toom([Fraction(0), p, -p, q, -q], size, taps)
    for i, r, j in np.ndindex(size, taps, 6):
        assert sum(a[k][i] * g[k][r] * b[k][j] for k in range(6)) == (j == i + r)
    m, evaluate, filters = reference.matrices(np.empty((1, taps, taps, 1)))
    assert m == size
    np.testing.assert_array_equal(evaluate, np.array(a, float))
    np.testing.assert_array_equal(reference.B.T, np.array(b, float))
    np.testing.assert_allclose(filters, np.array(g, float), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_equals_direct(name, dtype):
    x, weight, bias, da = arrays(ALL[name], dtype)
    y, dx, dw = direct(x, weight, da, ALL[name][5])
    for received, expected in zip(run(compiled, x, weight, bias, da, ALL[name][5]), (y + bias, dx, dw)):
        assert_close(received, expected, dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_twin_equals_compiled(shape):
    args = (*arrays(shape), shape[5])
    for received, expected in zip(run(compiled, *args), run(reference, *args)):
        assert_close(received, expected, "float64")


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 3), h=st.integers(1, 11), w=st.integers(1, 11), c=st.integers(0, 70),
    f=st.integers(0, 70), padding=st.tuples(*[st.integers(0, 4)] * 4), r=st.sampled_from([3, 5]),
    dtype=st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_random_shapes(n, h, w, c, f, padding, r, dtype):
    padding = tuple(min(p, r - 1) for p in padding)
    h, w = max(h, r - 1 - padding[0] - padding[1]), max(w, r - 1 - padding[2] - padding[3])
    x, weight, _, da = arrays((n, h, w, c, f, padding, r), dtype)
    expected = direct(x, weight, da, padding)
    terms = direct(abs(x), abs(weight), abs(da), padding)  # the sums of few pixels may all be small by chance
    for i, received in enumerate(run(compiled, x, weight, None, da, padding)):
        assert_close(received, expected[i], dtype, terms[i].max(initial=0) / 3)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3, 2), (2, 4, 4, 3, 0), (2, 4, 4, 0, 3)])
def test_size_zero(shape):
    x, weight, bias, da = arrays((*shape, (1, 1, 1, 1), 3))
    for module in (compiled, reference):
        y, dx, dw = run(module, x, weight, bias, da, (1, 1, 1, 1))
        np.testing.assert_array_equal(y, np.broadcast_to(bias, y.shape))
        assert not dx.any() and not dw.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "gelu"])
@pytest.mark.parametrize("r", [3, 5])
def test_bias_and_activation(r, activation, dtype):
    x, weight, bias, y = arrays((2, 7, 6, 9, 37, (1, 1, 1, 1), r), dtype)
    for b in (bias, None):
        expected = np.empty_like(y)
        compiled.winograd_forward(x, weight, b, y, (1, 1, 1, 1), activation, 0.3)
        reference.winograd_forward(x, weight, b, expected, (1, 1, 1, 1), activation, 0.3)
        assert_close(y, expected, dtype)


@pytest.mark.parametrize("name", [str(SHAPES[2]), str(SHAPES[8]), *LARGE])
def test_accumulate(name):
    shape = ALL[name]
    x, weight, _, da = arrays(shape)
    dw, start = np.empty_like(weight), np.random.default_rng(1).standard_normal(weight.shape)
    total = start.copy()
    compiled.winograd_backward_weight(x, da, dw, shape[5])
    compiled.winograd_backward_weight(x, da, total, shape[5], accumulate=True)
    assert_close(total, start + dw, "float64")


@pytest.mark.parametrize("name", [str(SHAPES[4]), str(SHAPES[10]), *LARGE])
def test_same_bits_for_any_number_of_threads(name):
    args = (*arrays(ALL[name], "float32"), ALL[name][5])
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
    (2, 12, 12, 64, 64, (1, 1, 1, 1), 3), (2, 8, 8, 512, 64, (1, 1, 1, 1), 3),
    (2, 8, 8, 64, 512, (1, 1, 1, 1), 3), (16, 16, 16, 32, 32, (1, 1, 1, 1), 3),
    (2, 12, 12, 64, 64, (2, 2, 2, 2), 5), (1, 8, 8, 512, 64, (2, 2, 2, 2), 5),
    (1, 8, 8, 64, 512, (2, 2, 2, 2), 5), (16, 16, 16, 32, 32, (2, 2, 2, 2), 5),
])  # fmt: skip
def test_rounding(shape):
    """float32: the root of the mean squared error is below 2e-6 of the result's, as for a long plain sum."""
    x, weight, _, da = arrays(shape, "float32")
    expected = direct(x, weight, da, shape[5])
    for received, exact in zip(run(compiled, x, weight, None, da, shape[5]), expected):
        assert np.sqrt(np.mean((received - exact) ** 2)) < 2e-6 * np.sqrt(np.mean(exact**2))


def test_nan_is_visible():
    x, weight, bias, y = arrays((1, 12, 12, 4, 4, (1, 1, 1, 1), 3))
    x[0, 5, 5, 0] = np.nan
    compiled.winograd_forward(x, weight, bias, y, (1, 1, 1, 1), "relu")
    assert np.isnan(y[0, 4:7, 4:7]).all() and not np.isnan(y[0, 8:]).any()


@pytest.mark.parametrize("r", [3, 5])
def test_equals_torch(r):
    torch = pytest.importorskip("torch")
    x, weight, bias, da = arrays((2, 9, 10, 32, 48, (r // 2,) * 4, r), "float32")
    tx, tw, tb = (torch.tensor(v, requires_grad=True) for v in (x, weight, bias))
    ty = torch.nn.functional.conv2d(tx.permute(0, 3, 1, 2), tw.permute(0, 3, 1, 2), tb, padding=r // 2)
    ty.backward(torch.tensor(da).permute(0, 3, 1, 2))
    expected = (ty.detach().permute(0, 2, 3, 1), tx.grad, tw.grad)
    for received, t in zip(run(compiled, x, weight, bias, da, (r // 2,) * 4), expected):
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


@pytest.mark.parametrize(("shape", "expected"), [
    ((1, 8, 8, 64, 64), True), ((1, 7, 9, 64, 64), False),  # pixels
    ((2, 6, 6, 64, 64), True), ((2, 6, 5, 64, 64), False), ((1, 9, 9, 64, 64), True),  # empty tiles
    ((1, 8, 8, 16, 64), True), ((1, 8, 8, 64, 16), True), ((1, 8, 8, 15, 99), False),  # channels
    ((1, 8, 8, 99, 15), False), ((1, 8, 8, 31, 33), False), ((0, 8, 8, 64, 64), False),
])  # fmt: skip
def test_pays_with_prepared_filters(shape, expected):
    assert compiled.pays(*shape, prepared=True) is expected


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize(("shape", "expected"), [
    ((1, 6, 6, 32, 32), True), ((1, 6, 5, 32, 32), False), ((1, 5, 6, 32, 32), False),  # size of the image
    ((1, 6, 7, 32, 32), True), ((1, 7, 7, 32, 32), True), ((1, 9, 9, 32, 32), True),
    ((1, 8, 8, 16, 64), True), ((1, 8, 8, 64, 16), True), ((1, 8, 8, 15, 99), False),  # channels
    ((1, 8, 8, 99, 15), False), ((1, 8, 8, 31, 33), False), ((0, 8, 8, 64, 64), False),
])  # fmt: skip
def test_pays_for_5x5(shape, expected, prepared):
    assert compiled.pays(*shape, 5, prepared) is expected


def test_errors():
    x, weight, bias, y = arrays((2, 6, 6, 4, 5, (1, 1, 1, 1), 3))
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
    with pytest.raises(ValueError, match="weight: expected kernels of 3x3 or 5x5"):
        forward(x, np.zeros((5, 2, 3, 4)), bias, y, p)
    with pytest.raises(ValueError, match="weight: expected length 5 along axis 2"):
        forward(x, np.zeros((5, 5, 3, 4)), bias, y, p)
    with pytest.raises(ValueError, match=r"padding: expected .* each 0\.\.4"):
        forward(x, np.zeros((5, 5, 5, 4)), bias, y, (1, 1, 1, 5))
    with pytest.raises(ValueError, match="y: expected length 6 along axis 2"):
        forward(x, weight, bias, y[:, :, :5].copy(), p)
    with pytest.raises(ValueError, match="bias: expected length 5"):
        forward(x, weight, bias[:3].copy(), y, p)
    with pytest.raises(ValueError, match="activation"):
        forward(x, weight, bias, y, p, "rectify")
    with pytest.raises(ValueError, match="dx: expected 4 axes"):
        compiled.winograd_backward_input(y, weight, x[0], p)
    with pytest.raises(ValueError, match="da: expected length 5 along axis 3"):
        compiled.winograd_backward_weight(x, x, weight, p)
    with pytest.raises(TypeError, match="dw: expected an array"):
        compiled.winograd_backward_weight(x, y, None, p)


def test_tiles_of_the_twin():
    x = np.arange(36.0).reshape(1, 6, 6, 1)
    tiles = reference.cut_tiles(x, 6, 4, 2, 2, 1, 1)
    padded = np.pad(x[0, :, :, 0], ((1, 3), (1, 3)))
    np.testing.assert_array_equal(tiles[0, :, :, 0], sliding_window_view(padded, (6, 6))[::4, ::4])
