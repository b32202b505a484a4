"""First values of the weights. Fans are counted from the weight's shape, output first.

Sources: Glorot & Bengio 2010; He et al. 2015; LeCun et al. 1998; Klambauer et al. 2017 (for SELU).
"""

import math

import numpy as np


def fans(shape):
    """Inputs and outputs of one unit: Dense `(out, in)`, Conv2D `(F, KH, KW, C)`."""
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    window = math.prod(shape[1:-1])
    return window * shape[-1], window * shape[0]


def zeros(shape, rng=None):
    """All zero; the usual bias."""
    return np.zeros(shape)


def ones(shape, rng=None):
    """All one; the usual scale of a normalisation."""
    return np.ones(shape)


def normal(std=0.01):
    """Gaussian with mean 0 and the given standard deviation."""
    return lambda shape, rng: rng.normal(0.0, std, shape)


def uniform(limit=0.05):
    """Uniform in `[-limit, limit]`."""
    return lambda shape, rng: rng.uniform(-limit, limit, shape)


def constant(value):
    """The same value everywhere."""
    return lambda shape, rng=None: np.full(shape, float(value))


def glorot_uniform(shape, rng):
    """Uniform with variance `2 / (fan_in + fan_out)`; for tanh, sigmoid and linear units."""
    limit = math.sqrt(6.0 / max(1, sum(fans(shape))))
    return rng.uniform(-limit, limit, shape)


def glorot_normal(shape, rng):
    """Gaussian with variance `2 / (fan_in + fan_out)`."""
    return rng.normal(0.0, math.sqrt(2.0 / max(1, sum(fans(shape)))), shape)


def he_normal(shape, rng):
    """Gaussian with variance `2 / fan_in`; for ReLU and its relatives."""
    return rng.normal(0.0, math.sqrt(2.0 / max(1, fans(shape)[0])), shape)


def he_uniform(shape, rng):
    """Uniform with variance `2 / fan_in`."""
    limit = math.sqrt(6.0 / max(1, fans(shape)[0]))
    return rng.uniform(-limit, limit, shape)


def lecun_normal(shape, rng):
    """Gaussian with variance `1 / fan_in`; for SELU."""
    return rng.normal(0.0, math.sqrt(1.0 / max(1, fans(shape)[0])), shape)


def lecun_uniform(shape, rng):
    """Uniform with variance `1 / fan_in`."""
    limit = math.sqrt(3.0 / max(1, fans(shape)[0]))
    return rng.uniform(-limit, limit, shape)


BY_NAME = {
    f.__name__: f
    for f in (
        zeros, ones, glorot_uniform, glorot_normal, he_normal, he_uniform, lecun_normal, lecun_uniform,
    )
}  # fmt: skip

_RECTIFIERS = {
    "relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "gelu_sigmoid", "silu", "softplus", "swish",
    "hard_swish", "relu_right",
}  # fmt: skip


def get(initializer, activation="linear"):
    """The function behind a name, `"auto"` (by the layer's activation) or a callable.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if callable(initializer):
        return initializer
    if initializer == "auto":
        if activation == "selu":
            return lecun_normal
        return he_normal if activation in _RECTIFIERS else glorot_uniform
    if initializer not in BY_NAME:
        raise ValueError(
            f"initializer: expected 'auto', a callable (shape, rng) -> array, or one of "
            f"{', '.join(sorted(BY_NAME))}. Received: {initializer!r}"
        )
    return BY_NAME[initializer]
