"""What the steps of all optimizers share, in plain NumPy.

The steps are in sgd.py, adaptive.py and adam.py: theta and the state change in place, the gradient does not.
w is theta, g its gradient, t the number of the update, counted from 1.
"""

import numpy as np


def sum_of_squares(x):
    """sum x^2, in float64 whatever the dtype: the square of a gradient's length."""
    return float(np.sum(np.square(x, dtype=np.float64)))


def cut(grad, scale, clip):
    """The gradient as a step takes it: grad times scale, cut to [-clip, clip] unless clip is 0."""
    if not clip >= 0:
        raise ValueError(f"clip: expected a number above 0, or 0 for no clipping. Received: {clip}")
    g = scale * grad
    return np.clip(g, -clip, clip) if clip else g


def root(v, eps, eps_mode):
    """sqrt(v) + eps, or with eps_mode="inside" sqrt(v + eps)."""
    if eps_mode not in ("outside", "inside"):
        raise ValueError(f"eps_mode: expected 'outside' or 'inside'. Received: {eps_mode!r}")
    return np.sqrt(v) + eps if eps_mode == "outside" else np.sqrt(v + eps)
