"""What all augmentations share: random numbers from counters, a row of changes, checks of arguments."""

import inspect

import numpy as np

from ...checks import number
from ...errors import ShapeError
from ...workspace import aligned_empty


class Augmentation:
    """Base of the random changes of images: `augmentation(x, seed, step)` returns changed copies.

    The random numbers come from counters keyed by (seed, step, place in the batch, place in a `Compose`)
    [1]_, not from a shared state: the same call gives the same images, for any number of threads and in a
    resumed training. `Trainer.fit(augment=...)` gives its own seed and a step for each batch of each epoch.

    A change of your own sets `n_draws`, the random numbers that an image needs, writes `change`, and keeps
    the arguments of its constructor in attributes of the same names.

    References
    ----------
    .. [1] Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (NumPy's `Philox`).

    Examples
    --------
    >>> import fastnn as nn
    >>> class RandomNegative(nn.augmentation.Augmentation):
    ...     n_draws = 1
    ...     def change(self, x, y, draws):
    ...         negative = draws[0][:, None, None, None] < 0.5
    ...         np.subtract(1, x, out=y, where=negative)
    ...         np.copyto(y, x, where=~negative)
    >>> RandomNegative()(np.ones((4, 1, 1, 1), np.float32), seed=0).ravel()
    array([0., 0., 0., 1.], dtype=float32)
    """

    n_draws = 1

    def __call__(self, x, seed=0, step=0, take=aligned_empty):
        """Changed copies of the images `x` (N, H, W, C), float32 or float64.

        Parameters
        ----------
        x : array_like (N, H, W, C)
            Is not written.
        seed, step : int
            From 0 to 2^64 - 1; others give other images.
        take : callable
            Function (shape, dtype) that lends the arrays for the results.

        Returns
        -------
        ndarray (N, *output_shape), of the dtype of x
        """
        x = np.ascontiguousarray(x)
        if x.ndim != 4 or 0 in x.shape[1:]:
            raise ShapeError(
                f"{self._name}: x: expected images (N, H, W, C). Received: shape={x.shape}; "
                "x.reshape(-1, H, W, 1) makes them of grey rows"
            )
        if x.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"{self._name}: x: expected float32 or float64. Received: dtype={x.dtype}; bytes are "
                "np.float32(x / 255)"
            )
        for name, value in (("seed", seed), ("step", step)):
            if not isinstance(value, (int, np.integer)) or not 0 <= value < 2**64:
                raise ValueError(
                    f"{self._name}: {name}: expected an integer from 0 to 2^64 - 1. Received: {value!r}"
                )
        return self.run(x, seed, step, take)

    def run(self, x, seed, step, take, index=0):
        """The same without checks, as the `index`-th change of a row."""
        y = take((len(x), *self.output_shape(x.shape[1:])), x.dtype)
        bits = np.random.Philox(counter=[0, 0, 0, index], key=np.array([seed, step], np.uint64))
        self.change(x, y, np.random.Generator(bits).random((len(x), self.n_draws)).T)
        return y

    def output_shape(self, shape):
        """Shape (H, W, C) of the changed images."""
        return shape

    def change(self, x, y, draws):
        """Write the changed `x` to `y`; `draws` (n_draws, N) are random numbers in [0, 1)."""
        raise NotImplementedError(f"{self._name}.change is not written")

    @property
    def _name(self):
        return type(self).__name__

    def __repr__(self):
        given = ", ".join(
            f"{name}={getattr(self, name)!r}" for name in inspect.signature(type(self)).parameters
        )
        return f"{self._name}({given})"


class Compose(Augmentation):
    """Several changes in a row, each with random numbers of its own.

    Parameters
    ----------
    augmentations : sequence of Augmentation

    Examples
    --------
    >>> from fastnn import augmentation as aug
    >>> augmentation = Compose([aug.RandomFlip(), aug.RandomShift(2)])
    >>> augmentation(np.zeros((8, 28, 28, 1), np.float32), seed=0, step=3).shape
    (8, 28, 28, 1)
    """

    def __init__(self, augmentations):
        given = tuple(augmentations)
        if not given or not all(isinstance(a, Augmentation) for a in given):
            raise TypeError(
                f"Compose: augmentations: expected a sequence of Augmentation objects. Received: {given!r}"
            )
        self.augmentations: list[Augmentation] = []
        for augmentation in given:
            is_row = isinstance(augmentation, Compose)
            self.augmentations += augmentation.augmentations if is_row else [augmentation]

    def run(self, x, seed, step, take, index=0):
        """All changes, one after the other."""
        for i, augmentation in enumerate(self.augmentations, index):
            x = augmentation.run(x, seed, step, take, i)
        return x

    def output_shape(self, shape):
        """Shape (H, W, C) behind the last change."""
        for augmentation in self.augmentations:
            shape = augmentation.output_shape(shape)
        return shape


def between(limits, u):
    """Numbers uniform between two, from numbers in [0, 1)."""
    return limits[0] + (limits[1] - limits[0]) * u


def pair(owner, name, value, whole=False, least=0):
    """Two numbers of at least `least`, for rows and columns, from one or two."""
    two = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if len(two) != 2 or not all(isinstance(v, kinds) and least <= v < 2**20 for v in two):
        kind = "an integer" if whole else "a number"
        raise ValueError(
            f"{owner._name}: {name}: expected {kind} from {least} to a million, or two (rows, columns). "
            f"Received: {value!r}"
        )
    return tuple(map(int if whole else float, two))


def limits(owner, name, value):
    """(low, high), or (-value, value) from one number."""
    two = value if isinstance(value, (tuple, list)) else (-number(owner._name, name, value), value)
    numbers = [number(owner._name, name, v, "(-inf, inf)") for v in two]
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        raise ValueError(f"{owner._name}: {name}: expected (low, high), low <= high. Received: {value!r}")
    return tuple(numbers)
