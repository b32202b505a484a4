"""The cosine schedule: its ends, its middle, warm-up, and its place in an optimizer."""

import math
from itertools import pairwise

import numpy as np
import pytest

import fastnn as nn
from fastnn.schedules import cosine


def test_without_warmup():
    lr = cosine(0.4, 100, lr_min=0.1)
    assert lr(0) == 0.4
    assert lr(50) == pytest.approx(0.25)
    assert lr(25) == pytest.approx(0.1 + 0.3 * (1 + math.cos(math.pi / 4)) / 2)
    assert lr(100) == lr(101) == lr(10**9) == 0.1
    values = [lr(step) for step in range(101)]
    assert all(a > b for a, b in pairwise(values))


def test_warmup():
    lr = cosine(1.0, 110, warmup=10)
    assert [lr(step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert lr(10) == 1.0
    assert lr(60) == pytest.approx(0.5)
    assert lr(110) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"lr_max": -1.0, "steps": 10},
            r"expected 0 <= lr_min <= lr_max\. Received: lr_min=0\.0, lr_max=-1\.0",
        ),
        ({"lr_max": 0.1, "steps": 10, "lr_min": 0.2}, "expected 0 <= lr_min <= lr_max"),
        ({"lr_max": float("nan"), "steps": 10}, "expected 0 <= lr_min <= lr_max"),
        ({"lr_max": 0.1, "steps": 0}, r"expected 0 <= warmup < steps\. Received: warmup=0, steps=0"),
        ({"lr_max": 0.1, "steps": 5, "warmup": 5}, "expected 0 <= warmup < steps"),
        ({"lr_max": 0.1, "steps": 5, "warmup": -1}, "expected 0 <= warmup < steps"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=f"cosine: {message}"):
        cosine(**arguments)


def test_an_optimizer_follows_it():
    """Plain SGD with a constant gradient moves by the sum of the rates."""
    model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(1,), seed=0, dtype="float64")
    schedule = cosine(0.1, 20, warmup=5)
    optimizer = nn.SGD(lr=schedule)
    optimizer.bind(model)
    start = model.theta[0]
    for _ in range(20):
        model.zero_grad()
        model.forward(np.ones((1, 1)))
        model.backward(np.ones((1, 1)))
        optimizer.step()
    assert start - model.theta[0] == pytest.approx(sum(schedule(step) for step in range(20)))
