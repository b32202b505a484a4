"""The losses in NumPy, each with its gradient (the notes, S2.3 and S2.5 to S2.7).

`losses` receives the loss of each sample; what is returned is their mean, weighted by `sample_weight`
if there is one. The gradients are those of the returned number. They are not computed if None is passed.
"""

import numpy as np


def weights_of(losses, sample_weight):
    """The share of each sample in the mean: w_i / sum(w), or 1 / N."""
    weight = np.ones(len(losses)) if sample_weight is None else sample_weight.astype(np.float64)
    return weight / weight.sum() if len(weight) else weight


def softmax_cross_entropy(logits, target, sample_weight, dlogits, losses):
    """Softmax and cross-entropy `-sum(target log p)` in one; `dlogits = (p - target) w / sum(w)`.

    logits (N, K), target (N,) labels or (N, K) probabilities, sample_weight (N,) or None, losses (N,).
    """
    k = logits.shape[1]
    if target.ndim == 1:
        target = np.eye(k, dtype=logits.dtype)[target]
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    log_p = shifted - np.log(total)
    losses[...] = -np.where(target == 0, 0, target * log_p).sum(axis=1)
    share = weights_of(losses, sample_weight)
    if dlogits is not None:
        dlogits[...] = (e / total * target.sum(axis=1, keepdims=True) - target) * share[:, None]
    return float(share @ losses)


def squared_error(
    prediction, target, sample_weight, dprediction, losses, reduction="mean_samples", half=False
):
    """`L = 1/N sum_i sum_j (prediction_ij - target_ij)^2`; "mean" divides by the number of outputs too.

    prediction and target (N, ...), sample_weight (N,) or None, losses (N,). "sum" does not divide at all.
    `half` puts 1/2 in front, so that the gradient has no 2.
    """
    n = len(prediction)
    error = (prediction - target).reshape(n, -1 if prediction.size else 0)
    c = (0.5 if half else 1.0) / (error.shape[1] if reduction == "mean" and prediction.size else 1)
    losses[...] = c * (error**2).sum(axis=1)
    if reduction == "sum":
        share = np.ones(n) if sample_weight is None else sample_weight.astype(np.float64)
    else:
        share = weights_of(losses, sample_weight)
    if dprediction is not None:
        dprediction[...] = (2 * c * share[:, None] * error).reshape(prediction.shape)
    return float(share @ losses)
