"""Surfaces of two parameters as landscapes and contours, and paths of optimizers on them (S2.15, S3.12)."""

from pathlib import Path

import numpy as np

from ..errors import require
from ..optimizers import NAG, Optimizer
from ..theory import descent
from .figure import GRID, INK, MUTED, PALETTE, new_figure, panels

N_LEVELS = 16
N_GRID = 201
#: Frames of an animation at most; of a longer path every k-th point is shown.
MOST_FRAMES = 120
STYLES = ("-", (0, (4, 1.5)), (0, (1, 1)))


def surface(surface, path=None):
    """A surface as a landscape, and as contours with the gradient at some points.

    Where rings are close, the surface is steep, and a step of gradient descent is long; where they are far
    apart, it is gentle. The gradient is orthogonal to the ring (the notes, S2.15).

    Parameters
    ----------
    surface : Surface
        Of `fastnn.theory.surfaces`.
    path : ndarray (n, 2), optional
        Points to draw on it, from `fastnn.theory.descend`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = new_figure(9.5, 4.0, 1, 2)
    axes[0, 0].remove()
    landscape, axis = figure.add_subplot(1, 2, 1, projection="3d"), axes[0, 1]
    x, y, z = _grid(surface)
    top = np.quantile(z, 0.93) if surface.log else z.max()
    landscape.plot_surface(x, y, np.minimum(z, top), cmap="Blues_r", rcount=70, ccount=70, linewidth=0)
    landscape.view_init(elev=38, azim=-120)
    landscape.tick_params(colors=MUTED, labelsize=7)
    _contours(axis, surface)
    left, right, bottom, upper = surface.box
    places = np.stack(np.meshgrid(np.linspace(left, right, 8)[1:-1], np.linspace(bottom, upper, 7)[1:-1]), -1)
    slope = surface.gradient(places)
    length = np.linalg.norm(slope, axis=-1, keepdims=True)
    # The length of an arrow is the root of the gradient's: plains and cliffs can both be seen.
    arrows = -slope / np.sqrt(np.maximum(length, 1e-300)) / np.sqrt(length.max()) * (upper - bottom) / 7
    axis.quiver(places[..., 0], places[..., 1], arrows[..., 0], arrows[..., 1], color=INK, angles="xy",
                scale_units="xy", scale=1, width=0.004)  # fmt: skip
    _arrow_in_legend(axis, INK, "downhill, against the gradient")
    if path is not None:
        path = np.asarray(path)
        axis.plot(*path.T, color=PALETTE[1], linewidth=1.2, marker=".", markersize=4, label="path")
        inside = (path >= (left, bottom)).all(axis=1) & (path <= (right, upper)).all(axis=1)
        inside = np.where(inside[:, None], path, np.nan)
        heights = np.minimum(surface(inside), top) + 0.01 * (top - z.min())
        landscape.plot(*inside.T, heights, color=PALETTE[1], linewidth=1.4, zorder=10)
    axis.legend(loc="upper left", bbox_to_anchor=(0, -0.1), frameon=False, fontsize=8, ncols=3)
    figure.suptitle(f"{surface.name}: {surface.formula}", fontsize=10, x=0.01, ha="left")
    return figure


def optimizer_paths(optimizers, surface, start=None, steps=100, columns=4):
    """Paths of optimizers from the same start, side by side.

    Parameters
    ----------
    optimizers : sequence of Optimizer, or dict of str to Optimizer
        Copies of them do the work; the keys are the titles.
    surface : Surface
        Of `fastnn.theory.surfaces`.
    start : (float, float), optional
        `surface.start` if not given.
    steps : int
    columns : int
        Most panels in a row.

    Returns
    -------
    matplotlib.figure.Figure
    """
    paths = _paths("optimizer_paths", optimizers, surface, start, steps)
    figure, axes = panels(len(paths), 2.9, 2.6, columns, above=0.5)
    for axis, (name, path) in zip(axes, paths.items()):
        _contours(axis, surface)
        axis.plot(*path.T, color=PALETTE[1], linewidth=1.2, marker=".", markersize=3, label="path")
        axis.plot(*path[0], "o", color="white", markeredgecolor=INK, markersize=6, label="start")
        axis.plot(*path[-1], "o", color=PALETTE[1], markeredgecolor=INK, markersize=6, label="end")
        axis.set_title(f"{name}: {_height(surface, path)}", fontsize=9, loc="left")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="upper right", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(f"{surface.name}: f after {steps} steps", fontsize=10, x=0.01, ha="left")
    return figure


def animate_paths(optimizers, surface, file, start=None, steps=100, fps=12):
    """Optimizers that run from the same start, all on one map, as a moving picture.

    Parameters
    ----------
    optimizers, surface, start, steps
        As in `optimizer_paths`.
    file : str or Path
        `.gif`, or `.html` with buttons to stop it and to go step by step. Of more than 120 steps only as many
        points are shown.
    fps : int
        Pictures a second.
    """
    file = Path(file)
    if file.suffix not in (".gif", ".html"):
        raise ValueError(f"animate_paths: file: expected a name that ends in .gif or .html. Received: {file}")
    paths = _paths("animate_paths", optimizers, surface, start, steps)
    animation = require("matplotlib.animation", "plot")
    if file.suffix == ".gif":
        require("PIL", "plot")
    figure, axes = new_figure(7.0, 4.6)
    axis = axes[0, 0]
    _contours(axis, surface)
    axis.plot(*next(iter(paths.values()))[0], "o", color="white", markeredgecolor=INK, markersize=6)
    lines, heads = [], []
    for i, name in enumerate(paths):
        look = {"color": PALETTE[i % len(PALETTE)], "linestyle": STYLES[i % len(STYLES)]}
        lines += axis.plot([], [], linewidth=1.5, label=name, **look)
        heads += axis.plot([], [], "o", color=look["color"], markeredgecolor="white", markersize=6)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    title = axis.set_title("", fontsize=10, loc="left")
    every = -(-(steps + 1) // MOST_FRAMES)

    def show(step):
        for line, head, path in zip(lines, heads, paths.values()):
            line.set_data(*path[: step + 1].T)
            head.set_data(*path[step : step + 1].T)
        title.set_text(f"{surface.name}, step {step}")

    moving = animation.FuncAnimation(
        figure, show, frames=[*range(0, steps, every), steps], interval=1000 / fps
    )
    if file.suffix == ".gif":
        moving.save(file, writer=animation.PillowWriter(fps))
    else:
        file.write_text(moving.to_jshtml(fps), encoding="utf-8")


def effective_rates(optimizers, surface, start=None, steps=100, columns=4):
    """What the learning rate of each parameter amounts to on the way, `-dw / g`, side by side (S3.5 to S3.7).

    Parameters
    ----------
    optimizers, surface, start, steps, columns
        As in `optimizer_paths`.

    Returns
    -------
    matplotlib.figure.Figure
        Rates that are negative, where momentum carries a parameter uphill, are left out.
    """
    paths = _paths("effective_rates", optimizers, surface, start, steps)
    figure, axes = panels(len(paths), 2.8, 2.3, columns, above=0.4, sharey=True, sharex=True)
    for axis, (name, path) in zip(axes, paths.items()):
        rates = descent.effective_rates(path, surface)
        rates = np.where(rates > 0, rates, np.nan)
        for values, colour, style, label in zip(rates.T, PALETTE, STYLES, ("rate of x", "rate of y")):
            axis.plot(range(1, steps + 1), values, color=colour, linestyle=style, label=label)
        axis.set_yscale("log")
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_xlabel("step", fontsize=8, color=MUTED)
        axis.grid(axis="y", color=GRID, linewidth=0.6)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="upper right", ncols=2, frameon=False, fontsize=8)
    figure.suptitle(f"effective learning rates: {surface.name}", fontsize=10, x=0.01, ha="left")
    return figure


def look_ahead(surface, lr=0.02, momentum=0.9, start=None, steps=100):
    """Two steps of Nesterov's method beside those of momentum: one that goes on, one that brakes (S3.2).

    Both begin with the momentum's part, `w' = w - lr momentum u`. Momentum then adds the gradient at w, where
    it came from; NAG that at w', where it is going. The first step shown is one where the gradient at w'
    agrees with the velocity; the second is the first that would overshoot: at w the gradient still agrees, at
    w' it is against.

    Parameters
    ----------
    surface : Surface
    lr, momentum : float
    start : (float, float), optional
        `surface.start` if not given.
    steps : int
        Among how many steps to look.

    Returns
    -------
    matplotlib.figure.Figure
    """
    path = descent.descend(NAG(lr, momentum), surface, start, steps)
    w, velocity = path[1:-1], -np.diff(path, axis=0)[:-1]  # lr u
    ahead = w - momentum * velocity
    here, there = surface.gradient(w), surface.gradient(ahead)
    along_here, along_there = (here * velocity).sum(-1), (there * velocity).sum(-1)
    cases = {"goes on": along_there > 0, "brakes": (along_here > 0) & (along_there < 0)}
    if not all(found.any() for found in cases.values()):
        raise ValueError(
            f"look_ahead: expected a path that overshoots. Received: none with lr={lr:g}, "
            f"momentum={momentum:g} in {steps} steps; another start, or a larger momentum, may"
        )
    figure, axes = new_figure(9.0, 3.9, 1, 2)
    for axis, (title, found) in zip(axes[0], cases.items()):
        t = int(np.argmax(found))
        _contours(axis, surface)
        points = np.array([w[t], ahead[t], ahead[t] - lr * there[t], ahead[t] - lr * here[t]])
        _arrow(axis, points[0], points[1], INK, r"momentum, $-lr\,\beta u$")
        _arrow(axis, points[1], points[2], PALETTE[1], "NAG: gradient at w'")
        _arrow(axis, points[1], points[3], PALETTE[0], "momentum: gradient at w")
        for point, name in zip(points, ("w", "w'")):
            axis.annotate(name, point, (5, 5), textcoords="offset points", fontsize=9, color=INK)
        middle, size = (points.max(0) + points.min(0)) / 2, 0.75 * np.ptp(points, axis=0).max()
        axis.set(xlim=middle[0] + size * np.array([-1, 1]), ylim=middle[1] + size * np.array([-1, 1]))
        axis.set_title(f"step {t + 2}: the gradient ahead {title}", fontsize=9, loc="left")
    arrows = [handles[-3:] for handles in axes[0, 1].get_legend_handles_labels()]  # the minimum is far away
    axes[0, 1].legend(*arrows, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    figure.suptitle(f"Nesterov's look-ahead: {surface.name}", fontsize=10, x=0.01, ha="left")
    return figure


def _arrow(axis, start, end, colour, label):
    axis.quiver(*start, *(end - start), color=colour, angles="xy", scale_units="xy", scale=1, width=0.009,
                zorder=3)  # fmt: skip
    _arrow_in_legend(axis, colour, label)


def _arrow_in_legend(axis, colour, label):
    axis.plot([], [], marker=r"$\rightarrow$", markersize=11, color=colour, linestyle="none", label=label)


def _paths(where, optimizers, surface, start, steps):
    """Title -> path; of two optimizers of one class the second is numbered."""
    if isinstance(optimizers, Optimizer):
        optimizers = [optimizers]
    if not isinstance(optimizers, dict):
        named: dict = {}
        for optimizer in optimizers:
            name = kind = type(optimizer).__name__
            while name in named:
                name = f"{kind} {sum(key.split()[0] == kind for key in named) + 1}"
            named[name] = optimizer
        optimizers = named
    if not optimizers or steps < 1:
        raise ValueError(
            f"{where}: optimizers, steps: expected at least one of each. "
            f"Received: {len(optimizers)} optimizers, steps={steps!r}"
        )
    return {name: descent.descend(o, surface, start, steps) for name, o in optimizers.items()}


def _grid(surface):
    left, right, bottom, top = surface.box
    x, y = np.meshgrid(np.linspace(left, right, N_GRID), np.linspace(bottom, top, N_GRID))
    return x, y, surface(np.stack([x, y], axis=-1))


def _contours(axis, surface):
    """The map: blue is low; levels differ by the same height, or, with `surface.log`, hold the same area."""
    x, y, z = _grid(surface)
    if surface.log:
        levels = np.unique(np.quantile(z, np.linspace(0.004, 0.97, N_LEVELS)))
    else:
        levels = np.linspace(z.min(), z.max(), N_LEVELS + 2)[1:-1]
    steps = [z.min(), *levels, z.max()]
    norm = require("matplotlib.colors", "plot").BoundaryNorm(steps, 256)
    axis.contourf(x, y, z, steps, cmap="Blues_r", norm=norm, alpha=0.55)
    axis.contour(x, y, z, levels, colors=MUTED, linewidths=0.5, linestyles="solid")
    for i, minimum in enumerate(surface.minima):
        axis.plot(*minimum, "*", color=PALETTE[5], markeredgecolor=INK, markersize=9, linestyle="none",
                  label=None if i else "minimum")  # fmt: skip
    axis.set(xlim=surface.box[:2], ylim=surface.box[2:])


def _height(surface, path):
    value = float(surface(path[-1]))
    return "diverged" if not np.isfinite(value) else f"{value:.2g}"
