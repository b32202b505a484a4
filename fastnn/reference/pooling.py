"""Pooling over channels-last images in plain NumPy: the shortest form of `fastnn/_ext/pooling.pyx`.

The outer loop runs over the positions of the window; each takes one strided slice of the padded image.
"""

import numpy as np


def _padded(x, padding, value):
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _positions(pool_size, stride, out_shape):
    """Yield (position, slices): which padded pixels every window sees at that position."""
    (ph, pw), (sh, sw), (_, oh, ow, _) = pool_size, stride, out_shape
    for k in range(ph * pw):
        i, j = divmod(k, pw)
        yield k, (slice(None), slice(i, i + sh * oh, sh), slice(j, j + sw * ow, sw))


def _inside(padded_shape, padding):
    """A mask over the padded image: which of its pixels are in the image."""
    top, bottom, left, right = padding
    mask = np.zeros(padded_shape[:3] + (1,), bool)
    mask[:, top : padded_shape[1] - bottom, left : padded_shape[2] - right] = True
    return mask


def max_pool2d_forward(x, y, index, pool_size, stride, padding):
    """y = max over each window; padding counts as minus infinity. index: the first of equals, NaN wins.

    x (N, H, W, C), y (N, OH, OW, C), index (N, OH, OW, C) uint8 or None: position in the window, row by row.
    """
    xp = _padded(x, padding, -np.inf)
    inside = _inside(xp.shape, padding)
    y[...] = -np.inf
    where = np.full(y.shape, -1)
    for k, window in _positions(pool_size, stride, y.shape):
        v = xp[window]
        better = (v > y) | np.isnan(v) | ((where < 0) & inside[window])
        y[better] = v[better]
        where[better] = k
    if index is not None:
        index[...] = where


def max_pool2d_backward(dy, index, dx, pool_size, stride, padding):
    """dx[pixel] = sum of dy over the windows whose maximum was this pixel."""
    top, _, left, _ = padding
    dxp = _padded(np.zeros_like(dx), padding, 0)
    for k, window in _positions(pool_size, stride, dy.shape):
        dxp[window] += np.where(index == k, dy, 0)
    dx[...] = dxp[:, top : top + dx.shape[1], left : left + dx.shape[2]]


def _counts(x_shape, out_shape, pool_size, stride, padding, count_include_pad):
    """What each window divides by, (1, OH, OW, 1), or one number."""
    if count_include_pad:
        return pool_size[0] * pool_size[1]
    ones = _padded(np.ones((1, *x_shape[1:3], 1)), padding, 0)
    return sum(ones[window] for _, window in _positions(pool_size, stride, out_shape))


def avg_pool2d_forward(x, y, pool_size, stride, padding, count_include_pad=True):
    """y = sum over each window / its size; padding counts as zeros, or not at all."""
    xp = _padded(x, padding, 0)
    total = sum(xp[window] for _, window in _positions(pool_size, stride, y.shape))
    y[...] = total / _counts(x.shape, y.shape, pool_size, stride, padding, count_include_pad)


def avg_pool2d_backward(dy, dx, pool_size, stride, padding, count_include_pad=True):
    """dx[pixel] = sum of dy / window size over the windows that hold this pixel."""
    top, _, left, _ = padding
    share = dy / _counts(dx.shape, dy.shape, pool_size, stride, padding, count_include_pad)
    dxp = _padded(np.zeros_like(dx), padding, 0)
    for _, window in _positions(pool_size, stride, dy.shape):
        dxp[window] += share
    dx[...] = dxp[:, top : top + dx.shape[1], left : left + dx.shape[2]]


def global_avg_pool2d_forward(x, y):
    """y (N, C) = mean over the pixels of x (N, H, W, C)."""
    y[...] = x.mean(axis=(1, 2), dtype=np.float64)


def global_avg_pool2d_backward(dy, dx):
    """dx[pixel] = dy / number of pixels."""
    dx[...] = dy[:, None, None, :] / (dx.shape[1] * dx.shape[2])
