"""Rates that change: functions of the step, owned by the optimizer (`Adam(lr=cosine(0.1, 1000))`).

Each function here returns a schedule, `step -> value`, where `step` is the number of updates done so far,
from 0. A schedule has no memory: a training that was stopped and resumed sees the same values.

Lengths are in updates. With `steps_per_epoch` they are in epochs: `step_decay(0.1, every=5,
steps_per_epoch=len(batches))` halves the rate every 5 epochs. `plots.learning_rates` draws schedules.

>>> import fastnn as nn
>>> lr = nn.schedules.warmup(nn.schedules.cosine(0.1, 900), steps=100)
>>> nn.Adam(lr=lr).current_lr(), lr(50), lr(100)
(0.0, 0.05, 0.1)
"""

from .cycles import cosine, cosine_restarts, one_cycle, triangular
from .decay import constant, exponential, inverse_time, piecewise, step_decay
from .momentum import one_cycle_momentum, sutskever_momentum
from .warmup import noam, warmup

__all__ = [
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_time",
    "noam",
    "one_cycle",
    "one_cycle_momentum",
    "piecewise",
    "step_decay",
    "sutskever_momentum",
    "triangular",
    "warmup",
]
