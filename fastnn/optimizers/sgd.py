"""Stochastic gradient descent, with and without momentum."""

from .. import kernels
from .base import Optimizer


class SGD(Optimizer):
    """Gradient descent on mini-batches, optionally with momentum.

    Formula, with the gradient `g`, the velocity `u` and `beta = momentum`::

        plain     w <- w - lr g
        grad_sum  u <- g + beta u               w <- w - lr u      the notes, PyTorch
        velocity  u <- beta u + lr g            w <- w - u         [2], [3]
        ema       u <- beta u + (1 - beta) g    w <- w - lr u      the moving average of Adam

    For a constant `lr` the first two are the same, and the third with `lr / (1 - beta)` too. They differ
    when `lr` changes: `velocity` keeps the old `lr` in what it has gathered. Under a constant gradient `u`
    grows to `g / (1 - beta)` (the notes, S2.14, S3.1).

    Departures from the papers. Weight decay adds `weight_decay w` to `g` of the weights, not of biases and
    normalisation. Nesterov's method [1] asks for the gradient at the look-ahead point `w - lr beta u`;
    `nesterov=True` keeps that point in `theta`, as in [4] and PyTorch, which needs no second gradient::

        w <- w - lr (g + beta u)                                   after the new u (S3.2)

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule `step -> lr`.
    momentum : float
        beta, in [0, 1).
    form : {"grad_sum", "velocity", "ema"}
    nesterov : bool
    weight_decay : float

    References
    ----------
    .. [1] Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2), 1983.
    .. [2] Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
    .. [3] Sutskever, Martens, Dahl & Hinton, On the importance of initialization and momentum in deep
       learning, ICML 2013.
    .. [4] Bengio, Boulanger-Lewandowski & Pascanu, Advances in optimizing recurrent networks, ICASSP 2013.

    Examples
    --------
    >>> from fastnn.optimizers import SGD
    >>> SGD(lr=0.1).config()["lr"]
    0.1
    """

    arguments = ("lr", "momentum", "form", "nesterov", "weight_decay")

    def __init__(self, lr, momentum=0.0, form="grad_sum", nesterov=False, weight_decay=0.0):
        super().__init__(lr, weight_decay)
        self.momentum = self._checked("momentum", momentum, below=1.0)
        self.form = self._chosen("form", form, ("grad_sum", "velocity", "ema"))
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError(
                f"{type(self).__name__}: nesterov=True: expected momentum above 0. "
                f"Received: momentum={momentum!r}; 0.9 is usual"
            )
        self.state_names = ("velocity",) if self.momentum else ()

    def update(self, lr, weight_decay, theta, grad, u=None):
        if u is None:
            kernels.sgd_step(theta, grad, lr, weight_decay)
        else:
            kernels.momentum_step(theta, grad, u, lr, self.momentum, weight_decay, self.form, self.nesterov)


class Momentum(SGD):
    """`SGD` with momentum 0.9 unless told otherwise; see there for the formulas.

    Parameters
    ----------
    lr, momentum, form, nesterov, weight_decay
        As in `SGD`.

    Examples
    --------
    >>> from fastnn.optimizers import Momentum
    >>> Momentum(lr=0.1).momentum
    0.9
    """

    def __init__(self, lr, momentum=0.9, form="grad_sum", nesterov=False, weight_decay=0.0):
        super().__init__(lr, momentum, form, nesterov, weight_decay)
