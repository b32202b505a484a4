"""Activations as layers of their own; `Dense(120, activation="relu")` runs the same kernels, fused."""

from .. import kernels
from ..checks import choice, number
from .base import Layer

#: Names accepted by `activation=`, with the value of their parameter.
DEFAULT_ALPHA = {
    "linear": 0.0, "relu": 0.0, "leaky_relu": 0.01, "elu": 1.0, "selu": 0.0, "sigmoid": 0.0, "tanh": 0.0,
    "softplus": 0.0, "gelu": 0.0, "gelu_tanh": 0.0, "gelu_sigmoid": 0.0, "silu": 0.0, "swish": 1.0,
    "hard_sigmoid": 0.0, "hard_tanh": 0.0, "hard_swish": 0.0, "step": 0.0, "relu_right": 0.0,
}  # fmt: skip


class Activation(Layer):
    """An element-wise function `y = f(x)`, `dx = dy * f'(x)` (the notes, S2.10 and S7).

    Parameters
    ----------
    function : str
        Name of the function.
    alpha : float, optional
        Its parameter, where it has one.
    """

    kind = "activation"

    def __init__(self, function, alpha=None, name=None):
        super().__init__(name)
        if function not in DEFAULT_ALPHA:
            raise ValueError(f"function: expected one of {', '.join(DEFAULT_ALPHA)}. Received: {function!r}")
        self.function = function
        self.alpha = DEFAULT_ALPHA[function] if alpha is None else float(alpha)

    def forward(self, x, training=False):
        y = self.buffer(x.shape)
        kernels.activation_forward(x, y, self.function, self.alpha)
        self.saved = (x if self.function in kernels.SAVES_INPUT else y,)
        return y

    def backward(self, dy, input_gradient=True):
        (saved,) = self.last_pass()
        dx = self.buffer(dy.shape)
        kernels.activation_backward(dy, saved, dx, self.function, self.alpha)
        return dx


class Plain(Activation):
    """An activation without a parameter, whose `kind` is the function's name."""

    def __init__(self, name=None):
        super().__init__(self.kind, name=name)


class Linear(Plain):
    """`f(x) = x`, for regression outputs (S2.4)."""

    kind = "linear"


class ReLU(Activation):
    """`f(x) = max(0, x)` (S7.4; Nair & Hinton 2010).

    The derivative at 0 may be any number from 0 to 1. Frameworks take 0; the notes take 1.

    Parameters
    ----------
    grad_at_zero : {0.0, 1.0}
        With 1 the layer keeps its input instead of its output; by name it is `activation="relu_right"`.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.ReLU(grad_at_zero=1.0)], input_shape=(3,))
    >>> model.forward(np.array([[-1, 0, 1]], np.float32)), model.backward(np.ones((1, 3), np.float32))
    (array([[0., 0., 1.]], dtype=float32), array([[0., 1., 1.]], dtype=float32))
    """

    kind = "relu"

    def __init__(self, grad_at_zero=0.0, name=None):
        if grad_at_zero not in (0, 1):
            raise ValueError(f"ReLU: grad_at_zero: expected 0.0 or 1.0. Received: {grad_at_zero!r}")
        self.grad_at_zero = float(grad_at_zero)
        super().__init__("relu_right" if grad_at_zero else "relu", name=name)


class LeakyReLU(Activation):
    """`f(x) = x` for x > 0, `alpha x` otherwise (S7.5; Maas et al. 2013)."""

    kind = "leaky_relu"

    def __init__(self, alpha=0.01, name=None):
        if not alpha > 0:
            raise ValueError(
                f"LeakyReLU: alpha: expected a positive number; ReLU() is alpha = 0. Received: {alpha!r}"
            )
        super().__init__("leaky_relu", alpha, name)


class ELU(Activation):
    """`f(x) = x` for x > 0, `alpha (exp(x) - 1)` otherwise (S7.6; Clevert et al. 2016)."""

    kind = "elu"

    def __init__(self, alpha=1.0, name=None):
        super().__init__("elu", number("ELU", "alpha", alpha, "(0, inf)"), name)


class SELU(Plain):
    """`f(x) = lambda x` for x > 0, `lambda alpha (exp(x) - 1)` otherwise (S7.10; Klambauer et al. 2017).

    lambda = 1.0507 and alpha = 1.6733 are such that mean 0 and variance 1 of its input are those of its
    output. That takes standardised data, `lecun_normal` weights (which `"auto"` chooses) and AlphaDropout
    instead of Dropout.
    """

    kind = "selu"


class Sigmoid(Plain):
    """`f(x) = 1 / (1 + exp(-x))`, `f' = f (1 - f)` (S2.13, S7.2).

    Its values lie in the open interval (0, 1), though large ones round to 1. f' is at most 1/4, so ten of
    them in a row multiply a gradient by less than 1e-6. What follows sees positive inputs only: for one
    sample all weights of a unit have gradients of one sign; the sum over a batch may mix them.
    """

    kind = "sigmoid"


class Tanh(Plain):
    """`f(x) = tanh(x)`, in the open interval (-1, 1), `f' = 1 - f^2` (S2.13, S7.3)."""

    kind = "tanh"


class Softplus(Plain):
    """`f(x) = log(1 + exp(x))`, the smooth ReLU; `f' = sigmoid(x)` (Dugas et al. 2001)."""

    kind = "softplus"


class GELU(Activation):
    """`f(x) = x Phi(x)` with the normal distribution function Phi (S7.9; Hendrycks & Gimpel 2016).

    Parameters
    ----------
    approximate : {"none", "tanh", "sigmoid"}
        Exact, `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, or the notes' `x sigmoid(1.702 x)`.
    """

    kind = "gelu"

    def __init__(self, approximate="none", name=None):
        functions = {"none": "gelu", "tanh": "gelu_tanh", "sigmoid": "gelu_sigmoid"}
        self.approximate = choice("GELU", "approximate", approximate, functions)
        super().__init__(functions[approximate], name=name)


class SiLU(Plain):
    """`f(x) = x sigmoid(x)` (S7.11; Elfwing et al. 2018), Swish with beta = 1."""

    kind = "silu"


class HardSigmoid(Plain):
    """`f(x) = min(max(x + 3, 0), 6) / 6`, a sigmoid of three lines (as in PyTorch; S7.2).

    The derivative is 1/6 between -3 and 3, 0 elsewhere and at the kinks.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.HardSigmoid()], (5,)).predict(np.array([[-4, -1, 0, 1, 4]], np.float32))
    array([[0.    , 0.3333, 0.5   , 0.6667, 1.    ]], dtype=float32)
    """

    kind = "hard_sigmoid"


class HardTanh(Plain):
    """`f(x) = min(max(x, -1), 1)`; derivative 0 at the kinks (Collobert 2004; S7.3).

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.HardTanh()], (5,)).predict(np.array([[-4, -1, 0, 1, 4]], np.float32))
    array([[-1., -1.,  0.,  1.,  1.]], dtype=float32)
    """

    kind = "hard_tanh"


class HardSwish(Plain):
    """`f(x) = x min(max(x + 3, 0), 6) / 6`, SiLU with the hard sigmoid (Howard et al. 2019; S7.11).

    The derivative is `x / 3 + 1 / 2` between -3 and 3, 0 up to -3 and 1 from 3 on.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.HardSwish()], (5,)).predict(np.array([[-4, -1, 0, 1, 4]], np.float32))
    array([[-0.    , -0.3333,  0.    ,  0.6667,  4.    ]], dtype=float32)
    """

    kind = "hard_swish"


class Step(Plain):
    """`f(x) = 1` for x >= 0, 0 below: a perceptron's (S1.2), to look at, not to train.

    The derivative is 0 everywhere, so nothing before it learns.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.Step()], (5,)).predict(np.array([[-4, -1, 0, 1, 4]], np.float32))
    array([[0., 0., 1., 1., 1.]], dtype=float32)
    """

    kind = "step"


class Softmax(Layer):
    """`y_j = exp(x_j) / sum_k exp(x_k)` along the last axis (S2.5).

    For training, leave it out: `SoftmaxCrossEntropy` takes the logits and is more exact.
    """

    kind = "softmax"

    def forward(self, x, training=False):
        y = self.buffer(x.shape)
        self._forward_rows(self._rows(x), self._rows(y))
        self.saved = (y,)
        return y

    def backward(self, dy, input_gradient=True):
        (y,) = self.last_pass()
        dx = self.buffer(dy.shape)
        self._backward_rows(self._rows(dy), self._rows(y), self._rows(dx))
        return dx

    def _forward_rows(self, x, y):
        kernels.softmax_forward(x, y)

    def _backward_rows(self, dy, y, dx):
        kernels.softmax_backward(dy, y, dx)

    def _rows(self, x):
        return x.reshape(-1, self.input_shape[-1])


class LogSoftmax(Softmax):
    """`y_j = x_j - log(sum_k exp(x_k))` along the last axis: log-probabilities, for `NLL` (S2.5, S2.6).

    The largest x of a row is subtracted first, so nothing overflows, and small probabilities keep their
    logarithm: that of `Softmax` is -inf where the probability rounds to 0. Backward
    `dx = dy - exp(y) sum_k dy_k`. `SoftmaxCrossEntropy` of the logits is `NLL` behind this layer, and faster.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.LogSoftmax()], input_shape=(3,))
    >>> model.predict(np.array([[0, 0, 1000]], np.float32))
    array([[-1000., -1000.,     0.]], dtype=float32)
    """

    kind = "log_softmax"

    def _forward_rows(self, x, y):
        kernels.log_softmax_forward(x, y)

    def _backward_rows(self, dy, y, dx):
        kernels.log_softmax_backward(dy, y, dx)
