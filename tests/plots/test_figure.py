"""Figures belong to nobody else: no window, no global state, and a mend when matplotlib is missing."""

import subprocess
import sys

import pytest

import fastnn as nn
from fastnn import plots
from fastnn.plots.figure import new_figure

matplotlib = pytest.importorskip("matplotlib")


def test_axes_are_two_dimensional():
    for rows, columns in ((1, 1), (1, 3), (2, 1), (2, 3)):
        figure, axes = new_figure(4, 3, rows, columns)
        assert axes.shape == (rows, columns)
        assert figure.get_size_inches().tolist() == [4, 3]


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.svg", b"<?xml")])
def test_save(tmp_path, name, start):
    figure, axes = new_figure(2, 2)
    axes[0, 0].plot([1, 2])
    plots.save(figure, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_resolution(tmp_path):
    image = pytest.importorskip("PIL.Image")
    plots.save(new_figure(2, 1)[0], tmp_path / "a.png", dpi=100)
    with image.open(tmp_path / "a.png") as picture:
        assert picture.size == (200, 100)


def test_nothing_global_changes(tmp_path):
    code = (
        "import sys, matplotlib\n"
        "before = matplotlib.rcParams.copy()\n"
        "from fastnn import plots\n"
        "plots.learning_curves({'loss': [1.0, 0.5]})\n"
        "print('matplotlib.pyplot' in sys.modules, matplotlib.rcParams.copy() == before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert result.stdout.split() == ["False", "True"], result.stderr


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(nn.MissingExtraError, match=r"pip install 'fastnn-edu\[plot\]'"):
        plots.learning_curves({"loss": [1.0]})
