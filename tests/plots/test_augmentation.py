"""An image augmented many times."""

import numpy as np
import pytest

from fastnn import augmentation as aug
from fastnn import plots

pytest.importorskip("matplotlib")
IMAGE = np.random.default_rng(0).random((8, 10, 1)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 4, 25])
def test_the_image_and_its_changes(count):
    shift = aug.RandomShift(2)
    figure = plots.augmented(IMAGE, shift, count, seed=3)
    figure.draw_without_rendering()
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert len(shown) == count + 1
    np.testing.assert_array_equal(shown[0], IMAGE[..., 0])
    changed = shift(np.repeat(IMAGE[None], count, 0), 3)
    for picture, expected in zip(shown[1:], changed):
        np.testing.assert_array_equal(picture, expected[..., 0])
    title = figure._suptitle
    assert title.get_text().startswith(f"{count} augmented forms")
    assert title.get_window_extent().x1 <= figure.bbox.x1


def test_colours_are_cut_to_what_can_be_shown():
    figure = plots.augmented(np.full((4, 4, 3), 0.9), aug.RandomBrightness(0.5, None), 9)
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert max(picture.max() for picture in shown) == 1
    assert all(picture.shape == (4, 4, 3) for picture in shown)


def test_errors():
    with pytest.raises(ValueError, match=r"image: expected one image .* shape=\(2, 8, 8, 1\); of several"):
        plots.augmented(np.zeros((2, 8, 8, 1)), aug.RandomFlip())
    with pytest.raises(TypeError, match="augmentation: expected an Augmentation object"):
        plots.augmented(IMAGE, aug.RandomFlip)
    with pytest.raises(ValueError, match=r"count: expected an integer of at least 1\. Received: 0"):
        plots.augmented(IMAGE, aug.RandomFlip(), 0)
