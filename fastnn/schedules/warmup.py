"""Rates that begin low, because the first weights are random and the first gradients long."""

from ..checks import choice, integer, number
from .checks import updates
from .decay import constant


def warmup(after, steps, start=0.0, shape="linear", steps_per_epoch=1):
    """From `start` up to another schedule's first rate in `steps` updates; then that schedule.

    With `l = after(0)` and `n = steps`: `lr(t) = start + (l - start) t / n`, or `start (l / start)^(t / n)`
    with `shape="exponential"`, for `t < n`; `after(t - n)` from then on, without a jump.

    This is learning-rate warm-up [1]. The notes (S4.8) say warm start, which elsewhere means to begin with
    the weights of an earlier training; a warm restart is yet another thing, `cosine_restarts`.

    Parameters
    ----------
    after : callable or float
        A schedule, or a rate that then stays.
    steps : int
        In updates, or in epochs with `steps_per_epoch`.
    start : float
        The first rate, at most `after(0)`; above 0 for the exponential shape. With 0 the first update
        changes nothing.
    shape : {"linear", "exponential"}
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
    .. [1] Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017.

    Examples
    --------
    >>> from fastnn.schedules import exponential
    >>> lr = warmup(exponential(0.1, k=0.01), steps=10)
    >>> lr(0), lr(5), lr(10), round(lr(110), 4)
    (0.0, 0.05, 0.1, 0.0368)
    """
    after = after if callable(after) else constant(number("warmup", "after", after))
    n = updates("warmup", "steps", steps, steps_per_epoch)
    choice("warmup", "shape", shape, ("linear", "exponential"))
    first = number("warmup", "after(0)", after(0))
    low = number("warmup", "start", start, f"{'(' if shape == 'exponential' else '['}0, {first}]")

    def lr(step):
        if step >= n:
            return after(step - n)
        if shape == "linear":
            return low + (first - low) * step / n
        return low * (first / low) ** (step / n)

    return lr


def noam(d_model, warmup=4000, scale=1.0):
    """The Transformer's schedule: up along a line, then down by one over the root of the time.

    `lr = scale d^(-1/2) min(s^(-1/2), s w^(-3/2))` with `d = d_model`, `w = warmup` and the number of this
    update, `s = step + 1` [1] (the notes, S4.8). Its peak is at `s = w`.

    Parameters
    ----------
    d_model : int
        Width of the model.
    warmup : int
        In updates.
    scale : float

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
    .. [1] Vaswani et al., Attention is all you need, NeurIPS 2017.

    Examples
    --------
    >>> lr = noam(d_model=512, warmup=4000)
    >>> f"{lr(0):.3g} {lr(3999):.3g} {lr(15999):.3g}"
    '1.75e-07 0.000699 0.000349'
    """
    d = integer("noam", "d_model", d_model)
    w = updates("noam", "warmup", warmup)
    scale = number("noam", "scale", scale)

    def lr(step):
        s = int(step) + 1  # NumPy's integers have powers of their own
        return scale * d**-0.5 * min(s**-0.5, s * w**-1.5)

    return lr
