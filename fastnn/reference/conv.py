"""Convolution of channels-last images in plain NumPy: a matrix product over the windows (the notes, S8.1)."""

import numpy as np

from fastnn.reference.activations import activation_forward
from fastnn.reference.pooling import max_pool2d_forward


def count(shape):
    """Elements of an array of that shape."""
    return int(np.prod(shape))


def windows(size, kernel, stride, pad, dilation):
    """Length along one axis of the output, and for each tap the rows of the padded image it reads."""
    length = (size + sum(pad) - (kernel - 1) * dilation - 1) // stride + 1
    return length, [
        slice(k * dilation, k * dilation + (length - 1) * stride + 1, stride) for k in range(kernel)
    ]


def im2col(x, cols, kernel_size, stride, padding, dilation):
    """Write each window of `x` (N, H, W, C) as a row of `cols` (N*OH*OW, KH*KW*C)."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), padding[:2], padding[2:], (0, 0)))
    oh, rows = windows(h, kernel_size[0], stride[0], padding[:2], dilation[0])
    ow, columns = windows(w, kernel_size[1], stride[1], padding[2:], dilation[1])
    out = cols.reshape(n, oh, ow, *kernel_size, c)
    for kh, row in enumerate(rows):
        for kw, column in enumerate(columns):
            out[:, :, :, kh, kw] = padded[:, row, column]


def col2im(cols, x, kernel_size, stride, padding, dilation):
    """The transpose of `im2col`: each pixel of `x` is the sum of its entries in `cols`."""
    n, h, w, c = x.shape
    top, bottom, left, right = padding
    padded = np.zeros((n, h + top + bottom, w + left + right, c), x.dtype)
    oh, rows = windows(h, kernel_size[0], stride[0], padding[:2], dilation[0])
    ow, columns = windows(w, kernel_size[1], stride[1], padding[2:], dilation[1])
    entries = cols.reshape(n, oh, ow, *kernel_size, c)
    for kh, row in enumerate(rows):
        for kw, column in enumerate(columns):
            padded[:, row, column] += entries[:, :, :, kh, kw]
    x[...] = padded[:, top : top + h, left : left + w]


def split(a, groups):
    """The channels (last axis) of each group, as contiguous arrays."""
    return [np.ascontiguousarray(part) for part in np.split(a, groups, axis=-1)]


def columns_of(x, weight, pixels, stride, padding, dilation):
    """`im2col` into a new array."""
    cols = np.empty((pixels, count(weight.shape[1:])), x.dtype)
    im2col(x, cols, weight.shape[1:3], stride, padding, dilation)
    return cols


def conv2d_prepare(weight, input_shape, stride, padding, dilation, groups=1, algorithm="auto"):
    """The algorithm and what it needs of the weights beforehand; here nothing."""
    return "im2col" if algorithm == "auto" else algorithm, None


def conv2d_forward(
    x, weight, bias, y, stride, padding, dilation, groups=1, activation="linear", alpha=0.0,
    algorithm="auto", prepared=None, add=None, pool=False, moments=None,
):  # fmt: skip
    """`y = act(cols @ w.T + bias + add)`, for each group of channels; `prepared` saves nothing here.

    With `pool` y (N, OH // 2, OW // 2, F) is the maxima of the 2x2 windows of that, by any algorithm.
    moments (2, F) float64 or None: the mean of y for each filter, and the sum of squared deviations from it.
    """
    if pool:
        oh, _ = windows(x.shape[1], weight.shape[1], stride[0], padding[:2], dilation[0])
        ow, _ = windows(x.shape[2], weight.shape[2], stride[1], padding[2:], dilation[1])
        whole = np.empty((len(x), oh, ow, len(weight)), y.dtype)
        conv2d_forward(x, weight, bias, whole, stride, padding, dilation, groups, activation, alpha, add=add)
        max_pool2d_forward(whole, y, None, (2, 2), (2, 2), (0, 0, 0, 0))
        return
    pixels = count(y.shape[:3])
    filters = np.split(weight, groups)
    a = [
        columns_of(part, w, pixels, stride, padding, dilation) @ w.reshape(len(w), count(w.shape[1:])).T
        for part, w in zip(split(x, groups), filters)
    ]
    y[...] = np.concatenate(a, axis=1).reshape(y.shape)
    if bias is not None:
        y += bias
    if add is not None:
        y += add
    activation_forward(y, y, activation, alpha)
    if moments is not None and pixels:
        moments[0] = y.mean((0, 1, 2), dtype=np.float64)
        moments[1] = np.square(y - moments[0]).sum((0, 1, 2))


def conv2d_backward_input(da, weight, dx, stride, padding, dilation, groups=1, algorithm="auto"):
    """`dcols = da @ w`, then each pixel collects what its copies in `cols` received."""
    size = dx.shape[-1] // groups
    for g, (part, w) in enumerate(zip(split(da, groups), np.split(weight, groups))):
        out = np.empty((*dx.shape[:3], size), dx.dtype)
        dcols = part.reshape(count(da.shape[:3]), len(w)) @ w.reshape(len(w), count(w.shape[1:]))
        col2im(dcols, out, weight.shape[1:3], stride, padding, dilation)
        dx[..., g * size : (g + 1) * size] = out


def conv2d_backward_weight(
    x, da, dw, db, stride, padding, dilation, groups=1, accumulate=False, algorithm="auto"
):
    """`dw = da.T @ cols`, `db` the sum of `da` over the pixels."""
    pixels, size = count(da.shape[:3]), len(dw) // groups
    if not accumulate:
        dw[...] = 0
    for g, (part, d) in enumerate(zip(split(x, groups), split(da, groups))):
        cols = columns_of(part, dw, pixels, stride, padding, dilation)
        dw[g * size : (g + 1) * size] += (d.reshape(pixels, size).T @ cols).reshape(size, *dw.shape[1:])
    if db is not None:
        db[...] = da.sum(axis=(0, 1, 2)) + (db if accumulate else 0)
