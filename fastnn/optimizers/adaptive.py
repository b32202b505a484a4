"""Optimizers that scale each parameter's step by the gradients it has seen: AdaGrad, RMSProp, AdaDelta."""

from .. import kernels
from .base import Optimizer, WithMomentum


class AdaGrad(Optimizer):
    """A learning rate of its own for every parameter, which falls with the gradients that it has seen.

    Formula (the notes, S3.5)::

        v <- v + g^2          w <- w - lr g / (sqrt(v) + eps)

    Weights of rare features, whose gradients are exactly 0 most of the time, keep a high rate; those of
    frequent ones get smaller steps. `v` only grows: under a constant gradient step t is `lr / sqrt(t)` long,
    and `2 lr sqrt(T)` are covered in T steps, whatever the gradient's size.

    Departures from [1]. Options only: `eps_mode="inside"` is the notes' (and Keras') `sqrt(v + eps)`;
    `initial_accumulator` is what `v` begins with (0 in the paper; Keras 0.1); `weight_decay` adds
    `weight_decay w` to `g` of the weights. PyTorch's `lr_decay` is a schedule here: `lr=lambda t: ...`.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule `step -> lr`.
    eps : float
        With 0, a parameter that never had a gradient becomes 0 / 0.
    eps_mode : {"outside", "inside"}
    initial_accumulator : float
    weight_decay : float
    **common
        `clip_value`, `clip_norm`, `clip_global_norm`, `accumulate_steps`, `groups`, as in `Optimizer`.

    References
    ----------
    .. [1] Duchi, Hazan & Singer, Adaptive subgradient methods for online learning and stochastic
       optimization, JMLR 2011.

    Examples
    --------
    >>> from fastnn.optimizers import AdaGrad
    >>> AdaGrad(eps_mode="inside").eps
    1e-08
    """

    arguments = ("lr", "eps", "eps_mode", "initial_accumulator", "weight_decay")
    state_names = ("v",)

    def __init__(
        self, lr=1e-2, eps=1e-8, eps_mode="outside", initial_accumulator=0.0, weight_decay=0.0, **common
    ):
        super().__init__(lr, weight_decay, **common)
        self._set_eps(eps, eps_mode)
        self.initial_accumulator = self._checked("initial_accumulator", initial_accumulator)

    def bind(self, model):
        new = self.model is None
        super().bind(model)
        if new and self.initial_accumulator:
            self._state[0].fill(self.initial_accumulator)
        return self

    def update(self, lr, weight_decay, theta, grad, v):
        kernels.adagrad_step(theta, grad, v, lr, self.eps, weight_decay, self.eps_mode, self.scale, self.clip)


class RMSProp(WithMomentum):
    """AdaGrad that forgets: the gradient over the root of the moving average of its square.

    Formula (the notes, S3.6; Hinton, lecture 6e of his course [1])::

        v <- rho v + (1 - rho) g^2          w <- w - lr g / (sqrt(v) + eps)

    Where the gradients have become small, `v` shrinks and the rate recovers. Near a minimum the step stays
    about `lr` long: on a parabola it ends jumping between `+lr/2` and `-lr/2`, from which only a falling
    schedule helps.

    Departures from [1]. Options only: `eps_mode="inside"` is the notes' `sqrt(v + eps)`; `centered=True` [2]
    takes the variance `v - mean^2`, with `mean` the moving average of `g`, in place of `v`; with `momentum`
    the step is `u <- momentum u + g / (sqrt(v) + eps)`, `w <- w - lr u`; `weight_decay` adds `weight_decay w`
    to `g` of the weights. A variance that is rounded to less than 0 counts as 0 (PyTorch: not a number).

    Parameters
    ----------
    lr, eps, eps_mode, weight_decay, **common
        As in `AdaGrad`.
    rho : float
        In [0, 1); the notes' beta, 0.9 or 0.99.
    momentum : float or callable
        In [0, 1), or a schedule `step -> momentum`.
    centered : bool

    References
    ----------
    .. [1] Hinton, Srivastava & Swersky, Neural networks for machine learning, lecture 6e, 2012.
    .. [2] Graves, Generating sequences with recurrent neural networks, 2013.

    Examples
    --------
    >>> from fastnn.optimizers import RMSProp
    >>> RMSProp(centered=True, momentum=0.9).state_names
    ('v', 'mean', 'velocity')
    """

    arguments = ("lr", "rho", "eps", "eps_mode", "momentum", "centered", "weight_decay")

    def __init__(
        self, lr=1e-3, rho=0.9, eps=1e-8, eps_mode="outside", momentum=0.0, centered=False, weight_decay=0.0,
        **common,
    ):  # fmt: skip
        super().__init__(lr, momentum, weight_decay, **common)
        self.rho = self._checked("rho", rho, below=1.0)
        self._set_eps(eps, eps_mode)
        self.centered = bool(centered)
        self.state_names = ("v",) + ("mean",) * self.centered + ("velocity",) * bool(self.momentum)

    def update(self, lr, weight_decay, theta, grad, v, *others):
        kernels.rmsprop_step(
            theta, grad, v, others[0] if self.centered else None, others[-1] if self.momentum else None, lr,
            self.rho, self.eps, self.current_momentum(), weight_decay, self.eps_mode, self.scale, self.clip,
        )  # fmt: skip


class AdaDelta(Optimizer):
    """RMSProp whose learning rate is the root of the average of its own steps' squares.

    Formula (the notes, S3.7)::

        v <- rho v + (1 - rho) g^2
        d = sqrt(u + eps) / sqrt(v + eps) g          w <- w - lr d
        u <- rho u + (1 - rho) d^2

    `d` has the unit of `w`, as a Newton step has, and needs no learning rate: `lr` is 1 in the paper. `u`
    lags behind `v` by one step and begins with 0, so the first step is `sqrt(eps / (1 - rho))` long, 0.0045;
    with `eps = 0` nothing would ever move.

    Departures from [1]: none but the options `lr` (PyTorch's) and `weight_decay`, which adds `weight_decay w`
    to `g` of the weights. `eps` stands inside the roots everywhere.

    Parameters
    ----------
    lr : float or callable
        Factor of the step, or a schedule `step -> lr`.
    rho : float
        In [0, 1).
    eps : float
    weight_decay : float
    **common
        As in `Optimizer`.

    References
    ----------
    .. [1] Zeiler, ADADELTA: an adaptive learning rate method, 2012.

    Examples
    --------
    >>> from fastnn.optimizers import AdaDelta
    >>> AdaDelta().lr, AdaDelta().rho
    (1.0, 0.95)
    """

    arguments = ("lr", "rho", "eps", "weight_decay")
    state_names = ("v", "u")

    def __init__(self, lr=1.0, rho=0.95, eps=1e-6, weight_decay=0.0, **common):
        super().__init__(lr, weight_decay, **common)
        self.rho = self._checked("rho", rho, below=1.0)
        self.eps = self._checked("eps", eps)

    def update(self, lr, weight_decay, theta, grad, v, u):
        kernels.adadelta_step(theta, grad, v, u, lr, self.rho, self.eps, weight_decay, self.scale, self.clip)
