"""Changes of images that keep the label, in NumPy (the notes, S6.2).

Coordinates are integers in units of 2^-32 pixel, as in the compiled form: both read the same pixels.
"""

import numpy as np

ONE = 1 << 32  # a pixel


def inside(i, n, fill):
    """The indices in 0 ... n - 1 that are read for i; -1 for the constant."""
    if fill == "constant":
        return np.where((i >= 0) & (i < n), i, -1)
    if fill == "nearest" or n == 1:
        return np.clip(i, 0, n - 1)
    i = i % (2 * (n - 1))
    return np.minimum(i, 2 * (n - 1) - i)


def pixels(x, r, c, fill, value):
    """The pixels (N, OH, OW, C) at whole coordinates (N, OH, OW)."""
    r, c = inside(r, x.shape[1], fill), inside(c, x.shape[2], fill)
    found = x[np.arange(len(x))[:, None, None], r, c]
    return np.where(((r < 0) | (c < 0))[..., None], x.dtype.type(value), found)


def warp_images(x, y, matrix, fill="constant", value=0.0, interpolation="bilinear"):
    """Pixel (i, j) of y comes from row m00 i + m01 j + m02 and column m10 i + m11 j + m12 of x.

    A pixel outside the image is `value`, the nearest one, or that of a mirror behind the border pixels.
    """
    if y.size == 0:
        return
    m = np.rint(matrix * 2.0**32).astype(np.int64)[:, :, :, None, None]
    i, j = np.arange(y.shape[1])[:, None], np.arange(y.shape[2])
    r, c = (m[:, k, 0] * i + m[:, k, 1] * j + m[:, k, 2] for k in (0, 1))
    if interpolation == "nearest":
        y[...] = pixels(x, (r + ONE // 2) // ONE, (c + ONE // 2) // ONE, fill, value)
        return
    (r, part_r), (c, part_c) = divmod(r, ONE), divmod(c, ONE)
    fr, fc = ((part / 2.0**32).astype(x.dtype)[..., None] for part in (part_r, part_c))
    r1, c1 = r + (part_r > 0), c + (part_c > 0)  # a pixel of weight 0 is not read
    rows = []
    for row in (r, r1):
        left, right = pixels(x, row, c, fill, value), pixels(x, row, c1, fill, value)
        rows.append(left + fc * (right - left))
    y[...] = rows[0] + fr * (rows[1] - rows[0])


def erase_images(x, y, boxes, value=0.0):
    """y = x, but `value` in the rows from top to bottom - 1 and the columns from left to right - 1."""
    y[...] = x
    for image, (top, bottom, left, right) in zip(y, boxes):
        image[top:bottom, left:right] = value


def adjust_images(x, y, contrast, brightness, low=None, high=None):
    """y = contrast (x - mean) + mean + brightness, cut to [low, high]; the mean is that of the image."""
    if x.size == 0:
        return
    mean = x.mean((1, 2, 3), np.float64)
    shift = (brightness + (1 - contrast) * mean).astype(x.dtype)
    scale = contrast.astype(x.dtype)
    moved = scale[:, None, None, None] * x + shift[:, None, None, None]
    y[...] = np.clip(moved, -np.inf if low is None else low, np.inf if high is None else high)
