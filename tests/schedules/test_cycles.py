"""Schedules that follow a wave: their ends and middles, PyTorch's schedulers, and what is refused."""

import math
from itertools import pairwise

import pytest

from fastnn.schedules import cosine, cosine_restarts, one_cycle, one_cycle_momentum, triangular


def test_cosine_without_warmup():
    lr = cosine(0.4, 100, lr_min=0.1)
    assert lr(0) == 0.4
    assert lr(50) == pytest.approx(0.25)
    assert lr(25) == pytest.approx(0.1 + 0.3 * (1 + math.cos(math.pi / 4)) / 2)
    assert lr(100) == lr(101) == lr(10**9) == 0.1
    values = [lr(step) for step in range(101)]
    assert all(a > b for a, b in pairwise(values))


def test_cosine_with_warmup():
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
def test_errors_of_cosine(arguments, message):
    with pytest.raises(ValueError, match=f"cosine: {message}"):
        cosine(**arguments)


def test_cosine_in_epochs():
    by_epoch, by_step = cosine(0.1, 12, warmup=2, steps_per_epoch=7), cosine(0.1, 84, warmup=14)
    assert [by_epoch(step) for step in range(90)] == [by_step(step) for step in range(90)]
    with pytest.raises(ValueError, match=r"^cosine: steps_per_epoch: expected an integer"):
        cosine(0.1, 10, steps_per_epoch=0)


def test_triangular():
    lr = triangular(0.1, 0.5, half_period=20)
    assert (lr(0), lr(20), lr(40), lr(60), lr(80)) == (0.1, 0.5, 0.1, 0.5, 0.1)
    assert lr(10) == lr(30) == pytest.approx(0.3)
    rising = [lr(step) for step in range(21)]
    assert rising == pytest.approx([0.1 + 0.4 * step / 20 for step in range(21)], rel=1e-14)
    assert rising[::-1] == pytest.approx([lr(step) for step in range(20, 41)], rel=1e-14)


def test_triangular_modes():
    halved = triangular(0.1, 0.5, 20, mode="triangular2")
    assert [halved(20 + 40 * cycle) for cycle in range(4)] == pytest.approx([0.5, 0.3, 0.2, 0.15], rel=1e-14)
    shrinking = triangular(0.1, 0.5, 20, mode="exp_range", gamma=0.99)
    tops = [shrinking(20 + 40 * cycle) for cycle in range(4)]
    assert tops == pytest.approx([0.1 + 0.4 * 0.99 ** (20 + 40 * c) for c in range(4)], rel=1e-14)
    by_epoch = triangular(0.1, 0.5, 2, mode="exp_range", gamma=0.99**10, steps_per_epoch=10)
    expected = [shrinking(step) for step in range(200)]
    assert [by_epoch(step) for step in range(200)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"mode": "triangular2"}, {"mode": "exp_range", "gamma": 0.995}])
@pytest.mark.parametrize("half", [20, 7, 1])
def test_triangular_is_cyclic_lr(torch_rates, half, options):
    lr = triangular(0.01, 0.5, half, **options)
    expected = torch_rates(
        "CyclicLR", 0.01, 300, base_lr=0.01, max_lr=0.5, step_size_up=half, cycle_momentum=False, **options
    )
    assert [lr(step) for step in range(300)] == pytest.approx(expected, rel=1e-12)


def test_cosine_restarts_of_the_paper():
    lr = cosine_restarts(0.5, 10, lr_min=0.1)
    assert lr(0) == lr(10) == lr(20) == lr(10**6) == 0.5
    assert lr(5) == pytest.approx(0.3) and lr(9) > 0.1
    assert all(a > b for a, b in pairwise(lr(step) for step in range(10)))


@pytest.mark.parametrize("t_mult", [1, 2])
def test_cosine_restarts_of_the_notes(t_mult):
    """Both ends are reached, so a period has T + 1 updates."""
    lr = cosine_restarts(0.5, 10, lr_min=0.1, t_mult=t_mult, inclusive=True)
    assert (lr(0), lr(10), lr(11)) == (0.5, 0.1, 0.5)
    second = 10 * t_mult
    assert lr(11 + second // 2) == pytest.approx(0.3)
    assert (lr(11 + second), lr(12 + second)) == (0.1, 0.5)
    for step in range(11):
        assert lr(step) == pytest.approx(0.1 + 0.2 * (1 + math.cos(math.pi * step / 10)), rel=1e-14)


@pytest.mark.parametrize(("period", "t_mult"), [(10, 1), (10, 2), (3, 3), (1, 2), (1, 1)])
def test_cosine_restarts_is_pytorchs(torch_rates, period, t_mult):
    lr = cosine_restarts(0.5, period, lr_min=0.01, t_mult=t_mult)
    expected = torch_rates("CosineAnnealingWarmRestarts", 0.5, 400, T_0=period, T_mult=t_mult, eta_min=0.01)
    assert [lr(step) for step in range(400)] == pytest.approx(expected, rel=1e-12)


def test_cosine_restarts_in_epochs():
    by_epoch, by_step = (
        cosine_restarts(0.5, 3, steps_per_epoch=8, t_mult=2),
        cosine_restarts(0.5, 24, t_mult=2),
    )
    assert [by_epoch(step) for step in range(200)] == [by_step(step) for step in range(200)]


@pytest.mark.parametrize("steps", [2, 3, 10, 100, 501])
@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize(("rise", "three_phase"), [(0.3, False), (0.25, True), (0.45, True), (0.9, False)])
def test_one_cycle_is_pytorchs(torch_rates, steps, shape, rise, three_phase):
    """The rate and the momentum, which goes the other way."""
    lr = one_cycle(0.5, steps, rise, div=20, final_div=1e3, shape=shape, three_phase=three_phase)
    beta = one_cycle_momentum(steps, 0.9, 0.8, rise, shape, three_phase)
    for key, ours in (("lr", lr), ("momentum", beta)):
        expected = torch_rates(
            "OneCycleLR", 0.5, steps, key, max_lr=0.5, total_steps=steps, pct_start=rise, div_factor=20,
            final_div_factor=1e3, anneal_strategy={"cosine": "cos"}.get(shape, shape),
            three_phase=three_phase, max_momentum=0.9, base_momentum=0.8,
        )  # fmt: skip
        assert [ours(step) for step in range(steps)] == pytest.approx(expected, rel=1e-9)


def test_one_cycle():
    lr = one_cycle(0.5, 100, rise=0.41, shape="linear", three_phase=True, div=10, final_div=100)
    assert (lr(0), lr(40)) == (0.05, 0.5)
    assert lr(80) == pytest.approx(0.05, rel=1e-12)  # as long down as up
    assert lr(99) == lr(1000) == pytest.approx(5e-4, rel=1e-12)
    by_epoch, by_step = one_cycle(0.5, 5, steps_per_epoch=20), one_cycle(0.5, 100)
    assert [by_epoch(step) for step in range(120)] == [by_step(step) for step in range(120)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: triangular(0.2, 0.1), r"triangular: expected 0 <= lr_min <= lr_max\. Received: lr_min=0\.2"),
        (lambda: triangular(0.1, math.inf), "triangular: expected 0 <= lr_min <= lr_max"),
        (lambda: triangular(0.1, 0.2, 0), "triangular: half_period: expected a whole number"),
        (lambda: triangular(0.1, 0.2, mode="sine"), "triangular: mode: expected 'triangular', "),
        (lambda: triangular(0.1, 0.2, mode="exp_range"), r"triangular: gamma: expected a number in \(0, 1\)"),
        (lambda: triangular(0.1, 0.2, gamma=0.9), "triangular: gamma: expected None unless"),
        (lambda: cosine_restarts(math.nan, 10), "cosine_restarts: expected 0 <= lr_min <= lr_max"),
        (lambda: cosine_restarts(0.1, 0), "cosine_restarts: period: expected a whole number"),
        (lambda: cosine_restarts(0.1, 10, t_mult=1.5), "cosine_restarts: t_mult: expected an integer"),
        (lambda: cosine_restarts(0.1, 10, t_mult=0), "cosine_restarts: t_mult: expected an integer"),
        (lambda: one_cycle(-1, 10), "one_cycle: lr_max: expected a number"),
        (lambda: one_cycle(0.1, 1), "one_cycle: steps: expected a whole number of updates, at least 2"),
        (lambda: one_cycle(0.1, 10, rise=1), r"one_cycle: rise: expected a number in \[0, 1\)"),
        (lambda: one_cycle(0.1, 10, rise=0.5, three_phase=True), r"one_cycle: rise: .* \[0, 0\.5\)"),
        (lambda: one_cycle(0.1, 10, div=0.5), r"one_cycle: div: expected a number in \[1, inf\)"),
        (lambda: one_cycle(0.1, 10, final_div=0), "one_cycle: final_div"),
        (lambda: one_cycle(0.1, 10, shape="cos"), "one_cycle: shape: expected 'cosine' or 'linear'"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
