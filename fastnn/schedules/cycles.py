"""Rates that follow a wave: triangles, half a cosine, cosines with restarts, one cycle."""

import math
from itertools import pairwise

from ..checks import choice, integer, number
from .checks import rates, updates


def half_cosine(first, last, share):
    """From `first` to `last` along half a cosine, of which `share` has passed."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def triangular(lr_min, lr_max, half_period=20, mode="triangular", gamma=None, steps_per_epoch=1):
    """A rate that goes up and down linearly, again and again.

    `lr(t) = lr_min + (lr_max - lr_min) s max(0, 1 - |t / h - (2 L + 1)|)`, where `h` is `half_period`,
    `L = floor(t / 2h)` the number of finished cycles and `s` the height: 1, `2^-L` ("triangular2") or
    `gamma^t` ("exp_range") [1] (the notes, S4.6).

    Parameters
    ----------
    lr_min, lr_max : float
    half_period : int
        Updates of the way up, and of the way down; epochs with `steps_per_epoch`.
    mode : {"triangular", "triangular2", "exp_range"}
    gamma : float, optional
        In (0, 1), with "exp_range" only: the factor of the height at each update, or each epoch.
    steps_per_epoch : int
        Updates in an epoch.

    Returns
    -------
    callable
        `step -> lr`.

    Raises
    ------
    ValueError
        An argument is out of its range, or `gamma` does not fit the mode.

    References
    ----------
    .. [1] Smith, Cyclical learning rates for training neural networks, WACV 2017.

    Examples
    --------
    >>> lr = triangular(0.1, 0.5, half_period=20)
    >>> lr(0), lr(20), lr(40), lr(60)
    (0.1, 0.5, 0.1, 0.5)
    """
    rates("triangular", lr_min, lr_max)
    half = updates("triangular", "half_period", half_period, steps_per_epoch)
    choice("triangular", "mode", mode, ("triangular", "triangular2", "exp_range"))
    if mode == "exp_range":
        gamma = number("triangular", "gamma", gamma, "(0, 1)")
    elif gamma is not None:
        raise ValueError(f"triangular: gamma: expected None unless mode='exp_range'. Received: {gamma!r}")
    unit = integer("triangular", "steps_per_epoch", steps_per_epoch)

    def lr(step):
        cycle = step // (2 * half)
        height = (lr_max - lr_min) * max(0.0, 1 - abs(step / half - (2 * cycle + 1)))
        if mode == "triangular2":
            height *= 0.5**cycle
        elif mode == "exp_range":
            height *= gamma ** (step / unit)
        return lr_min + height

    return lr


def cosine(lr_max, steps, lr_min=0.0, warmup=0, steps_per_epoch=1):
    """Half a cosine from `lr_max` down to `lr_min` after `steps` updates.

    `lr(t) = lr_min + (lr_max - lr_min) (1 + cos(pi t / T)) / 2`, without restarts (the notes, S4.7;
    Loshchilov & Hutter 2017), after a linear warm-up (S4.8; Goyal et al. 2017).

    Parameters
    ----------
    lr_max, lr_min : float
    steps : int
        Updates in all, warm-up included; epochs with `steps_per_epoch`.
    warmup : int
        Updates (epochs) during which the rate rises linearly to `lr_max`.
    steps_per_epoch : int
        Updates in an epoch.

    Returns
    -------
    callable
        `step -> lr`, steps counted from 0.

    Examples
    --------
    >>> lr = cosine(0.1, 100)
    >>> lr(0), round(lr(50), 3), lr(100)
    (0.1, 0.05, 0.0)
    """
    rates("cosine", lr_min, lr_max)
    if not 0 <= warmup < steps < math.inf:
        raise ValueError(f"cosine: expected 0 <= warmup < steps. Received: warmup={warmup}, steps={steps}")
    unit = integer("cosine", "steps_per_epoch", steps_per_epoch)
    steps, warmup = steps * unit, warmup * unit

    def lr(step):
        if step < warmup:
            return lr_max * (step + 1) / warmup
        share = min(1.0, (step - warmup) / (steps - warmup))
        return half_cosine(lr_max, lr_min, share)

    return lr


def cosine_restarts(lr_max, period, lr_min=0.0, t_mult=1, inclusive=False, steps_per_epoch=1):
    """Half a cosine from `lr_max` to `lr_min`, again and again: SGDR's warm restarts.

    `lr = lr_min + (lr_max - lr_min) (1 + cos(pi t / T)) / 2`, where `t` counts from the last restart. After
    `T` updates the rate jumps back to `lr_max`, and `T` is multiplied by `t_mult` [1]. The lowest rate of
    the paper's form is a little above `lr_min`; with `inclusive=True`, the notes' form (S4.7), a period
    has `T + 1` updates and the last one is made with `lr_min` itself.

    A restart may leave a good minimum; `EarlyStopping` and `Checkpoint(best_only=True)` keep the best.

    Parameters
    ----------
    lr_max, lr_min : float
    period : int
        `T` of the first period, in updates, or in epochs with `steps_per_epoch`.
    t_mult : int
        At least 1.
    inclusive : bool
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
    .. [1] Loshchilov & Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.

    Examples
    --------
    >>> lr = cosine_restarts(0.1, period=10)
    >>> lr(0), round(lr(5), 3), lr(10)
    (0.1, 0.05, 0.1)
    >>> lr = cosine_restarts(0.1, period=10, inclusive=True)
    >>> lr(0), lr(10), lr(11)
    (0.1, 0.0, 0.1)
    """
    rates("cosine_restarts", lr_min, lr_max)
    first = updates("cosine_restarts", "period", period, steps_per_epoch)
    factor = integer("cosine_restarts", "t_mult", t_mult)
    last = 1 if inclusive else 0

    def lr(step):
        length = first
        if factor == 1:
            step %= length + last
        while step >= length + last:
            step -= length + last
            length *= factor
        return half_cosine(lr_max, lr_min, step / length)

    return lr


def one_cycle(
    lr_max, steps, rise=0.3, div=25.0, final_div=1e4, shape="cosine", three_phase=False, steps_per_epoch=1
):  # fmt: skip
    """One wave over the whole training: up to `lr_max`, then far down.

    The rate goes from `lr_max / div` to `lr_max` in the first part `rise` of the updates, then down to
    `lr_max / (div final_div)`, where it stays.

    Departures from [1]. The paper goes up and down along lines of equal length and then, in the last updates,
    far down: `shape="linear", three_phase=True`. The default is the form that fastai and PyTorch's
    `OneCycleLR` made usual. The momentum goes the other way: `one_cycle_momentum` with the same lengths.

    Parameters
    ----------
    lr_max : float
    steps : int
        All updates of the training, at least 2; epochs with `steps_per_epoch`.
    rise : float
        In [0, 1); below 0.5 with `three_phase`.
    div, final_div : float
        At least 1.
    shape : {"cosine", "linear"}
    three_phase : bool
        Up, down to the first rate in the same time, and then on down.
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
    .. [1] Smith & Topin, Super-convergence: very fast training of neural networks using large learning
       rates, 2018.

    Examples
    --------
    >>> lr = one_cycle(0.5, 101, rise=0.5, div=10, final_div=100, shape="linear")
    >>> round(lr(0), 6), round(lr(25), 2), round(lr(100), 6), round(lr(1000), 6)
    (0.05, 0.28, 0.0005, 0.0005)
    """
    lr_max = number("one_cycle", "lr_max", lr_max)
    n = updates("one_cycle", "steps", steps, steps_per_epoch, least=2)
    lowest = lr_max / number("one_cycle", "div", div, "[1, inf)")
    end = lowest / number("one_cycle", "final_div", final_div, "[1, inf)")
    return wave("one_cycle", (lowest, lr_max, end), n, rise, shape, three_phase)


def wave(where, levels, n, rise, shape, three_phase):
    """From the first level to the second in the part `rise` of n updates, then (back and) to the third."""
    first, top, last = levels
    rise = number(where, "rise", rise, "[0, 0.5)" if three_phase else "[0, 1)")
    choice(where, "shape", shape, ("cosine", "linear"))
    knots = [(0, first), (rise * n - 1, top), (n - 1, last)]
    if three_phase:
        knots.insert(2, (2 * rise * n - 2, first))
    parts = [(*a, *b) for a, b in pairwise(knots)]

    def value(step):
        # A first part shorter than an update has its end before step 0 and is passed over.
        start, a, stop, b = next((part for part in parts if step < part[2]), parts[-1])
        share = min(1.0, (step - start) / (stop - start))
        return a + (b - a) * share if shape == "linear" else half_cosine(a, b, share)

    return value
