"""Images moved, turned, enlarged, mirrored and cut."""

import numpy as np

from ... import kernels
from ...checks import choice, number
from ...errors import ShapeError
from .base import Augmentation, between, limits, pair


class _Moved(Augmentation):
    """Images whose pixels come from other places: base of the geometric changes, which write `matrices`."""

    interpolation = "nearest"  # of those that move by whole pixels

    def _set_fill(self, fill, value, interpolation="nearest"):
        self.fill = choice(self._name, "fill", fill, ("constant", "nearest", "reflect"))
        self.value = number(self._name, "value", value, "(-inf, inf)")
        self.interpolation = choice(self._name, "interpolation", interpolation, ("bilinear", "nearest"))

    def matrices(self, shape, draws):
        """(N, 2, 3): from (i, j, 1) in the new image to the place in the old one, of that shape (H, W)."""
        raise NotImplementedError(f"{self._name}.matrices is not written")

    def change(self, x, y, draws):
        """Move the pixels."""
        kernels.warp_images(
            x, y, self.matrices(x.shape[1:3], draws), self.fill, self.value, self.interpolation
        )


class RandomAffine(_Moved):
    """Turn, enlarge and shift each image, in one interpolation.

    Formula, for the place p = (row, column) of a pixel, c the centre of the image::

        y(p) = x(c + R (p - c - t) / s),   R = [[cos a, sin a], [-sin a, cos a]]

    Parameters
    ----------
    degrees : float or (float, float)
        The angle a is uniform in [-degrees, degrees], or between the two; positive turns to the left.
    shift : float or (float, float)
        The shift t is uniform in [-shift, shift] pixels; two numbers are for rows and columns.
    scale : (float, float)
        The magnification s is uniform between the two.
    fill : {"constant", "nearest", "reflect"}
        What comes in from outside: `value`, the nearest pixel, or the image in a mirror (behind the border
        pixels, as in `numpy.pad`).
    value : float
    interpolation : {"bilinear", "nearest"}

    Raises
    ------
    ValueError
        An argument is out of its range.

    Examples
    --------
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    >>> RandomAffine(degrees=(90, 90))(x)[0, :, :, 0]
    array([[2., 5., 8.],
           [1., 4., 7.],
           [0., 3., 6.]], dtype=float32)
    """

    n_draws = 4

    def __init__(self, degrees=0.0, shift=0.0, scale=(1.0, 1.0), fill="constant", value=0.0,
                 interpolation="bilinear"):  # fmt: skip
        self.degrees = limits(self, "degrees", degrees)
        self.shift = pair(self, "shift", shift)
        self.scale = limits(self, "scale", scale)
        if self.scale[0] <= 0:
            raise ValueError(f"{self._name}: scale: expected numbers above 0. Received: {scale!r}")
        self._set_fill(fill, value, interpolation)

    def matrices(self, shape, draws):
        """The formula above."""
        angle, scale = between(self.degrees, draws[0]), between(self.scale, draws[1])
        shift = np.stack([between((-limit, limit), u) for limit, u in zip(self.shift, draws[2:])], 1)
        cos, sin = np.cos(np.radians(angle)) / scale, np.sin(np.radians(angle)) / scale
        turn = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1)
        centre = (np.array(shape) - 1) / 2
        start = centre - (turn @ (centre + shift)[:, :, None])[:, :, 0]
        return np.concatenate([turn, start[:, :, None]], 2)


class RandomRotation(RandomAffine):
    """Turn each image about its centre by an angle uniform in [-degrees, degrees], or between two angles.

    Multiples of 90 degrees are exact, since places are rounded to 2^-32 pixel: `RandomRotation((90, 90))` is
    `numpy.rot90` of square images. For `fill`, `value` and `interpolation` see `RandomAffine`.

    Examples
    --------
    >>> RandomRotation(10, fill="reflect")
    RandomRotation(degrees=(-10.0, 10.0), fill='reflect', value=0.0, interpolation='bilinear')
    """

    def __init__(self, degrees=10.0, fill="constant", value=0.0, interpolation="bilinear"):
        super().__init__(degrees, fill=fill, value=value, interpolation=interpolation)


class RandomZoom(RandomAffine):
    """Enlarge each image about its centre, by a factor uniform between the two of `scale`.

    For `fill`, `value` and `interpolation` see `RandomAffine`.

    Examples
    --------
    >>> RandomZoom((2, 2))(np.eye(4, dtype=np.float32)[None, :, :, None])[0, 0, :, 0]
    array([0.625 , 0.5625, 0.1875, 0.    ], dtype=float32)
    """

    def __init__(self, scale=(0.9, 1.1), fill="constant", value=0.0, interpolation="bilinear"):
        super().__init__(scale=scale, fill=fill, value=value, interpolation=interpolation)


class RandomShift(_Moved):
    """Shift each image by whole pixels, up to `pixels` both ways; two numbers are for rows and columns.

    For `fill` and `value` see `RandomAffine`, which shifts by parts of a pixel too.

    Examples
    --------
    >>> RandomShift((0, 2))(np.ones((1, 1, 5, 1), np.float32), seed=1).ravel()
    array([1., 1., 1., 0., 0.], dtype=float32)
    """

    n_draws = 2

    def __init__(self, pixels=2, fill="constant", value=0.0):
        self.pixels = pair(self, "pixels", pixels, whole=True)
        self._set_fill(fill, value)

    def matrices(self, shape, draws):
        """The identity and the shift."""
        return _whole([np.floor(u * (2 * limit + 1)) - limit for limit, u in zip(self.pixels, draws)])


class RandomFlip(_Moved):
    """Mirror each image with some probability: left and right, or top and bottom, or each of the two.

    Parameters
    ----------
    mode : {"horizontal", "vertical", "both"}
    probability : float
        In [0, 1]; with "both" for each direction.

    Examples
    --------
    >>> RandomFlip(probability=1.0)(np.arange(3.0).reshape(1, 1, 3, 1)).ravel()
    array([2., 1., 0.])
    """

    n_draws = 2

    def __init__(self, mode="horizontal", probability=0.5):
        self.mode = choice(self._name, "mode", mode, ("horizontal", "vertical", "both"))
        self.probability = number(self._name, "probability", probability, "[0, 1]")
        self._set_fill("constant", 0.0)

    def matrices(self, shape, draws):
        """Factors of -1 from the last pixel on, for the mirrored axes."""
        flips = (draws < self.probability) & [[self.mode != "horizontal"], [self.mode != "vertical"]]
        return _whole([flip * (n - 1) for flip, n in zip(flips, shape)], [1 - 2 * flip for flip in flips])


class RandomCrop(_Moved):
    """Cut a part of that size out of each image at any place, after `padding` pixels were added around it.

    `RandomCrop(32, padding=4)` with `RandomFlip()` is the usual augmentation of CIFAR-10 (He et al. 2016). If
    the size is another than that of the images, crop the validation images too: `x[:, 2:-2, 2:-2]`.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the new images.
    padding : int or (int, int)
        Pixels added above and below, left and right.
    fill, value
        Of the padding, see `RandomAffine`.

    Raises
    ------
    ShapeError
        The size is larger than the padded images.

    Examples
    --------
    >>> RandomCrop((24, 28), padding=(0, 4))(np.zeros((5, 28, 28, 1))).shape
    (5, 24, 28, 1)
    """

    n_draws = 2

    def __init__(self, size, padding=0, fill="constant", value=0.0):
        self.size = pair(self, "size", size, whole=True, least=1)
        self.padding = pair(self, "padding", padding, whole=True)
        self._set_fill(fill, value)

    def output_shape(self, shape):
        """Shape (H, W, C) of the parts."""
        if any(size > n + 2 * pad for size, n, pad in zip(self.size, shape, self.padding)):
            raise ShapeError(
                f"RandomCrop: size: expected at most the image and its padding. Received: size={self.size}, "
                f"padding={self.padding} for images {shape}; use a smaller size or more padding"
            )
        return (*self.size, shape[2])

    def matrices(self, shape, draws):
        """The identity from the first pixel of the part on."""
        sides = zip(self.size, shape, self.padding, draws)
        return _whole([np.floor(u * (n + 2 * pad - size + 1)) - pad for size, n, pad, u in sides])


def _whole(start, sign=(1.0, 1.0)):
    """Matrices (N, 2, 3) without turns: from `start` (2, N) on in steps of `sign`."""
    matrix = np.zeros((len(start[0]), 2, 3))
    for axis in (0, 1):
        matrix[:, axis, axis], matrix[:, axis, 2] = sign[axis], start[axis]
    return matrix
