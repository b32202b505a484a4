"""The roofline: which layers wait for memory, and which for arithmetic."""

from math import atan, degrees

from ..errors import require
from ..machine import copy_bandwidth, multiply_add_peak
from .figure import GRID, INK, MUTED, new_figure

#: Colour by the kind of layer; the others are grey.
COLOURS = {
    "Conv2D": "#1f6fb4", "Dense": "#d1622b", "BatchNorm": "#3d9a50",
    "Residual": "#c43e6b", "Concat": "#c43e6b",
    **dict.fromkeys(("MaxPool2D", "AvgPool2D", "GlobalAvgPool2D"), "#8a5fb5"),
}  # fmt: skip
MARKERS = {"forward": "o", "backward": "s"}

#: Where a name may stand: right, left, above, below, and the corners.
PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def roofline(model, x, y=None, loss=None, seconds=1.0):
    """Arithmetic intensity against speed of each layer's forward and backward pass, under the machine's roof.

    A layer that does few operations with each byte that it moves is limited by memory: left, under the slope.
    One that does many is limited by arithmetic: right, under the flat roof (Williams, Waterman & Patterson
    2009). The nearer to the roof a point is, the less there is to win by better code for its layer. The roof
    is measured now: the peak of the multiply-add units, and the bandwidth of copies within the caches and
    beyond them. Points are as large as their share of the time.

    Bytes are those that a pass has to move at least (`fastnn.profiling.profile`). Layers without
    multiply-adds, such as pooling, are given one operation for each number that they move. The roof is one
    for direct multiply-adds: Winograd's convolution gets the same result with fewer, and can pass it; such
    points have a dark edge.

    Parameters
    ----------
    model, x, y, loss, seconds
        As in `model.profile`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    report = model.profile(x, y, loss, seconds)
    peak = multiply_add_peak(dtype=report.dtype)
    memory = copy_bandwidth()
    return draw(report, peak, max(memory, copy_bandwidth(megabytes=1)), memory)


def draw(report, peak, caches, memory):
    """The picture of a profile under a roof of `peak` GFLOP/s and two bandwidths in GB/s."""
    points = list(_points(report))
    if not points:
        raise ValueError("model: expected a layer that computes something. Received: none")
    x, y = [p["intensity"] for p in points], [p["gflops"] for p in points]
    left, right = min(*x, 0.5 * peak / caches) / 2.5, max(*x, 2 * peak / memory) * 2
    low, high = min(y) / 4, max(*y, peak) * 2.5
    figure, axes = new_figure(9.0, 5.6)
    axis = axes[0, 0]
    axis.set(xscale="log", yscale="log", xlim=(left, right), ylim=(low, high))
    axis.grid(color=GRID, linewidth=0.5)
    _roof(axis, peak, caches, memory)
    if not all(point["counted"] for point in points):
        where = 1.1 / report.dtype.itemsize, 1.2 * low
        axis.text(*where, "no multiply-adds: one operation for each number moved", fontsize=7, color=MUTED)
    for point in points:
        axis.scatter(point["intensity"], point["gflops"], s=_area(point), marker=MARKERS[point["pass"]],
                     color=_colour(point["kind"]), alpha=0.75, linewidths=1.2 if point["winograd"] else 0,
                     edgecolors=INK, zorder=3)  # fmt: skip
    axis.set_xlabel("arithmetic intensity: operations for each byte moved", fontsize=9, color=MUTED)
    axis.set_ylabel("GFLOP/s", fontsize=9, color=MUTED)
    axis.set_title(f"{report.n_samples} samples, {report.dtype}: {report.whole_ms:.3g} ms a training step; "
                   "the larger the point, the more of it", fontsize=10, loc="left", pad=18)  # fmt: skip
    _legend(axis, points)
    _names(figure, axis, points)
    return figure


def _points(report):
    """A point for each pass of each layer that moves anything."""
    for row in report.rows:
        for name in MARKERS:
            moved, milliseconds = row[f"{name}_bytes"], row[f"{name}_ms"]
            if moved and milliseconds:
                operations = row[f"{name}_operations"] or moved / report.dtype.itemsize
                yield {
                    "name": row["layer"].split(" ")[0], "kind": row["kind"], "pass": name,
                    "intensity": operations / moved, "gflops": operations / milliseconds / 1e6,
                    "share": milliseconds / report.whole_ms, "winograd": row["winograd"],
                    "counted": bool(row[f"{name}_operations"]),
                }  # fmt: skip


def _colour(kind):
    return COLOURS.get(kind, MUTED)


def _roof(axis, peak, caches, memory):
    """Two slopes and a flat roof, with what they stand for."""
    left, right = axis.get_xlim()
    line = {"color": INK, "linewidth": 1.1}
    along = {"rotation_mode": "anchor", "transform_rotates_text": True, "fontsize": 8, "color": INK}
    for bandwidth, where, style in ((caches, "caches", "-"), (memory, "memory", "--")):
        ridge, rise = peak / bandwidth, 1.12 * bandwidth  # of the text, which stands a little above its line
        axis.plot([left, ridge, right], [left * bandwidth, peak, peak], linestyle=style, **line)
        at = max(left, min(0.5, ridge / 5))
        axis.text(at, at * rise, f"{where} {bandwidth:.0f} GB/s", rotation=degrees(atan(rise)), **along)
    axis.text(1.05 * peak / caches, 1.07 * peak, f"peak {peak:.0f} GFLOP/s", fontsize=8, color=INK)
    axis.axvspan(left, peak / caches, color="#f4ead9", alpha=0.5, linewidth=0, zorder=0)
    axis.axvspan(peak / memory, right, color="#e2ecf5", alpha=0.5, linewidth=0, zorder=0)
    top = {"transform": axis.get_xaxis_transform(), "va": "bottom", "fontsize": 8, "color": MUTED}
    axis.text(left, 1.01, " limited by memory", ha="left", **top)
    axis.text(peak / (caches * memory) ** 0.5, 1.01, "the caches decide", ha="center", **top)
    axis.text(right, 1.01, "limited by arithmetic ", ha="right", **top)


def _legend(axis, points):
    """Colours of the kinds, shapes of the passes, and the ring of Winograd."""
    kinds = dict.fromkeys(point["kind"] for point in points)
    for kind in kinds:
        axis.scatter([], [], s=36, marker="o", color=_colour(kind), label=kind)
    for name, marker in MARKERS.items():
        axis.scatter([], [], s=36, marker=marker, color="none", edgecolors=MUTED, label=name)
    if any(point["winograd"] for point in points):
        label = "Winograd: fewer multiply-adds\nthan counted, can pass the roof"
        axis.scatter([], [], s=36, color=COLOURS["Conv2D"], edgecolors=INK, linewidths=1.2, label=label)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def _names(figure, axis, points):
    """Names beside the points, first those with most time, where there is room."""
    figure.draw_without_rendering()
    boxes = require("matplotlib.transforms", "plot").Bbox
    pixels, inside = figure.dpi / 72, axis.get_window_extent()
    taken = [text.get_window_extent() for text in axis.texts]
    for point in points:
        x, y = axis.transData.transform((point["intensity"], point["gflops"]))
        taken.append(boxes.from_bounds(x, y, 0, 0).padded(_area(point) ** 0.5 / 2 * pixels))
    for point in sorted(points, key=_area, reverse=True):
        at = point["intensity"], point["gflops"]
        text = axis.annotate(point["name"], at, (0, 0), textcoords="offset points", fontsize=7, color=INK)
        for dx, dy in PLACES:
            away = _area(point) ** 0.5 / 2 + 2.5
            text.set_position((dx * away, dy * away))
            text.set(ha=("right", "center", "left")[dx + 1], va=("top", "center", "bottom")[dy + 1])
            box = text.get_window_extent()
            if inside.x0 < box.x0 and box.x1 < inside.x1 and not box.count_overlaps(taken):
                taken.append(box)
                break
        else:
            text.remove()


def _area(point):
    return 14 + 500 * point["share"]
