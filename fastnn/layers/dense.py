"""Dense layer: `h = activation(x W^T + b)`."""

from .. import kernels
from ..errors import ShapeError
from .base import WeightedLayer, positive_int


class Dense(WeightedLayer):
    """Every unit sees every input.

    Forward `a = x W^T + b`, `h = activation(a)`. Backward, with `da = dh * activation'(a)`:
    `dW = da^T x`, `db = sum over the batch of da`, `dx = da W` (the notes, S2.2 and S2.9 to S2.11;
    Rumelhart, Hinton & Williams 1986).

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or Layer, optional
        Name of an activation, fused into the kernel, or an activation layer.
    use_bias : bool
    weight_init, bias_init : str or callable
        Names of `fastnn.initializers`; `"auto"` chooses by the activation.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.Dense(10)], input_shape=(84,)).output_shape
    (10,)
    """

    kind = "dense"

    def __init__(
        self, units, activation=None, use_bias=True, weight_init="auto", bias_init="zeros", name=None
    ):
        super().__init__(activation, use_bias, weight_init, bias_init, name)
        self.units = positive_int(units, "units", "Dense")

    def shape_rule(self, input_shape):
        if len(input_shape) != 1:
            raise ShapeError(
                f"{self.label()}: expected one axis per sample, (features,). "
                f"Received: input_shape={input_shape}; put Flatten() or GlobalAvgPool2D() before it"
            )
        return (self.units,)

    def create_parameters(self, input_shape):
        self.create_weight((self.units, input_shape[0]))

    def multiply_adds(self):
        return self.units * self.input_shape[0]

    def linear(self, x, y, activation, alpha):
        bias = None if self.bias is None else self.bias.data
        kernels.dense_forward(x, self.weight.data, bias, y, activation, alpha, self.prepared)

    def prepare(self, batch_size):
        self.prepared = kernels.dense_prepare(self.weight.data)

    def forward(self, x, training=False):
        return self.forward_to(x, self.buffer((x.shape[0], self.units)))

    def backward(self, dy, input_gradient=True):
        x, h = self.last_pass()
        da = self.to_pre_activation(dy, h)
        weight, bias = self.weight, self.bias
        dx = self.buffer(x.shape) if input_gradient else None
        db = None
        accumulate = weight.accumulate()
        if bias is not None:
            bias.accumulate()
            db = bias.grad
        kernels.dense_backward(x, weight.data, da, dx, weight.grad, db, accumulate)
        return dx
