import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import metrics
from fastnn.errors import ShapeError

OUTPUT = np.array([[0.1, 0.9, 0.0], [2.0, 1.0, 0.5], [0.0, 0.1, 0.2], [3.0, 2.0, 1.0]], np.float32)
LABELS = np.array([1, 0, 0, 1])


def test_accuracy_of_labels_rows_and_predictions():
    assert metrics.accuracy(OUTPUT, LABELS) == 0.5
    assert metrics.accuracy(OUTPUT, np.eye(3)[LABELS]) == 0.5
    assert metrics.accuracy(OUTPUT.argmax(1), LABELS) == 0.5


def test_accuracy_of_nothing_is_nan():
    assert np.isnan(metrics.accuracy(np.empty((0, 3)), np.empty(0, int)))


def test_top_k():
    assert metrics.top_k_accuracy(OUTPUT, LABELS, k=1) == 0.5
    assert metrics.top_k_accuracy(OUTPUT, LABELS, k=2) == 0.75
    assert metrics.get("top_2_accuracy")(OUTPUT, LABELS) == 0.75
    assert metrics.top_k_accuracy(np.zeros((2, 3)), np.array([0, 1]), k=2) == 0  # equals are no answer
    assert metrics.top_k_accuracy(np.full((2, 3), np.nan), np.array([0, 1]), k=2) == 0
    with pytest.raises(ShapeError, match="more than 3 classes"):
        metrics.top_k_accuracy(OUTPUT, LABELS, k=3)
    with pytest.raises(ValueError, match="k: expected at least 1"):
        metrics.TopKAccuracy(0)


def test_confusion_matrix_counts_rows_as_targets():
    assert metrics.confusion_matrix(LABELS, OUTPUT).tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert metrics.confusion_matrix(np.array([1]), np.array([0]), 4).shape == (4, 4)
    assert metrics.confusion_matrix(np.empty(0, int), np.empty(0, int), 2).tolist() == [[0, 0], [0, 0]]


def test_precision_recall_f1_by_hand():
    # class 0: 1 hit of 2 predicted of 2; class 1: 1 of 1 of 2; class 2: 0 of 1 of 0
    assert metrics.precision(OUTPUT, LABELS) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert metrics.recall(OUTPUT, LABELS) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert metrics.f1(OUTPUT, LABELS) == pytest.approx((2 / 4 + 2 / 3 + 0) / 3)


def test_errors_and_r2_by_hand():
    target, output = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [5.0]])
    assert metrics.mean_absolute_error(output, target) == pytest.approx(2 / 3)
    assert metrics.r2(output, target) == pytest.approx(1 - 4 / 2)
    assert np.isnan(metrics.r2(output, np.ones((3, 1))))
    assert metrics.binary_accuracy(output, np.array([[1.0], [1.0], [0.0]])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["mean_absolute_error", "r2", "binary_accuracy"])
def test_nothing_is_broadcast(name):
    with pytest.raises(ShapeError, match=r"expected target of the output's shape \(4, 1\).*reshape"):
        metrics.get(name)(np.zeros((4, 1)), np.zeros(4))


@pytest.mark.parametrize("name", ["accuracy", "precision", "top_2_accuracy"])
def test_wrong_targets(name):
    metric = metrics.get(name)
    with pytest.raises(ShapeError, match="integer labels"):
        metric(OUTPUT, LABELS.astype(np.float32)[:, None])
    with pytest.raises(ShapeError, match="expected 4 targets"):
        metric(OUTPUT, LABELS[:3])


def test_label_out_of_range():
    with pytest.raises(ValueError, match=r"labels in 0 \.\.\. 2"):
        metrics.recall(OUTPUT, LABELS + 3)
    with pytest.raises(ValueError, match=r"labels in 0 \.\.\. 1"):
        metrics.confusion_matrix(LABELS, OUTPUT, 2)


ALL = [*metrics.METRICS, "top_2_accuracy"]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(ALL), st.integers(2, 40), st.integers(1, 39), st.integers(0, 2**31))
def test_cutting_into_batches_changes_nothing(name, n, cut, seed):
    rng = np.random.default_rng(seed)
    metric = metrics.get(name)
    output = rng.normal(size=(n, 3)) + 100
    if name in ("r2", "mean_absolute_error", "binary_accuracy"):
        target = output + rng.normal(size=(n, 3))
    else:
        target = rng.integers(0, 3, n)
    cut = min(cut, n - 1)
    totals = metrics.Totals([metric])
    for part in (slice(0, cut), slice(cut, n)):
        totals.add(0.0, output[part], target[part])
    assert totals.values()[metric.name] == pytest.approx(metric(output, target), rel=1e-9)


def test_against_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    output, target = rng.normal(size=(200, 7)), rng.integers(0, 7, 200)
    predicted = output.argmax(1)
    assert metrics.accuracy(output, target) == pytest.approx(sklearn.accuracy_score(target, predicted))
    for name in ("precision", "recall", "f1"):
        theirs = getattr(sklearn, f"{name}_score")(target, predicted, average="macro")
        assert metrics.get(name)(output, target) == pytest.approx(theirs)
    assert (metrics.confusion_matrix(target, output) == sklearn.confusion_matrix(target, predicted)).all()
    assert metrics.top_k_accuracy(output, target, 3) == pytest.approx(
        sklearn.top_k_accuracy_score(target, output, k=3, labels=range(7))
    )
    wanted = rng.normal(size=(200, 7))
    assert metrics.r2(output, wanted) == pytest.approx(sklearn.r2_score(wanted, output))


def test_functions_are_means_over_samples():
    def spread(output, target):
        return np.abs(output).max()

    totals = metrics.Totals([metrics.get(spread)])
    totals.add(1.0, np.full((3, 1), 2.0), np.zeros((3, 1)))
    totals.add(4.0, np.full((1, 1), 6.0), np.zeros((1, 1)))
    assert totals.values() == {"loss": 1.75, "spread": 3.0}
    with pytest.raises(ShapeError, match="a number per batch"):
        metrics.get(lambda output, target: output)(OUTPUT, LABELS)


def test_weighted_and_summed_losses():
    totals = metrics.Totals([])
    totals.add(1.0, np.zeros((2, 1)), None, np.array([1.0, 2.0]))
    totals.add(5.0, np.zeros((2, 1)), None, np.array([1.0, 0.0]))
    assert totals.values()["loss"] == 2.0
    totals = metrics.Totals([], summed_loss=True)
    totals.add(1.0, np.zeros((2, 1)), None)
    totals.add(5.0, np.zeros((2, 1)), None)
    assert totals.values()["loss"] == 6.0


def test_get_says_what_there_is():
    with pytest.raises(ValueError, match=r"expected accuracy, .*Received: 'acuracy'"):
        metrics.get("acuracy")
    assert metrics.get(metrics.Accuracy).name == "accuracy"
    assert metrics.get(metrics.top_k_accuracy).name == "top_5_accuracy"


def test_better():
    assert [metrics.better(n) for n in ("val_loss", "loss", "mean_absolute_error")] == ["min"] * 3
    assert [metrics.better(n) for n in ("val_accuracy", "f1", "val_top_5_accuracy")] == ["max"] * 3
    assert metrics.better("anything", "max") == "max"
    for arguments in (("anything",), ("loss", "smallest")):
        with pytest.raises(ValueError, match="mode: expected"):
            metrics.better(*arguments)
