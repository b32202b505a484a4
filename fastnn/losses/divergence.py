"""The distance of distributions: targets that are probabilities."""

import numpy as np

from .. import kernels
from ..errors import ShapeError
from .base import Loss, as_array, as_output, check_ending, check_probabilities, described
from .classification import TWICE, check_logits

#: How far the probabilities of a row may be from adding up to 1; the kernel's number.
SUM_TOLERANCE = 1e-4


class KLDivergence(Loss):
    """The Kullback-Leibler divergence of the target probabilities from the softmax of the logits [1].

    Formula, for one sample with target `t`, logits `z` and `p = softmax(z)`::

        L = sum_j t_j (log t_j - log p_j) = cross-entropy of t and p - entropy of t

    It is 0 where `p = t`, and never negative. The gradient is that of cross-entropy, `p - t` (divided by N):
    the entropy of the targets does not depend on the model. Take it where targets are distributions, of a
    teacher network say, and the number shall say how far from them the model is. `0 log 0` is 0.

    Departures from PyTorch's `KLDivLoss`: it takes log-probabilities instead of logits; its
    `reduction="batchmean"` is our `"mean_samples"`, its `"mean"` divides by the number of classes too.

    Parameters
    ----------
    reduction : {"mean_samples", "sum"}

    References
    ----------
    .. [1] Kullback & Leibler, On information and sufficiency, Annals of Mathematical Statistics 22, 1951.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import KLDivergence
    >>> loss = KLDivergence()
    >>> round(loss.forward(np.zeros((1, 2)), np.array([[1.0, 0.0]])), 4)  # log 2
    0.6931
    >>> loss.backward().shape
    (1, 2)
    """

    arguments = ("reduction",)

    def __init__(self, reduction="mean_samples"):
        super().__init__()
        self.reduction = self.chosen("reduction", reduction, ("mean_samples", "sum"))

    def check_model(self, model):
        check_ending(self, model, "softmax", TWICE)
        check_logits(self, model)

    def check_target(self, target, output_shape, n):
        target = as_array(target)
        if len(output_shape) != 1:
            raise ShapeError(f"output: expected logits (N, K). Received: shape={(n, *output_shape)}")
        expected = f"target: expected probabilities ({n}, {output_shape[0]})"
        if target.shape != (n, *output_shape):
            hint = ""
            if target.ndim == 1 and target.dtype.kind in "iu":
                hint = "; labels are for SoftmaxCrossEntropy, which equals this divergence for them"
            raise ShapeError(f"{expected}. Received: {described(target)}{hint}")
        check_probabilities(target, expected)
        sums = target.sum(axis=1, dtype=np.float64)
        wrong = ~(np.abs(sums - 1) <= SUM_TOLERANCE)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"target: expected rows that add up to 1. Received: {sums[row]:.6g} in row {row}; divide "
                "each row by its sum: target / target.sum(axis=1, keepdims=True)"
            )

    def prepare(self, target, output):
        return as_output(target, output) if output.ndim == 2 else None

    def compute(self, output, target, sample_weight, gradient, losses):
        return kernels.kl_divergence(output, target, sample_weight, gradient, losses, self.reduction)
