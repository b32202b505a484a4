"""Pictures of rates: lines are the schedules' and the results' numbers."""

import numpy as np
import pytest

from fastnn import plots, schedules
from fastnn.training import RangeTest, RateSearch

pytest.importorskip("matplotlib")

SCHEDULES = {
    "step decay": schedules.step_decay(0.1, 10), "triangular": schedules.triangular(0.0, 0.1),
    "cosine": schedules.cosine_restarts(0.1, 20), "warm-up": schedules.warmup(0.1, 20),
    "momentum": schedules.sutskever_momentum(period=10),
}  # fmt: skip


def drawn(figure):
    """Draw once, where overlaps and missing characters would warn."""
    figure.draw_without_rendering()
    return figure


def test_schedules_side_by_side():
    figure = drawn(plots.learning_rates(SCHEDULES, 60))
    shown = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title(loc="left") for axis in shown] == list(SCHEDULES)
    assert len(figure.axes) == 8  # two rows of four
    for axis, schedule in zip(shown, SCHEDULES.values()):
        assert list(axis.lines[0].get_xdata()) == list(range(60))
        assert list(axis.lines[0].get_ydata()) == [schedule(step) for step in range(60)]


def test_one_schedule_and_one_step():
    figure = drawn(plots.learning_rates({"constant": schedules.constant(0.1)}, 1))
    assert len(figure.axes) == 1 and figure.axes[0].lines[0].get_marker() == "o"


@pytest.mark.parametrize(("given", "steps"), [({}, 10), (SCHEDULES, 0)])
def test_nothing_to_draw(given, steps):
    with pytest.raises(ValueError, match=r"^learning_rates: expected at least one schedule and one step"):
        plots.learning_rates(given, steps)


@pytest.mark.parametrize("diverged", [False, True])
def test_a_range_test(diverged):
    lrs = np.geomspace(1e-4, 1, 9)
    smoothed = np.array([2.0, 2.0, 1.9, 1.6, 0.9, 0.5, 0.4, 0.6, 3.0])
    axis = drawn(plots.range_test(RangeTest(lrs, smoothed + 0.1, smoothed, diverged))).axes[0]
    assert list(axis.lines[0].get_ydata()) == list(smoothed + 0.1)
    assert list(axis.lines[1].get_ydata()) == list(smoothed)
    assert [line.get_xdata()[0] for line in axis.lines[2:]] == [lrs[4], lrs[6]]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["loss of a batch", "smoothed", "falls fastest, 0.01", "lowest, 0.1"]
    assert axis.get_ylim()[0] < 0.4 and 2.0 < axis.get_ylim()[1] < 3.0  # not up to where it blew up
    assert axis.get_xscale() == "log" and ("rose" in axis.get_title(loc="left")) == diverged


def test_a_search():
    lrs, values = np.array([0.01, 0.1, 1.0, 10.0]), np.array([0.7, 0.2, 0.5, np.nan])
    found = RateSearch(lrs, values, "val_loss", 0.1, 0.2, [None] * 4)
    axis = drawn(plots.rate_search(found)).axes[0]
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), values)
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["best 0.2 with 0.1", "not finite"]
    assert axis.lines[2].get_xdata() == [10.0] and axis.get_ylabel() == "val_loss"
    finite = RateSearch(lrs[:3], values[:3], "val_loss", 0.1, 0.2, [None] * 3)
    assert len(drawn(plots.rate_search(finite)).axes[0].lines) == 2
