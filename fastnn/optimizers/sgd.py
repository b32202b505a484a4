"""Stochastic gradient descent, plain, with momentum, and with Nesterov's look-ahead."""

from typing import Any

import numpy as np

from .. import kernels
from .base import WithMomentum


class SGD(WithMomentum):
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
    momentum : float or callable
        beta, in [0, 1), or a schedule `step -> beta`.
    form : {"grad_sum", "velocity", "ema"}
    nesterov : bool
    weight_decay : float
    **common
        `clip_value`, `clip_norm`, `clip_global_norm`, `accumulate_steps`, `groups`, as in `Optimizer`.

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

    def __init__(self, lr, momentum=0.0, form="grad_sum", nesterov=False, weight_decay=0.0, **common):
        super().__init__(lr, momentum, weight_decay, **common)
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
            kernels.sgd_step(theta, grad, lr, weight_decay, self.scale, self.clip)
            return
        momentum = self.momentum
        if callable(momentum):
            momentum = self.current_momentum()
        kernels.momentum_step(
            theta, grad, u, lr, momentum, weight_decay, self.form, self.nesterov, self.scale, self.clip
        )


class Momentum(SGD):
    """`SGD` with momentum 0.9 unless told otherwise; see there for the formulas.

    Parameters
    ----------
    lr, momentum, form, nesterov, weight_decay, **common
        As in `SGD`.

    Examples
    --------
    >>> from fastnn.optimizers import Momentum
    >>> Momentum(lr=0.1).momentum
    0.9
    """

    def __init__(self, lr, momentum=0.9, form="grad_sum", nesterov=False, weight_decay=0.0, **common):
        super().__init__(lr, momentum, form, nesterov, weight_decay, **common)


class NAG(WithMomentum):
    """Nesterov's accelerated gradient: momentum that looks where it is going before it asks for the gradient.

    Formula (the notes, S3.2), with `beta = momentum`::

        lookahead  w' = w - lr beta u       g at w'      u <- beta u + g      w <- w - lr u
        shifted    g at w                   u <- beta u + g      w <- w - lr (g + beta u)

    Where momentum alone would overshoot, the gradient at the look-ahead point `w'` already turns against `u`
    and brakes. `lookahead` is the method of [1] as [2] writes it: `pre_step()` moves `theta` to `w'` before
    the forward pass, so that loss and gradient are those of `w'`, and `step()` goes on to the new `w`.
    A Trainer calls both; between its steps `theta` is `w`. `shifted` [3] is what PyTorch and Keras compute:
    its `w` are the points `w'` of `lookahead`, and it needs no `pre_step`.

    Departures. The notes ignore `lr` in the look-ahead (`w - beta u`); that diverges where the curvature is
    above `1 + 1 / beta`, however small `lr` is, and is not offered. Weight decay adds `weight_decay w'` to
    `g`. `shifted` takes this step's `lr` and momentum for the next look-ahead, so the two agree exactly only
    while these are constant.

    Parameters
    ----------
    lr, momentum, weight_decay, **common
        As in `SGD`.
    form : {"lookahead", "shifted"}

    Raises
    ------
    RuntimeError
        `step()` without `pre_step()` before the forward pass, with `lookahead`.

    References
    ----------
    .. [1] Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2), 1983.
    .. [2] Sutskever, Martens, Dahl & Hinton, On the importance of initialization and momentum in deep
       learning, ICML 2013.
    .. [3] Bengio, Boulanger-Lewandowski & Pascanu, Advances in optimizing recurrent networks, ICASSP 2013.

    Examples
    --------
    >>> from fastnn.optimizers import NAG
    >>> NAG(lr=0.1).form
    'lookahead'
    """

    arguments = ("lr", "momentum", "form", "weight_decay")
    state_names = ("velocity",)

    def __init__(self, lr, momentum=0.9, form="lookahead", weight_decay=0.0, **common):
        super().__init__(lr, momentum, weight_decay, **common)
        self.form = self._chosen("form", form, ("lookahead", "shifted"))
        self._w: Any = None  # theta as it was before pre_step
        self._ahead = False

    def pre_step(self):
        """Move `theta` to the look-ahead point; before the forward pass. Nothing with `form="shifted"`."""
        model = self._bound()
        if self.form == "shifted":
            return
        self.undo_pre_step()
        if self._runs is None:
            self._runs = self._divide()
        lr, beta = self.current_lr(), self.current_momentum()
        if self._w is None:
            self._w = np.empty_like(model.theta)
        np.copyto(self._w, model.theta)
        self._ahead = True
        for lr_scale, _, (theta, _, u) in self._runs:
            kernels.sgd_step(theta, u, lr * lr_scale * beta)

    def undo_pre_step(self):
        """Move `theta` back, bit for bit, if it looks ahead: for a step that cannot be finished."""
        if self._ahead:
            np.copyto(self.model.theta, self._w)
            self._ahead = False

    def step(self, closure=None):
        if self.form == "lookahead" and self.n_steps and not self._ahead:
            raise RuntimeError(
                "NAG: step: expected the gradient at the look-ahead point. Received: no pre_step(); "
                "call optimizer.pre_step() before model.forward, or choose form='shifted'"
            )
        super().step(closure)
        if self.n_pending:  # nothing was updated yet
            self.undo_pre_step()
        self._ahead = False

    def update(self, lr, weight_decay, theta, grad, u):
        shifted = self.form == "shifted"
        kernels.momentum_step(
            theta, grad, u, lr, self.current_momentum(), weight_decay, "grad_sum" if shifted else "lookahead",
            shifted, self.scale, self.clip,
        )  # fmt: skip
