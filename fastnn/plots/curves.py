"""Learning curves: what training and validation did, epoch by epoch."""

from ..metrics import better
from .figure import GRID, MUTED, TRAIN, VALIDATION, new_figure


def learning_curves(history, stopping=None):
    """One panel a quantity, training and validation in it, the best validation epoch marked.

    Parameters
    ----------
    history : History or dict of str to list of float
        `{"loss": [...], "val_loss": [...], "accuracy": [...], ...}`, one number an epoch.
    stopping : EarlyStopping, optional
        Of that training: a line marks its best epoch, whose parameters it kept, and a grey band the epochs
        that it then waited (the notes, S6.5).

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = {name: list(history[name]) for name in history}
    names = [
        name for name in columns if not name.startswith("val_") and name not in ("epoch", "time", "seconds")
    ]
    names = [name for name in names if columns[name] and name != "lr"] + (["lr"] if columns.get("lr") else [])
    figure, axes = new_figure(3.6 * max(1, len(names)), 3.0, 1, max(1, len(names)))
    for axis, name in zip(axes[0], names):
        epochs = range(1, len(columns[name]) + 1)
        marker = "o" if len(columns[name]) == 1 else None
        axis.plot(epochs, columns[name], color=TRAIN, label="training", marker=marker)
        validation = columns.get(f"val_{name}")
        if validation:
            label = "validation"
            at = _best(name, validation)
            if at is not None:
                axis.plot(at + 1, validation[at], "o", color=VALIDATION, markersize=5)
                label = f"validation, best {validation[at]:.3f} in epoch {at + 1}"
            axis.plot(epochs, validation, color=VALIDATION, label=label, marker=marker)
        if stopping is not None and stopping.best_epoch:
            best = stopping.best_epoch
            label = f"early stopping: epoch {best}"
            axis.axvspan(best, max(best, len(columns[name])), color=GRID, alpha=0.5, linewidth=0)
            axis.axvline(best, color=MUTED, linewidth=1, linestyle="--", label=label, zorder=1)
        if validation or stopping is not None:
            axis.legend(framealpha=0.8, edgecolor="none", borderpad=0.2, fontsize=8)
        axis.set_title({"lr": "learning rate"}.get(name, name), fontsize=10, loc="left")
        axis.set_xlabel("epoch", fontsize=8, color=MUTED)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.grid(axis="y", color=GRID, linewidth=0.6)
    return figure


def _best(name, values):
    """Position of the best value, or None: of NaN, and of metrics whose better values are not known."""
    numbers = [i for i, value in enumerate(values) if value == value]
    try:
        best = {"min": min, "max": max}[better(name)]
    except ValueError:
        return None
    return best(numbers, key=values.__getitem__) if numbers else None
