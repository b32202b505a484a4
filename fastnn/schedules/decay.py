"""Rates that only fall, and rates in pieces."""

import math
from bisect import bisect_right
from itertools import pairwise

from ..checks import integer, number
from .checks import updates


def constant(lr):
    """The same rate at every step, for joining: `piecewise`, `warmup`.

    Parameters
    ----------
    lr : float

    Returns
    -------
    callable
        `step -> lr`.

    Examples
    --------
    >>> constant(0.1)(1000)
    0.1
    """
    value = number("constant", "lr", lr)
    return lambda step: value


def step_decay(lr, every, factor=0.5, steps_per_epoch=1):
    """The rate times `factor` after every `every` updates: halved every 5 epochs, for example.

    `lr(t) = lr factor^floor(t / every)` (the notes, S3.3).

    Parameters
    ----------
    lr : float
    every : int
        In updates, or in epochs with `steps_per_epoch`.
    factor : float
        In (0, 1].
    steps_per_epoch : int
        Updates in an epoch.

    Returns
    -------
    callable
        `step -> lr`.

    Raises
    ------
    ValueError
        An argument is out of its range.

    Examples
    --------
    >>> lr = step_decay(0.1, every=5, steps_per_epoch=100)
    >>> lr(0), lr(499), lr(500), lr(1000)
    (0.1, 0.1, 0.05, 0.025)
    """
    first = number("step_decay", "lr", lr)
    factor = number("step_decay", "factor", factor, "(0, 1]")
    length = updates("step_decay", "every", every, steps_per_epoch)
    return lambda step: first * factor ** (step // length)


def exponential(lr, k, steps_per_epoch=1):
    """Exponential decay, `lr(t) = lr exp(-k t)` (the notes, S3.3).

    The logarithm of the rate falls along a line. Only `k` says how fast: in the time ln(2) / k the rate is
    halved, whatever `lr` is; a larger `lr` stays larger throughout.

    Parameters
    ----------
    lr : float
    k : float
        Decay for each update, or for each epoch with `steps_per_epoch` (then `t` is in epochs too, and
        moves at every update).
    steps_per_epoch : int
        Updates in an epoch.

    Returns
    -------
    callable
        `step -> lr`.

    Raises
    ------
    ValueError
        An argument is out of its range.

    Examples
    --------
    >>> lr = exponential(0.1, k=0.5, steps_per_epoch=100)
    >>> lr(0), round(lr(200), 5)
    (0.1, 0.03679)
    """
    first, k = number("exponential", "lr", lr), number("exponential", "k", k)
    unit = integer("exponential", "steps_per_epoch", steps_per_epoch)
    return lambda step: first * math.exp(-k * (step / unit))


def inverse_time(lr, k, steps_per_epoch=1):
    """Decay by one over the time, `lr(t) = lr / (1 + k t)` (the notes, S3.3).

    The sum of these rates grows without bound while that of their squares does not: the conditions under
    which stochastic descent reaches a minimum [1].

    Parameters
    ----------
    lr : float
    k : float
        For each update, or for each epoch with `steps_per_epoch`: after the time 1 / k the rate is halved.
    steps_per_epoch : int
        Updates in an epoch.

    Returns
    -------
    callable
        `step -> lr`.

    Raises
    ------
    ValueError
        An argument is out of its range.

    References
    ----------
    .. [1] Robbins & Monro, A stochastic approximation method, Annals of Mathematical Statistics, 1951.

    Examples
    --------
    >>> lr = inverse_time(0.1, k=0.01)
    >>> lr(0), lr(100), lr(900)
    (0.1, 0.05, 0.01)
    """
    first, k = number("inverse_time", "lr", lr), number("inverse_time", "k", k)
    unit = integer("inverse_time", "steps_per_epoch", steps_per_epoch)
    return lambda step: first / (1 + k * (step / unit))


def piecewise(boundaries, values, steps_per_epoch=1):
    """One value after the other: `values[i]` until `boundaries[i]`, the last one from then on.

    A value may be a schedule too; it counts its steps from the beginning of its piece. So schedules are
    joined, as by PyTorch's `SequentialLR`.

    Parameters
    ----------
    boundaries : sequence of int
        First step of each piece but the first, ascending; in epochs with `steps_per_epoch`.
    values : sequence of float or callable
        One more than boundaries.
    steps_per_epoch : int
        Updates in an epoch.

    Returns
    -------
    callable
        `step -> value`.

    Raises
    ------
    ValueError
        Boundaries do not rise, the numbers of both do not fit, or a value is out of range.

    Examples
    --------
    >>> from fastnn.schedules import cosine
    >>> lr = piecewise([100, 200], [0.1, 0.01, cosine(0.01, 50)])
    >>> lr(99), lr(100), round(lr(225), 6), lr(250)
    (0.1, 0.01, 0.005, 0.0)
    """
    values, boundaries = list(values), list(boundaries)
    if len(values) != len(boundaries) + 1:
        raise ValueError(
            f"piecewise: values: expected {len(boundaries) + 1} of them, one more than boundaries. "
            f"Received: {len(values)}"
        )
    starts = [0, *(updates("piecewise", "boundaries", b, steps_per_epoch) for b in boundaries)]
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise ValueError(f"piecewise: boundaries: expected ascending steps. Received: {boundaries}")
    pieces = [v if callable(v) else constant(number("piecewise", "values", v)) for v in values]

    def value(step):
        i = bisect_right(starts, step) - 1
        return pieces[i](step - starts[i])

    return value
