"""Layer normalization in plain NumPy: the shortest form of `fastnn/_ext/layer_norm.pyx`."""

import numpy as np


def layernorm_forward(x, gamma, beta, y, mean, inv_std, eps):
    """`y = (x - mean) inv_std gamma + beta`; x and y (..., C), gamma and beta (C,), mean and inv_std (R,).

    Mean and biased variance are those of each of the R rows; `inv_std = 1 / sqrt(variance + eps)`.
    """
    if x.size == 0:
        return
    m = x.mean(axis=-1, dtype=np.float64, keepdims=True)
    mean[...] = m.ravel()
    inv_std[...] = 1 / np.sqrt(np.square(x - m).mean(axis=-1) + eps).ravel()
    y[...] = (x - mean.reshape(m.shape)) * inv_std.reshape(m.shape) * gamma + beta


def layernorm_backward(dy, x, gamma, mean, inv_std, dx, dgamma, dbeta, accumulate=False):
    """`dx = inv_std (g - mean(g) - x_hat mean(g x_hat))`, `g = dy gamma`; `dgamma = sum dy x_hat`.

    `dbeta = sum dy`. dx may be None, or dy.
    """
    shape, axes = (*x.shape[:-1], 1), tuple(range(x.ndim - 1))
    scale = inv_std.reshape(shape)
    x_hat = (x - mean.reshape(shape)) * scale
    dg, db = (a.sum(axes, dtype=np.float64) for a in (dy * x_hat, dy))
    dgamma[...] = dg + dgamma if accumulate else dg
    dbeta[...] = db + dbeta if accumulate else db
    if dx is not None and x.size:
        g = dy * gamma
        mean_of = [a.mean(axis=-1, dtype=np.float64, keepdims=True) for a in (g, g * x_hat)]
        dx[...] = scale * (g - mean_of[0] - x_hat * mean_of[1])
