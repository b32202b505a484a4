"""Losses of regression in NumPy, each with its gradient (the notes, S2.3)."""

import numpy as np

from .losses import finish


def squared_error(
    prediction, target, sample_weight, dprediction, losses, reduction="mean_samples", half=False
):
    """`L = 1/N sum_i sum_j (prediction_ij - target_ij)^2`; "mean" divides by the number of outputs too.

    prediction and target (N, ...), sample_weight (N,) or None, losses (N,). "sum" does not divide at all.
    `half` puts 1/2 in front, so that the gradient has no 2.
    """
    error, c = prediction - target, 0.5 if half else 1.0
    return finish(c * error**2, 2 * c * error, sample_weight, dprediction, losses, reduction)


def huber(
    prediction, target, sample_weight, dprediction, losses, delta=1.0, reduction="mean_samples"
):  # fmt: skip
    """`e^2 / 2` where `|e| <= delta`, else `delta (|e| - delta / 2)`, e = prediction - target.

    The gradient is e, held between -delta and delta. Arrays as in `squared_error`.
    """
    error = prediction - target
    size = np.abs(error)
    loss = np.where(size <= delta, error**2 / 2, delta * (size - delta / 2))
    return finish(loss, np.clip(error, -delta, delta), sample_weight, dprediction, losses, reduction)
