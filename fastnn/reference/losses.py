"""What the losses in NumPy share: how samples and outputs make a mean.

`losses` receives the loss of each sample; what is returned is their mean, weighted by `sample_weight`
if there is one. The gradients are those of the returned number. They are not computed if None is passed.
"""

import numpy as np


def weights_of(losses, sample_weight, reduction="mean_samples"):
    """The share of each sample in the mean: w_i / sum(w), or 1 / N; w_i or 1 for the sum."""
    weight = np.ones(len(losses)) if sample_weight is None else sample_weight.astype(np.float64)
    return weight / weight.sum() if len(weight) and reduction != "sum" else weight


def finish(loss, slope, sample_weight, gradient, losses, reduction):
    """Add up the losses (N, K) of single outputs; `slope` (N, K) are their derivatives.

    "mean_samples" is the mean over samples of the sum over outputs; "mean" divides by K too.
    """
    n = len(losses)
    loss, slope = (a.reshape(n, a.size // n if n else 0) for a in (loss, slope))
    c = 1 / max(loss.shape[1], 1) if reduction == "mean" else 1.0
    losses[...] = c * loss.sum(axis=1)
    share = weights_of(losses, sample_weight, reduction)
    if gradient is not None:
        gradient[...] = (c * share[:, None] * slope).reshape(gradient.shape)
    return float(share @ losses)
