"""The Kullback-Leibler divergence of target probabilities from the softmax of logits, in NumPy."""

import numpy as np

from .losses import weights_of


def kl_divergence(logits, target, sample_weight, dlogits, losses, reduction="mean_samples"):
    """`sum_j t_j (log t_j - log p_j)` with p = softmax(logits); `dlogits = (p sum(t) - t) share`.

    logits and target (N, K), the rows of target add up to 1; sample_weight (N,) or None, losses (N,).
    """
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    log_t = np.log(np.where(target == 0, 1, target))
    with np.errstate(invalid="ignore"):  # 0 log 0 is 0
        terms = np.where(target == 0, 0, target * (log_t - (shifted - np.log(total))))
    losses[...] = terms.sum(axis=1)
    share = weights_of(losses, sample_weight, reduction)
    if dlogits is not None:
        dlogits[...] = (e / total * target.sum(axis=1, keepdims=True) - target) * share[:, None]
    return float(share @ losses)
