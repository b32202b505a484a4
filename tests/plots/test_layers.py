"""Pictures of the layers: lines are the monitor's numbers."""

import numpy as np
import pytest

from fastnn import plots
from fastnn.training import History

matplotlib = pytest.importorskip("matplotlib")

NAN = float("nan")


def history(epochs=3, **layers):
    made = History(["loss"])
    for epoch in range(epochs):
        made.append(epoch + 1, {"loss": 1.0})
        for quantity, curves in layers.items():
            for name, values in curves.items():
                made.record(quantity, name, values[epoch])
    return made


ALL = {
    "grad_norm": {"conv1": [0.1, 0.2, 0.3], "dense1": [1.0, 2.0, 3.0]},
    "update_ratio": {"conv1": [1e-3, 2e-3, 1e-2], "dense1": [1e-5, 1e-5, 1e-4]},
    "dead": {"conv1": [0.0, 0.25, 0.5]},
    "saturated": {"tanh1": [1.0, 0.5, 0.0]},
}


def drawn(figure):
    """Draw once, where overlaps and missing characters would warn."""
    figure.draw_without_rendering()
    return figure


def test_panels_and_lines():
    figure = drawn(plots.layers(history(**ALL)))
    titles = [axis.get_title(loc="left").split(" $")[0] for axis in figure.axes]
    assert titles == ["gradient norm", "update ratio", "dead units", "saturated units"]
    for axis, curves in zip(figure.axes, ALL.values()):
        assert [list(line.get_ydata()) for line in axis.lines][: len(curves)] == list(curves.values())
        assert list(axis.lines[0].get_xdata()) == [1, 2, 3]
    assert [axis.get_yscale() for axis in figure.axes] == ["log", "log", "linear", "linear"]
    first, second = (axis.lines[0].get_color() for axis in figure.axes[:2])
    assert first == second != figure.axes[0].lines[1].get_color()  # a layer has one colour


def test_one_legend_names_the_layers():
    figure = plots.layers(history(**ALL))
    legends = [axis.get_legend() for axis in figure.axes]
    assert [legend is None for legend in legends] == [True, True, True, False]
    assert [text.get_text() for text in legends[-1].get_texts()] == ["conv1", "dense1", "tanh1"]


def test_many_layers():
    norms = {f"dense{i}": [1.0, 1.0, 1.0] for i in range(40)}
    figure = drawn(plots.layers(history(grad_norm=norms)))
    assert len(figure.axes) == 1 and len(figure.axes[0].lines) >= 40
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(names) <= 15 and names[0] == "dense0" and names[-1] == "dense39"


def test_epochs_without_a_number_and_gradients_of_zero():
    figure = drawn(plots.layers(history(grad_norm={"a": [NAN, 0.5, 0.0]}, dead={"a": [NAN, NAN, 1.0]})))
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [NAN, 0.5, 0.0])
    assert figure.axes[1].lines[0].get_marker() == "o"  # a line of one point is invisible
    drawn(plots.layers(history(grad_norm={"a": [0.0, 0.0, 0.0]})))


def test_without_a_monitor():
    with pytest.raises(ValueError, match=r"^layers: history: expected one with layers\. .*LayerMonitor"):
        plots.layers(history())
