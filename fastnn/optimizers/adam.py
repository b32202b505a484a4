"""Adam and AdamW: a step size of its own for every parameter."""

from .. import kernels
from .base import Optimizer


class Adam(Optimizer):
    """Adaptive moments: the moving average of the gradient over the root of that of its square.

    Formula, for update t = 1, 2, ... (the notes, S3.8)::

        m <- beta1 m + (1 - beta1) g          m^ = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2        v^ = v / (1 - beta2^t)
        w <- w - lr m^ / (sqrt(v^) + eps)

    The first step is about `lr` long in every coordinate, however large the gradient is. Without the
    correction of the bias (`bias_correction=False`) the first steps are up to 6.6 times longer.

    Departures from [1]. Options only: `eps_mode="inside"` is the notes' `sqrt(v^ + eps)`; `weight_decay`
    adds `weight_decay w` to `g`, or with `decoupled=True` (AdamW, [2]) takes `lr weight_decay w` from `w`,
    untouched by `sqrt(v^)`. Either applies to weights, not to biases and normalisation.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule `step -> lr`.
    betas : (float, float)
        Both in [0, 1).
    eps : float
    weight_decay : float
    decoupled : bool
    eps_mode : {"outside", "inside"}
    bias_correction : bool

    References
    ----------
    .. [1] Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015.
    .. [2] Loshchilov & Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> from fastnn.optimizers import Adam
    >>> Adam(decoupled=True, weight_decay=1e-2).betas
    (0.9, 0.999)
    """

    arguments = ("lr", "betas", "eps", "weight_decay", "decoupled", "eps_mode", "bias_correction")
    state_names = ("m", "v")

    def __init__(
        self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False, eps_mode="outside",
        bias_correction=True,
    ):  # fmt: skip
        super().__init__(lr, weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"Adam: betas: expected two numbers, (beta1, beta2). Received: {betas!r}")
        self.betas = tuple(self._checked("betas", beta, below=1.0) for beta in betas)
        self.eps = self._checked("eps", eps)
        self.decoupled = bool(decoupled)
        self.eps_mode = self._chosen("eps_mode", eps_mode, ("outside", "inside"))
        self.bias_correction = bool(bias_correction)

    def update(self, lr, weight_decay, theta, grad, m, v):
        beta1, beta2 = self.betas
        kernels.adam_step(
            theta, grad, m, v, self.n_steps + 1, lr, beta1, beta2, self.eps, weight_decay, self.decoupled,
            self.eps_mode, self.bias_correction,
        )  # fmt: skip
