"""Lengths that schedules take, and all schedules through an optimizer."""

import math

import numpy as np
import pytest

import fastnn as nn
from fastnn import schedules
from fastnn.schedules.checks import updates

ALL = {
    "constant": schedules.constant(0.1),
    "cosine": schedules.cosine(0.1, 50, warmup=5),
    "cosine_restarts": schedules.cosine_restarts(0.1, 7, t_mult=2),
    "exponential": schedules.exponential(0.1, 0.01),
    "inverse_time": schedules.inverse_time(0.1, 0.1),
    "noam": schedules.noam(64, 20),
    "one_cycle": schedules.one_cycle(0.1, 60),
    "one_cycle_momentum": schedules.one_cycle_momentum(60),
    "piecewise": schedules.piecewise([10, 30], [0.1, schedules.cosine(0.2, 9), 0.01]),
    "step_decay": schedules.step_decay(0.1, 10),
    "sutskever_momentum": schedules.sutskever_momentum(),
    "triangular": schedules.triangular(0.01, 0.1, 4, mode="triangular2"),
    "warmup": schedules.warmup(schedules.exponential(0.1, 0.1), 10, start=0.01),
}


def test_all_schedules_are_tested():
    assert set(ALL) == set(schedules.__all__)


@pytest.mark.parametrize("name", ALL)
def test_a_schedule_has_no_memory(name):
    """Any order of questions, and NumPy's integers too: the same values, finite and not negative."""
    schedule = ALL[name]
    there = [schedule(step) for step in range(100)]
    assert [schedule(step) for step in reversed(range(100))] == there[::-1]
    assert [schedule(np.int64(step)) for step in range(100)] == there
    assert all(isinstance(value, float) and 0 <= value < 1 for value in there)
    assert math.isfinite(schedule(10**7))


@pytest.mark.parametrize("name", ALL)
def test_an_optimizer_follows_it(name):
    """Plain SGD with a constant gradient moves by the sum of the rates."""
    model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(1,), seed=0, dtype="float64")
    optimizer = nn.SGD(lr=ALL[name]).bind(model)
    start = model.theta[0]
    for _ in range(60):
        model.grad[:] = 1
        optimizer.step()
    assert start - model.theta[0] == pytest.approx(sum(ALL[name](step) for step in range(60)), rel=1e-12)


def test_lengths():
    assert updates("here", "every", 5) == updates("here", "every", 5.0) == 5
    assert updates("here", "every", 5, 100) == 500
    assert updates("here", "every", 0.5, 100) == 50
    assert updates("here", "every", 0.1, 30) == 3
    assert updates("here", "every", 0, least=0) == 0


@pytest.mark.parametrize("value", [0, -2, 0.5, math.nan, math.inf, True, None, "5"])
def test_wrong_lengths(value):
    with pytest.raises(
        ValueError, match=r"^here: every: expected a whole number of updates, at least 1\. Received: "
    ):
        updates("here", "every", value)


def test_wrong_lengths_in_epochs():
    with pytest.raises(ValueError, match=r"Received: 0\.3 epochs of 25 updates$"):
        updates("here", "every", 0.3, 25)
    for unit in (0, 2.5, None):
        with pytest.raises(ValueError, match=r"here: steps_per_epoch: expected an integer of at least 1"):
            updates("here", "every", 1, unit)
