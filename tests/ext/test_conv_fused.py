"""What follows a convolution inside of it: the sum of a residual block and 2x2 maxima, with the same bits."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastnn._ext import conv as compiled
from fastnn._ext.activations import add_forward
from fastnn._ext.common import ACTIVATION_CODES
from fastnn._ext.pooling import max_pool2d_forward
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import conv as reference

TWO = ((2, 2), (2, 2), (0, 0, 0, 0))
#: algorithm, (N, H, W, C), filters, kernel, stride, padding, groups
WINOGRAD = {
    "ragged tiles, odd sizes": ("winograd", (2, 9, 11, 5), 37, 3, 1, 1, 1),
    "whole tiles": ("winograd", (1, 8, 8, 40), 70, 3, 1, 1, 1),
    "several blocks of tiles": ("winograd", (9, 16, 16, 40), 24, 3, 1, 1, 1),
    "filters panel by panel": ("winograd", (1, 6, 5, 200), 190, 3, 1, 1, 1),
    "a pixel": ("winograd", (3, 1, 1, 3), 2, 3, 1, 1, 1),
    "5x5": ("winograd", (2, 6, 8, 16), 64, 5, 1, 2, 1),
    "5x5, odd sizes": ("winograd", (2, 7, 5, 16), 33, 5, 1, 2, 1),
}
OTHERS = {
    "direct, several blocks of the inner size": ("direct", (2, 9, 9, 130), 70, 3, 1, 1, 1),
    "direct, groups of small images": ("direct", (37, 4, 4, 32), 40, 3, 1, 1, 1),
    "direct, stride 2": ("direct", (3, 33, 31, 16), 24, 3, 2, 1, 1),
    "direct, 1x1": ("direct", (5, 12, 12, 64), 96, 1, 1, 0, 1),
    "direct, groups": ("direct", (2, 10, 10, 64), 96, 3, 1, 1, 4),
    "direct, windows in the padding only": ("direct", (2, 3, 3, 4), 20, 2, 1, 4, 1),
    "direct, no channels": ("direct", (2, 5, 5, 0), 4, 3, 1, 1, 1),
    "planar": ("direct", (9, 28, 28, 1), 6, 5, 1, 2, 1),
    "depthwise": ("direct", (3, 11, 13, 70), 70, 3, 1, 1, 70),
    "im2col": ("im2col", (2, 9, 9, 20), 30, 1, 2, 0, 1),
}
ALL = {**WINOGRAD, **OTHERS}


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def arrays(case, dtype="float64", with_bias=True):
    """x, weight, bias and what is added; then the geometry."""
    _, shape, filters, kernel, stride, pad, groups = case
    rng = np.random.default_rng(0)
    size = [(length + 2 * pad - kernel) // stride + 1 for length in shape[1:3]]
    x, weight, bias, add = (
        rng.standard_normal(s).astype(dtype)
        for s in (shape, (filters, kernel, kernel, shape[3] // groups), filters, (shape[0], *size, filters))
    )
    return (x, weight, bias if with_bias else None, add), ((stride, stride), (pad,) * 4, (1, 1), groups)


def fused(kernels, inputs, geometry, activation, algorithm="auto", add=True, pool=False, prepared=None):
    """y, full of NaN before."""
    x, weight, bias, other = inputs
    n, oh, ow, f = other.shape
    y = np.full((n, oh // 2, ow // 2, f) if pool else other.shape, np.nan, x.dtype)
    other = other if add else None
    kernels.conv2d_forward(x, weight, bias, y, *geometry, activation, 0.3, algorithm, prepared, other, pool)
    return y


def one_by_one(inputs, geometry, activation, algorithm, add=True, pool=False):
    """The same by kernels of their own."""
    x, weight, bias, other = inputs
    y = np.empty_like(other)
    if add:
        compiled.conv2d_forward(x, weight, bias, y, *geometry, "linear", 0.0, algorithm)
        add_forward(y, other, y, activation, 0.3)
    else:
        compiled.conv2d_forward(x, weight, bias, y, *geometry, activation, 0.3, algorithm)
    if pool:
        whole, y = y, np.empty((len(y), y.shape[1] // 2, y.shape[2] // 2, y.shape[3]), y.dtype)
        if y.size:
            max_pool2d_forward(whole, y, None, *TWO)
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_add_gives_the_same_bits(name, dtype):
    for with_bias in (True, False):
        inputs = arrays(ALL[name], dtype, with_bias)
        for activation in ACTIVATION_CODES:
            expected = one_by_one(*inputs, activation, ALL[name][0])
            for n in (1, 3):
                set_num_threads(n)
                assert fused(compiled, *inputs, activation, ALL[name][0]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shift", [0, 1000])
def test_moments_of_what_was_written(name, dtype, shift):
    """Against the twin's of the same y, for any number of threads the same bits; y's own bits stay."""
    algorithm = ALL[name][0]
    (x, weight, bias, add), geometry = arrays(ALL[name], dtype)
    bias = bias + np.asarray(shift, dtype)
    y = fused(compiled, (x, weight, bias, add), geometry, "leaky_relu", algorithm)
    expected = np.stack([y.mean((0, 1, 2), dtype="f8"), y.var((0, 1, 2), dtype="f8") * y[..., 0].size])
    results = []
    for n in (1, 2, 3):
        set_num_threads(n)
        again, moments = np.full_like(y, np.nan), np.full((2, y.shape[-1]), np.nan)
        compiled.conv2d_forward(
            x, weight, bias, again, *geometry, "leaky_relu", 0.3, algorithm, None, add, False, moments
        )
        assert again.tobytes() == y.tobytes()
        results.append(moments)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    # The numbers are rounded on the scale of y, however small the deviations are.
    tolerance = (3e-6 if dtype == "float32" else 1e-14) * np.abs(y).max()
    np.testing.assert_allclose(moments[0], expected[0], rtol=0, atol=tolerance)
    deviation = np.sqrt(expected[1] / y[..., 0].size)
    np.testing.assert_allclose(np.sqrt(moments[1] / y[..., 0].size), deviation, rtol=0, atol=tolerance)


def test_moments_of_the_twin_and_of_no_images():
    (x, weight, bias, _), geometry = arrays(ALL["direct, groups"])
    y, moments = np.empty((2, 10, 10, 96)), np.empty((2, 96))
    reference.conv2d_forward(x, weight, bias, y, *geometry, moments=moments)
    np.testing.assert_allclose(moments, [y.mean((0, 1, 2)), 200 * y.var((0, 1, 2))], rtol=1e-12, atol=1e-12)
    for module in (compiled, reference):
        moments[...] = 7
        module.conv2d_forward(x[:0], weight, bias, y[:0], *geometry, moments=moments)
        assert (moments == 7).all()


@pytest.mark.parametrize(
    "moments, message",
    [
        (np.zeros((2, 95)), r"moments: expected length 96 along axis 1. Received: shape=\(2, 95\)"),
        (np.zeros((3, 96)), "moments: expected length 2 along axis 0"),
        (np.zeros((2, 96), "f4"), "moments: expected float64"),
    ],
)
def test_moments_of_another_shape_are_refused(moments, message):
    (x, weight, bias, _), geometry = arrays(ALL["direct, groups"])
    with pytest.raises((ValueError, TypeError), match=message):
        compiled.conv2d_forward(x, weight, bias, np.empty((2, 10, 10, 96)), *geometry, moments=moments)


def test_moments_of_pooled_images_are_refused():
    (x, weight, bias, _), geometry = arrays(ALL["whole tiles"])
    with pytest.raises(ValueError, match="moments: expected None with pool=True"):
        compiled.conv2d_forward(
            x,
            weight,
            bias,
            np.empty((1, 4, 4, 70)),
            *geometry,
            algorithm="winograd",
            pool=True,
            moments=np.empty((2, 70)),
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WINOGRAD)
@pytest.mark.parametrize("add", [False, True])
def test_pool_gives_the_same_bits(add, name, dtype):
    inputs = arrays(WINOGRAD[name], dtype)
    for activation in ACTIVATION_CODES:
        expected = one_by_one(*inputs, activation, "winograd", add, True)
        for n in (1, 3):
            set_num_threads(n)
            y = fused(compiled, *inputs, activation, "winograd", add, True)
            assert y.tobytes() == expected.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 3), h=st.integers(1, 13), w=st.integers(1, 13), c=st.integers(1, 40),
    f=st.integers(1, 70), kernel=st.sampled_from([1, 3, 5]), stride=st.integers(1, 2), pad=st.integers(0, 2),
    activation=st.sampled_from(["linear", "relu", "leaky_relu", "tanh", "gelu"]),
    dtype=st.sampled_from(["float32", "float64"]),
    algorithm=st.sampled_from(["direct", "im2col", "winograd"]), add=st.booleans(), pool=st.booleans(),
)  # fmt: skip
def test_equals_twin(n, h, w, c, f, kernel, stride, pad, activation, dtype, algorithm, add, pool):
    assume(min(h, w) + 2 * pad >= kernel)
    if algorithm == "winograd":
        assume(kernel > 1 and stride == 1)
    inputs, geometry = arrays((algorithm, (n, h, w, c), f, kernel, stride, pad, 1))
    pool = pool and algorithm == "winograd" and min(inputs[3].shape[1:3]) > 1
    expected = fused(reference, inputs, geometry, activation, algorithm, add, pool)
    inputs = [a.astype(dtype) for a in inputs]
    y = fused(compiled, inputs, geometry, activation, algorithm, add, pool)
    error = {"float32": 2e-5, "float64": 2e-13}[dtype] * np.sqrt(c * kernel**2 + 9)
    np.testing.assert_allclose(y, expected, rtol=0, atol=error)


@pytest.mark.parametrize("pool", [False, True])
def test_with_prepared_filters_and_where_auto_is_winograd(pool):
    inputs, geometry = arrays(("winograd", (2, 9, 12, 32), 40, 3, 1, 1, 1), "float32")
    expected = one_by_one(inputs, geometry, "relu", "winograd", True, pool)
    chosen = compiled.conv2d_prepare(inputs[1], inputs[0].shape, *geometry)
    assert chosen[0] == "winograd"
    for algorithm, prepared in (("auto", None), chosen):
        y = fused(compiled, inputs, geometry, "relu", algorithm, True, pool, prepared)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("name", ["ragged tiles, odd sizes", "whole tiles", "5x5"])
def test_nan_and_infinity_as_in_the_kernels_of_their_own(name):
    for value in (np.nan, np.inf, -np.inf):
        inputs, geometry = arrays(WINOGRAD[name], "float32")
        inputs[3][0, :5:3, 1::2, ::3] = value
        for activation in ("linear", "relu", "tanh"):
            for pool in (False, True):
                y = fused(compiled, inputs, geometry, activation, "winograd", True, pool)
                expected = one_by_one(inputs, geometry, activation, "winograd", True, pool)
                np.testing.assert_array_equal(y, expected)
                assert np.isnan(y).any() == np.isnan(value)


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd"])
def test_nothing_to_do(algorithm):
    for shape, filters in [((0, 5, 5, 3), 4), ((2, 5, 5, 3), 0)]:
        inputs, geometry = arrays((algorithm, shape, filters, 3, 1, 1, 1))
        assert fused(compiled, inputs, geometry, "relu", algorithm, True, algorithm == "winograd").size == 0


def test_errors():
    inputs, geometry = arrays(WINOGRAD["ragged tiles, odd sizes"])
    x, weight, bias, add = inputs
    whole, small = np.empty_like(add), np.empty((2, 4, 5, 37))

    def run(y=whole, algorithm="winograd", add=None, pool=False, geometry=geometry):
        compiled.conv2d_forward(x, weight, bias, y, *geometry, "relu", 0.0, algorithm, None, add, pool)

    run(y=small, pool=True, add=add)
    for algorithm in ("direct", "im2col", "auto"):  # "auto" is direct: few channels
        with pytest.raises(ValueError, match=f"pool: expected False .* Received: True with .*'{algorithm}'"):
            run(y=small, pool=True, algorithm=algorithm)
    with pytest.raises(ValueError, match="y: expected length 4 along axis 1"):
        run(pool=True)
    with pytest.raises(ValueError, match="y: expected length 9 along axis 1"):
        run(y=small)
    with pytest.raises(ValueError, match="add: expected length 9 along axis 1"):
        run(add=add[:, :8].copy())
    with pytest.raises(ValueError, match="add: expected length 37 along axis 3"):
        run(add=add[..., :36].copy())
    with pytest.raises(ValueError, match="add: expected 4 axes"):
        run(add=add[0])
    with pytest.raises(ValueError, match="add: expected a C-contiguous array"):
        run(add=add[:, ::-1])
    with pytest.raises(TypeError, match="add: expected dtype float64"):
        run(add=add.astype("float32"))
