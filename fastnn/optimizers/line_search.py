"""Line searches: the learning rate of each step is found by trying."""

import math
from typing import Any

import numpy as np

from .. import kernels
from ..checks import integer
from ..errors import NonFiniteError
from .base import Optimizer


class Search(Optimizer):
    """What both searches share: steps of any length from the same point, and the loss there.

    `step(closure)` needs a function that returns the loss of the batch whose gradient `model.grad` is; a
    Trainer gives it, with the same dropout masks, and running averages stay as they are. Each trial costs a
    forward pass. There is no weight decay: a penalty belongs to the loss that is compared. All rates that are
    tried are multiplied by `lr_scale`, so that callbacks which lower it make the steps shorter.

    Attributes
    ----------
    last_lr : float or None
        Learning rate of the last step.
    """

    needs_closure = True

    def __init__(self, lr):
        super().__init__(lr)
        self.last_lr: float | None = None
        self._last_scale = 1.0  # lr_scale then
        self._start: Any = None  # theta where the search begins

    def current_lr(self):
        """Learning rate of the last step, if `lr_scale` had been this; before it, the largest to be tried."""
        if self.last_lr is None:
            return super().current_lr()
        return self.last_lr * (self.lr_scale / self._last_scale)

    def search(self, loss_at):
        """The learning rate to take; `loss_at(lr)` is the loss after a step of that length."""
        raise NotImplementedError(f"{type(self).__name__}.search is not written")

    def step(self, closure=None):
        """Find the learning rate, then take the step.

        Parameters
        ----------
        closure : callable
            Function without arguments that returns the loss of the same batch with the present `theta`.

        Raises
        ------
        NonFiniteError
            No loss was finite; `theta` is as before.
        """
        model = self._bound()
        if not callable(closure):
            raise TypeError(
                f"{type(self).__name__}: closure: expected a function that returns the loss of the batch. "
                f"Received: {closure!r}; a Trainer gives one"
            )
        if self._start is None:
            self._start = np.empty_like(model.theta)
        np.copyto(self._start, model.theta)

        def move(lr):
            np.copyto(model.theta, self._start)
            if lr:
                kernels.sgd_step(model.theta[: model.n_trainable], model.grad, lr)

        def loss_at(lr):
            move(lr)
            return float(closure())

        lr = 0.0
        try:
            lr = self.search(loss_at)
        finally:
            move(lr)
        self.last_lr, self._last_scale = lr, self.lr_scale
        self.n_steps += 1


class LineSearch(Search):
    """Gradient descent with the best of several learning rates, chosen anew at each step.

    Formula (the notes, S3.3)::

        lr = argmin over the candidates of L(w - lr g)          w <- w - lr g

    With 0 among the candidates the loss of a batch never rises. On a quadratic with Hessian H the best of all
    rates is `g.g / g.Hg`, and the next gradient is orthogonal to `g`. Losses that are not finite never win;
    of equal losses the first does.

    Parameters
    ----------
    candidates : sequence of float
        Learning rates to try.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(2,), dtype="float64")
    >>> model.theta[:] = 4.0, 0.0
    >>> model.grad[:] = model.theta  # of the loss below
    >>> optimizer = nn.LineSearch(candidates=(0, 0.5, 1, 2)).bind(model)
    >>> optimizer.step(lambda: 0.5 * model.theta @ model.theta)
    >>> optimizer.last_lr, model.theta
    (1.0, array([0., 0.]))
    """

    arguments = ("candidates",)

    def __init__(self, candidates=(0.0, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)):
        if not isinstance(candidates, (tuple, list, np.ndarray)) or not len(candidates):
            raise ValueError(
                f"LineSearch: candidates: expected a list of learning rates. Received: {candidates!r}"
            )
        self.candidates = tuple(self._checked("candidates", lr) for lr in candidates)
        super().__init__(max(self.candidates))

    def search(self, loss_at):
        rates = [lr * self.lr_scale for lr in self.candidates]
        losses = [loss if math.isfinite(loss) else math.inf for loss in map(loss_at, rates)]
        best = min(range(len(losses)), key=losses.__getitem__)
        if losses[best] == math.inf:
            raise NonFiniteError(
                f"LineSearch: candidates: expected a finite loss with one of {self.candidates}. "
                "Received: none; add smaller ones"
            )
        return rates[best]


class ArmijoLineSearch(Search):
    """Gradient descent whose learning rate shrinks until the loss has fallen by enough: backtracking.

    Formula [1], starting from `lr`::

        while L(w - lr g) > L(w) - c1 lr g.g:    lr <- shrink lr          then w <- w - lr g

    The notes (S3.3) take the best of a list instead, `LineSearch`. Every step starts from the `lr` that was
    given, not from the last one. Where `max_trials` rates have failed, `theta` stays where it is and
    `last_lr` is 0: the gradient is then 0 or wrong, or the loss too coarse in float32.

    Parameters
    ----------
    lr : float or callable
        First learning rate to try, or a schedule `step -> lr`.
    c1 : float
        Share of the fall that the gradient promises, in (0, 1).
    shrink : float
        In (0, 1).
    max_trials : int

    References
    ----------
    .. [1] Armijo, Minimization of functions having Lipschitz continuous first partial derivatives, 1966.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(2,), dtype="float64")
    >>> model.theta[:] = 4.0, 0.0
    >>> model.grad[:] = 3 * model.theta  # of the loss below
    >>> optimizer = nn.ArmijoLineSearch(lr=1.0).bind(model)
    >>> optimizer.step(lambda: 1.5 * model.theta @ model.theta)
    >>> optimizer.last_lr
    0.5
    """

    arguments = ("lr", "c1", "shrink", "max_trials")

    def __init__(self, lr=1.0, c1=1e-4, shrink=0.5, max_trials=40):
        super().__init__(lr)
        self.c1, self.shrink = (
            self._positive(name, self._checked(name, value, below=1.0))
            for name, value in (("c1", c1), ("shrink", shrink))
        )
        self.max_trials = integer("ArmijoLineSearch", "max_trials", max_trials)

    def search(self, loss_at):
        loss, slope = loss_at(0.0), kernels.sum_of_squares(self.model.grad)
        if not math.isfinite(loss):
            raise NonFiniteError(f"ArmijoLineSearch: closure: expected a finite loss. Received: {loss}")
        lr = Optimizer.current_lr(self)
        for _ in range(self.max_trials):
            if loss_at(lr) <= loss - self.c1 * lr * slope:  # what is not a number fails
                return lr
            lr *= self.shrink
        return 0.0


def loss_again(model, loss, x, y, sample_weight=None):
    """The function that a line search asks for: the loss of a batch with the model's present parameters.

    It leaves no traces: dropout draws the masks that the last training pass had, and the running averages of
    BatchNorm stay as they are.

    Parameters
    ----------
    model : Model
    loss : Loss
    x, y, sample_weight : ndarray
        The batch whose gradient `model.grad` is.

    Returns
    -------
    callable
        `() -> float`.
    """

    def closure():
        buffers = {name: array.copy() for name, array in model.buffers.items()}
        model.workspace.step -= 1  # forward counts one training pass
        try:
            return loss.evaluate(model.forward(x, True), y, sample_weight)
        finally:
            for name, array in buffers.items():
                model.buffers[name][...] = array

    return closure
