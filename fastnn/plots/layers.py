"""What happens inside the layers, epoch by epoch: the numbers of `LayerMonitor` as pictures."""

from math import isfinite

from ..errors import require
from ..training.advice import UPDATE_HIGH, UPDATE_LOW
from .figure import GRID, MUTED, new_figure

#: Quantity of `history.layers` -> title of its panel.
PANELS = {
    "grad_norm": "gradient norm",
    "update_ratio": "update ratio $|dw|/|w|$, grey: usual",
    "dead": "dead units",
    "saturated": "saturated units",
}
#: More names than this would not fit beside the panels.
MOST_NAMES = 14


def layers(history):
    """Gradient norms, update ratios, and shares of dead and saturated units, a line for each layer.

    The darker the line, the nearer the layer is to the input. Where gradients vanish, the dark lines lie far
    below the light ones (the notes, S7.2).

    Parameters
    ----------
    history : History
        Of a training with `LayerMonitor`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    quantities = [name for name in PANELS if history.layers.get(name)]
    if not quantities:
        raise ValueError(
            "layers: history: expected one with layers. Received: none; train with "
            "fit(..., callbacks=[fastnn.LayerMonitor()])"
        )
    names = list(dict.fromkeys(layer for name in quantities for layer in history.layers[name]))
    shades = require("matplotlib", "plot").colormaps["viridis"]
    colours = {layer: shades(0.92 * i / max(1, len(names) - 1)) for i, layer in enumerate(names)}
    figure, axes = new_figure(3.6 * len(quantities) + 1.4, 3.2, 1, len(quantities))
    for axis, name in zip(axes[0], quantities):
        for layer, values in history.layers[name].items():
            axis.plot(history.epochs, values, color=colours[layer], linewidth=1.4,
                      marker="o" if sum(map(isfinite, values)) == 1 else None)  # fmt: skip
        everything = [v for values in history.layers[name].values() for v in values]
        if name in ("dead", "saturated"):
            axis.set_ylim(-0.03, 1.03)
            axis.yaxis.set_major_formatter(require("matplotlib.ticker", "plot").PercentFormatter(1))
        elif any(v > 0 for v in everything):
            axis.set_yscale("log")
        if name == "update_ratio":
            axis.axhspan(UPDATE_LOW, UPDATE_HIGH, color=GRID, alpha=0.5, linewidth=0, zorder=0)
        axis.set_title(PANELS[name], fontsize=10, loc="left")
        axis.set_xlabel("epoch", fontsize=8, color=MUTED)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axis.grid(axis="y", color=GRID, linewidth=0.6)
    every = -(-len(names) // MOST_NAMES)
    shown = [layer for i, layer in enumerate(names) if i % every == 0 or i == len(names) - 1]
    for layer in shown:
        axes[0, -1].plot([], [], color=colours[layer], label=layer)
    title = "layers, from the input" if every == 1 else "some of the layers"
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, title=title,
                       title_fontsize=8, alignment="left")  # fmt: skip
    return figure
