"""Two-dimensional convolution, channels last."""

from typing import Any

import numpy as np

from .. import kernels
from ..checks import integer
from ..errors import ShapeError
from .base import WeightedLayer, pair, weight_gradients


def resolve_padding(padding, input_size, kernel_size, stride, dilation, layer):
    """`(top, bottom, left, right)` from "valid", "same", a number or a pair of numbers."""
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        sides = []
        for size, k, s, d in zip(input_size, kernel_size, stride, dilation):
            missing = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            sides += [missing // 2, missing - missing // 2]
        return tuple(sides)
    values = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    if len(values) != 2 or not all(isinstance(v, (int, np.integer)) and v >= 0 for v in values):
        raise ValueError(
            f"{layer}: padding: expected 'valid', 'same', a non-negative integer or a pair of them. "
            f"Received: {padding!r}"
        )
    return values[0], values[0], values[1], values[1]


def output_size(size, kernel, stride, padding, dilation=1):
    """`floor((size + padding - dilation (kernel - 1) - 1) / stride) + 1`, padding of both sides (S8.2)."""
    return (size + padding - dilation * (kernel - 1) - 1) // stride + 1


def image_output_shape(layer, input_shape, kernel_size, stride, padding, dilation=(1, 1)):
    """`(padding of the four sides, (OH, OW))` of a sliding window, or a ShapeError."""
    if len(input_shape) != 3:
        raise ShapeError(
            f"{layer.label()}: expected images (H, W, C). Received: input_shape={tuple(input_shape)}; "
            "a grey image needs its channel axis: x[..., None]"
        )
    sides = resolve_padding(padding, input_shape[:2], kernel_size, stride, dilation, layer.label())
    size = tuple(
        output_size(input_shape[i], kernel_size[i], stride[i], sides[2 * i] + sides[2 * i + 1], dilation[i])
        for i in (0, 1)
    )
    if min(size) < 1:
        raise ShapeError(
            f"{layer.label()}: expected images at least as large as the window {kernel_size}. "
            f"Received: input_shape={tuple(input_shape)}; use padding='same', a smaller window or fewer "
            "strides before it"
        )
    return sides, size


class Conv2D(WeightedLayer):
    """Slide `filters` kernels over an image; a Dense layer over its patches, with shared weights.

    Forward `y[n, i, j, f] = b[f] + sum_{u, v, c} x[n, i s + u d - p, j s + v d - p, c] w[f, u, v, c]`, a
    cross-correlation (S8.1): `y = cols @ w.reshape(F, -1).T + b` with the patches as rows of `cols`. Output
    size: `floor((H + 2p - d (K - 1) - 1) / s) + 1` (S8.2). Backward: `dw` sums over all positions that share
    a weight, `dx` is a convolution of `da` with the rotated kernels (LeCun et al. 1998).

    Parameters
    ----------
    filters : int
    kernel_size, stride, dilation : int or (int, int)
    padding : {"valid", "same"}, int or (int, int)
        Zeros around the image; "same" keeps `ceil(size / stride)`.
    groups : int
        Channels and filters are split into that many groups; `groups = C` is depthwise.
    use_bias, activation, weight_init, bias_init
        As in Dense.
    algorithm : {"auto", "direct", "im2col", "winograd"}
        How the kernel computes it; see `fastnn.race`.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.Conv2D(6, 5, padding="same")], input_shape=(28, 28, 1)).output_shape
    (28, 28, 6)
    """

    kind = "conv"

    def __init__(
        self, filters, kernel_size, stride=1, padding="valid", dilation=1, groups=1, use_bias=True,
        activation=None, algorithm="auto", weight_init="auto", bias_init="zeros", name=None,
    ):  # fmt: skip
        super().__init__(activation, use_bias, weight_init, bias_init, name)
        self.filters = integer("Conv2D", "filters", filters)
        self.kernel_size = pair(kernel_size, "kernel_size", "Conv2D")
        self.stride = pair(stride, "stride", "Conv2D")
        self.dilation = pair(dilation, "dilation", "Conv2D")
        self.groups = integer("Conv2D", "groups", groups)
        self.padding = padding
        if algorithm not in ("auto", "direct", "im2col", "winograd"):
            raise ValueError(
                f"Conv2D: algorithm: expected auto, direct, im2col or winograd. Received: {algorithm!r}"
            )
        self.algorithm = algorithm
        self.normalizer: Any = None  # the BatchNorm right behind it, which wants to know
        self.moments: Any = None  # (2, F) the mean of its input and the sum of squared deviations

    def shape_rule(self, input_shape):
        self.sides, size = image_output_shape(
            self, input_shape, self.kernel_size, self.stride, self.padding, self.dilation
        )
        if input_shape[2] % self.groups or self.filters % self.groups:
            raise ShapeError(
                f"{self.label()}: expected channels and filters to be multiples of groups={self.groups}. "
                f"Received: {input_shape[2]} channels, {self.filters} filters"
            )
        return (*size, self.filters)

    def create_parameters(self, input_shape):
        self.create_weight((self.filters, *self.kernel_size, input_shape[2] // self.groups))
        self.normalizer = self.pool = None

    def multiply_adds(self):
        height, width, _ = self.output_shape
        return height * width * self.weight.size

    def linear(self, x, y, activation, alpha):
        bias = None if self.bias is None else self.bias.data
        kernels.conv2d_forward(
            x, self.weight.data, bias, y, self.stride, self.sides, self.dilation, self.groups,
            activation, alpha, self.algorithm, self.prepared, None, False, self.moments,
        )  # fmt: skip

    def prepare(self, batch_size):
        self.algorithm, self.prepared = kernels.conv2d_prepare(
            self.weight.data, (batch_size, *self.input_shape), self.stride, self.sides, self.dilation,
            self.groups, self.algorithm,
        )  # fmt: skip

    def forward(self, x, training=False):
        gather = training and self.normalizer is not None and self.workspace.fuse
        self.moments = self.normalizer.gather() if gather else None
        return self.forward_to(x, self.buffer((x.shape[0], *self.output_shape)))

    def backward(self, dy, input_gradient=True):
        x, h = self.last_pass()
        da = self.to_pre_activation(dy, h)
        dw, db, accumulate = weight_gradients(self)
        geometry = self.stride, self.sides, self.dilation, self.groups
        if dw is not None:
            kernels.conv2d_backward_weight(x, da, dw, db, *geometry, accumulate, self.algorithm)
        if not input_gradient:
            return None
        dx = self.buffer(x.shape)
        kernels.conv2d_backward_input(da, self.weight.data, dx, *geometry, self.algorithm)
        return dx
