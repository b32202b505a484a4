"""Activations and their derivatives, as the layers compute them (the notes, S7)."""

import numpy as np

from ..layers.activations import DEFAULT_ALPHA, Activation
from ..layers.base import Layer
from ..layers.containers import Sequential
from ..layers.dense import Dense
from ..layers.parametric import Maxout, PReLU
from ..testing import copy_of
from .figure import GRID, TRAIN, VALIDATION, panels

#: A change of more than this between two neighbouring points is a jump, not a slope.
JUMP = 0.1


def gallery():
    """All activations by name, as layers of one unit.

    `maxout` is the largest of three lines, `ramp of two relu` is `max(0, x + 1) - max(0, x - 1)`, the sum of
    two units that looks like a sigmoid (S7.4).
    """
    maxout = Sequential([Maxout(1, pieces=3)], input_shape=(1,), dtype="float64")
    maxout.theta[:] = -1, 0.2, 1.2, -1, 0, -1.5
    ramp = Sequential([Dense(2, activation="relu"), Dense(1)], input_shape=(1,), dtype="float64")
    ramp.theta[:] = 1, 1, 1, -1, 1, -1, 0
    names = {name: Activation(name) for name in DEFAULT_ALPHA}
    return names | {"prelu": PReLU(), "maxout": maxout, "ramp of two relu": ramp}


def activations(names=None, limit=4.0):
    """Every activation with its derivative, a panel each.

    Parameters
    ----------
    names : sequence of str or Layer, optional
        Names of `activation=`, `"prelu"`, `"maxout"`, `"ramp of two relu"`, or layers such as
        `LeakyReLU(0.3)`; all of the names if not given.
    limit : float
        x goes from -limit to limit.

    Returns
    -------
    matplotlib.figure.Figure
    """
    known = gallery()
    chosen = list(known if names is None else [names] if isinstance(names, (str, Layer)) else names)
    unknown = [name for name in chosen if not isinstance(name, Layer) and name not in known]
    if unknown or not chosen:
        raise ValueError(
            f"activations: names: expected layers, or some of {', '.join(known)}. "
            f"Received: {unknown[0] if unknown else chosen!r}"
        )
    figure, axes = panels(len(chosen), 1.95, 2.0, 7, sharex=True)
    for axis, name in zip(axes, chosen):
        layer = name if isinstance(name, Layer) else known[name]
        x, y, slope = curves(layer, limit)
        axis.axhline(0, color=GRID, linewidth=0.8)
        axis.axvline(0, color=GRID, linewidth=0.8)
        axis.plot(x, _broken(y), color=TRAIN, linewidth=1.6, label="f")
        axis.plot(x, _broken(slope), color=VALIDATION, linewidth=1.2, linestyle=(0, (4, 2)), label="f'")
        axis.set_title(name if isinstance(name, str) else repr(name), fontsize=9, loc="left")
        axis.set_ylim(max(-2.0, min(y.min(), slope.min()) - 0.2), min(2.5, max(y.max(), slope.max()) + 0.2))
    axes[0].legend(loc="upper left", frameon=False, fontsize=8, handlelength=1.8)
    return figure


def curves(layer, limit=4.0):
    """`(x, f(x), f'(x))` of a layer of one unit, on a grid that has 0 in it; float64, each (n,)."""
    model = copy_of(layer, (1,), "float64")
    x = np.linspace(-limit, limit, 801)
    y = model.forward(x[:, None]).copy()
    slope = model.backward(np.ones_like(y))
    return x, y[:, 0], slope[:, 0]


def _broken(y):
    """The curve with a gap where it jumps, so that no line is drawn there."""
    jumps = np.abs(np.diff(y, prepend=y[:1])) > JUMP
    return np.where(jumps, np.nan, y)
