"""What a classifier gets wrong: the confusion matrix and the worst mistakes."""

import numpy as np

from .figure import MUTED, new_figure


def confusion(matrix, class_names=None):
    """The confusion matrix, rows are true classes.

    Parameters
    ----------
    matrix : ndarray (K, K) of int
        `matrix[i, j]` samples of class i were taken for class j; see `fastnn.metrics.confusion_matrix`.
    class_names : sequence of str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix: expected a square matrix. Received: shape={matrix.shape}")
    n = len(matrix)
    names = [str(i) for i in range(n)] if class_names is None else list(class_names)
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    figure, axes = new_figure(1.6 + 0.5 * n, 1.2 + 0.45 * n)
    axis = axes[0, 0]
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(n):
        for j in range(n):
            if matrix[i, j]:
                axis.text(j, i, matrix[i, j], ha="center", va="center", fontsize=8,
                          color="white" if share[i, j] > 0.5 else "black")  # fmt: skip
    axis.set_xticks(range(n), names, rotation=45, ha="right")
    axis.set_yticks(range(n), names)
    axis.set_xlabel("predicted", fontsize=9, color=MUTED)
    axis.set_ylabel("true", fontsize=9, color=MUTED)
    right = np.trace(matrix) / max(1, matrix.sum())
    axis.set_title(f"{right:.1%} of {matrix.sum():,} right", fontsize=10, loc="left")
    axis.spines[:].set_visible(False)
    return figure


def mistakes(images, labels, probabilities, class_names=None, k=24):
    """The images that the network got wrong with the most confidence.

    Parameters
    ----------
    images : ndarray (N, H, W, C)
        In [0, 1].
    labels : ndarray (N,) of int
    probabilities : ndarray (N, K)
    k : int
        How many at most.

    Returns
    -------
    matplotlib.figure.Figure
    """
    predicted = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:k]
    names = [str(i) for i in range(probabilities.shape[1])] if class_names is None else class_names
    columns = min(8, max(4, len(worst)))  # fewer leave no room for the title
    rows = max(1, -(-len(worst) // columns))
    figure, axes = new_figure(1.35 * columns, 1.75 * rows + 0.3, rows, columns)
    for axis in axes.flat:
        axis.axis("off")
    for axis, i in zip(axes.flat, worst):
        image = np.clip(images[i], 0, 1)
        axis.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{names[predicted[i]]} {sure[i]:.0%}\nis {names[labels[i]]}", fontsize=7)
    which = "" if len(worst) == len(wrong) else "; the surest of them"
    figure.suptitle(f"{len(wrong):,} of {len(labels):,} wrong{which}", fontsize=10, x=0.01, ha="left")
    return figure
