"""Images with other pixels in the same places: partly erased, brighter or darker, with other contrast."""

import numpy as np

from ... import kernels
from ...checks import number
from .base import Augmentation, between, limits, pair


class Cutout(Augmentation):
    """Erase a rectangle in each image [1]_: its centre is any pixel, so a part of it may lie outside.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the rectangle in pixels.
    value : float
        What it is filled with.

    References
    ----------
    .. [1] DeVries & Taylor, Improved regularization of convolutional neural networks with cutout, 2017.

    Examples
    --------
    >>> Cutout(2)(np.ones((1, 3, 4, 1), np.float32), seed=2)[0, :, :, 0]
    array([[0., 0., 1., 1.],
           [0., 0., 1., 1.],
           [1., 1., 1., 1.]], dtype=float32)
    """

    n_draws = 2

    def __init__(self, size=8, value=0.0):
        self.size = pair(self, "size", size, whole=True, least=1)
        self.value = number(self._name, "value", value, "(-inf, inf)")

    def change(self, x, y, draws):
        """Copy the images without the rectangles."""
        boxes = np.empty((len(x), 4), np.int64)
        for axis, (size, n, u) in enumerate(zip(self.size, x.shape[1:3], draws)):
            start = np.floor(u * n).astype(np.int64) - size // 2
            boxes[:, 2 * axis] = np.maximum(start, 0)
            boxes[:, 2 * axis + 1] = np.minimum(start + size, n)
        kernels.erase_images(x, y, boxes, self.value)


class RandomBrightness(Augmentation):
    """Add a number uniform in [-delta, delta] to all pixels of an image, and cut them to `value_range`.

    Parameters
    ----------
    delta : float
        In the unit of the pixels.
    value_range : (float, float) or None
        Of the pixels; None, for those of mean 0, cuts nothing.

    Examples
    --------
    >>> RandomBrightness(0.5)(np.full((2, 1, 1, 1), 0.8), seed=0).ravel()
    array([0.3115, 0.5415])
    """

    def __init__(self, delta=0.2, value_range=(0.0, 1.0)):
        self.delta = number(self._name, "delta", delta)
        self.value_range = None if value_range is None else limits(self, "value_range", value_range)

    def change(self, x, y, draws):
        """Brighten or darken."""
        shift = between((-self.delta, self.delta), draws[0])
        kernels.adjust_images(x, y, np.ones(len(x)), shift, *(self.value_range or (None, None)))


class RandomContrast(Augmentation):
    """Multiply the pixels' distance from the image's mean by a number uniform in [1 - factor, 1 + factor].

    Parameters
    ----------
    factor : float
        In [0, 1].
    value_range : (float, float) or None
        To which the pixels are cut, see `RandomBrightness`.

    Examples
    --------
    >>> RandomContrast(0.5)(np.array([0.4, 0.6]).reshape(1, 1, 2, 1), seed=0).ravel()
    array([0.4488, 0.5512])
    """

    def __init__(self, factor=0.2, value_range=(0.0, 1.0)):
        self.factor = number(self._name, "factor", factor, "[0, 1]")
        self.value_range = None if value_range is None else limits(self, "value_range", value_range)

    def change(self, x, y, draws):
        """Raise or lower the contrast."""
        contrast = between((1 - self.factor, 1 + self.factor), draws[0])
        kernels.adjust_images(x, y, contrast, np.zeros(len(x)), *(self.value_range or (None, None)))
