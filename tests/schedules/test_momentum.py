"""The schedules of the momentum: their values, closed forms and errors."""

import math

import numpy as np
import pytest

import fastnn as nn
from fastnn.schedules import one_cycle, one_cycle_momentum, sutskever_momentum


def test_values():
    beta = sutskever_momentum()
    steps = (0, 249, 250, 499, 500, 1000, 2250, 12250, 124750, 10**7)
    expected = (0.5, 0.5, 0.75, 0.75, 0.8333333333333334, 0.9, 0.95, 0.99, 0.999, 0.999)
    assert [beta(step) for step in steps] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("period", [250, 1, 37])
def test_the_papers_formula(period):
    beta = sutskever_momentum(0.995, period)
    for step in range(0, 60 * period, 13):
        paper = min(1 - 2 ** (-1 - math.log2(step // period + 1)), 0.995)
        assert beta(step) == pytest.approx(paper, rel=1e-14)


@pytest.mark.parametrize("highest", [0, 0.9, 0.99, 0.995])
def test_highest(highest):
    beta = sutskever_momentum(highest)
    assert beta(10**6) == highest and all(beta(step) <= highest for step in range(0, 10**5, 999))


def test_errors():
    with pytest.raises(ValueError, match=r"^sutskever_momentum: beta_max: expected a number in \[0, 1\)"):
        sutskever_momentum(1)
    with pytest.raises(ValueError, match=r"^sutskever_momentum: period: expected a whole number"):
        sutskever_momentum(period=0)


def test_one_cycle_momentum():
    """Highest where the rate is lowest; `three_phase` is back after as many updates as it came down in."""
    beta = one_cycle_momentum(100, rise=0.41, shape="linear")
    lr = one_cycle(0.5, 100, rise=0.41, shape="linear")
    assert [beta(step) for step in (0, 20, 40, 99, 1000)] == pytest.approx([0.95, 0.9, 0.85, 0.95, 0.95])
    rates, betas = ([f(step) for step in range(100)] for f in (lr, beta))
    assert np.argmax(rates) == np.argmin(betas) == 40
    beta = one_cycle_momentum(100, 0.9, 0.5, rise=0.41, shape="linear", three_phase=True)
    assert [beta(step) for step in (0, 40, 80, 90)] == pytest.approx([0.9, 0.5, 0.9, 0.9], rel=1e-14)
    by_epoch, by_step = one_cycle_momentum(5, steps_per_epoch=20), one_cycle_momentum(100)
    assert [by_epoch(step) for step in range(120)] == [by_step(step) for step in range(120)]


def test_one_cycle_trains_as_pytorchs():
    """Both schedules in an optimizer: the weights of `OneCycleLR(cycle_momentum=True)`, step by step."""
    torch = pytest.importorskip("torch")
    model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(3,), seed=0, dtype="float64")
    optimizer = nn.Momentum(one_cycle(0.1, 30), one_cycle_momentum(30)).bind(model)
    w = torch.nn.Parameter(torch.tensor(model.theta.copy()))
    theirs = torch.optim.SGD([w], 0.1, momentum=0.5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.1, total_steps=30)
    for t in range(30):
        g = np.random.default_rng(t).normal(size=3)
        model.grad[:], w.grad = g, torch.tensor(g)
        optimizer.step()
        theirs.step()
        if t < 29:
            schedule.step()
        np.testing.assert_allclose(model.theta, w.detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "steps: expected a whole number of updates, at least 2"),
        ({"momentum_max": 1}, r"momentum_max: expected a number in \[0, 1\)\. Received: 1"),
        ({"momentum_min": 0.96}, r"momentum_min: expected a number in \[0, 0\.95\]"),
        ({"rise": 1}, r"rise: expected a number in \[0, 1\)"),
        ({"shape": "cos"}, "shape: expected 'cosine' or 'linear'"),
    ],
)
def test_errors_of_one_cycle_momentum(options, message):
    with pytest.raises(ValueError, match=f"^one_cycle_momentum: {message}"):
        one_cycle_momentum(**({"steps": 10} | options))
