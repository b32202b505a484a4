"""Batch normalization in plain NumPy: the shortest form of `fastnn/_ext/normalization.pyx`."""

import numpy as np

from .activations import activation_backward, activation_forward


def batchnorm_forward(
    x, gamma, beta, y, mean, inv_std, running_mean, running_var, momentum, eps,
    activation="linear", alpha=0.0, add=None, moments=None,
):  # fmt: skip
    """y = activation((x - mean) * inv_std * gamma + beta + add); running += momentum * (batch - running).

    x, y and add (..., C), the others (C,); without add it counts as 0. The variance
    inside is biased, 1/R; the running one is unbiased, 1/(R - 1), and is kept if there is only one row.
    moments (2, C), the mean of x and the sum of squared deviations from it, is used if given.
    """
    axes = tuple(range(x.ndim - 1))
    n_rows = x.size // x.shape[-1] if x.size else 0
    if n_rows == 0:
        return
    if moments is None:
        m = x.mean(axes, dtype=np.float64)
        variance = np.square(x - m).mean(axes)
    else:
        m, variance = moments[0], moments[1] / n_rows
    mean[...] = m
    inv_std[...] = 1 / np.sqrt(variance + eps)
    if running_mean is not None:
        running_mean += momentum * (m - running_mean)
        if n_rows > 1:
            running_var += momentum * (variance * n_rows / (n_rows - 1) - running_var)
    y[...] = (x - mean) * (inv_std * gamma) + beta + (0 if add is None else add)
    activation_forward(y, y, activation, alpha)


def batchnorm_inference(
    x, gamma, beta, running_mean, running_var, y, eps, activation="linear", alpha=0.0, add=None
):
    """y = activation((x - running_mean) / sqrt(running_var + eps) * gamma + beta + add)."""
    y[...] = (x - running_mean) * (gamma / np.sqrt(running_var + eps)) + beta + (0 if add is None else add)
    activation_forward(y, y, activation, alpha)


def batchnorm_backward(
    dy, x, y, gamma, mean, inv_std, dx, dgamma, dbeta, activation="linear", alpha=0.0, accumulate=False,
    beta=None,
):  # fmt: skip
    """dx = gamma inv_std (da - mean(da) - x_hat mean(da x_hat)), dgamma = sum da x_hat, dbeta = sum da.

    da = dy * activation' for "linear", "relu" and "leaky_relu", from forward's y, or from y computed again if
    beta is given instead; y may be None if linear.
    """
    da = np.empty_like(dy)
    if y is None and beta is not None:
        y = (x - mean) * (inv_std * gamma) + beta
    activation_backward(dy, dy if y is None else y, da, activation, alpha)
    axes = tuple(range(x.ndim - 1))
    x_hat = (x - mean) * inv_std
    db = da.sum(axes, dtype=np.float64)
    dg = (da * x_hat).sum(axes, dtype=np.float64)
    dgamma[...] = dg + dgamma if accumulate else dg
    dbeta[...] = db + dbeta if accumulate else db
    if dx is not None and x.size:
        n_rows = x.size // x.shape[-1]
        dx[...] = gamma * inv_std * (da - db / n_rows - x_hat * (dg / n_rows))
