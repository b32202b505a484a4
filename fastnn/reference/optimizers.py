"""One step of each optimizer in plain NumPy: theta and the state change in place, the gradient does not.

w is theta, g its gradient, t the number of the update, counted from 1.
"""

import numpy as np


def sgd_step(theta, grad, lr, weight_decay=0.0):
    """w <- w - lr (g + weight_decay w)."""
    theta -= lr * (grad + weight_decay * theta)


def momentum_step(theta, grad, velocity, lr, momentum, weight_decay=0.0, form="grad_sum", nesterov=False):
    """u <- beta u + c g, then w <- w - s u; with nesterov w <- w - s (beta u + c g)."""
    if form not in ("grad_sum", "velocity", "ema"):
        raise ValueError(f"form: expected 'grad_sum', 'velocity' or 'ema'. Received: {form!r}")
    c = {"grad_sum": 1.0, "velocity": lr, "ema": 1.0 - momentum}[form]
    s = 1.0 if form == "velocity" else lr
    g = grad + weight_decay * theta
    velocity[...] = momentum * velocity + c * g
    theta -= s * (momentum * velocity + c * g) if nesterov else s * velocity


def adam_step(
    theta, grad, m, v, step, lr, beta1, beta2, eps, weight_decay=0.0, decoupled=False, eps_mode="outside",
    bias_correction=True,
):  # fmt: skip
    """m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, w <- w - lr m^ / (sqrt(v^) + eps)."""
    if eps_mode not in ("outside", "inside"):
        raise ValueError(f"eps_mode: expected 'outside' or 'inside'. Received: {eps_mode!r}")
    g = grad if decoupled else grad + weight_decay * theta
    if decoupled:
        theta *= 1.0 - lr * weight_decay
    m[...] = beta1 * m + (1.0 - beta1) * g
    v[...] = beta2 * v + (1.0 - beta2) * g**2
    m_hat, v_hat = m, v
    if bias_correction:
        m_hat = m / (1.0 - beta1**step)
        v_hat = v / (1.0 - beta2**step)
    theta -= lr * m_hat / (np.sqrt(v_hat) + eps if eps_mode == "outside" else np.sqrt(v_hat + eps))
