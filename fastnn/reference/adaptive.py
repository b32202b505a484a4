"""One step of AdaGrad, RMSProp and AdaDelta in plain NumPy; optimizers.py has the letters."""

import numpy as np

from .optimizers import cut, root


def adagrad_step(theta, grad, v, lr, eps, weight_decay=0.0, eps_mode="outside", scale=1.0, clip=0.0):
    """v <- v + g^2, w <- w - lr g / (sqrt(v) + eps)."""
    g = cut(grad, scale, clip) + weight_decay * theta
    v += g**2
    theta -= lr * g / root(v, eps, eps_mode)


def rmsprop_step(
    theta, grad, v, mean, velocity, lr, rho, eps, momentum=0.0, weight_decay=0.0, eps_mode="outside",
    scale=1.0, clip=0.0,
):  # fmt: skip
    """v <- rho v + (1 - rho) g^2, w <- w - lr g / (sqrt(v) + eps); `mean` and `velocity` may be None."""
    g = cut(grad, scale, clip) + weight_decay * theta
    v[...] = rho * v + (1.0 - rho) * g**2
    variance = v
    if mean is not None:
        mean[...] = rho * mean + (1.0 - rho) * g
        variance = np.maximum(v - mean**2, 0)  # 0 may be rounded to less
    step = g / root(variance, eps, eps_mode)
    if velocity is not None:
        velocity[...] = momentum * velocity + step
        step = velocity
    theta -= lr * step


def adadelta_step(theta, grad, v, u, lr, rho, eps, weight_decay=0.0, scale=1.0, clip=0.0):
    """d = sqrt(u + eps) / sqrt(v + eps) g, w <- w - lr d; v and u are the averages of g^2 and d^2."""
    g = cut(grad, scale, clip) + weight_decay * theta
    v[...] = rho * v + (1.0 - rho) * g**2
    d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
    u[...] = rho * u + (1.0 - rho) * d**2
    theta -= lr * d
