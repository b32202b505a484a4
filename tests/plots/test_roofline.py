"""The roofline shows a profile's numbers; names keep clear of each other."""

import itertools

import numpy as np
import pytest

import fastnn as nn
from fastnn import plots
from fastnn.plots.roofline import draw
from fastnn.profiling import Profile

pytest.importorskip("matplotlib")


def row(layer, kind, forward, backward, winograd=False):
    """A row with `(ms, operations, bytes)` of each pass."""
    values = {
        "layer": f"{layer} ({kind})",
        "kind": kind,
        "output_shape": (1,),
        "share": 0.1,
        "winograd": winograd,
    }
    for name, numbers in (("forward", forward), ("backward", backward)):
        values |= {f"{name}_{what}": n for what, n in zip(("ms", "operations", "bytes"), numbers)}
    return values


ROWS = [
    row("conv1", "Conv2D", (1.0, 100e6, 4e6), (2.0, 200e6, 8e6)),
    row("maxpool1", "MaxPool2D", (0.5, 0, 5e6), (0.25, 0, 5e6)),
    row("flatten1", "Flatten", (0.001, 0, 0), (0.001, 0, 0)),
    row("dense1", "Dense", (0.5, 50e6, 50e6), (0, 0, 0)),
]


def report_of(rows, dtype="float32"):
    return Profile(rows, 5.0, 0.5, 10, 32, np.dtype(dtype))


def points(figure):
    """`{(x, y): collection}` of the points."""
    found = {}
    for collection in figure.axes[0].collections:
        for x, y in np.asarray(collection.get_offsets()):
            found[round(float(x), 6), round(float(y), 6)] = collection
    return found


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("float64", 8)])
def test_points(dtype, width):
    figure = draw(report_of(ROWS, dtype), 200.0, 100.0, 20.0)
    expected = {
        (25, 100), (25, 100), (1, 100),  # conv1 twice in one place, and the forward pass of dense1
        (1 / width, 10 / width), (1 / width, 20 / width),
    }  # fmt: skip
    assert set(points(figure)) == expected
    assert labels(figure) == ["Conv2D", "MaxPool2D", "Dense", "forward", "backward"]
    assert "no multiply-adds: one operation for each number moved" in texts(figure)


def test_the_roof():
    figure = draw(report_of(ROWS), 200.0, 100.0, 20.0)
    caches, memory = figure.axes[0].lines
    left, right = figure.axes[0].get_xlim()
    np.testing.assert_allclose(caches.get_xdata(), [left, 2, right])
    np.testing.assert_allclose(caches.get_ydata(), [left * 100, 200, 200])
    np.testing.assert_allclose(memory.get_xdata(), [left, 10, right])
    np.testing.assert_allclose(memory.get_ydata(), [left * 20, 200, 200])
    assert {"caches 100 GB/s", "memory 20 GB/s", "peak 200 GFLOP/s"} <= set(texts(figure))
    assert left < 0.25
    assert right > 25


def test_larger_points_took_more_time():
    found = points(draw(report_of(ROWS), 200.0, 100.0, 20.0))
    assert found[0.25, 2.5].get_sizes()[0] > found[0.25, 5].get_sizes()[0]


def test_winograd_has_an_edge_and_a_note():
    rows = [row("conv1", "Conv2D", (1.0, 900e6, 4e6), (2.0, 200e6, 8e6), winograd=True), *ROWS[1:]]
    figure = draw(report_of(rows), 200.0, 100.0, 20.0)
    assert labels(figure)[-1] == "Winograd: fewer multiply-adds\nthan counted, can pass the roof"
    found = points(figure)
    assert found[225, 900].get_linewidths()[0] > 0
    assert found[1, 100].get_linewidths()[0] == 0
    low, high = figure.axes[0].get_ylim()
    assert low < 2.5
    assert high > 900


def test_names_do_not_overlap():
    rng = np.random.default_rng(0)
    rows = [
        row(f"residual{i}.body.conv1", "Conv2D", *((1.0, *n) for n in rng.uniform(1e8, 3e8, (2, 2))))
        for i in range(15)
    ]
    figure = draw(report_of(rows), 200.0, 100.0, 20.0)
    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if text.get_text().startswith("residual")]
    boxes = [text.get_window_extent() for text in names]
    assert 5 < len(boxes) < 30
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    inside = figure.axes[0].get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)


@pytest.fixture
def measured(monkeypatch):
    """A machine that needs no measuring."""
    import sys

    functions = sys.modules["fastnn.plots.roofline"]
    monkeypatch.setattr(
        functions, "multiply_add_peak", lambda dtype: {"float32": 200.0, "float64": 100.0}[str(dtype)]
    )
    monkeypatch.setattr(functions, "copy_bandwidth", lambda megabytes=256: 50.0 if megabytes == 256 else 40.0)


@pytest.mark.parametrize(("dtype", "peak"), [("float32", 200), ("float64", 100)])
def test_a_model(measured, dtype, peak):
    model = nn.models.lenet5(seed=0, dtype=dtype)
    x = np.random.default_rng(0).random((4, 28, 28, 1)).astype(dtype)
    figure = plots.roofline(model, x, np.arange(4), nn.SoftmaxCrossEntropy(), seconds=0)
    figure.draw_without_rendering()
    assert len(figure.axes[0].collections) >= 14
    assert {f"peak {peak} GFLOP/s", "caches 50 GB/s", "memory 50 GB/s"} <= set(texts(figure))  # not below it
    assert {"conv2", "dense1"} <= set(texts(figure))


def test_a_model_without_work(measured):
    model = nn.Sequential([nn.Flatten()], input_shape=(2, 2), seed=0)
    with pytest.raises(ValueError, match=r"model: expected a layer that computes something. Received: none"):
        plots.roofline(model, np.ones((3, 2, 2), np.float32), seconds=0)
