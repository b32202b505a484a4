"""examples/optimizer_race.py: every public optimizer takes part and keeps its budget (S3.12)."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from fastnn import optimizers

race = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "optimizer_race.py"))
VALLEY, RATE, _ = race["RACES"][0]


def test_every_optimizer_takes_part():
    everyone = set(optimizers.__all__) - {"Optimizer"}
    assert set(race["BUDGET"]) == set(race["optimizers"](0.1)) == everyone
    for name, optimizer in race["optimizers"](0.1).items():
        assert type(optimizer).__name__ == name


@pytest.mark.parametrize("name", race["BUDGET"])
def test_each_keeps_its_budget(name):
    optimizer, budget = race["optimizers"](RATE)[name], race["BUDGET"][name]
    steps = race["steps_to_goal"](optimizer, VALLEY, budget)
    assert steps is not None and 0.6 * budget < steps <= budget  # a budget is no guess


def test_losses():
    table = race["losses"]()
    assert list(table) == list(race["BUDGET"])
    assert np.isfinite(list(table.values())).all()
    starts = [float(surface(surface.start)) for surface, _, _ in race["RACES"]]
    for name, row in table.items():
        assert all(loss < start for loss, start in zip(row, starts))
        assert (row[2] < 0) == (name != "SGD")  # alone, it is still on the saddle
