"""Learning curves: the lines are the history's numbers, and the best epoch is marked."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import plots

pytest.importorskip("matplotlib")

HISTORY = {
    "loss": [1.0, 0.7, 0.5, 0.4], "accuracy": [0.5, 0.6, 0.7, 0.8],
    "val_loss": [0.9, 0.6, 0.55, 0.6], "val_accuracy": [0.55, 0.7, 0.72, 0.71],
    "lr": [0.1, 0.08, 0.05, 0.01], "time": [1.0, 1.0, 1.0, 1.0],
}  # fmt: skip


def labels(axis):
    legend = axis.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def drawn(figure):
    """Draw once, where overlaps and missing characters would warn."""
    figure.draw_without_rendering()
    return figure


def test_panels_and_lines():
    figure = drawn(plots.learning_curves(HISTORY))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "accuracy", "learning rate"]
    for axis, name in zip(figure.axes, ("loss", "accuracy", "lr")):
        assert list(axis.lines[0].get_xdata()) == [1, 2, 3, 4]
        assert list(axis.lines[0].get_ydata()) == HISTORY[name]
        assert any(list(line.get_ydata()) == HISTORY.get(f"val_{name}") for line in axis.lines) == (
            name != "lr"
        )


def test_the_best_epoch():
    figure = plots.learning_curves(HISTORY)
    assert labels(figure.axes[0]) == ["training", "validation, best 0.550 in epoch 3"]
    assert labels(figure.axes[1]) == ["training", "validation, best 0.720 in epoch 3"]
    assert labels(figure.axes[2]) == []


@pytest.mark.parametrize(
    ("name", "values", "label"),
    [
        ("mean_absolute_error", [3.0, 1.0, 2.0], "validation, best 1.000 in epoch 2"),
        ("loss", [np.nan, 2.0, 1.5], "validation, best 1.500 in epoch 3"),
        ("loss", [np.nan, np.nan, np.nan], "validation"),
        ("my_metric", [3.0, 1.0, 2.0], "validation"),  # nobody knows which is better
    ],
)
def test_what_is_best(name, values, label):
    figure = drawn(plots.learning_curves({name: [1.0, 1.0, 1.0], f"val_{name}": values}))
    assert labels(figure.axes[0]) == ["training", label]


def test_one_epoch():
    figure = drawn(plots.learning_curves({"loss": [1.0], "val_loss": [0.9]}))
    assert figure.axes[0].lines[0].get_marker() == "o"  # a line of one point is invisible
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_xticks())


def test_without_validation():
    figure = drawn(plots.learning_curves({"loss": [1.0, 0.5]}))
    assert len(figure.axes) == 1
    assert labels(figure.axes[0]) == []


def test_a_history():
    model = nn.Sequential([nn.Dense(2)], input_shape=(3,), seed=0)
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.SGD(lr=0.1), metrics=["accuracy"])
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    history = trainer.fit(x, np.arange(20) % 2, epochs=3, validation_split=0.2, verbose=False)
    figure = drawn(plots.learning_curves(history))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "accuracy", "learning rate"]
    assert list(figure.axes[0].lines[0].get_ydata()) == history["loss"]


def test_early_stopping_marks_what_it_kept_and_how_long_it_waited():
    stopping = nn.EarlyStopping(patience=2)
    stopping.best, stopping.best_epoch = 0.6, 2
    figure = drawn(plots.learning_curves(HISTORY, stopping))
    for axis in figure.axes:
        assert list(axis.lines[-1].get_xdata()) == [2, 2]
        (band,) = axis.patches
        assert (band.get_x(), band.get_width()) == (2, 2)
        assert labels(axis)[-1] == "early stopping: epoch 2"
    assert labels(figure.axes[0])[:-1] == ["training", "validation, best 0.550 in epoch 3"]
    stopping.best_epoch = 5  # which updates within it ended, so that the history does not have it
    (band,) = drawn(plots.learning_curves(HISTORY, stopping)).axes[0].patches
    assert (band.get_x(), band.get_width()) == (5, 0)
    unused = drawn(plots.learning_curves({"loss": [1.0, 0.5]}, nn.EarlyStopping()))
    assert not unused.axes[0].patches and labels(unused.axes[0]) == ["training"]


def test_nothing():
    drawn(plots.learning_curves({}))
