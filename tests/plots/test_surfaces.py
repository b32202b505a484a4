"""Surfaces and paths: what is drawn is what the surface and the optimizers say."""

import sys

import numpy as np
import pytest

import fastnn as nn
from fastnn import plots
from fastnn.theory import descend, effective_rates, surfaces

pytest.importorskip("matplotlib")

OPTIMIZERS = {"descent": nn.SGD(lr=0.04), "momentum": nn.Momentum(lr=0.02), "search": nn.LineSearch()}


def drawn(figure):
    """Draw once, where overlaps and missing characters would warn."""
    figure.draw_without_rendering()
    return figure


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes if axis.axison]


@pytest.mark.parametrize("make", surfaces.SURFACES)
def test_a_surface_with_a_path(make):
    surface = make()
    path = descend(nn.SGD(lr=0.01), surface, steps=20)
    figure = drawn(plots.surface(surface, path))
    assert figure._suptitle.get_text() == f"{surface.name}: {surface.formula}"
    contours, landscape = figure.axes
    assert landscape.name == "3d"
    line = next(line for line in contours.lines if line.get_label() == "path")
    np.testing.assert_array_equal(np.transpose(line.get_data()), path)
    assert contours.get_xlim() + contours.get_ylim() == surface.box
    stars = [line for line in contours.lines if line.get_marker() == "*"]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in stars] == list(surface.minima)
    drawn(plots.surface(surface))


@pytest.mark.parametrize("make", [surfaces.valley, surfaces.himmelblau])
def test_rings_are_level_and_the_arrows_orthogonal_to_them(make):
    """The gradient is orthogonal to the contour (S2.15)."""
    surface = make()
    axis = plots.surface(surface).axes[0]
    rings = axis.collections[1]
    for level, ring in zip(rings.levels, rings.get_paths()):
        np.testing.assert_allclose(surface(ring.vertices), level, rtol=0.05)  # of straight pieces
    arrows = next(c for c in axis.collections if hasattr(c, "U"))
    places = np.stack([arrows.X, arrows.Y], axis=-1)
    slope, arrow = surface.gradient(places), np.stack([arrows.U, arrows.V], axis=-1)
    cosine = (slope * arrow).sum(-1) / np.linalg.norm(slope, axis=-1) / np.linalg.norm(arrow, axis=-1)
    np.testing.assert_allclose(cosine, -1, atol=1e-12)


def test_level_steps_are_equal_unless_the_surface_asks_for_areas():
    steps = np.diff(plots.surface(surfaces.bowl()).axes[0].collections[1].levels)
    np.testing.assert_allclose(steps, steps[0])
    steps = np.diff(plots.surface(surfaces.rosenbrock()).axes[0].collections[1].levels)
    assert steps[-1] > 20 * steps[0] > 0


def test_paths_side_by_side():
    valley = surfaces.valley()
    figure = drawn(plots.optimizer_paths(OPTIMIZERS, valley, (-4, 1), steps=50, columns=2))
    assert len(figure.axes) == 4 and figure._suptitle.get_text() == "narrow valley: f after 50 steps"
    for axis, (name, optimizer) in zip(figure.axes, OPTIMIZERS.items()):
        path = descend(optimizer, valley, (-4, 1), steps=50)
        line = next(line for line in axis.lines if line.get_label() == "path")
        np.testing.assert_array_equal(np.transpose(line.get_data()), path)
        assert axis.get_title(loc="left") == f"{name}: {float(valley(path[-1])):.2g}"
    assert len(figure.legends) == 1 and not any(axis.get_legend() for axis in figure.axes)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["minimum", "path", "start", "end"]


def test_names_of_a_list():
    figure = plots.optimizer_paths(
        [nn.Adam(lr=0.1), nn.SGD(lr=0.1), nn.Adam(lr=0.2)], surfaces.bowl(), steps=3
    )
    assert [title.split(":")[0] for title in titles(figure)] == ["Adam", "SGD", "Adam 2"]
    assert len(titles(plots.optimizer_paths(nn.Adam(), surfaces.saddle(), steps=3))) == 1


def test_a_path_that_diverges():
    figure = drawn(plots.optimizer_paths([nn.SGD(lr=1.0)], surfaces.rosenbrock(), steps=30))
    assert titles(figure) == ["SGD: diverged"]
    assert figure.axes[0].get_xlim() == (-2, 2)


def test_effective_rates():
    valley, optimizers = surfaces.valley(), [nn.SGD(lr=0.02), nn.AdaGrad(lr=0.5)]
    figure = drawn(plots.effective_rates(optimizers, valley, steps=30))
    for axis, optimizer in zip(figure.axes, optimizers):
        rates = effective_rates(descend(optimizer, valley, steps=30), valley)
        np.testing.assert_array_equal([line.get_ydata() for line in axis.lines], rates.T)
        assert axis.get_yscale() == "log"
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), 0.02)


def test_the_look_ahead():
    """The gradient's part of NAG's step goes from w' to the next point of its path (S3.2)."""
    valley, lr, momentum = surfaces.valley(), 0.02, 0.9
    figure = drawn(plots.look_ahead(valley, lr, momentum))
    path = descend(nn.NAG(lr=lr, momentum=momentum), valley, steps=100)
    agree = []
    for axis in figure.axes:
        t = int(axis.get_title(loc="left").split(":")[0].removeprefix("step ")) - 1
        arrows = [c for c in axis.collections if hasattr(c, "U")]
        starts = [np.array([c.X[0], c.Y[0]]) for c in arrows]
        ends = [start + (c.U[0], c.V[0]) for c, start in zip(arrows, starts)]
        np.testing.assert_allclose(starts[0], path[t])
        np.testing.assert_allclose(ends[0], path[t] + momentum * (path[t] - path[t - 1]))
        np.testing.assert_allclose(ends[1], path[t + 1], atol=1e-12)
        np.testing.assert_allclose(ends[2] - ends[0], -lr * valley.gradient(path[t]), atol=1e-12)
        moves = path[t] - path[t - 1]
        agree.append([float((end - ends[0]) @ moves) > 0 for end in ends[1:]])
    assert agree == [[True, True], [False, True]]  # of NAG, of momentum
    assert [axis.get_legend() is None for axis in figure.axes] == [True, False]


def test_without_an_overshoot_there_is_nothing_to_brake():
    with pytest.raises(
        ValueError, match=r"^look_ahead: expected a path that overshoots\. Received: none with"
    ):
        plots.look_ahead(surfaces.bowl(), lr=0.001, momentum=0.1)


def test_a_gif_has_a_picture_for_each_step(tmp_path):
    image = pytest.importorskip("PIL.Image")
    plots.animate_paths(OPTIMIZERS, surfaces.valley(), tmp_path / "a.gif", steps=5, fps=10)
    with image.open(tmp_path / "a.gif") as picture:
        assert picture.format == "GIF" and picture.n_frames == 6
        assert picture.info["duration"] == 100
        first = np.asarray(picture.convert("RGB"))
        picture.seek(5)
        assert (np.asarray(picture.convert("RGB")) != first).any()


def test_a_page_has_buttons_and_not_too_many_pictures(tmp_path):
    plots.animate_paths([nn.SGD(lr=0.04)], surfaces.valley(), str(tmp_path / "a.html"), steps=3)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == 4 and "<button" in page
    assert "matplotlib.pyplot" not in sys.modules


def test_long_paths_are_thinned_out(tmp_path, monkeypatch):
    monkeypatch.setattr("fastnn.plots.surfaces.MOST_FRAMES", 4)
    plots.animate_paths([nn.SGD(lr=0.04)], surfaces.valley(), tmp_path / "a.html", steps=10)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == 5  # 0, 3, 6, 9, 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.optimizer_paths([], surfaces.bowl()), "optimizer_paths: optimizers, steps: expected"),
        (lambda: plots.optimizer_paths({"a": nn.SGD(lr=1)}, surfaces.bowl(), steps=0),
         r"optimizer_paths: optimizers, steps: expected at least one of each\. Received: 1 optimizers, "),
        (lambda: plots.animate_paths([nn.SGD(lr=1)], surfaces.bowl(), "a.mp4"),
         r"animate_paths: file: expected a name that ends in \.gif or \.html\. Received: a\.mp4"),
    ],
)  # fmt: skip
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
