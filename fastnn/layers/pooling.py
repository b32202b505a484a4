"""Pooling layers: fewer pixels, the same channels, no parameters."""

from typing import Any

import numpy as np

from .. import kernels
from ..errors import ShapeError
from .base import Layer, pair
from .conv import Conv2D, image_output_shape


class Pool2D(Layer):
    """What MaxPool2D and AvgPool2D share: a window that slides over each channel."""

    def __init__(self, pool_size, stride, padding, name):
        super().__init__(name)
        self.pool_size = pair(pool_size, "pool_size", type(self).__name__)
        self.stride = self.pool_size if stride is None else pair(stride, "stride", type(self).__name__)
        self.padding = padding

    def shape_rule(self, input_shape):
        self.sides, size = image_output_shape(self, input_shape, self.pool_size, self.stride, self.padding)
        if max(self.sides[:2]) >= self.pool_size[0] or max(self.sides[2:]) >= self.pool_size[1]:
            raise ShapeError(
                f"{self.label()}: expected padding smaller than pool_size={self.pool_size}, so that every "
                f"window holds a pixel. Received: padding={self.padding!r}"
            )
        return (*size, input_shape[2])

    def geometry(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
        """What the kernels ask for."""
        return self.pool_size, self.stride, self.sides


class MaxPool2D(Pool2D):
    """The largest number of each window (the notes, S8.6).

    `y[n, i, j, c] = max_{u, v} x[n, i s + u - p, j s + v - p, c]`; the gradient goes to the pixel that was
    the maximum, the first of equals. Padding counts as minus infinity.

    Parameters
    ----------
    pool_size : int or (int, int)
    stride : int or (int, int), optional
        Default: `pool_size`, windows side by side.
    padding : {"valid", "same"}, int or (int, int)

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.MaxPool2D(2)], input_shape=(28, 28, 6)).output_shape
    (14, 14, 6)
    """

    kind = "maxpool"

    def __init__(self, pool_size, stride=None, padding=0, name=None):
        super().__init__(pool_size, stride, padding, name)
        self.source: Any = None  # the convolution before, whose activation's derivative is applied here

    def follow(self, before):
        """A gradient reaches only the maxima, which are `y`: fewer numbers than the outputs of `before`.

        For windows that overlap the sum of their gradients would be rounded otherwise, but not with ReLU.
        """
        apart = self.stride[0] >= self.pool_size[0] and self.stride[1] >= self.pool_size[1]
        if not isinstance(before, Conv2D) or before.saves_input or before.function == "linear":
            return
        if apart or before.function == "relu":
            self.source, before.pool = before, self

    def create_parameters(self, input_shape):
        self.source = None

    def forward(self, x, training=False):
        shape = (x.shape[0], *self.output_shape)
        y = self.buffer(shape)
        index = self.workspace.take(shape, np.dtype(np.uint8)) if self.workspace.keep else None
        kernels.max_pool2d_forward(x, y, index, *self.geometry())
        self.saved = x.shape, index, y if self.source is not None and self.workspace.fuse else None
        return y

    def backward(self, dy, input_gradient=True):
        shape, index, y = self.last_pass()
        if not input_gradient:
            return None
        if y is not None:
            da = self.buffer(dy.shape)
            kernels.activation_backward(dy, y, da, self.source.function, self.source.alpha)
            dy = da
        dx = self.buffer(shape)
        kernels.max_pool2d_backward(dy, index, dx, *self.geometry())
        return dx

    def separate(self):
        """After `forward`: leave the derivative to the convolution, for those who look at every gradient."""
        if self.saved is None or self.saved[2] is None:
            return
        conv, (x, _) = self.source, self.source.saved
        h = self.buffer(self.saved[0])
        conv.linear(x, h, conv.function, conv.alpha)
        conv.saved, self.saved = (x, h), (*self.saved[:2], None)


class AvgPool2D(Pool2D):
    """The mean of each window (LeCun et al. 1998; the notes, S8.13).

    Parameters
    ----------
    pool_size, stride, padding
        As in MaxPool2D.
    count_include_pad : bool
        Whether padding counts as zeros; otherwise the mean is over the pixels of the image.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.AvgPool2D(2)], input_shape=(28, 28, 6)).output_shape
    (14, 14, 6)
    """

    kind = "avgpool"

    def __init__(self, pool_size, stride=None, padding=0, count_include_pad=True, name=None):
        super().__init__(pool_size, stride, padding, name)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x, training=False):
        y = self.buffer((x.shape[0], *self.output_shape))
        kernels.avg_pool2d_forward(x, y, *self.geometry(), self.count_include_pad)
        self.saved = (x.shape,)
        return y

    def backward(self, dy, input_gradient=True):
        (shape,) = self.last_pass()
        if not input_gradient:
            return None
        dx = self.buffer(shape)
        kernels.avg_pool2d_backward(dy, dx, *self.geometry(), self.count_include_pad)
        return dx


class GlobalAvgPool2D(Layer):
    """The mean of each channel over the whole image, `(N, H, W, C)` to `(N, C)` (Lin et al. 2014; S8.13).

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.GlobalAvgPool2D()], input_shape=(7, 7, 1024)).output_shape
    (1024,)
    """

    kind = "globalavgpool"

    def shape_rule(self, input_shape):
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ShapeError(
                f"{self.label()}: expected images (H, W, C). Received: input_shape={tuple(input_shape)}; "
                "a grey image needs its channel axis: x[..., None]"
            )
        return input_shape[2:]

    def forward(self, x, training=False):
        y = self.buffer((x.shape[0], x.shape[3]))
        kernels.global_avg_pool2d_forward(x, y)
        self.saved = (x.shape,)
        return y

    def backward(self, dy, input_gradient=True):
        (shape,) = self.last_pass()
        if not input_gradient:
            return None
        dx = self.buffer(shape)
        kernels.global_avg_pool2d_backward(dy, dx)
        return dx
