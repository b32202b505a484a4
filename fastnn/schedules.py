"""Learning rates that change: functions of the step, owned by the optimizer (`Adam(lr=cosine(...))`)."""

import math


def cosine(lr_max, steps, lr_min=0.0, warmup=0):
    """Half a cosine from `lr_max` down to `lr_min` after `steps` updates.

    `lr(t) = lr_min + (lr_max - lr_min) (1 + cos(pi t / T)) / 2`, without restarts (the notes, S4.7;
    Loshchilov & Hutter 2017), after a linear warm-up (S4.8; Goyal et al. 2017).

    Parameters
    ----------
    lr_max, lr_min : float
    steps : int
        Updates in all, warm-up included.
    warmup : int
        Updates during which the rate rises linearly to `lr_max`.

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
    if not 0 <= lr_min <= lr_max:
        raise ValueError(
            f"cosine: expected 0 <= lr_min <= lr_max. Received: lr_min={lr_min}, lr_max={lr_max}"
        )
    if not 0 <= warmup < steps:
        raise ValueError(f"cosine: expected 0 <= warmup < steps. Received: warmup={warmup}, steps={steps}")

    def lr(step):
        if step < warmup:
            return lr_max * (step + 1) / warmup
        share = min(1.0, (step - warmup) / (steps - warmup))
        return lr_min + (lr_max - lr_min) * (1 + math.cos(math.pi * share)) / 2

    return lr
