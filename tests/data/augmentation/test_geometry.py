"""Images moved, turned, enlarged, mirrored and cut (the notes, S6.2)."""

import numpy as np
import pytest

from fastnn import augmentation as aug


def test_flips(images):
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
def test_quarter_turns_are_rot90(turns, interpolation, images):
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


def test_shifts_are_whole_uniform_and_exact(images):
    x = images(5000, (1, 9, 1))
    pad = np.pad(x, ((0, 0), (0, 0), (2, 2), (0, 0)))
    y = aug.RandomShift((0, 2))(x)
    counts = [(y == pad[:, :, 2 - s : 11 - s]).all((1, 2, 3)).sum() for s in range(-2, 3)]
    assert sum(counts) == 5000
    np.testing.assert_allclose(counts, 1000, atol=5 * np.sqrt(5000 * 0.2 * 0.8))
    np.testing.assert_array_equal(aug.RandomShift(0)(x), x)


def test_zoom_by_one_and_two(images):
    x = images(shape=(9, 9, 1), dtype="float64")
    np.testing.assert_array_equal(aug.RandomZoom((1, 1))(x), x)
    np.testing.assert_array_equal(aug.RandomZoom((2, 2))(x)[:, ::2, ::2], x[:, 2:7, 2:7])
    small = aug.RandomZoom((0.5, 0.5))(x)
    np.testing.assert_array_equal(small[:, 2:7, 2:7], x[:, ::2, ::2])
    assert not small[:, :2].any() and not small[:, :, 7:].any()


def test_affine_is_all_in_one(images):
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
