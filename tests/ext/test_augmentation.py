"""Moved, erased and adjusted images against their twins, PyTorch and NumPy (the notes, S6.2)."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import augmentation as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import augmentation as reference

DTYPES = ["float32", "float64"]
FILLS = ["constant", "nearest", "reflect"]
SIZES = st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def images(shape, dtype="float64", seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def matrices(n, rng):
    """Any affine map, and the whole ones that have paths of their own."""
    matrix = rng.normal(size=(n, 2, 3)) * [1, 1, 5]
    for m in matrix[::2]:
        m[:, :2] = np.diag(rng.choice([-1.0, 1.0], 2))
        m[:, 2] = rng.integers(-6, 12, 2)
    matrix[1::2, 1, 1] = rng.choice([-1.0, 0.3, 1.0], n // 2)  # a column further, but in another row
    return matrix


def warped(module, x, matrix, size, *options):
    y = np.full((len(x), *size, x.shape[3]), np.nan, x.dtype)
    module.warp_images(x, y, matrix, *options)
    return y


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill", FILLS)
@settings(max_examples=60, deadline=None)
@given(SIZES, st.tuples(st.integers(0, 9), st.integers(0, 9)), st.integers(0, 99), st.sampled_from(DTYPES))
def test_warp_equals_twin(fill, interpolation, shape, size, seed, dtype):
    x = images(shape, dtype)
    matrix = matrices(len(x), np.random.default_rng(seed))
    received, expected = (warped(m, x, matrix, size, fill, 0.5, interpolation) for m in (compiled, reference))
    eps = 0 if interpolation == "nearest" else 4 * np.finfo(dtype).eps  # both round a sum of four pixels
    np.testing.assert_allclose(received, expected, rtol=0, atol=eps * abs(x).max(initial=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("fill", "padding"), [*zip(FILLS, ["zeros", "border", "reflection"])])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_warp_equals_grid_sample(interpolation, fill, padding, dtype):
    torch = pytest.importorskip("torch")
    x, size = images((6, 7, 10, 3), dtype), (8, 9)
    matrix = np.random.default_rng(5).normal(size=(6, 2, 3)) * [0.7, 0.7, 4]
    place = np.stack(np.meshgrid(*map(np.arange, size), [1.0], indexing="ij"), -1)[:, :, 0]
    at = np.einsum("nkl,ijl->nijk", matrix, place)  # rows, columns; there x, y in [-1, 1]
    grid = torch.tensor((2 * at / (np.array(x.shape[1:3]) - 1) - 1)[..., ::-1].astype(dtype))
    expected = torch.nn.functional.grid_sample(
        torch.tensor(x).permute(0, 3, 1, 2), grid, interpolation, padding, align_corners=True
    ).permute(0, 2, 3, 1)
    received = warped(compiled, x, matrix, size, fill, 0.0, interpolation)
    # of a coordinate up to 20: its rounding there, and to 2^-32 here, times the slope between two pixels
    limit = {"float32": 2e-5, "float64": 2e-8}[dtype] if interpolation == "bilinear" else 0
    np.testing.assert_allclose(received, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("module", [compiled, reference])
@pytest.mark.parametrize(("fill", "mode"), [*zip(FILLS, ["constant", "edge", "reflect"])])
def test_whole_shifts_are_padding(module, fill, mode):
    """Bit for bit: a NaN stays where it is, since pixels of weight 0 are not read."""
    x = images((1, 5, 6, 2))
    x[0, 2, 3] = np.nan
    padded = np.pad(x, ((0, 0), (4, 4), (5, 5), (0, 0)), mode)
    for top, left in itertools.product((-4, -1, 0, 3), (-5, 0, 2)):
        matrix = np.array([[[1.0, 0, top], [0, 1, left]]])
        for interpolation in ("bilinear", "nearest"):
            y = warped(module, x, matrix, (6, 8), fill, 0.0, interpolation)
            np.testing.assert_array_equal(y, padded[:, 4 + top :, 5 + left :][:, :6, :8])


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_flips_and_quarter_turns(interpolation):
    x = images((1, 6, 6, 3), "float32")
    x[0, 2, 4] = np.nan  # and stays alone
    for turns, (cos, sin) in enumerate([(1, 0), (0, 1), (-1, 0), (0, -1)]):
        turn = np.array([[cos, sin], [-sin, cos]], float)
        matrix = np.c_[turn, 2.5 - turn @ [2.5, 2.5]][None]
        y = warped(compiled, x, matrix, (6, 6), "constant", 0.0, interpolation)
        np.testing.assert_array_equal(y[0], np.rot90(x[0], turns))
    mirror = np.array([[[1.0, 0, 0], [0, -1, 5]]])
    y = warped(compiled, x, mirror, (6, 6), "constant", 0.0, interpolation)
    np.testing.assert_array_equal(y, x[:, :, ::-1])
    np.testing.assert_array_equal(warped(compiled, y, mirror, (6, 6)), x)


def test_half_pixels_are_means_and_an_even_image_stays():
    x = np.arange(12.0).reshape(1, 3, 4, 1)
    y = warped(compiled, x, np.array([[[1.0, 0, 0.5], [0, 1, 0.5]]]), (2, 3))
    np.testing.assert_array_equal(y[0, :, :, 0], [[2.5, 3.5, 4.5], [6.5, 7.5, 8.5]])
    even = np.full((4, 9, 9, 3), 0.1, np.float32)
    matrix = np.random.default_rng(0).normal(size=(4, 2, 3))
    np.testing.assert_array_equal(warped(compiled, even, matrix, (9, 9), "reflect"), even)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=60, deadline=None)
@given(shape=SIZES, seed=st.integers(0, 99), place=st.booleans())
def test_erase_equals_twin(dtype, shape, seed, place):
    rng, x = np.random.default_rng(seed), images(shape, dtype)
    boxes = np.stack([rng.integers(0, n + 1, len(x)) for n in np.repeat(shape[1:3], 2)], 1).astype(np.int64)
    boxes = np.concatenate([np.sort(boxes[:, :2]), np.sort(boxes[:, 2:])], 1)
    y, expected = x.copy() if place else np.full_like(x, np.nan), np.full_like(x, np.nan)
    compiled.erase_images(y if place else x, y, boxes, 0.3)
    reference.erase_images(x, expected, boxes, 0.3)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=60, deadline=None)
@given(shape=SIZES, seed=st.integers(0, 99), cut=st.booleans(), place=st.booleans())
def test_adjust_equals_twin(dtype, shape, seed, cut, place):
    rng, x = np.random.default_rng(seed), images(shape, dtype)
    contrast, brightness = rng.choice([1.0, 0.3, 1.7], len(x)), rng.normal(size=len(x))
    y, expected = x.copy() if place else np.full_like(x, np.nan), np.full_like(x, np.nan)
    options = (contrast, brightness, *((-0.5, 0.8) if cut else ()))
    compiled.adjust_images(y if place else x, y, *options)
    reference.adjust_images(x, expected, *options)
    np.testing.assert_allclose(
        y, expected, rtol=0, atol=8 * np.finfo(dtype).eps * max(1, abs(x).max(initial=0))
    )


def test_contrast_keeps_the_mean_and_scales_the_deviation():
    x, factor = images((3, 11, 13, 3)), np.array([0.5, 1.0, 1.5])
    y = np.empty_like(x)
    compiled.adjust_images(x, y, factor, np.array([0.0, 0.25, -1.0]))
    np.testing.assert_allclose(y.mean((1, 2, 3)), x.mean((1, 2, 3)) + [0.0, 0.25, -1.0], atol=1e-14)
    np.testing.assert_allclose(y.std((1, 2, 3)), factor * x.std((1, 2, 3)), rtol=1e-13)
    x[0, 1, 2, 0] = np.nan
    compiled.adjust_images(x, y, np.ones(3), np.zeros(3), 0.0, 1.0)
    assert np.isnan(y[0, 1, 2, 0]) and np.nanmin(y) == 0 and np.nanmax(y) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype):
    x = images((33, 28, 28, 3), dtype)
    rng = np.random.default_rng(1)
    matrix = matrices(33, rng)
    boxes = np.tile(np.array([3, 9, 2, 20]), (33, 1))
    results = []
    for n in (1, 2, 3, 5):
        set_num_threads(n)
        outputs = [warped(compiled, x, matrix, (28, 28), fill) for fill in FILLS]
        outputs += [np.empty_like(x), np.empty_like(x)]
        compiled.erase_images(x, outputs[-1], boxes)
        compiled.adjust_images(x, outputs[-2], np.full(33, 1.2), np.full(33, 0.1))
        results.append([array.tobytes() for array in outputs])
    assert all(result == results[0] for result in results)


def test_errors():
    x, y = images((2, 4, 4, 1)), images((2, 4, 4, 1))
    matrix, boxes, ones = np.zeros((2, 2, 3)), np.zeros((2, 4), np.int64), np.ones(2)
    with pytest.raises(
        ValueError, match=r"fill: expected one of constant, nearest, reflect. Received: 'wrap'"
    ):
        compiled.warp_images(x, y, matrix, "wrap")
    with pytest.raises(ValueError, match="interpolation: expected 'bilinear' or 'nearest'"):
        compiled.warp_images(x, y, matrix, interpolation="cubic")
    with pytest.raises(ValueError, match="C-contiguous"):
        compiled.warp_images(x[:, ::-1], y, matrix)
    with pytest.raises(ValueError, match="y: expected length 2 along axis 0"):
        compiled.warp_images(x, y[:1], matrix)
    with pytest.raises(ValueError, match="other than y"):
        compiled.warp_images(x, x, matrix)
    with pytest.raises(ValueError, match="at least one pixel"):
        compiled.warp_images(x[:, :0], y, matrix)
    with pytest.raises(TypeError, match="y: expected dtype float64"):
        compiled.warp_images(x, y.astype(np.float32), matrix)
    for bad in (np.nan, np.inf, 2.0**31):
        with pytest.raises(ValueError, match="matrix: expected coordinates below 2"):
            compiled.warp_images(x, y, np.full((2, 2, 3), bad))
    for box in ([-1, 0, 0, 0], [0, 5, 0, 0], [3, 2, 0, 0], [0, 0, 0, 5], [0, 0, 2, 1]):
        with pytest.raises(ValueError, match=r"boxes: expected 0 <= top <= bottom <= 4 .* for image 1"):
            compiled.erase_images(x, y, np.array([[0, 0, 0, 0], box]))
    with pytest.raises(TypeError, match="uint8"):
        compiled.erase_images(x.astype(np.uint8), y, boxes)
    with pytest.raises(ValueError, match=r"low, high: expected low <= high\. Received: low=1.0, high=0.0"):
        compiled.adjust_images(x, y, ones, ones, 1.0, 0.0)
    with pytest.raises(ValueError, match="brightness: expected length 2"):
        compiled.adjust_images(x, y, ones, ones[:1])
