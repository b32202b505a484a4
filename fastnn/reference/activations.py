"""Activations, their derivatives and softmax in NumPy (the notes, S2.5, S2.13 and S7).

`alpha` is the slope of leaky_relu, the scale of elu and the beta of swish; the others ignore it.
"""

import math

import numpy as np

#: Names whose derivative is computed from the pre-activation instead of the output.
SAVES_INPUT = frozenset(["gelu", "gelu_tanh", "gelu_sigmoid", "silu", "swish", "hard_swish", "relu_right"])

SELU_LAMBDA, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
erfc = np.vectorize(math.erfc, otypes=[np.float64])


def sigmoid(x):
    """1 / (1 + e^-x), written so that nothing overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def gate(x, activation):
    """The functions x sigma(g(x)): returns g and its derivative."""
    if activation == "gelu_sigmoid":
        return 1.702 * x, 1.702
    if activation == "gelu_tanh":  # (1 + tanh u) / 2 = sigma(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
        c = 2 * math.sqrt(2 / math.pi)
        return c * (x + 0.044715 * x**3), c * (1 + 3 * 0.044715 * x**2)
    return x, 1.0


def swish(x, beta):
    """x sigma(beta x); where sigma is 0 so is the product, for an infinite x too."""
    s = sigmoid(beta * x)
    return s * np.where(s == 0, 0, x)


def swish_slope(x, beta):
    """sigma + beta x sigma (1 - sigma)"""
    s, ds = sigmoid(beta * x), sigmoid(beta * x) * sigmoid(-beta * x)
    return s + beta * np.where(ds == 0, 0, x) * ds


def activation_forward(x, y, activation, alpha=0.0):
    """`y = f(x)`; y may be x."""
    below = np.maximum(x, -1e4)  # where the gates are 0; -inf * 0 would be NaN
    y[...] = {
        "linear": lambda: x,
        "relu": lambda: np.where(x <= 0, 0, x),
        "leaky_relu": lambda: np.where(x <= 0, alpha * x, x),
        "elu": lambda: np.where(x <= 0, alpha * np.expm1(np.minimum(x, 0)), x),
        "selu": lambda: SELU_LAMBDA * np.where(x <= 0, SELU_ALPHA * np.expm1(np.minimum(x, 0)), x),
        "sigmoid": lambda: sigmoid(x),
        "tanh": lambda: np.tanh(x),
        "softplus": lambda: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        "gelu": lambda: below * erfc(-below / math.sqrt(2)) / 2,
        "swish": lambda: swish(x, alpha),
        "hard_sigmoid": lambda: np.clip(x + 3, 0, 6) / 6,
        "hard_tanh": lambda: np.clip(x, -1, 1),
        "hard_swish": lambda: np.maximum(x, -3) * (np.clip(x + 3, 0, 6) / 6),
        "step": lambda: np.where(x >= 0, 1, np.where(x < 0, 0, x)),
        "relu_right": lambda: np.where(x <= 0, 0, x),
    }.get(activation, lambda: below * sigmoid(gate(below, activation)[0]))()


def activation_backward(dy, saved, da, activation, alpha=0.0):
    """`da = dy f'(a)`: `saved` is y = f(a), or a itself for the names in SAVES_INPUT; da may be dy."""

    def gelu_slope(x):  # Phi(x) + x phi(x)
        return erfc(-x / math.sqrt(2)) / 2 + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    def gate_slope(x):  # sigma(g) + x sigma'(g) g'
        g, dg = gate(x, activation)
        return sigmoid(g) + x * sigmoid(g) * sigmoid(-g) * dg

    y, x = saved, np.clip(saved, -1e4, 1e4)
    da[...] = {
        "linear": lambda: dy,
        "relu": lambda: np.where(y <= 0, 0, dy),
        "leaky_relu": lambda: np.where(y <= 0, alpha * dy, dy),
        "elu": lambda: np.where(y <= 0, (y + alpha) * dy, dy),
        "selu": lambda: dy * np.where(y <= 0, y + SELU_LAMBDA * SELU_ALPHA, SELU_LAMBDA),
        "sigmoid": lambda: dy * y * (1 - y),
        "tanh": lambda: dy * (1 - y**2),
        "softplus": lambda: dy * -np.expm1(-y),
        "gelu": lambda: dy * gelu_slope(x),
        "swish": lambda: dy * swish_slope(saved, alpha),
        "hard_sigmoid": lambda: np.where((y <= 0) | (y >= 1), 0, dy / 6),
        "hard_tanh": lambda: np.where((y <= -1) | (y >= 1), 0, dy),
        "hard_swish": lambda: np.where(x <= -3, 0, np.where(x >= 3, dy, dy * (x / 3 + 0.5))),
        "step": lambda: np.zeros_like(dy),
        "relu_right": lambda: np.where(x < 0, 0, dy),
    }.get(activation, lambda: dy * gate_slope(x))()


def add_forward(a, b, y, activation="linear", alpha=0.0):
    """`y = f(a + b)`, the end of a residual block."""
    activation_forward(a + b, y, activation, alpha)


def softmax_forward(x, y):
    """`y = e^x / sum(e^x)` in each row; subtracting the maximum changes nothing and avoids overflow."""
    e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
    y[...] = e / e.sum(axis=1, keepdims=True)


def softmax_backward(dy, y, dx):
    """`dx = y (dy - sum(dy y))` in each row."""
    dx[...] = y * (dy - (dy * y).sum(axis=1, keepdims=True))


def log_softmax_forward(x, y):
    """`y = x - log(sum(e^x))` in each row; the maximum is taken out first, so nothing overflows."""
    if x.size == 0:
        return
    z = x - x.max(axis=1, keepdims=True)
    y[...] = z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def log_softmax_backward(dy, y, dx):
    """`dx = dy - e^y sum(dy)` in each row; dx may not be dy."""
    dx[...] = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)
