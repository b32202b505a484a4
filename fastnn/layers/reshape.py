"""Layers that only change the shape; the numbers stay where they are."""

import math

from ..checks import integer
from ..errors import ShapeError
from .base import Layer


class Flatten(Layer):
    """`(N, H, W, C)` to `(N, H*W*C)`: from images to the inputs of a Dense layer.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.Flatten()], input_shape=(5, 5, 16)).output_shape
    (400,)
    """

    kind = "flatten"

    def shape_rule(self, input_shape):
        return (math.prod(input_shape),)

    def forward(self, x, training=False):
        self.saved = (x.shape,)
        return x.reshape(x.shape[0], self.output_shape[0])

    def backward(self, dy, input_gradient=True):
        (shape,) = self.last_pass()
        return dy.reshape(shape)


class Reshape(Layer):
    """Another shape with as many numbers, `Reshape((28, 28, 1))`.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample.
    """

    kind = "reshape"

    def __init__(self, shape, name=None):
        super().__init__(name)
        if not isinstance(shape, (tuple, list)):
            raise TypeError(f"Reshape: shape: expected a tuple, the shape of one sample. Received: {shape!r}")
        self.shape = tuple(integer("Reshape", "shape", n) for n in shape)

    def shape_rule(self, input_shape):
        if math.prod(input_shape) != math.prod(self.shape):
            raise ShapeError(
                f"{self.label()}: expected an input of {math.prod(self.shape)} numbers for shape="
                f"{self.shape}. Received: input_shape={tuple(input_shape)}"
            )
        return self.shape

    def forward(self, x, training=False):
        self.saved = (x.shape,)
        return x.reshape(x.shape[0], *self.shape)

    def backward(self, dy, input_gradient=True):
        (shape,) = self.last_pass()
        return dy.reshape(shape)
