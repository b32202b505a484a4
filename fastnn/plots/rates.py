"""Learning rates: schedules side by side, and what the searches for a rate saw."""

from math import isfinite

import numpy as np

from .figure import GRID, INK, MUTED, TRAIN, VALIDATION, new_figure, panels


def learning_rates(schedules, steps, columns=4):
    """Schedules side by side, a panel each (the notes, S3.3, S4.6 to S4.8).

    Parameters
    ----------
    schedules : dict of str to callable
        Title of the panel -> `step -> value`; of momentum too.
    steps : int
        Updates to show.
    columns : int
        Most panels in a row.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not schedules or steps < 1:
        raise ValueError(
            f"learning_rates: expected at least one schedule and one step. "
            f"Received: {len(schedules)} schedules, steps={steps!r}"
        )
    figure, axes = panels(len(schedules), 2.8, 2.2, columns)
    for axis, (name, schedule) in zip(axes, schedules.items()):
        axis.plot(range(steps), [schedule(step) for step in range(steps)], color=TRAIN, linewidth=1.2,
                  marker="o" if steps == 1 else None)  # fmt: skip
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_xlabel("step", fontsize=8, color=MUTED)
        axis.grid(axis="y", color=GRID, linewidth=0.6)
    return figure


def range_test(result):
    """The loss of each batch against the rate, which rose, and where the loss fell fastest and was lowest.

    Parameters
    ----------
    result : RangeTest
        What `lr_range_test` returned.

    Returns
    -------
    matplotlib.figure.Figure
    """
    steepest, lowest = result.steepest_lr, result.lowest_lr
    figure, axes = new_figure(5.0, 3.2)
    axis = axes[0, 0]
    axis.plot(result.lrs, result.losses, color=TRAIN, alpha=0.35, linewidth=0.8, label="loss of a batch")
    axis.plot(result.lrs, result.smoothed, color=TRAIN, label="smoothed")
    for lr, style, label in ((steepest, "-", "falls fastest"), (lowest, ":", "lowest")):
        axis.axvline(lr, color=VALIDATION, linestyle=style, linewidth=1, label=f"{label}, {lr:.2g}")
    fall = result.smoothed[: int(np.argmin(result.smoothed)) + 1]
    height = fall.max() - fall.min()
    if height:  # what follows the lowest loss may be a thousand times higher
        axis.set_ylim(fall.min() - 0.2 * height, fall.max() + 0.6 * height)
    _rates(axis, "loss")
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(
        "learning rate range test" + (", until the loss rose" if result.diverged else ""),
        fontsize=10, loc="left",
    )  # fmt: skip
    return figure


def rate_search(result):
    """What each short training of a search came to, the best marked.

    Parameters
    ----------
    result : RateSearch
        What `log_search` returned.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = new_figure(5.0, 3.2)
    axis = axes[0, 0]
    axis.plot(result.lrs, result.values, color=TRAIN, marker="o", markersize=4)
    axis.plot(result.best_lr, result.best_value, "o", color=VALIDATION, markersize=6,
              label=f"best {result.best_value:.3g} with {result.best_lr:.3g}")  # fmt: skip
    failed = [lr for lr, value in zip(result.lrs, result.values) if not isfinite(value)]
    if failed:
        axis.plot(failed, [0.97] * len(failed), "x", color=INK, transform=axis.get_xaxis_transform(),
                  label="not finite")  # fmt: skip
    _rates(axis, result.monitor)
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(f"{result.monitor} after a short training", fontsize=10, loc="left")
    return figure


def _rates(axis, name):
    axis.set_xscale("log")
    axis.set_xlabel("learning rate", fontsize=8, color=MUTED)
    axis.set_ylabel(name, fontsize=8, color=MUTED)
    axis.grid(axis="y", color=GRID, linewidth=0.6)
