"""One step of gradient descent, plain and with momentum, in plain NumPy; optimizers.py has the letters."""

from .optimizers import cut


def sgd_step(theta, grad, lr, weight_decay=0.0, scale=1.0, clip=0.0):
    """w <- w - lr (g + weight_decay w)."""
    theta -= lr * (cut(grad, scale, clip) + weight_decay * theta)


def momentum_step(
    theta, grad, velocity, lr, momentum, weight_decay=0.0, form="grad_sum", nesterov=False, scale=1.0,
    clip=0.0,
):  # fmt: skip
    """u <- beta u + c g, then w <- w - s u; with nesterov w <- w - s (beta u + c g).

    lookahead: u <- beta u + g, then w <- w - lr g, because w is the look-ahead point already.
    """
    if form not in ("grad_sum", "velocity", "ema", "lookahead"):
        raise ValueError(f"form: expected 'grad_sum', 'velocity', 'ema' or 'lookahead'. Received: {form!r}")
    c = {"velocity": lr, "ema": 1.0 - momentum}.get(form, 1.0)
    s = 1.0 if form == "velocity" else lr
    g = cut(grad, scale, clip) + weight_decay * theta
    velocity[...] = momentum * velocity + c * g
    if form == "lookahead":
        theta -= lr * g
    else:
        theta -= s * (momentum * velocity + c * g) if nesterov else s * velocity
