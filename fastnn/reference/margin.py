"""Losses of scores whose sign is the answer, and of the lead of one score over the others, in NumPy."""

import numpy as np

from .losses import finish


def binary_cross_entropy(
    logits, target, sample_weight, dlogits, losses, class_weight=None, reduction="mean_samples"
):
    """`w_1 t log(1 + e^-z) + w_0 (1 - t) log(1 + e^z)`, summed over the outputs of a sample.

    logits and target (N, ...), target in [0, 1], class_weight (w_0, w_1) or None, losses (N,). With
    log(1 + e^z) = max(z, 0) + log(1 + e^-|z|) nothing overflows.
    """
    w0, w1 = (1, 1) if class_weight is None else class_weight
    e = np.exp(-np.abs(logits))
    rest, large = np.log1p(e), 1 / (1 + e)
    one, zero = w1 * target, w0 * (1 - target)
    loss = one * (np.maximum(-logits, 0) + rest) + zero * (np.maximum(logits, 0) + rest)
    positive = logits >= 0
    slope = zero * np.where(positive, large, e * large) - one * np.where(positive, e * large, large)
    return finish(loss, slope, sample_weight, dlogits, losses, reduction)


def hinge(
    scores, target, sample_weight, dscores, losses, class_weight=None, squared=False,
    reduction="mean_samples",
):  # fmt: skip
    """`w max(0, 1 - t z)` for targets t of -1 or 1, summed over the outputs of a sample.

    For labels t (N,) and scores (N, K): `w_t max(0, 1 + max_(j != t) z_j - z_t)`, of equal rivals the first.
    `squared` squares the maximum. class_weight is (w_-1, w_1), or (K,), or None.
    """
    n = len(losses)
    if target.dtype == np.int64:
        k = scores.shape[1]
        is_own = np.eye(k, dtype=bool)[target]
        rivals = np.where(is_own, -np.inf, scores)
        best = np.eye(k, dtype=bool)[rivals.argmax(axis=1)] if n else is_own
        gap = 1 + rivals.max(axis=1, keepdims=True, initial=-np.inf) - scores[is_own].reshape(n, 1)
        direction = best.astype(scores.dtype) - is_own
        w = np.ones((n, 1), scores.dtype) if class_weight is None else class_weight[target][:, None]
    else:
        gap, direction = 1 - target * scores, -target
        w = 1 if class_weight is None else np.where(target > 0, class_weight[1], class_weight[0])
    gap = np.where(gap <= 0, 0, gap)
    slope = w * direction * (2 * gap if squared else gap != 0)
    return finish(w * (gap**2 if squared else gap), slope, sample_weight, dscores, losses, reduction)
