"""Losses of scores whose sign is the answer, and of the lead of one score over the others."""

import numpy as np

from .. import kernels
from ..errors import ShapeError
from .base import ClassWeighted, OutputWise, as_array, check_ending, check_wanted, described
from .classification import as_labels, check_labels, check_logits
from .regression import REDUCTIONS


class BinaryCrossEntropy(OutputWise, ClassWeighted):
    """Cross-entropy of yes-or-no answers, from logits (the notes, S2.6, for two classes; [1]).

    Formula, for one output with logit `z`, target `t` in [0, 1] and `y = sigmoid(z)`, summed over outputs::

        L = -t log y - (1 - t) log(1 - y) = t log(1 + e^-z) + (1 - t) log(1 + e^z)

    with `log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)`, which neither overflows nor loses digits. The
    gradient to the logit is `y - t` (divided by N). The model ends in logits, without `Sigmoid`; an output
    above 0 means yes, as `metrics.BinaryAccuracy(threshold=0)` counts. Several outputs are several questions,
    each with an answer of its own.

    Targets have the shape of the outputs, `(N, 1)` for `Dense(1)`, and the model's dtype.

    Departures from PyTorch's `BCEWithLogitsLoss`: it is `reduction="mean"`, and its `pos_weight` is
    `class_weights=(1, pos_weight)`. Class weights make it
    `w_1 t log(1 + e^-z) + w_0 (1 - t) log(1 + e^z)`; the mean is not divided by them.

    Parameters
    ----------
    class_weights : array_like (2,) or dict, optional
        `(w_0, w_1)`, numbers of at least 0, or `{1: w_1}`.
    reduction : {"mean_samples", "mean", "sum"}
        As in `SquaredError`: the mean over samples of the sum over outputs, the mean over all outputs, or
        the sum.

    Raises
    ------
    ShapeError, ValueError, TypeError
        From `forward`: targets of another shape (nothing is broadcast), outside [0, 1] or of another dtype.

    References
    ----------
    .. [1] Cox, The regression analysis of binary sequences, Journal of the Royal Statistical Society B 20,
       1958.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import BinaryCrossEntropy
    >>> loss = BinaryCrossEntropy()
    >>> round(loss.forward(np.zeros((2, 1)), np.array([[0.0], [1.0]])), 4)  # log 2
    0.6931
    >>> loss.backward().tolist()
    [[0.25], [-0.25]]
    """

    arguments = ("class_weights", "reduction")

    def __init__(self, class_weights=None, reduction="mean_samples"):
        super().__init__()
        self.set_class_weights(class_weights)
        self.reduction = self.chosen("reduction", reduction, REDUCTIONS)
        self.class_weight(2, np.float64, "0 and 1")

    def check_model(self, model):
        check_ending(
            self, model, "sigmoid",
            "so sigmoid would be taken twice; remove it (an output above 0 then means yes, and sigmoid of "
            "predict(x) gives probabilities)",
        )  # fmt: skip
        check_ending(self, model, "softmax", "which makes outputs depend on each other; remove it")

    def check_values(self, target):
        check_wanted(target, (target >= 0) & (target <= 1), "numbers in [0, 1]")

    def compute(self, output, target, sample_weight, gradient, losses):
        return kernels.binary_cross_entropy(
            output, target, sample_weight, gradient, losses, self.class_weight(2, output.dtype),
            self.reduction,
        )  # fmt: skip


class Hinge(OutputWise, ClassWeighted):
    """The loss of support vector machines: nothing is left to gain beyond a margin of 1.

    Formulas, for scores `z`::

        L = max(0, 1 - t z)                               form="binary" [1], t = -1 or 1
        L = max(0, 1 + max_(j != t) z_j - z_t)            form="crammer_singer" [2], t a label

    "binary" is summed over the outputs of a sample; targets have the outputs' shape and dtype. For
    "crammer_singer" the model has K outputs, and targets are labels `(N,)` of any integer dtype. `squared`
    squares the maximum, which takes the kink away. The gradient on a kink is 0, and of equal rivals the first
    gets it.

    Departures: [2] counts training errors in another way, the loss is the same. PyTorch's `MultiMarginLoss`
    adds up all rivals and divides by K, so for two classes it is half of "crammer_singer". Class weights
    multiply the loss; the mean is not divided by them.

    Parameters
    ----------
    form : {"binary", "crammer_singer"}
    squared : bool
    class_weights : array_like (2,) or (K,), or dict, optional
        For "binary" the weights of -1 and 1, in this order (a dict calls them 0 and 1).
    reduction : {"mean_samples", "mean", "sum"}
        As in `SquaredError`; "mean" divides by the outputs of "binary" too.

    Raises
    ------
    ShapeError, ValueError, TypeError
        From `forward`: targets other than -1 and 1, labels out of range, another shape or dtype.

    References
    ----------
    .. [1] Cortes & Vapnik, Support-vector networks, Machine Learning 20, 1995.
    .. [2] Crammer & Singer, On the algorithmic implementation of multiclass kernel-based vector machines,
       Journal of Machine Learning Research 2, 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import Hinge
    >>> loss = Hinge()
    >>> loss.forward(np.array([[2.0], [0.5]]), np.array([[1.0], [-1.0]]))  # (0 + 1.5) / 2
    0.75
    >>> loss.backward().shape
    (2, 1)
    >>> Hinge("crammer_singer").forward(np.array([[1.0, 0.5, 3.0]]), np.array([2]))
    0.0
    """

    arguments = ("form", "squared", "class_weights", "reduction")

    def __init__(self, form="binary", squared=False, class_weights=None, reduction="mean_samples"):
        super().__init__()
        self.form = self.chosen("form", form, ("binary", "crammer_singer"))
        self.squared = bool(squared)
        self.set_class_weights(class_weights)
        self.reduction = self.chosen("reduction", reduction, REDUCTIONS)
        if form == "binary":
            self.class_weight(2, np.float64, "-1 and 1")

    def check_model(self, model):
        if self.form == "crammer_singer":
            check_logits(self, model)
            if model.output_shape is not None:
                self.class_weight(model.output_shape[0], model.model_dtype)

    def check_target(self, target, output_shape, n):
        if self.form == "binary":
            super().check_target(target, output_shape, n)
            return
        target = as_array(target)
        if len(output_shape) != 1 or output_shape[0] < 2:
            raise ShapeError(
                f"output: expected scores (N, K) of two classes or more. Received: shape={(n, *output_shape)}"
            )
        expected = f"target: expected integer labels ({n},)"
        if target.ndim != 1:
            hint = "; labels need no second axis: target[:, 0]" if target.shape == (n, 1) else ""
            raise ShapeError(f"{expected}. Received: {described(target)}{hint}")
        check_labels(target, output_shape[0], n, expected)

    def check_values(self, target):
        hint = "; from 0 and 1 make them with 2 * target - 1" if (target == 0).any() else ""
        check_wanted(target, (target == 1) | (target == -1), "-1 or 1", hint)

    def prepare(self, target, output):
        if self.form == "binary":
            return super().prepare(target, output)
        return as_labels(self, target, output) if output.ndim == 2 else None

    def compute(self, output, target, sample_weight, gradient, losses):
        n_classes = 2 if self.form == "binary" else output.shape[1]
        return kernels.hinge(
            output, target, sample_weight, gradient, losses, self.class_weight(n_classes, output.dtype),
            self.squared, self.reduction,
        )  # fmt: skip
