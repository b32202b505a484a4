"""Penalties on the weights, and the projection of units onto a ball, in NumPy (the notes, S6.1)."""

import numpy as np


def weight_penalty(theta, grad, l1, l2):
    """`l1 sum |w| + l2/2 sum w^2`, in float64; `grad += l1 sign(w) + l2 w`, unless it is None."""
    w = theta.astype(np.float64).ravel()
    if grad is not None:
        grad += l1 * np.sign(theta) + l2 * theta
    return float(l1 * np.abs(w).sum() + l2 / 2 * w @ w)


def max_norm(weight, limit):
    """`w[o, :, i] *= min(1, limit / ||w[o, :, i]||)`; weight (outer, n, inner) in place."""
    if not limit > 0:
        raise ValueError(f"limit: expected a number above 0. Received: {limit}")
    norm = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=1, keepdims=True))
    weight *= (limit / np.maximum(norm, limit)).astype(weight.dtype)
