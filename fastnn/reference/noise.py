"""Noise as a function of (key, element), in NumPy (the notes, S6.3 and S7.8); the words are dropout's."""

import numpy as np

from .activations import activation_forward
from .dropout import MASK, random_bits


def uniform(key, n):
    """n numbers in (0, 1): the upper 23 bits of the words, in the middle of their cells."""
    return ((random_bits(key, n) >> np.uint32(9)) + 0.5) / 2**23


def gaussian_noise_forward(x, y, std, key):
    """`y = x + std z`, `z = sqrt(-2 log u) cos(2 pi v)` of two uniform numbers (Box & Muller 1958)."""
    u, v = uniform(key, x.size), uniform(key ^ MASK, x.size)
    z = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
    y[...] = x + std * z.reshape(x.shape)


def gates(x, phi, key):
    """Whether m = 1, which has probability phi(x): u < phi(x), with phi(x) = f(x) / x, f = gelu or silu."""
    a = np.clip(np.where(np.abs(x) < 1e-20, 1e-20, x), -1e4, 1e4).astype(np.float64)
    f = np.empty_like(a)
    activation_forward(a, f, {"gaussian_cdf": "gelu", "logistic": "silu"}[phi])
    return ~(uniform(key, x.size).reshape(x.shape) * np.abs(a) >= np.abs(f))


def stochastic_gate_forward(x, y, phi, key):
    """`y = m x`, m = 1 with probability phi(x), else 0."""
    y[...] = np.where(gates(x, phi, key), x, 0)


def stochastic_gate_backward(dy, x, dx, phi, key):
    """`dx = m dy` with the gates of forward, which are taken as constants."""
    dx[...] = np.where(gates(x, phi, key), dy, 0)
