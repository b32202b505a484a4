"""Dense layer: `h = activation(x W^T + b)`, and one that shares its weight with another."""

from typing import Any

from .. import initializers, kernels
from ..checks import integer
from ..errors import ShapeError
from .base import WeightedLayer, weight_gradients


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
        self.units = integer("Dense", "units", units)

    def shape_rule(self, input_shape):
        check_features(self, input_shape)
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
        dw, db, accumulate = weight_gradients(self)
        dx = self.buffer(x.shape) if input_gradient else None
        kernels.dense_backward(x, self.weight.data, da, dx, dw, db, accumulate)
        return dx


class TiedDense(WeightedLayer):
    """A dense layer whose weight is that of a Dense before it, by default transposed: a tied autoencoder.

    Forward `a = x W + b`, `h = activation(a)`, with the weight W (units, inputs) of the source; the bias is
    its own. Backward: `dW = x^T da`, to which the source adds its own part, `dx = da W^T`. With
    `transpose=False` it is `a = x W^T + b`, as in Dense. The weight is one slice of `theta`: it is counted,
    trained, decayed and saved once, under the source's name (the notes, S6.9; Vincent et al. 2010).

    Parameters
    ----------
    source : Dense or str
        A Dense that comes before this layer in the same model, or its path there, `"encoder.dense1"`; the
        end of the path is enough where only one layer has it.
    activation : str or Layer, optional
        As in Dense.
    transpose : bool
        Whether inputs and outputs of the weight change places.
    use_bias : bool
    bias_init : str or callable
        As in Dense.

    Raises
    ------
    TypeError, ValueError
        The source is no Dense, or, when the model is built, not in it before this layer.
    ShapeError
        The weight does not fit the input.

    Notes
    -----
    `layer.trainable = False` here freezes the bias alone; the weight is frozen with its source.

    Examples
    --------
    >>> import fastnn as nn
    >>> encoder = nn.Dense(2, activation="tanh")
    >>> model = nn.Sequential([encoder, nn.TiedDense(encoder)], input_shape=(5,))
    >>> model.parameters
    {'dense1.weight': Parameter('weight', shape=(2, 5)), 'dense1.bias': Parameter('bias', shape=(2,)),
     'tied1.bias': Parameter('bias', shape=(5,))}
    """

    kind = "tied"

    def __init__(
        self, source, activation=None, transpose=True, use_bias=True, bias_init="zeros", name=None
    ):  # fmt: skip
        if not isinstance(source, (Dense, str)):
            raise TypeError(
                f"TiedDense: source: expected a Dense layer or its path in the model. Received: {source!r}"
            )
        super().__init__(activation, use_bias, None, bias_init, name)
        self.source = source
        self.transpose = bool(transpose)
        self.tied_to: Any = source if isinstance(source, Dense) else None
        self.path = source if isinstance(source, str) else ""

    def connect(self, model):
        layers = list(model.walk())
        before = layers[: next(i for i, (_, layer) in enumerate(layers) if layer is self)]
        denses = [(path, layer) for path, layer in before if isinstance(layer, Dense)]
        if isinstance(self.source, str):
            found = [d for d in denses if d[0] == self.source]
            found = found or [d for d in denses if d[0].endswith("." + self.source)]
        else:
            found = [d for d in denses if d[1] is self.source]
        if len(found) != 1:
            received = self.source if isinstance(self.source, str) else self.source.label()
            raise ValueError(
                f"{self.label()}: source: expected a Dense before this layer in the same model, one of "
                f"{', '.join(path for path, _ in denses) or 'those it does not have'}. Received: {received!r}"
                + (f", which is the end of {len(found)} of them; give the whole path" if found else "")
            )
        self.path, self.tied_to = found[0]

    def shape_rule(self, input_shape):
        check_features(self, input_shape)
        self.weight = self.tied_to.weight
        rows, columns = self.weight.shape
        inputs, outputs = (rows, columns) if self.transpose else (columns, rows)
        if input_shape != (inputs,):
            raise ShapeError(
                f"{self.label()}: expected ({inputs},), which the weight of {self.path}, {rows} x {columns}, "
                f"fits{' transposed' * self.transpose}. Received: input_shape={input_shape}"
            )
        return (outputs,)

    def create_parameters(self, input_shape):
        if self.use_bias:
            first = initializers.get(self.bias_init)
            self.bias = self.add_parameter("bias", self.output_shape, first, decay=False)

    def trained(self):
        return super().trained() + [self.weight] * self.weight.trainable

    def multiply_adds(self):
        return self.weight.size

    def linear(self, x, y, activation, alpha):
        bias = None if self.bias is None else self.bias.data
        kernels.gemm(
            x, self.weight.data, y, bias, trans_b=not self.transpose, activation=activation, alpha=alpha
        )

    def forward(self, x, training=False):
        return self.forward_to(x, self.buffer((x.shape[0], *self.output_shape)))

    def backward(self, dy, input_gradient=True):
        x, h = self.last_pass()
        da = self.to_pre_activation(dy, h)
        weight, bias = self.weight, self.bias
        if weight.trainable:
            a, b = (x, da) if self.transpose else (da, x)
            accumulate = weight.accumulate()
            kernels.gemm(a, b, weight.grad, trans_a=True, accumulate=accumulate)
        if bias is not None and bias.trainable:
            db = bias.grad
            db += da.sum(axis=0)
        if not input_gradient:
            return None
        dx = self.buffer(x.shape)
        kernels.gemm(da, weight.data, dx, trans_b=self.transpose)
        return dx

    def config(self):
        name = self.path or self.tied_to.name
        if name is None:
            raise ValueError(
                f"{self.label()}: source: expected a layer with a name, or one in a model. "
                f"Received: {self.source!r}; put both into a model first"
            )
        return super().config() | {"source": name}

    def __repr__(self):
        return f"TiedDense({self.path or self.tied_to.label()!r}, activation={self.activation!r})"


def check_features(layer, input_shape):
    """Raise unless a sample has one axis."""
    if len(input_shape) != 1:
        raise ShapeError(
            f"{layer.label()}: expected one axis per sample, (features,). "
            f"Received: input_shape={input_shape}; put Flatten() or GlobalAvgPool2D() before it"
        )
