"""Schedules that only fall: the notes' values, PyTorch's schedulers, and what is refused."""

import math
from itertools import pairwise

import numpy as np
import pytest

from fastnn.schedules import constant, cosine, exponential, inverse_time, piecewise, step_decay


def test_constant():
    assert {constant(0.1)(step) for step in (0, 1, 10**9)} == {0.1}


def test_halved_every_five_epochs():
    lr = step_decay(0.8, every=5, steps_per_epoch=10)
    by_epoch = [lr(10 * epoch) for epoch in range(16)]
    assert by_epoch == [0.8] * 5 + [0.4] * 5 + [0.2] * 5 + [0.1]
    assert lr(49) == 0.8 and lr(50) == 0.4  # the last update of epoch 5 and the first of epoch 6
    assert all(lr(step) == step_decay(0.8, every=50)(step) for step in range(200))


@pytest.mark.parametrize(("every", "factor"), [(1, 0.9), (7, 0.5), (30, 0.1)])
def test_step_decay_is_step_lr(torch_rates, every, factor):
    lr = step_decay(0.3, every, factor)
    expected = torch_rates("StepLR", 0.3, 200, step_size=every, gamma=factor)
    assert [lr(step) for step in range(200)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [0.0, 0.01, 0.7])
def test_exponential_is_exponential_lr(torch_rates, k):
    lr = exponential(0.3, k)
    expected = torch_rates("ExponentialLR", 0.3, 300, gamma=math.exp(-k))
    assert [lr(step) for step in range(300)] == pytest.approx(expected, rel=1e-11)


def test_exponential_falls_along_a_line():
    steps = np.arange(400)
    logs = np.log([exponential(0.3, 0.02)(int(step)) for step in steps])
    slope, height = np.polyfit(steps, logs, 1)
    assert slope == pytest.approx(-0.02, rel=1e-12) and height == pytest.approx(math.log(0.3), rel=1e-12)


def test_only_k_says_how_fast():
    """A larger first rate does not decay faster (the notes say so): the ratio stays."""
    high, low = exponential(1.0, 0.05), exponential(0.01, 0.05)
    assert [high(step) / low(step) for step in range(0, 500, 25)] == pytest.approx([100] * 20, rel=1e-12)
    assert high(0) / high(100) == pytest.approx(math.exp(5), rel=1e-12)


def test_inverse_time():
    lr = inverse_time(0.5, 0.25)
    assert [lr(t) for t in (0, 1, 2, 4, 12)] == pytest.approx([0.5, 0.4, 1 / 3, 0.25, 0.125], rel=1e-15)
    values = np.array([lr(t) for t in range(100_000)])
    # The sum grows like 2 log(t), that of the squares stays below its limit: 0.25 sum 1 / (1 + t / 4)^2.
    assert values[:1000].sum() + 0.9 * 2 * math.log(100) < values.sum()
    assert (values**2).sum() < 0.25 + 1.0  # the integral of the rest is 4 * 0.25
    assert (values[1000:] ** 2).sum() < 0.005


@pytest.mark.parametrize("make", [exponential, inverse_time])
def test_rates_for_epochs(make):
    by_epoch, by_step = make(0.5, 0.3, steps_per_epoch=10), make(0.5, 0.3)
    assert [by_epoch(10 * t) for t in range(20)] == [by_step(t) for t in range(20)]
    assert all(a > b for a, b in pairwise(by_epoch(step) for step in range(30)))


def test_piecewise():
    lr = piecewise([10, 15], [0.1, 0.01, 0.001])
    assert [lr(step) for step in (0, 9, 10, 14, 15, 10**6)] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert piecewise([], [0.3])(7) == 0.3
    lr = piecewise([2, 3.5], [0.1, 0.01, 0.001], steps_per_epoch=4)
    assert [lr(step) for step in (7, 8, 13, 14)] == [0.1, 0.01, 0.01, 0.001]


def test_piecewise_is_multi_step_lr(torch_rates):
    lr = piecewise([30, 80], [0.3, 0.03, 0.003])
    expected = torch_rates("MultiStepLR", 0.3, 120, milestones=[30, 80], gamma=0.1)
    assert [lr(step) for step in range(120)] == pytest.approx(expected, rel=1e-12)


def test_piecewise_joins_schedules():
    wave = cosine(0.1, 20)
    lr = piecewise([5, 25], [exponential(1.0, 0.1), wave, 0.0])
    assert [lr(step) for step in range(5)] == [exponential(1.0, 0.1)(step) for step in range(5)]
    assert [lr(step) for step in range(5, 25)] == [wave(step) for step in range(20)]
    assert lr(25) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constant(-1), r"constant: lr: expected a number in \[0, inf\)"),
        (lambda: step_decay(math.nan, 5), "step_decay: lr: expected a number"),
        (lambda: step_decay(0.1, 0), "step_decay: every: expected a whole number of updates"),
        (lambda: step_decay(0.1, 1.5), "step_decay: every: expected a whole number of updates"),
        (lambda: step_decay(0.1, 5, factor=0), r"step_decay: factor: expected a number in \(0, 1\]"),
        (lambda: step_decay(0.1, 5, factor=2), "step_decay: factor"),
        (lambda: step_decay(0.1, 5, steps_per_epoch=0), "step_decay: steps_per_epoch: expected an integer"),
        (lambda: exponential("fast", 1), "exponential: lr: expected a number"),
        (lambda: exponential(0.1, -1), "exponential: k: expected a number"),
        (lambda: exponential(0.1, 1, steps_per_epoch=2.5), "exponential: steps_per_epoch"),
        (lambda: inverse_time(0.1, None), "inverse_time: k: expected a number"),
        (lambda: inverse_time(math.inf, 1), "inverse_time: lr: expected a number"),
        (lambda: piecewise([10], [0.1]), "piecewise: values: expected 2 of them.*Received: 1"),
        (lambda: piecewise([10, 10], [1, 2, 3]), "piecewise: boundaries: expected ascending steps"),
        (lambda: piecewise([0], [1, 2]), "piecewise: boundaries: expected a whole number"),
        (lambda: piecewise([1], [1, -2]), "piecewise: values: expected a number"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
