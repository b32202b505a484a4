"""Local response normalization in plain NumPy: the shortest form of `fastnn/_ext/lrn.pyx`."""

import numpy as np


def window_sum(values, size):
    """The sum over each channel and `(size - 1) / 2` neighbours on each side, fewer at the ends."""
    half, n = size // 2, values.shape[-1]
    padded = np.zeros((*values.shape[:-1], n + 2 * half), values.dtype)
    padded[..., half : half + n] = values
    return sum(padded[..., d : d + n] for d in range(size))


def lrn_forward(x, y, scale, size, alpha, beta, k):
    """`y = x scale^-beta`, `scale = k + alpha sum x^2` over neighbouring channels, the last axis."""
    scale[...] = k + alpha * window_sum(x * x, size)
    y[...] = x * scale**-beta


def lrn_backward(dy, x, y, scale, dx, size, alpha, beta, k):
    """`dx = dy scale^-beta - 2 alpha beta x sum(dy y / scale)`: y_j holds every x_i of its window."""
    dx[...] = dy * scale**-beta - 2 * alpha * beta * x * window_sum(dy * y / scale, size)
