"""Local response normalization."""

from .. import kernels
from ..checks import integer, number
from ..errors import ShapeError
from .base import Layer


class LRN(Layer):
    """Local response normalization: a channel is damped by its neighbours' activity [1].

    Formula, for channel c of C, h = (size - 1) / 2 (AlexNet's; the notes, S8.8)::

        s_c = k + alpha sum_{j = max(0, c - h)}^{min(C - 1, c + h)} x_j^2
        y_c = x_c / s_c^beta
        dx_c = dy_c / s_c^beta - 2 alpha beta x_c sum_j dy_j y_j / s_j       over the same window

    PyTorch divides alpha by the size: its `LocalResponseNorm(5, alpha=5e-4)` is `LRN(5, alpha=1e-4)`.

    Parameters
    ----------
    size : int
        Channels in the sum, odd.
    alpha, beta, k : float
        The defaults are the paper's.

    References
    ----------
    .. [1] Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural networks,
       NeurIPS 2012.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.LRN()], input_shape=(55, 55, 96)).output_shape
    (55, 55, 96)
    """

    kind = "lrn"

    def __init__(self, size=5, alpha=1e-4, beta=0.75, k=2.0, name=None):
        super().__init__(name)
        self.size = integer("LRN", "size", size)
        if self.size % 2 == 0:
            raise ValueError(
                f"LRN: size: expected an odd number, a channel and as many neighbours on each side. "
                f"Received: {size!r}"
            )
        self.alpha, self.beta = number("LRN", "alpha", alpha), number("LRN", "beta", beta)
        self.k = number("LRN", "k", k, "(0, inf)")

    def shape_rule(self, input_shape):
        if len(input_shape) < 1:
            raise ShapeError(
                f"{self.label()}: expected samples with a last axis of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        return input_shape

    def forward(self, x, training=False):
        y, scale = self.buffer(x.shape), self.buffer(x.shape)
        kernels.lrn_forward(x, y, scale, self.size, self.alpha, self.beta, self.k)
        self.saved = x, y, scale
        return y

    def backward(self, dy, input_gradient=True):
        x, y, scale = self.last_pass()
        dx = self.buffer(x.shape)
        kernels.lrn_backward(dy, x, y, scale, dx, self.size, self.alpha, self.beta, self.k)
        return dx
