"""The confusion matrix and the worst mistakes show the numbers they are given."""

from itertools import pairwise

import numpy as np
import pytest

from fastnn import plots

pytest.importorskip("matplotlib")


def assert_title_fits(figure):
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_confusion():
    matrix = np.array([[8, 2, 0], [1, 0, 0], [0, 0, 0]])
    figure = plots.confusion(matrix, ("cat", "dog", "cow"))
    axis = figure.axes[0]
    figure.draw_without_rendering()
    np.testing.assert_allclose(axis.images[0].get_array(), [[0.8, 0.2, 0], [1, 0, 0], [0, 0, 0]])
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axis.texts}
    assert written == {(0, 0): "8", (0, 1): "2", (1, 0): "1"}
    assert [t.get_text() for t in axis.get_yticklabels()] == ["cat", "dog", "cow"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["cat", "dog", "cow"]
    assert axis.get_title(loc="left") == "72.7% of 11 right"


def test_confusion_without_names_and_of_one_class():
    figure = plots.confusion([[1, 0], [0, 1]])
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["0", "1"]
    plots.confusion(np.array([[3]])).draw_without_rendering()
    plots.confusion(np.zeros((2, 2), int)).draw_without_rendering()


@pytest.mark.parametrize("shape", [(2, 3), (4,), ()])
def test_confusion_needs_a_square(shape):
    with pytest.raises(ValueError, match=r"matrix: expected a square matrix\. Received: shape="):
        plots.confusion(np.zeros(shape))


def answers(n, wrong, rng, classes=5):
    """Images, labels and probabilities with those samples wrong, the later the surer."""
    images = rng.random((n, 6, 6, 1))
    labels = rng.integers(0, classes, n)
    predicted = labels.copy()
    predicted[wrong] = (labels[wrong] + 1) % classes
    sure = 0.5 + 0.4 * np.arange(n) / n
    probabilities = np.repeat((1 - sure[:, None]) / (classes - 1), classes, axis=1)
    probabilities[np.arange(n), predicted] = sure
    return images, labels, probabilities


@pytest.mark.parametrize("colours", [1, 3])
def test_mistakes(colours):
    images, labels, probabilities = answers(40, [3, 30, 7], np.random.default_rng(0))
    images = np.repeat(images, colours, axis=3)
    figure = plots.mistakes(images, labels, probabilities, "abcde", k=2)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 2
    for axis, i in zip(shown, (30, 7)):  # the surest first
        image = np.asarray(axis.images[0].get_array())
        np.testing.assert_allclose(image, images[i] if colours == 3 else images[i, :, :, 0])
        right, taken = "abcde"[labels[i]], "abcde"[(labels[i] + 1) % 5]
        assert axis.get_title() == f"{taken} {probabilities[i].max():.0%}\nis {right}"
    assert figure._suptitle.get_text() == "3 of 40 wrong; the surest of them"


@pytest.mark.parametrize(
    ("n_wrong", "title"), [(0, "0 of 40 wrong"), (1, "1 of 40 wrong"), (24, "24 of 40 wrong")]
)
def test_few_and_many_mistakes(n_wrong, title):
    figure = plots.mistakes(*answers(40, np.arange(n_wrong), np.random.default_rng(0)))
    assert sum(bool(axis.images) for axis in figure.axes) == n_wrong
    assert figure._suptitle.get_text() == title
    assert_title_fits(figure)


def test_titles_do_not_run_into_each_other():
    names = ("T-shirt/top", "Ankle boot", "Pullover", "Sandal", "Sneaker")
    figure = plots.mistakes(*answers(40, np.arange(24), np.random.default_rng(0)), names)
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in figure.axes]
    for a, b in pairwise(boxes):
        assert not a.overlaps(b)


def test_a_single_picture_of_many_mistakes():
    figure = plots.mistakes(*answers(40, np.arange(24), np.random.default_rng(0)), k=1)
    assert figure._suptitle.get_text() == "24 of 40 wrong; the surest of them"
    assert_title_fits(figure)
