"""Losses of classification: cross-entropy of softmax, and of log-probabilities."""

import numpy as np

from .. import kernels
from ..checks import number
from ..errors import ShapeError
from .base import ClassWeighted, as_array, as_output, check_ending, check_probabilities, described, last_layer

INT64 = np.dtype(np.int64)
TWICE = (
    "so softmax would be taken twice; remove it (the predicted class stays the same, and softmax of "
    "predict(x) gives probabilities)"
)


class _LabelLoss(ClassWeighted):
    """Base of losses whose targets are labels `(N,)` or probabilities `(N, K)`."""

    def __init__(self, class_weights, reduction):
        super().__init__()
        self.set_class_weights(class_weights)
        self.reduction = self.chosen("reduction", reduction, ("mean_samples", "sum"))
        if self.class_weights is not None and reduction != "sum":
            self.weight_of = self._weight_of

    def _weight_of(self, target, sample_weight=None):
        weight = self._class_weight.astype(np.float64)
        each = weight[target] if target.ndim == 1 else target @ weight
        return float(each.sum() if sample_weight is None else each @ sample_weight)

    def check_model(self, model):
        check_logits(self, model)
        if model.output_shape is not None:
            self.class_weight(model.output_shape[0], model.model_dtype)

    def check_target(self, target, output_shape, n):
        target = as_array(target)
        if len(output_shape) != 1:
            raise ShapeError(f"output: expected logits (N, K). Received: shape={(n, *output_shape)}")
        n_classes = output_shape[0]
        expected = f"target: expected integer labels ({n},) or probabilities ({n}, {n_classes})"
        if target.ndim == 1:
            check_labels(target, n_classes, n, expected)
            return
        if target.shape != (n, n_classes):
            hint = ""
            if target.shape == (n, 1):
                hint = "; labels need no second axis: target[:, 0]"
            elif target.ndim == 2 and len(target) == n:
                hint = f"; the model has {n_classes} outputs, these rows have {target.shape[1]} classes"
            raise ShapeError(f"{expected}. Received: {described(target)}{hint}")
        check_probabilities(target, expected)

    def prepare(self, target, output):
        if output.ndim != 2:
            return None
        if target.ndim == 1:
            return as_labels(self, target, output)
        return as_output(target, output)


class SoftmaxCrossEntropy(_LabelLoss):
    """`L = -log y_t` of the softmax `y` of the logits, `t` the true class; the mean over the batch.

    With probabilities as target `L = -sum_j p_j log y_j`. The gradient to the logits is `y - p` (divided
    by N), which is why softmax and cross-entropy are one: nothing is lost where `y` underflows (the notes,
    S2.5 to S2.7; Bridle 1990). The model ends in logits, without `Softmax` or `LogSoftmax`.

    Label smoothing does not trust the labels fully, so that the logits need not grow without end (S6.4;
    the notes' noise on the targets of a squared error only adds a constant). With K classes::

        p = (1 - eps) e_t + eps / K                     smoothing="uniform" [1]
        p = 1 - eps for t, eps / (K - 1) for others     smoothing="others" [2]

    The second is the first with `eps K / (K - 1)`; the loss is least where the true logit is
    `log((1 - eps) (K - 1) / eps)` above the others. Probabilities as targets are smoothed the same way.

    Class weights `w` make it `L = -sum_j w_j p_j log y_j`, and the mean
    `sum_n L_n / sum_n sum_j w_j t_nj`, t before smoothing: for labels the sum of the weights of the true
    classes, as in PyTorch. For probabilities PyTorch divides by N; here one-hot rows are labels. In several
    batches, as in `Trainer.evaluate`, it is the mean over all samples.

    Targets are labels `(N,)` of any integer dtype, or probabilities `(N, K)` (one-hot rows, say) in the
    model's dtype.

    Parameters
    ----------
    label_smoothing : float
        eps, in [0, 1).
    smoothing : {"uniform", "others"}
    class_weights : array_like (K,) or dict, optional
        A number of at least 0 for each class, or `{class: number}`, the others 1.
    reduction : {"mean_samples", "sum"}

    Raises
    ------
    ShapeError, ValueError, TypeError
        From `forward`: labels out of range, another number of targets or class weights than there are
        outputs or classes, another dtype; from the trainer before the first step.

    References
    ----------
    .. [1] Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016.
    .. [2] Goodfellow, Bengio & Courville, Deep Learning, 2016, section 7.5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import SoftmaxCrossEntropy
    >>> loss = SoftmaxCrossEntropy()
    >>> round(loss.forward(np.zeros((2, 10)), np.array([3, 7])), 4)
    2.3026
    >>> loss.backward().shape
    (2, 10)
    """

    arguments = ("label_smoothing", "smoothing", "class_weights", "reduction")

    def __init__(
        self, label_smoothing=0.0, smoothing="uniform", class_weights=None, reduction="mean_samples"
    ):
        super().__init__(class_weights, reduction)
        hint = ", the probability taken from the true class"
        self.label_smoothing = number(type(self).__name__, "label_smoothing", label_smoothing, "[0, 1)", hint)
        self.smoothing = self.chosen("smoothing", smoothing, ("uniform", "others"))

    def check_model(self, model):
        check_ending(self, model, "softmax", TWICE)
        super().check_model(model)

    def compute(self, output, target, sample_weight, gradient, losses):
        n_classes, eps = output.shape[1], self.label_smoothing
        if eps and self.smoothing == "others":
            if n_classes < 2:
                raise ShapeError(
                    f"{type(self).__name__}: smoothing: expected two classes or more for 'others'. "
                    f"Received: {n_classes} class; use smoothing='uniform'"
                )
            eps *= n_classes / (n_classes - 1)
        return kernels.softmax_cross_entropy(
            output, target, sample_weight, gradient, losses, self.class_weight(n_classes, output.dtype), eps,
            self.reduction,
        )  # fmt: skip

    def __repr__(self):
        plain = not self.label_smoothing and self.class_weights is None and self.reduction != "sum"
        return "SoftmaxCrossEntropy()" if plain else super().__repr__()


class NLL(_LabelLoss):
    """The negative log-likelihood `L = -o_t` of outputs `o` that are log-probabilities, `t` the true class.

    `NLL` behind a `LogSoftmax` layer is `SoftmaxCrossEntropy` of the logits, which is faster and needs no
    such layer (the notes, S2.6). With probabilities as target `L = -sum_j p_j o_j`. The gradient is `-p`
    (divided by N). Class weights and reductions are as in `SoftmaxCrossEntropy` and PyTorch's `NLLLoss`.

    The first batch is looked at: exponentials of log-probabilities add up to 1. Logits do not, and are
    refused, and so is a model that ends in `Dense`, say.

    Parameters
    ----------
    class_weights : array_like (K,) or dict, optional
    reduction : {"mean_samples", "sum"}

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import NLL
    >>> loss = NLL()
    >>> round(loss.forward(np.log(np.array([[0.25, 0.75]])), np.array([1])), 4)
    0.2877
    >>> loss.backward().tolist()
    [[0.0, -1.0]]
    """

    arguments = ("class_weights", "reduction")

    #: Layers that cannot end in log-probabilities.
    OTHERS = ("Dense", "Conv2D", "BatchNorm", "Softmax")

    def __init__(self, class_weights=None, reduction="mean_samples"):
        super().__init__(class_weights, reduction)
        self._looked = False

    def check_model(self, model):
        last = last_layer(model)
        if type(last).__name__ in self.OTHERS:
            kind = "probabilities" if type(last).__name__ == "Softmax" else "logits"
            raise ValueError(
                "loss: NLL expected a model that ends in log-probabilities. "
                f"Received: one that ends in {kind}, of {last.label()}; "
                "use SoftmaxCrossEntropy, which takes logits, or end in LogSoftmax()"
            )
        super().check_model(model)

    def compute(self, output, target, sample_weight, gradient, losses):
        if not self._looked:
            self._look_at(output)
        class_weight = self.class_weight(output.shape[1], output.dtype)
        return kernels.nll(output, target, sample_weight, gradient, losses, class_weight, self.reduction)

    def _look_at(self, output):
        with np.errstate(over="ignore"):
            sums = np.exp(output).sum(axis=1)
        wrong = np.abs(sums - 1) > 1e-2  # NaN is for the trainer to find
        if wrong.any():
            row = int(np.argmax(wrong))
            probabilities = (output >= 0).all() and (np.abs(output.sum(axis=1) - 1) < 1e-2).all()
            hint = "for logits use SoftmaxCrossEntropy, or end in LogSoftmax()"
            hint = "take their logarithm: LogSoftmax() in place of Softmax()" if probabilities else hint
            raise ValueError(
                "NLL: output: expected log-probabilities, whose exponentials add up to 1. "
                f"Received: {sums[row]:.4g} in row {row}; {hint}"
            )
        self._looked = len(output) > 0


def check_logits(loss, model):
    """Raise unless the model's outputs are `(K,)`."""
    shape = model.output_shape
    if shape is not None and len(shape) != 1:
        raise ShapeError(
            f"loss: {type(loss).__name__} expected a model with outputs (K,), one logit per class. "
            f"Received: output_shape={shape}; put Flatten() or GlobalAvgPool2D() and Dense(K) at the end"
        )


def check_labels(target, n_classes, n, expected):
    """Raise unless these are `n` labels from 0 to `n_classes - 1`; `expected` begins the messages."""
    if target.dtype.kind not in "iu":
        raise TypeError(
            f"{expected}. Received: {described(target)}; convert labels with target.astype('int64')"
        )
    if len(target) != n:
        raise ShapeError(f"{expected}, as many as inputs. Received: {len(target)} labels")
    if n == 0 or (target.min() >= 0 and target.max() < n_classes):
        return
    first = int(np.argmax((target < 0) | (target >= n_classes)))
    hint = "labels count from 0" if target[first] == n_classes else f"the model has {n_classes} outputs"
    raise ValueError(
        f"target: expected labels from 0 to {n_classes - 1}. Received: {target[first]} at position {first}; "
        f"{hint}"
    )


def as_labels(loss, target, output):
    """Labels as int64, contiguous, or None if there are not as many as outputs."""
    dtype = target.dtype
    if target.ndim != 1 or target.shape[0] != output.shape[0] or dtype.kind not in "iu":
        return None
    if dtype is INT64 and target.flags.c_contiguous:
        return target
    labels = loss.workspace.take(target.shape, INT64)
    labels[...] = target
    return labels
