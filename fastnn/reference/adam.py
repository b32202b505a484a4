"""One step of Adam, AMSGrad, NAdam and AdaMax in plain NumPy; optimizers.py has the letters."""

import numpy as np

from .optimizers import cut, root


def moments(theta, grad, m, v, lr, beta1, beta2, weight_decay, decoupled, scale, clip):
    """m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2; shrinks w where decoupled, returns g."""
    g = cut(grad, scale, clip)
    if decoupled:
        theta *= 1.0 - lr * weight_decay
    else:
        g = g + weight_decay * theta
    m[...] = beta1 * m + (1.0 - beta1) * g
    v[...] = beta2 * v + (1.0 - beta2) * g**2
    return g


def adam_step(
    theta, grad, m, v, step, lr, beta1, beta2, eps, weight_decay=0.0, decoupled=False, eps_mode="outside",
    bias_correction=True, v_max=None, scale=1.0, clip=0.0,
):  # fmt: skip
    """m and v as in `moments`, w <- w - lr m^ / (sqrt(v^) + eps); AMSGrad: max(v_max, v) instead of v."""
    moments(theta, grad, m, v, lr, beta1, beta2, weight_decay, decoupled, scale, clip)
    if v_max is not None:
        v_max[...] = np.maximum(v_max, v)
        v = v_max
    m_hat, v_hat = m, v
    if bias_correction:
        m_hat = m / (1.0 - beta1**step)
        v_hat = v / (1.0 - beta2**step)
    theta -= lr * m_hat / root(v_hat, eps, eps_mode)


def nadam_step(
    theta, grad, m, v, step, lr, beta1, beta2, eps, m_share, g_share, weight_decay=0.0, decoupled=False,
    eps_mode="outside", scale=1.0, clip=0.0,
):  # fmt: skip
    """m and v as in `moments`, w <- w - lr (m_share m + g_share g) / (sqrt(v^) + eps)."""
    g = moments(theta, grad, m, v, lr, beta1, beta2, weight_decay, decoupled, scale, clip)
    v_hat = v / (1.0 - beta2**step)
    theta -= lr * (m_share * m + g_share * g) / root(v_hat, eps, eps_mode)


def adamax_step(
    theta, grad, m, u, step, lr, beta1, beta2, eps, weight_decay=0.0, eps_mode="denominator", scale=1.0,
    clip=0.0,
):  # fmt: skip
    """u <- max(beta2 u, |g|), w <- w - lr m^ / (u + eps); MaxProp: m is None, and g takes the place of m^."""
    if eps_mode not in ("denominator", "in_max"):
        raise ValueError(f"eps_mode: expected 'denominator' or 'in_max'. Received: {eps_mode!r}")
    if m is None and beta1 != 0:
        raise ValueError(f"m: expected an array where beta1 is not 0. Received: None with beta1={beta1}")
    g = cut(grad, scale, clip) + weight_decay * theta
    in_max, denominator = (eps, 0.0) if eps_mode == "in_max" else (0.0, eps)
    u[...] = np.maximum(beta2 * u, np.abs(g) + in_max)
    if m is not None:
        m[...] = beta1 * m + (1.0 - beta1) * g
        g = m / (1.0 - beta1**step)
    theta -= lr * g / (u + denominator)
