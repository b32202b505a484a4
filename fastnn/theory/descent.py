"""Paths of optimizers on a surface: the optimizers that train networks, with two parameters to move."""

from copy import deepcopy

import numpy as np

from ..layers.containers import Sequential
from ..layers.dense import Dense


def descend(optimizer, surface, start=None, steps=100):
    """The points an optimizer goes through on a surface.

    A layer with two weights in float64 is what it moves; its gradient is that of the surface. NAG gets the
    gradient where it looks ahead, a line search the loss wherever it asks. The path is that of the weights
    after each step.

    Parameters
    ----------
    optimizer : Optimizer
        A copy of it, which begins without a past, does the work.
    surface : Surface, or callable with a method `gradient`
    start : (float, float), optional
        `surface.start` if not given.
    steps : int

    Returns
    -------
    ndarray (steps + 1, 2) float64
        The start first. A path that diverges ends in NaN, where the surface is no finite number any more.

    Examples
    --------
    >>> import fastnn as nn
    >>> path = descend(nn.SGD(lr=0.01), nn.theory.surfaces.saddle(), (1, 1e-6), steps=800)
    >>> int(np.argmax(np.abs(path[:, 1]) >= 1))  # steps to leave the saddle
    698
    """
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
        raise ValueError(f"descend: steps: expected an integer of at least 0. Received: {steps!r}")
    model = Sequential([Dense(2, use_bias=False)], input_shape=(1,), seed=0, dtype="float64")
    theta = model.theta
    theta[:] = surface.start if start is None else start
    optimizer = deepcopy(optimizer).bind(model)
    path = np.empty((steps + 1, 2))
    path[0] = theta
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(1, steps + 1):
            if hasattr(optimizer, "pre_step"):
                optimizer.pre_step()
            if not optimizer.n_pending:
                model.zero_grad()
            model.grad[:] += surface.gradient(theta)
            optimizer.step(lambda: float(surface(theta)))
            if not np.isfinite(surface(theta)):
                path[step:] = np.nan
                break
            path[step] = theta
    return path


def effective_rates(path, surface):
    """What each parameter's learning rate amounts to: `-dw_i / g_i`, step by step (the notes, S3.5 to S3.7).

    For plain descent it is the learning rate; AdaGrad's falls, RMSProp's and AdaDelta's recover where the
    gradient has been small. With momentum it also tells of earlier gradients.

    Parameters
    ----------
    path : ndarray (steps + 1, 2)
        From `descend`.
    surface : Surface

    Returns
    -------
    ndarray (steps, 2)
        NaN where the gradient is 0.

    Examples
    --------
    >>> import fastnn as nn
    >>> bowl = nn.theory.surfaces.bowl()
    >>> effective_rates(descend(nn.SGD(lr=0.5), bowl, (2, 1), steps=2), bowl)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    path = np.asarray(path)
    gradient = surface.gradient(path[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gradient == 0, np.nan, -np.diff(path, axis=0) / gradient)
