"""Noise on the targets, for experiments (the notes, S6.4)."""

import numpy as np

from ..errors import ShapeError


class LabelNoise:
    """Targets that are wrong at random: `noise(target, step)` returns a noisy copy.

    Formulas (the notes, S6.4)::

        y~ = another class with probability flip_prob, each of the K - 1 equally likely      labels (N,)
        y~ = y + std n,   n normal with mean 0 and variance 1                                numbers (N, ...)

    Noise of a squared error's targets does not act like L2, as the notes say: it adds `std^2` for each output
    to the expected loss, which no weight changes. What limits the weights is label smoothing, the expected
    cross-entropy under flipped labels: `SoftmaxCrossEntropy(label_smoothing=flip_prob, smoothing="others")`.

    The numbers come from counters keyed by (seed, step, element) [1], not from a shared state: the same step
    gets the same noise again, and elements keep theirs in a smaller batch.

    Parameters
    ----------
    flip_prob : float, optional
        For labels, in [0, 1].
    std : float, optional
        For numbers, in the unit of the targets. Give one of the two.
    n_classes : int, optional
        K, with `flip_prob`.
    seed : int

    References
    ----------
    .. [1] Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (NumPy's `Philox`).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.data.noise import LabelNoise
    >>> noise = LabelNoise(flip_prob=0.2, n_classes=10, seed=0)
    >>> y = np.zeros(1000, np.int64)
    >>> noise(y, step=3).shape
    (1000,)
    >>> bool((noise(y, step=3) == noise(y, step=3)).all())
    True
    """

    def __init__(self, flip_prob=None, std=None, n_classes=None, seed=0):
        if (flip_prob is None) == (std is None):
            raise ValueError(
                f"LabelNoise: expected either flip_prob, for labels, or std, for numbers. "
                f"Received: flip_prob={flip_prob!r}, std={std!r}"
            )
        if flip_prob is not None and not 0 <= flip_prob <= 1:
            raise ValueError(
                f"LabelNoise: flip_prob: expected a probability in [0, 1]. Received: {flip_prob!r}"
            )
        if std is not None and not 0 <= std < np.inf:
            raise ValueError(f"LabelNoise: std: expected a finite number of at least 0. Received: {std!r}")
        if flip_prob is not None and (not isinstance(n_classes, (int, np.integer)) or n_classes < 2):
            raise ValueError(
                f"LabelNoise: n_classes: expected the number of classes, at least 2, with flip_prob. "
                f"Received: {n_classes!r}"
            )
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
            raise ValueError(f"LabelNoise: seed: expected an integer from 0 to 2^64 - 1. Received: {seed!r}")
        self.flip_prob, self.std, self.n_classes, self.seed = flip_prob, std, n_classes, int(seed)

    def __call__(self, target, step):
        """A noisy copy of `target`, (N,) integers or (N, ...) floating point, for the update `step`."""
        target = np.asarray(target)
        if self.flip_prob is None:
            return self._shifted(target, step)
        if target.ndim != 1 or target.dtype.kind not in "iu":
            raise ShapeError(
                f"LabelNoise: target: expected integer labels (N,) with flip_prob. "
                f"Received: shape={target.shape}, dtype={target.dtype}; for numbers give std instead"
            )
        if target.size and not (target.min() >= 0 and target.max() < self.n_classes):
            raise ValueError(
                f"LabelNoise: target: expected labels from 0 to {self.n_classes - 1}. "
                f"Received: {target.min()} to {target.max()}; correct n_classes or the labels"
            )
        chance, other = self._uniform(target.size, step)
        # 1 ... K - 1 classes further on, round and round
        shift = 1 + np.minimum((other * (self.n_classes - 1)).astype(np.int64), self.n_classes - 2)
        flipped = (target.astype(np.int64) + shift) % self.n_classes
        return np.where(chance < self.flip_prob, flipped, target).astype(target.dtype)

    def _shifted(self, target, step):
        if target.dtype.kind != "f":
            raise TypeError(
                "LabelNoise: target: expected floating point numbers with std. "
                f"Received: dtype={target.dtype}; for labels give flip_prob and n_classes instead"
            )
        radius, angle = self._uniform(target.size, step)  # Box & Muller 1958
        normal = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)
        return (target + self.std * normal.reshape(target.shape)).astype(target.dtype)

    def _uniform(self, n, step):
        """Two numbers in [0, 1) for each of n elements, (2, n)."""
        key = np.array([self.seed, int(step)], np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).random((n, 2)).T

    def __repr__(self):
        values = {"flip_prob": self.flip_prob, "std": self.std, "n_classes": self.n_classes}
        given = "".join(f"{name}={value!r}, " for name, value in values.items() if value is not None)
        return f"LabelNoise({given}seed={self.seed})"
