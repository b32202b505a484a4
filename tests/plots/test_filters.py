"""Filters as pictures: every filter once, zero in the middle of the colours."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import plots

pytest.importorskip("matplotlib")


def conv(filters, channels, kernel_size=3):
    model = nn.Sequential([nn.Conv2D(filters, kernel_size)], input_shape=(8, 8, channels), seed=0)
    return model["conv1"]


@pytest.mark.parametrize("n", [1, 2, 6, 8, 20])
def test_grey(n):
    layer = conv(n, 1)
    figure = plots.filters(layer)
    figure.draw_without_rendering()
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == n
    limit = np.abs(layer.weight.data).max()
    for axis, kernel in zip(shown, layer.weight.data):
        np.testing.assert_array_equal(axis.images[0].get_array(), kernel[..., 0])
        np.testing.assert_allclose(axis.images[0].get_clim(), (-limit, limit), rtol=1e-6)
    title = figure._suptitle
    assert title.get_text().startswith(f"conv1: {n} filter")
    assert title.get_window_extent().x1 <= figure.bbox.x1


def test_colour():
    layer = conv(4, 3)
    figure = plots.filters(layer)
    limit = np.abs(layer.weight.data).max()
    for axis, kernel in zip(figure.axes, layer.weight.data):
        np.testing.assert_allclose(axis.images[0].get_array(), 0.5 + kernel / (2 * limit), rtol=1e-6)


def test_deeper_layers_show_one_channel():
    layer = conv(4, 6)
    with pytest.warns(
        UserWarning, match=r"conv1 \(Conv2D\) acts on 6 feature maps, not on an image; channel 2"
    ):
        figure = plots.filters(layer, channel=2)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), layer.weight.data[0, :, :, 2])


def test_filters_that_are_all_zero():
    layer = conv(2, 1)
    layer.weight.data[...] = 0
    plots.filters(layer).draw_without_rendering()


def test_other_layers():
    dense = nn.Sequential([nn.Dense(3)], input_shape=(2,), seed=0)["dense1"]
    for layer in (nn.Conv2D(3, 3), dense, nn.ReLU()):
        with pytest.raises(ValueError, match=r"layer: expected a built Conv2D\. Received: "):
            plots.filters(layer)
