"""Metrics: numbers for people, computed from sums over batches and so exact however the data is cut.

`metrics.accuracy(output, target)` works on arrays; `Trainer(metrics=["accuracy", metrics.TopKAccuracy(3)])`
names the same objects. A function `f(output, target) -> number` is a metric too: its mean over the samples.
"""

import re

import numpy as np

from .errors import ShapeError


class Metric:
    """A number over many samples. A subclass writes `sums` and, if it is not a mean, `value` and `merge`.

    Attributes
    ----------
    name : str
        Its key in `History` and in the result of `Trainer.evaluate`.
    mode : {"max", "min"}
        Which values are better.
    """

    name = "metric"
    mode: str | None = "max"

    def sums(self, output, target):
        """What one batch contributes: a number or an array."""
        raise NotImplementedError(f"{type(self).__name__}.sums is not written")

    def merge(self, a, b):
        """The contribution of two batches together."""
        return a + b

    def value(self, sums, n):
        """The metric of `n` samples."""
        return sums / n

    def __call__(self, output, target):
        """The metric of `output (N, ...)` against `target (N, ...)`, a float."""
        sums = self.sums(output, target)
        return float(self.value(sums, len(output))) if len(output) else float("nan")

    def __repr__(self):
        return f"<metric {self.name}>"


class Accuracy(Metric):
    """Share of samples whose largest output is the target's class.

    `output` is (N, K), logits or probabilities, or (N,) predicted labels; `target` is (N,) labels or (N, K)
    rows (one-hot or probabilities), of which the largest counts.
    """

    name = "accuracy"

    def sums(self, output, target):
        if output.ndim == 2 and target.ndim == 1 and len(output) == len(target) and output.shape[1] > 1:
            return int(np.count_nonzero(output.argmax(1) == target))  # the usual case, at every batch
        return int(np.count_nonzero(_predicted(output, self.name) == _labels(output, target, self.name)))


class BinaryAccuracy(Metric):
    """Share of outputs on the target's side of `threshold`: 0.5 for a probability, 0 for a logit.

    `output` and `target` have the same shape, (N, 1) for instance; targets are 0 or 1.
    """

    name = "binary_accuracy"

    def __init__(self, threshold=0.5):
        self.threshold = threshold

    def sums(self, output, target):
        _same_shape(output, target, self.name)
        n_right = np.count_nonzero((output > self.threshold) == (target > 0.5))
        return n_right * len(output) / max(output.size, 1)


class TopKAccuracy(Metric):
    """Share of samples whose target is among the `k` largest outputs.

    Equal outputs count against the prediction: a model that answers the same everywhere scores 0.
    """

    def __init__(self, k=5):
        if k < 1:
            raise ValueError(f"k: expected at least 1. Received: k={k}")
        self.k = int(k)
        self.name = f"top_{self.k}_accuracy"

    def sums(self, output, target):
        if output.ndim != 2 or output.shape[1] <= self.k:
            raise ShapeError(
                f"{self.name}: expected output (N, K) with more than {self.k} classes. "
                f"Received: shape={output.shape}"
            )
        labels = _labels(output, target, self.name)
        own = output[np.arange(len(output)), labels][:, None]
        rivals = np.count_nonzero(output >= own, axis=1)  # the target itself is one; NaN has none
        return int(np.count_nonzero((rivals >= 1) & (rivals <= self.k)))


class _FromConfusion(Metric):
    """A macro average: computed per class, then averaged over the classes that occur."""

    def sums(self, output, target):
        predicted = _predicted(output, self.name)
        labels = _labels(output, target, self.name)
        n_classes = output.shape[1] if output.ndim == 2 else None
        return confusion_matrix(labels, predicted, n_classes)

    def merge(self, a, b):
        if a.shape == b.shape:
            return a + b
        size = max(len(a), len(b))
        total = np.zeros((size, size), np.int64)
        for matrix in (a, b):
            total[: len(matrix), : len(matrix)] += matrix
        return total

    def value(self, sums, n):
        hits = np.diag(sums)
        n_target, n_predicted = sums.sum(1), sums.sum(0)
        occurs = (n_target + n_predicted) > 0
        return self.per_class(hits, n_predicted, n_target)[occurs].mean()

    def per_class(self, hits, n_predicted, n_target):
        raise NotImplementedError


class Precision(_FromConfusion):
    """Of the samples predicted as a class, the share that is of it; mean over classes, 0 without any."""

    name = "precision"

    def per_class(self, hits, n_predicted, n_target):
        return hits / np.maximum(n_predicted, 1)


class Recall(_FromConfusion):
    """Of the samples of a class, the share predicted as it; mean over classes, 0 without any."""

    name = "recall"

    def per_class(self, hits, n_predicted, n_target):
        return hits / np.maximum(n_target, 1)


class F1(_FromConfusion):
    """Harmonic mean of precision and recall, `2 hits / (predicted + target)`; mean over classes."""

    name = "f1"

    def per_class(self, hits, n_predicted, n_target):
        return 2 * hits / np.maximum(n_predicted + n_target, 1)


class MeanAbsoluteError(Metric):
    """Mean of `|output - target|` over samples and outputs; both have the same shape."""

    name = "mean_absolute_error"
    mode = "min"

    def sums(self, output, target):
        _same_shape(output, target, self.name)
        per_sample = max(output.size, 1) / max(len(output), 1)
        return float(np.abs(output - target).sum(dtype=np.float64)) / per_sample


class R2(Metric):
    """`1 - sum (target - output)^2 / sum (target - mean)^2`, averaged over the outputs.

    A constant target gives NaN: there is no variance to explain.
    """

    name = "r2"

    def sums(self, output, target):
        _same_shape(output, target, self.name)
        target = target.reshape(len(target), -1).astype(np.float64)
        residual = ((target - output.reshape(target.shape)) ** 2).sum(0)
        mean = target.mean(0) if len(target) else np.zeros_like(residual)
        spread = ((target - mean) ** 2).sum(0)
        return np.stack([np.full_like(mean, len(target)), mean, spread, residual])

    def merge(self, a, b):
        # Means and spreads of two sets together, without the cancellation of sum y^2 - (sum y)^2 / n.
        n = a[0] + b[0]
        shift = b[1] - a[1]
        share = np.divide(b[0], n, out=np.zeros_like(n), where=n > 0)
        return np.stack([n, a[1] + shift * share, a[2] + b[2] + shift**2 * a[0] * share, a[3] + b[3]])

    def value(self, sums, n):
        _, _, spread, residual = sums
        explained = np.full_like(spread, np.nan)
        np.divide(residual, spread, out=explained, where=spread > 0)
        return (1 - explained).mean()


class Mean(Metric):
    """The mean of a user's function `f(output, target) -> number`, each batch weighted by its size."""

    mode = None

    def __init__(self, function):
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def sums(self, output, target):
        value = np.asarray(self.function(output, target))
        if value.shape != ():
            raise ShapeError(
                f"metric {self.name}: expected a number per batch. Received: shape={value.shape}"
            )
        return float(value) * len(output)


accuracy = Accuracy()
binary_accuracy = BinaryAccuracy()
precision, recall, f1 = Precision(), Recall(), F1()
mean_absolute_error, r2 = MeanAbsoluteError(), R2()
METRICS = {m.name: m for m in (accuracy, binary_accuracy, precision, recall, f1, mean_absolute_error, r2)}


def top_k_accuracy(output, target, k=5):
    """Share of samples whose target is among the `k` largest outputs; see `TopKAccuracy`."""
    return TopKAccuracy(k)(output, target)


def confusion_matrix(target, predicted, n_classes=None):
    """How often class i was predicted as class j.

    Parameters
    ----------
    target, predicted : ndarray (N,) of int, or (N, K)
        Labels; of rows the largest entry counts.
    n_classes : int, optional
        By default the largest label that occurs, plus 1.

    Returns
    -------
    ndarray (n_classes, n_classes) of int64
        Row: target, column: prediction.

    Examples
    --------
    >>> import numpy as np
    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]))
    array([[1, 0],
           [1, 1]])
    """
    target, predicted = _as_labels(target, "target"), _as_labels(predicted, "predicted")
    if target.shape != predicted.shape:
        raise ShapeError(
            f"confusion_matrix: expected as many predictions as targets. "
            f"Received: target {len(target)}, predicted {len(predicted)}"
        )
    low = min(target.min(initial=0), predicted.min(initial=0))
    high = max(target.max(initial=-1), predicted.max(initial=-1))
    n = int(high) + 1 if n_classes is None else int(n_classes)
    if low < 0 or high >= n:
        raise ValueError(
            f"confusion_matrix: expected labels in 0 ... {n - 1}. Received: {int(low)} ... {int(high)}"
        )
    return np.bincount(target.astype(np.int64) * n + predicted, minlength=n * n).reshape(n, n)


def get(metric):
    """A `Metric` from a name, a `Metric` or a function `(output, target) -> number`."""
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        top_k = re.fullmatch(r"top_(\d+)_accuracy", metric)
        if top_k:
            return TopKAccuracy(int(top_k[1]))
        if metric in METRICS:
            return METRICS[metric]
    elif isinstance(metric, type) and issubclass(metric, Metric):
        return metric()
    elif metric is top_k_accuracy:
        return TopKAccuracy()
    elif callable(metric):
        return Mean(metric)
    raise ValueError(
        f"metric: expected {', '.join(METRICS)}, top_5_accuracy (any number), a Metric or a function "
        f"(output, target) -> number. Received: {metric!r}"
    )


def better(name, mode="auto"):
    """Whether smaller ("min") or larger ("max") values of a history's column are better."""
    if mode in ("min", "max"):
        return mode
    if mode != "auto":
        raise ValueError(f"mode: expected 'auto', 'min' or 'max'. Received: {mode!r}")
    known = name.removeprefix("val_")
    if known.endswith(("loss", "error", "time")):
        return "min"
    if known in METRICS or known.endswith("accuracy"):
        return "max"
    raise ValueError(
        f"mode: expected 'min' or 'max' for {name!r}, which is not known to fastnn. Received: 'auto'"
    )


class Totals:
    """Loss and metrics over many batches, weighted by their samples."""

    def __init__(self, metrics, summed_loss=False, weight_of=None):
        self.metrics = metrics
        self.weight_of = weight_of  # of a loss with class weights: what a batch's loss was divided by
        self.summed_loss = summed_loss  # the loss is a sum over samples, not their mean
        self.loss = self.weight = self.penalty = 0.0
        self.n = self.n_penalties = 0
        self.sums = [None] * len(metrics)

    def add(self, loss, output, target, sample_weight=None, penalty=None):
        """Count one batch in."""
        n = len(output)
        weight = 1.0 if self.summed_loss else n if sample_weight is None else float(sample_weight.sum())
        if self.weight_of is not None:
            weight = self.weight_of(target, sample_weight)
        self.loss += loss * weight
        self.weight += weight
        self.n += n
        if penalty is not None:
            self.penalty, self.n_penalties = self.penalty + penalty, self.n_penalties + 1
        for i, metric in enumerate(self.metrics):
            sums, before = metric.sums(output, target), self.sums[i]
            self.sums[i] = sums if before is None else metric.merge(before, sums)

    def values(self):
        """`{"loss": ..., "accuracy": ...}` of all samples so far."""
        if self.n == 0:
            return {name: float("nan") for name in ("loss", *(m.name for m in self.metrics))}
        weight = 1.0 if self.summed_loss else self.weight
        values = {"loss": self.loss / weight if weight else float("nan")}
        if self.n_penalties:
            values["penalty"] = self.penalty / self.n_penalties
        return values | {m.name: float(m.value(s, self.n)) for m, s in zip(self.metrics, self.sums)}

    def state_dict(self):
        """The sums so far, for a checkpoint within an epoch."""
        penalties = [self.penalty, self.n_penalties]
        sums = list(self.sums)
        return {"loss": self.loss, "weight": self.weight, "n": self.n, "sums": sums, "penalties": penalties}

    def load_state_dict(self, state):
        """Take over what `state_dict` returned."""
        self.loss, self.weight, self.n = state["loss"], state["weight"], state["n"]
        self.sums = list(state["sums"])
        self.penalty, self.n_penalties = state["penalties"]


def _same_shape(output, target, name):
    if output.shape != target.shape:
        hint = ""
        if output.size == target.size:
            hint = f"; nothing is broadcast: target.reshape({output.shape})"
        raise ShapeError(
            f"{name}: expected target of the output's shape {output.shape}. "
            f"Received: shape={target.shape}{hint}"
        )


def _as_labels(labels, name):
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.argmax(1)
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        return labels
    raise ShapeError(
        f"{name}: expected integer labels (N,) or rows (N, K) with K > 1. "
        f"Received: shape={labels.shape}, dtype={labels.dtype}"
    )


def _predicted(output, name):
    return _as_labels(output, f"{name}: output")


def _labels(output, target, name):
    labels = _as_labels(target, f"{name}: target")
    if len(output) != len(labels):
        raise ShapeError(f"{name}: expected {len(output)} targets, one per output. Received: {len(labels)}")
    if output.ndim == 2 and len(labels) and not (labels.min() >= 0 and labels.max() < output.shape[1]):
        raise ValueError(
            f"{name}: expected labels in 0 ... {output.shape[1] - 1}, the output's classes. "
            f"Received: {labels.min()} ... {labels.max()}"
        )
    return labels
