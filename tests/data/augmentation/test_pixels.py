"""Images whose pixels change where they are: cutout, brightness, contrast (the notes, S6.2)."""

import numpy as np

from fastnn import augmentation as aug


def test_cutout_centres_are_any_pixel():
    n = 20_000
    y = aug.Cutout(3)(np.ones((n, 5, 5, 1), np.float32), seed=1)
    erased = 1 - y[..., 0].mean(0)
    inside = np.array([2, 3, 3, 3, 2]) / 5  # centres that reach a row
    expected = np.outer(inside, inside)
    np.testing.assert_allclose(erased, expected, atol=5 * 0.5 / np.sqrt(n))
    assert set(np.unique((y == 0).sum((1, 2, 3)))) == {4, 6, 9}


def test_brightness_and_contrast(images):
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
