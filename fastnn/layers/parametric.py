"""Activations with parameters of their own: PReLU, Swish and Maxout."""

import numpy as np

from .. import initializers, kernels
from ..checks import integer, number
from ..errors import ShapeError
from .activations import Activation
from .base import Layer, weight_gradients


class PReLU(Layer):
    """A leaky ReLU that learns its slope (the notes, S7.5; [1]).

    `y = x` for x > 0, `alpha x` otherwise; backward `dx = dy` or `alpha dy`, `dalpha = sum dy min(0, x)` over
    all that share it. The derivative at 0 is alpha. Weight decay does not apply to alpha: it would pull it
    towards ReLU [1].

    Parameters
    ----------
    init : float
        First value of alpha.
    shared : bool
        One alpha for the layer, or one for each channel (the last axis).

    References
    ----------
    .. [1] He et al., Delving deep into rectifiers, ICCV 2015.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.PReLU(shared=False)], input_shape=(8, 8, 16))
    >>> model.parameters
    {'prelu1.alpha': Parameter('alpha', shape=(16,))}
    """

    kind = "prelu"

    def __init__(self, init=0.25, shared=True, name=None):
        super().__init__(name)
        self.init = number("PReLU", "init", init, "(-inf, inf)")
        self.shared = bool(shared)

    def create_parameters(self, input_shape):
        if not (self.shared or input_shape):
            raise ShapeError(
                f"{self.label()}: expected samples with a last axis of channels for shared=False. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        shape = (1,) if self.shared else input_shape[-1:]
        self.alpha = self.add_parameter("alpha", shape, initializers.constant(self.init), decay=False)

    def forward(self, x, training=False):
        y = self.buffer(x.shape)
        kernels.prelu_forward(x, self.alpha.data, y)
        self.saved = (x,)
        return y

    def backward(self, dy, input_gradient=True):
        (x,) = self.last_pass()
        dx, alpha = self.buffer(dy.shape), self.alpha
        accumulate = self.trainable and alpha.accumulate()
        dalpha = alpha.grad if self.trainable else self.buffer(alpha.shape)  # which nobody reads
        kernels.prelu_backward(dy, x, alpha.data, dx, dalpha, accumulate)
        return dx


class Swish(Activation):
    """`f(x) = x sigmoid(beta x)`, with beta fixed or learned (the notes, S7.11; [1]).

    `f' = s + beta x s (1 - s)` and `df/dbeta = x^2 s (1 - s)` with `s = sigmoid(beta x)`. beta = 0 is x / 2,
    1 is SiLU, 1.702 is `GELU("sigmoid")`, which approximates GELU, and a large beta comes close to ReLU.

    Parameters
    ----------
    beta : float
        Its value, or its first value.
    learnable : bool
        Whether training changes beta, one number for the layer, without weight decay. A layer's
        `activation=` takes a fixed one only: put a learned one behind the layer.

    References
    ----------
    .. [1] Ramachandran, Zoph & Le, Searching for activation functions, 2017.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(4, activation=nn.Swish(1.5)), nn.Swish(learnable=True)], (3,))
    >>> list(model.parameters)
    ['dense1.weight', 'dense1.bias', 'swish1.beta']
    """

    kind = "swish"

    def __init__(self, beta=1.0, learnable=False, name=None):
        self.beta = number("Swish", "beta", beta, "(-inf, inf)")
        self.learnable = bool(learnable)
        super().__init__("swish", self.beta, name)

    def create_parameters(self, input_shape):
        if self.learnable:
            first = initializers.constant(self.beta)
            self.learned = self.add_parameter("beta", (1,), first, decay=False)

    def forward(self, x, training=False):
        if self.learnable:
            self.alpha = float(self.learned.data[0])
        return super().forward(x, training)

    def backward(self, dy, input_gradient=True):
        if not (self.learnable and self.trainable):
            return super().backward(dy, input_gradient)
        (x,) = self.last_pass()
        dx, beta = self.buffer(dy.shape), self.learned
        accumulate = beta.accumulate()
        kernels.swish_backward(dy, x, self.alpha, dx, beta.grad, accumulate)
        return dx


class Maxout(Layer):
    """A dense layer whose units take the largest of several linear functions (the notes, S7.7; [1]).

    `y_u = max_p (w_pu x + b_pu)`: a convex function, learned; ReLU (one piece 0), leaky ReLU and |x| are
    cases of two pieces. Only the piece with the largest value gets the gradient, the first of equals. It was
    made to go with Dropout before it [1].

    Parameters
    ----------
    units : int
    pieces : int
        From 1 to 255; the layer has `pieces units (n_inputs + 1)` parameters. Row `p units + u` of the
        weight is piece p of unit u.
    use_bias : bool
    weight_init, bias_init : str or callable
        `"auto"` is `lecun_normal`: of two independent pieces with mean 0 the larger has the mean square of
        one, so two pieces keep it from layer to layer.

    References
    ----------
    .. [1] Goodfellow et al., Maxout networks, ICML 2013.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dropout(0.2), nn.Maxout(10, pieces=3)], input_shape=(20,))
    >>> model.output_shape, model.n_parameters
    ((10,), 630)
    """

    kind = "maxout"

    def __init__(
        self, units, pieces=2, use_bias=True, weight_init="auto", bias_init="zeros", name=None
    ):  # fmt: skip
        super().__init__(name)
        self.units = integer("Maxout", "units", units)
        self.pieces = integer("Maxout", "pieces", pieces)
        if self.pieces > 255:
            raise ValueError(f"Maxout: pieces: expected 1 to 255. Received: {pieces!r}")
        self.use_bias = use_bias
        self.weight_init = weight_init
        self.bias_init = bias_init
        self.bias = None
        self.prepared = None  # the weight as the kernel reads it, if it will not change any more

    def shape_rule(self, input_shape):
        if len(input_shape) != 1:
            raise ShapeError(
                f"{self.label()}: expected one axis per sample, (features,). "
                f"Received: input_shape={input_shape}; put Flatten() or GlobalAvgPool2D() before it"
            )
        return (self.units,)

    def create_parameters(self, input_shape):
        rows = self.pieces * self.units
        first = "lecun_normal" if self.weight_init == "auto" else self.weight_init
        self.weight = self.add_parameter("weight", (rows, input_shape[0]), initializers.get(first))
        if self.use_bias:
            self.bias = self.add_parameter("bias", (rows,), initializers.get(self.bias_init), decay=False)

    def multiply_adds(self):
        return self.pieces * self.units * self.input_shape[0]

    def prepare(self, batch_size):
        self.prepared = kernels.dense_prepare(self.weight.data)

    def forward(self, x, training=False):
        n = x.shape[0]
        a, y = self.buffer((n, self.pieces * self.units)), self.buffer((n, self.units))
        index = self.workspace.take(y.shape, np.dtype(np.uint8)) if self.workspace.keep else None
        bias = None if self.bias is None else self.bias.data
        kernels.dense_forward(x, self.weight.data, bias, a, "linear", 0.0, self.prepared)
        kernels.maxout_forward(a.reshape(n, self.pieces, self.units), y, index)
        self.saved = x, index
        return y

    def backward(self, dy, input_gradient=True):
        x, index = self.last_pass()
        n = x.shape[0]
        da = self.buffer((n, self.pieces * self.units))
        kernels.maxout_backward(dy, index, da.reshape(n, self.pieces, self.units))
        dx = self.buffer(x.shape) if input_gradient else None
        dw, db, accumulate = weight_gradients(self)
        kernels.dense_backward(x, self.weight.data, da, dx, dw, db, accumulate)
        return dx
