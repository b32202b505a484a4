"""The gallery: every public activation is in it, and its lines are the twin's numbers."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import layers, plots
from fastnn.layers.activations import DEFAULT_ALPHA, Activation
from fastnn.plots.activations import curves, gallery
from fastnn.reference import activations as twin

pytest.importorskip("matplotlib")

MORE = {"prelu", "maxout", "ramp of two relu"}


def drawn(figure):
    """Draw once, where overlaps and missing characters would warn."""
    figure.draw_without_rendering()
    return figure


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes if axis.axison]


def test_every_public_activation_is_there():
    shown = titles(drawn(plots.activations()))
    assert set(shown) == set(DEFAULT_ALPHA) | MORE and len(shown) == len(set(shown))
    public = [getattr(layers, name) for name in layers.__all__]
    public = [c for c in public if isinstance(c, type) and issubclass(c, Activation) and c is not Activation]
    assert len(public) >= 14
    assert {layer().function for layer in public} <= set(shown)


@pytest.mark.parametrize("name", DEFAULT_ALPHA)
def test_the_lines_are_function_and_derivative(name):
    figure = plots.activations([name])
    f, slope = (line for line in figure.axes[0].lines if line.get_label() in ("f", "f'"))
    x = f.get_xdata()
    assert x[0] == -4 and x[-1] == 4 and 0 in x
    y, dy, alpha = np.empty_like(x), np.empty_like(x), DEFAULT_ALPHA[name]
    twin.activation_forward(x, y, name, alpha)
    saved = x if name in twin.SAVES_INPUT else y
    twin.activation_backward(np.ones_like(x), saved, dy, name, alpha)
    for line, expected in ((f, y), (slope, dy)):
        there = ~np.isnan(line.get_ydata())
        assert there.sum() >= len(x) - 2  # but for jumps
        np.testing.assert_allclose(line.get_ydata()[there], expected[there], rtol=1e-12, atol=1e-14)


def test_maxout_is_convex_and_the_ramp_is_a_ramp():
    x, y, slope = curves(gallery()["maxout"])
    lines = np.outer(x, (-1, 0.2, 1.2)) + (-1, 0, -1.5)
    np.testing.assert_allclose(y, lines.max(axis=1), atol=1e-15)
    assert (np.diff(y, 2) > -1e-12).all() and set(np.round(slope, 12)) == {-1, 0.2, 1.2}
    x, y, _ = curves(gallery()["ramp of two relu"])
    np.testing.assert_allclose(y, np.clip(x + 1, 0, 2), atol=1e-15)  # S7.4


def test_a_jump_is_no_line():
    figure = plots.activations("step")
    line = next(line for line in figure.axes[0].lines if line.get_label() == "f")
    at = int(np.flatnonzero(np.isnan(line.get_ydata()))[0])
    assert np.isnan(line.get_ydata()).sum() == 1 and line.get_xdata()[at] == 0


def test_layers_of_ones_own():
    leaky = nn.LeakyReLU(0.3)
    figure = drawn(plots.activations([leaky, "relu"]))
    assert titles(figure) == ["LeakyReLU(alpha=0.3)", "relu"]
    assert next(iter(figure.axes[0].lines[-2].get_ydata())) == pytest.approx(-1.2)
    assert leaky.workspace is None  # a copy was asked
    model = nn.Sequential([nn.PReLU()], input_shape=(1,), seed=0)
    model.theta[:] = 0.7
    assert curves(model["prelu1"])[1][0] == pytest.approx(-2.8)


@pytest.mark.parametrize(
    ("names", "message"),
    [(["reluu"], "Received: 'reluu'"), ([], r"Received: \[\]"), ("elo", "Received: 'elo'")],
)
def test_unknown_names(names, message):
    with pytest.raises(
        ValueError, match=rf"^activations: names: expected layers, or some of linear, .*{message}"
    ):
        plots.activations(names)
