"""Cross-entropy of softmax and of log-probabilities in NumPy, with the gradient (the notes, S2.5 to S2.7)."""

import numpy as np

from .losses import weights_of


def softmax_cross_entropy(
    logits, target, sample_weight, dlogits, losses, class_weight=None, label_smoothing=0.0,
    reduction="mean_samples",
):  # fmt: skip
    """Softmax and cross-entropy `-sum(w q log p)` in one; `dlogits = (p sum(w q) - w q) share`.

    logits (N, K), target (N,) labels or (N, K) probabilities t, sample_weight (N,) or None, losses (N,).
    q = (1 - eps) t + eps / K sum(t) with eps = `label_smoothing`; w is `class_weight` (K,) or 1. The mean is
    divided by the sum over the samples of sample_weight sum(w t).
    """
    k = logits.shape[1]
    t = rows_of(target, logits)
    w = np.ones(k, logits.dtype) if class_weight is None else class_weight
    q = (1 - label_smoothing) * t + label_smoothing / max(k, 1) * t.sum(axis=1, keepdims=True)
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    wq, log_p = w * q, shifted - np.log(total)
    with np.errstate(invalid="ignore"):  # 0 log 0 is 0
        losses[...] = -np.where(wq == 0, 0, wq * log_p).sum(axis=1)
    share = shares(losses, t, sample_weight, class_weight, reduction)
    if dlogits is not None:
        dlogits[...] = (e / total * wq.sum(axis=1, keepdims=True) - wq) * share[:, None]
    return float(share @ losses)


def nll(log_probs, target, sample_weight, dlog_probs, losses, class_weight=None, reduction="mean_samples"):
    """`-sum(w t log_probs)`; `dlog_probs = -w t share`. Arrays as in `softmax_cross_entropy`."""
    t = rows_of(target, log_probs)
    wt = t if class_weight is None else class_weight * t
    with np.errstate(invalid="ignore"):  # 0 log 0 is 0
        losses[...] = -np.where(wt == 0, 0, wt * log_probs).sum(axis=1)
    share = shares(losses, t, sample_weight, class_weight, reduction)
    if dlog_probs is not None:
        dlog_probs[...] = -wt * share[:, None]
    return float(share @ losses)


def rows_of(target, like):
    """Probabilities (N, K) from labels or probabilities."""
    return np.eye(like.shape[1], dtype=like.dtype)[target] if target.ndim == 1 else target


def shares(losses, t, sample_weight, class_weight, reduction):
    """What the loss of each sample counts: s_i / sum_i s_i sum_j(w_j t_ij)."""
    if class_weight is None or reduction == "sum" or len(t) == 0:
        return weights_of(losses, sample_weight, reduction)
    weight = np.ones(len(t)) if sample_weight is None else sample_weight.astype(np.float64)
    return weight / (weight @ (t @ class_weight.astype(np.float64)))
