"""Schedules for the momentum instead of the learning rate: `Momentum(lr, momentum=sutskever_momentum())`."""

from ..checks import number
from .checks import updates
from .cycles import wave


def sutskever_momentum(beta_max=0.999, period=250):
    """Momentum that grows with the number of updates, as in [1].

    `beta(t) = min(1 - 2^(-1 - log2(floor(t / 250) + 1)), beta_max)`, which is
    `min(1 - 1 / (2 (floor(t / 250) + 1)), beta_max)`: 0.5, 0.75, 0.833, ... (the notes, S3.3, whose scan
    reads 350).

    Parameters
    ----------
    beta_max : float
        In [0, 1); the paper takes 0.999, 0.995, 0.99, 0.9 and 0.
    period : int
        Updates with the same momentum.

    Returns
    -------
    callable
        `step -> momentum`.

    Raises
    ------
    ValueError
        An argument is out of its range.

    References
    ----------
    .. [1] Sutskever, Martens, Dahl & Hinton, On the importance of initialization and momentum in deep
       learning, ICML 2013.

    Examples
    --------
    >>> beta = sutskever_momentum()
    >>> beta(0), beta(250), beta(1000), beta(10**6)
    (0.5, 0.75, 0.9, 0.999)
    """
    beta_max = number("sutskever_momentum", "beta_max", beta_max, "[0, 1)")
    length = updates("sutskever_momentum", "period", period)
    return lambda step: min(1 - 0.5 / (step // length + 1), beta_max)


def one_cycle_momentum(
    steps, momentum_max=0.95, momentum_min=0.85, rise=0.3, shape="cosine", three_phase=False,
    steps_per_epoch=1,
):  # fmt: skip
    """The other half of `one_cycle`: the momentum falls while the rate rises, and rises while it falls [1].

    From `momentum_max` to `momentum_min` in the first part `rise` of the updates and back in the rest, where
    it stays; with `three_phase` it is back after as many updates again. Large steps and a long memory at
    once would go too far.

    Parameters
    ----------
    steps : int
        All updates of the training, at least 2; epochs with `steps_per_epoch`.
    momentum_max, momentum_min : float
        In [0, 1), the first at least as large as the second.
    rise, shape, three_phase, steps_per_epoch
        As in `one_cycle`; give both the same.

    Returns
    -------
    callable
        `step -> momentum`.

    Raises
    ------
    ValueError
        An argument is out of its range.

    References
    ----------
    .. [1] Smith, A disciplined approach to neural network hyper-parameters, part 1, 2018.

    Examples
    --------
    >>> import fastnn as nn
    >>> lr, beta = nn.schedules.one_cycle(0.5, 101, rise=0.5), one_cycle_momentum(101, rise=0.5)
    >>> optimizer = nn.Momentum(lr, beta)
    >>> round(beta(0), 2), round(beta(25), 2), round(beta(50), 2), round(beta(100), 2)
    (0.95, 0.9, 0.85, 0.95)
    """
    where = "one_cycle_momentum"
    n = updates(where, "steps", steps, steps_per_epoch, least=2)
    high = number(where, "momentum_max", momentum_max, "[0, 1)")
    low = number(where, "momentum_min", momentum_min, f"[0, {high}]")
    return wave(where, (high, low, high), n, rise, shape, three_phase)
