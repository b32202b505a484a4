"""A schedule for the momentum instead of the learning rate."""

from .checks import number, updates


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
