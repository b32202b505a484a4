"""Augmentations: what each does, counters of (seed, step, place), errors (the notes, S6.2)."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import augmentation as aug
from fastnn.errors import ShapeError

ALL = [
    aug.RandomShift(3), aug.RandomFlip(), aug.RandomFlip("both", 0.3), aug.RandomRotation(20, "reflect"),
    aug.RandomZoom((0.8, 1.3), "nearest"), aug.RandomCrop(12, 2), aug.Cutout(5), aug.RandomBrightness(),
    aug.RandomContrast(), aug.RandomAffine(10, 2.5, (0.9, 1.1), interpolation="nearest"),
    aug.Compose([aug.RandomFlip(), aug.Compose([aug.RandomShift(1), aug.Cutout(3)])]),
]  # fmt: skip


def images(n=9, shape=(12, 12, 3), dtype="float32"):
    return np.random.default_rng(0).random((n, *shape)).astype(dtype)


def test_all_are_tested():
    public = {getattr(aug, name) for name in aug.__all__} - {aug.Augmentation}
    assert public == {type(augmentation) for augmentation in ALL}


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shape_dtype_input_and_counters(augmentation, dtype):
    x = images(dtype=dtype)
    before = x.copy()
    x.setflags(write=False)
    y = augmentation(x, seed=3, step=7)
    assert y.shape == x.shape and y.dtype == x.dtype and not np.array_equal(y, x)
    np.testing.assert_array_equal(x, before)
    assert augmentation(x, seed=3, step=7).tobytes() == y.tobytes()
    np.testing.assert_array_equal(augmentation(x[:4], seed=3, step=7), y[:4])  # by place
    assert len(augmentation(x[:0])) == 0
    many = images(200)
    first = augmentation(many, seed=3, step=7)
    for other in ((4, 7), (3, 8), (7, 3), (2**64 - 1, 2**64 - 1)):
        assert not np.array_equal(augmentation(many, *other), first)
    strided = augmentation(images(18, dtype=dtype)[::2], seed=3, step=7)
    np.testing.assert_array_equal(strided, augmentation(images(18, dtype=dtype)[::2].copy(), seed=3, step=7))


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_threads_and_twins(augmentation):
    x = images(130, (28, 28, 1)) if not isinstance(augmentation, aug.RandomCrop) else images(130)
    before, results = nn.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            nn.set_num_threads(n)
            results.append(augmentation(x, step=2))
        nn.use_kernels("reference")
        results.append(augmentation(x, step=2))
    finally:
        nn.use_kernels("compiled")
        nn.set_num_threads(before)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    np.testing.assert_allclose(results[3], results[0], rtol=0, atol=1e-6)


def test_the_changes_in_a_row_are_independent():
    x = np.arange(2.0).reshape(1, 1, 2, 1).repeat(4000, 0)
    once = aug.RandomFlip()(x)[:, 0, 0, 0]
    twice = aug.Compose([aug.RandomFlip(), aug.RandomFlip()])(x)[:, 0, 0, 0]
    for flips in (once, twice):  # five standard deviations of a fair coin
        assert abs(flips.mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)
    assert abs(np.corrcoef(once, twice)[0, 1]) < 5 / np.sqrt(4000)


def test_a_nested_compose_is_its_parts_in_a_row():
    parts = [aug.RandomShift(2), aug.RandomFlip("both"), aug.Cutout(4)]
    x = images(50)
    nested = aug.Compose([aug.Compose(parts[:2]), parts[2]])
    np.testing.assert_array_equal(nested(x, 1, 2), aug.Compose(parts)(x, 1, 2))
    assert repr(nested) == repr(aug.Compose(parts))


def test_flips():
    x = images()
    horizontal, vertical, both = (aug.RandomFlip(m, 1.0) for m in ("horizontal", "vertical", "both"))
    np.testing.assert_array_equal(horizontal(x), x[:, :, ::-1])
    np.testing.assert_array_equal(vertical(x), x[:, ::-1])
    np.testing.assert_array_equal(both(x), x[:, ::-1, ::-1])
    for flip in (horizontal, vertical, both):
        np.testing.assert_array_equal(flip(flip(x)), x)
    np.testing.assert_array_equal(aug.RandomFlip(probability=0.0)(x), x)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("turns", range(-4, 5))
def test_quarter_turns_are_rot90(turns, interpolation):
    x = images(shape=(7, 7, 2))
    y = aug.RandomRotation((90 * turns, 90 * turns), interpolation=interpolation)(x)
    np.testing.assert_array_equal(y, np.rot90(x, turns, axes=(1, 2)))


def test_a_turn_goes_left_and_back():
    """A spot right of the centre goes up for 30 degrees; a smooth image comes back but for rounding."""
    x = np.zeros((1, 41, 41, 1))
    x[0, 20, 35] = 1
    y = aug.RandomRotation((30, 30))(x)[0, :, :, 0]
    row, column = (y.sum(1 - axis) @ np.arange(41) / y.sum() for axis in (0, 1))
    assert (row, column) == pytest.approx((20 - 15 * 0.5, 20 + 15 * np.sqrt(0.75)), abs=0.15)
    i, j = np.meshgrid(*2 * [np.linspace(-2, 2, 41)], indexing="ij")
    smooth = np.exp(-((i - 0.3) ** 2) - j**2)[None, :, :, None]
    back = aug.RandomRotation((-30, -30))(aug.RandomRotation((30, 30))(smooth))
    inner = (slice(None), slice(10, 31), slice(10, 31))
    # one interpolation errs by up to h^2 / 8 of the second derivatives (2 for each axis, h = 0.1): 0.005
    assert abs(back - smooth)[inner].max() < 0.01


def test_shifts_are_whole_uniform_and_exact():
    x = images(5000, (1, 9, 1))
    pad = np.pad(x, ((0, 0), (0, 0), (2, 2), (0, 0)))
    y = aug.RandomShift((0, 2))(x)
    counts = [(y == pad[:, :, 2 - s : 11 - s]).all((1, 2, 3)).sum() for s in range(-2, 3)]
    assert sum(counts) == 5000
    np.testing.assert_allclose(counts, 1000, atol=5 * np.sqrt(5000 * 0.2 * 0.8))
    np.testing.assert_array_equal(aug.RandomShift(0)(x), x)


def test_zoom_by_one_and_two():
    x = images(shape=(9, 9, 1), dtype="float64")
    np.testing.assert_array_equal(aug.RandomZoom((1, 1))(x), x)
    np.testing.assert_array_equal(aug.RandomZoom((2, 2))(x)[:, ::2, ::2], x[:, 2:7, 2:7])
    small = aug.RandomZoom((0.5, 0.5))(x)
    np.testing.assert_array_equal(small[:, 2:7, 2:7], x[:, ::2, ::2])
    assert not small[:, :2].any() and not small[:, :, 7:].any()


def test_affine_is_all_in_one():
    """Turned by 90 degrees, then shifted: the formula's order."""
    x = images(shape=(5, 5, 1))
    two = aug.RandomShift(1)(aug.RandomRotation((90, 90))(x))
    assert two.shape == x.shape
    angles = aug.RandomAffine(180, (1.5, 0.5), (0.5, 2.0))
    m = angles.matrices((5, 5), np.full((4, 1), 0.5))  # the middle of all ranges: nothing
    np.testing.assert_allclose(m[0], [[0.8, 0, 0.4], [0, 0.8, 0.4]], atol=1e-15)  # scale 1.25 about (2, 2)
    m = aug.RandomAffine((90, 90), 3).matrices((5, 5), np.array([[0.0], [0], [0], [0.5]]))[0]
    np.testing.assert_allclose(m @ [2 - 3, 2, 1], [2, 2], atol=1e-15)  # the centre comes 3 rows higher


def test_crops():
    x = np.arange(4 * 36.0).reshape(4, 6, 6, 1)
    y = aug.RandomCrop((4, 5))(x, seed=1)
    assert y.shape == (4, 4, 5, 1)
    for image, crop in zip(x[..., 0], y[..., 0]):
        top, left = divmod(int(crop[0, 0]) % 36, 6)
        np.testing.assert_array_equal(crop, image[top : top + 4, left : left + 5])
    first = aug.RandomCrop((4, 5))(x[:1].repeat(6000, 0), seed=3)[:, 0, 0, 0]
    counts = [(first == 6 * top + left).sum() for top in range(3) for left in range(2)]
    assert sum(counts) == 6000
    np.testing.assert_allclose(counts, 1000, atol=5 * np.sqrt(6000 / 6 * 5 / 6))
    corners = aug.RandomCrop(6, padding=2)(np.ones((3000, 6, 6, 1)), seed=2).sum((1, 2, 3))
    assert set(corners) == {float(a * b) for a in (4, 5, 6) for b in (4, 5, 6)}  # 0, 1 or 2 lines outside
    np.testing.assert_array_equal(aug.RandomCrop(6)(x), x)


def test_cutout_centres_are_any_pixel():
    n = 20_000
    y = aug.Cutout(3)(np.ones((n, 5, 5, 1), np.float32), seed=1)
    erased = 1 - y[..., 0].mean(0)
    inside = np.array([2, 3, 3, 3, 2]) / 5  # centres that reach a row
    expected = np.outer(inside, inside)
    np.testing.assert_allclose(erased, expected, atol=5 * 0.5 / np.sqrt(n))
    assert set(np.unique((y == 0).sum((1, 2, 3)))) == {4, 6, 9}


def test_brightness_and_contrast():
    x = 0.3 + 0.4 * images(400, (4, 4, 3), "float64")
    y = aug.RandomBrightness(0.1)(x)
    shift = (y - x).mean((1, 2, 3))
    np.testing.assert_allclose(
        y - x, shift[:, None, None, None].repeat(4, 1).repeat(4, 2).repeat(3, 3), atol=1e-12
    )
    assert -0.1 <= shift.min() < -0.095 and 0.095 < shift.max() < 0.1
    y = aug.RandomContrast(0.25)(x)
    ratio = y.std((1, 2, 3)) / x.std((1, 2, 3))
    np.testing.assert_allclose(y.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-12)
    assert 0.75 <= ratio.min() < 0.76 and 1.24 < ratio.max() < 1.25
    bright = aug.RandomBrightness((2.0), None)(x)
    assert bright.max() > 1 and aug.RandomBrightness(2.0)(x).max() == 1


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: aug.RandomShift(1.5), ValueError, r"RandomShift: pixels: expected an integer .*: 1.5"),
        (lambda: aug.RandomShift((1, 2, 3)), ValueError, r"or two \(rows, columns\). Received: \(1, 2, 3\)"),
        (lambda: aug.RandomShift(-1), ValueError, "from 0 to a million"),
        (lambda: aug.RandomFlip("up"), ValueError, "RandomFlip: mode: expected 'horizontal', "),
        (lambda: aug.RandomFlip(probability=1.1), ValueError, r"probability: .*in \[0, 1\]. Received: 1.1"),
        (lambda: aug.RandomRotation(-5), ValueError, r"degrees: expected a number in .0, inf.. Received: -5"),
        (lambda: aug.RandomRotation((5, -5)), ValueError, r"\(low, high\), low <= high. Received: \(5, -5\)"),
        (lambda: aug.RandomRotation(np.nan), ValueError, r"number in .0, inf.\. Received: nan"),
        (lambda: aug.RandomZoom((0, 1)), ValueError, r"RandomZoom: scale: expected numbers above 0"),
        (lambda: aug.RandomAffine(fill="wrap"), ValueError, "fill: expected 'constant', 'nearest' or"),
        (lambda: aug.RandomAffine(interpolation="cubic"), ValueError, "interpolation: expected 'bilinear'"),
        (lambda: aug.RandomCrop(0), ValueError, "RandomCrop: size: expected an integer from 1"),
        (lambda: aug.RandomCrop(9)(images()[:, :4]), ShapeError, r"Received: size=\(9, 9\).* \(4, 12, 3\)"),
        (lambda: aug.Cutout(0), ValueError, "Cutout: size"),
        (lambda: aug.RandomContrast(2), ValueError, r"RandomContrast: factor: .*in \[0, 1\]"),
        (lambda: aug.RandomBrightness(0.1, (1, 0)), ValueError, "RandomBrightness: value_range"),
        (lambda: aug.Compose([]), TypeError, "expected a sequence of Augmentation objects"),
        (lambda: aug.Compose([aug.RandomFlip]), TypeError, "Compose: augmentations"),
        (lambda: aug.RandomFlip()(np.zeros((3, 784))), ShapeError, r"images \(N, H, W, C\).*\(3, 784\)"),
        (lambda: aug.RandomFlip()(np.zeros((3, 2, 2, 1), np.uint8)), TypeError, "RandomFlip: x: .*uint8"),
        (lambda: aug.RandomFlip()(images(), -1), ValueError, "RandomFlip: seed: expected an integer from 0"),
        (lambda: aug.RandomFlip()(images(), 0, 2**64), ValueError, "RandomFlip: step: expected an integer"),
        (lambda: aug.Augmentation()(images()), NotImplementedError, "Augmentation.change is not written"),
    ],
)  # fmt: skip
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_the_6_and_the_9_are_in_the_docs():
    assert "a 6 turned by 180 degrees is a 9" in aug.__doc__
