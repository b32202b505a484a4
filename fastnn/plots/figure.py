"""Figures without global state: no window opens, and no other program's settings change."""

from ..errors import require

INK, MUTED, GRID = "#222222", "#777777", "#dddddd"
TRAIN, VALIDATION = "#1f6fb4", "#d1622b"
#: Colours that the colour-blind can tell apart too (Okabe & Ito 2008).
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", INK)


def new_figure(width, height, rows=1, columns=1, **options):
    """A figure and its array of axes (always two-dimensional)."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=MUTED, labelsize=8)
    return figure, axes


def panels(n, width, height, most, above=0.0, **options):
    """A figure and a list of n axes of that size, at most so many in a row; there is room `above` them."""
    columns = min(most, n)
    rows = -(-n // columns)
    figure, axes = new_figure(width * columns, height * rows + above, rows, columns, **options)
    for axis in axes.flat[n:]:
        axis.axis("off")
    return figure, list(axes.flat[:n])


def save(figure, path, dpi=150):
    """Write a figure to a file; the ending of the name decides the format."""
    figure.savefig(path, dpi=dpi)
