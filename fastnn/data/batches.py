"""From arrays to batches: order, gathering, splits and checks."""

import numpy as np

from ..errors import ShapeError
from ..workspace import Workspace

SLICE = 1 << 18  # elements that a check looks at in one go: they and the answer stay in the cache


class Batches:
    """Cuts arrays into batches, in a new order for each epoch.

    The order of epoch `e` depends on `(seed, e)` only, so a training that is resumed sees the same batches
    as one that was never stopped. Each sample comes exactly once per epoch.

    Parameters
    ----------
    x : array_like, (N, ...)
        Samples; may be a memory map (`numpy.memmap`) larger than memory. Bytes (uint8) become numbers in
        [0, 1] batch by batch, other integers become numbers of the same value.
    y : array_like, (N, ...), optional
        Targets. Integers of shape (N,) are labels and come as int64; images of bytes (N, H, W, ...) are
        scaled as in `x`. It may be the same object as `x` (autoencoders): then it is gathered once.
    batch_size : int or None
        Samples in a batch; the last one may be smaller. None: all (gradient descent without batches).
    shuffle : bool
        False keeps the order; if nothing is to be converted, batches then are views of `x` and `y`.
    seed : int, numpy.random.Generator or None
        None draws one, which can be read from the attribute `seed`.
    sample_weight : array_like, (N,), optional
    drop_last : bool
        Leave a smaller last batch out.
    indices : array_like of int, optional
        Use these samples only (one side of `train_validation_split`), without copying them.
    dtype : dtype, optional
        Floating point type of the batches; by default that of `x`, or float32 if `x` holds integers.

    Attributes
    ----------
    n_samples : int
        Samples per epoch.

    Raises
    ------
    ShapeError
        Lengths differ.
    ValueError
        There are no samples, or an argument is out of its range.
    TypeError
        An array does not hold numbers.

    Notes
    -----
    Batches are lent: their memory is used again for a later batch as soon as nobody refers to them any
    more. So batches that are kept (`list(batches)`) stay valid, and a steady loop allocates nothing.

    Examples
    --------
    >>> batches = Batches(np.zeros((10, 3)), np.arange(10), batch_size=4, seed=0)
    >>> [(x.shape, y.shape) for x, y in batches]
    [((4, 3), (4,)), ((4, 3), (4,)), ((2, 3), (2,))]
    """

    def __init__(self, x, y=None, batch_size=32, shuffle=True, seed=None, sample_weight=None,
                 drop_last=False, indices=None, dtype=None):  # fmt: skip
        workspace = Workspace()
        self._x = _Rows(x, "x", dtype, workspace)
        dtype = self._x.dtype
        n = len(self._x)
        self._y = self._weight = None
        if y is not None:
            self._y = self._x if y is x else _Rows(y, "y", dtype, workspace, labels=True)
            _same_length("y", len(self._y), n)
        if sample_weight is not None:
            self._weight = _Rows(sample_weight, "sample_weight", dtype, workspace)
            if self._weight.array.ndim != 1:
                raise ShapeError(
                    f"sample_weight: expected shape ({n},). Received: {self._weight.array.shape}"
                )
            _same_length("sample_weight", len(self._weight), n)

        self._indices = None if indices is None else _check_indices(indices, n)
        self.n_samples = n if self._indices is None else len(self._indices)
        if self.n_samples == 0:
            raise ValueError(f"x: expected at least one sample. Received: x of shape {self._x.array.shape}")
        if batch_size is None:
            batch_size = self.n_samples
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(
                f"batch_size: expected an integer >= 1 or None. Received: batch_size={batch_size!r}"
            )
        if drop_last and batch_size > self.n_samples:
            raise ValueError(
                f"batch_size: expected at most {self.n_samples}, the number of samples, with drop_last=True. "
                f"Received: batch_size={batch_size}. No batch would be left."
            )
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = _fixed_seed(seed)
        self._passes = 0

    def __len__(self):
        """Batches per epoch."""
        whole, rest = divmod(self.n_samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self):
        """The next epoch: 0 at the first loop over it, then 1, ..."""
        self._passes += 1
        return self.epoch(self._passes - 1)

    def order(self, epoch):
        """The samples' numbers in the order of an epoch, (n_samples,) int64; None means as they are."""
        if not self.shuffle:
            return self._indices
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
        if self._indices is None:
            return rng.permutation(self.n_samples)
        return self._indices[rng.permutation(self.n_samples)]

    def epoch(self, epoch, start_batch=0):
        """The batches of one epoch.

        Parameters
        ----------
        epoch : int
            Its number, from 0.
        start_batch : int
            The first batch to yield, to go on inside an epoch.

        Yields
        ------
        x : ndarray, (n, ...)
        y : ndarray, (n, ...), or None without targets
        sample_weight : ndarray, (n,)
            Only if weights were given.
        """
        if epoch < 0 or not 0 <= start_batch <= len(self):
            raise ValueError(
                f"epoch, start_batch: expected epoch >= 0 and start_batch from 0 to {len(self)}. "
                f"Received: epoch={epoch}, start_batch={start_batch}"
            )
        return self._batches(self.order(epoch), start_batch)

    def _batches(self, order, start_batch):
        for i in range(start_batch, len(self)):
            start = i * self.batch_size
            stop = min(start + self.batch_size, self.n_samples)
            rows = slice(start, stop) if order is None else order[start:stop]
            # One expression: a local name would keep the batch from being lent again.
            yield self._gather(rows)

    def _gather(self, rows):
        x = self._x.take(rows)
        if self._y is None:
            y = None
        else:
            y = x if self._y is self._x else self._y.take(rows)
        return (x, y) if self._weight is None else (x, y, self._weight.take(rows))


class _Rows:
    """The samples of one array, in the type that the model wants."""

    def __init__(self, array, name, dtype, workspace, labels=False):
        array = np.asarray(array)  # of a memory map: a view, not a copy
        if array.ndim == 0:
            raise ShapeError(f"{name}: expected an array (N, ...). Received: a single number")
        if array.dtype.kind not in "fiub":
            raise TypeError(
                f"{name}: expected numbers. Received: {name} of dtype {array.dtype}."
                + (" np.unique(y, return_inverse=True)[1] numbers the classes." if labels else "")
            )
        self.dtype: np.dtype
        if labels and array.ndim == 1 and array.dtype.kind in "iub":
            self.dtype = np.dtype(np.int64)
        elif dtype is not None:
            self.dtype = np.dtype(dtype)
        else:
            self.dtype = array.dtype if array.dtype in (np.float32, np.float64) else np.dtype(np.float32)
        if self.dtype not in (np.float32, np.float64, np.int64):
            raise TypeError(f"dtype: expected float32 or float64. Received: dtype={self.dtype}")
        self.array = array
        self.workspace = workspace
        self.scale = array.dtype == np.uint8 and (array.ndim > 2 or not labels)
        self.convert = array.dtype != self.dtype
        # np.take would copy an array that is not like this as a whole
        self.plain = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative

    def __len__(self):
        return len(self.array)

    def take(self, rows):
        """These rows (a slice, or their numbers): a view if possible, else lent memory."""
        if isinstance(rows, slice):
            source = self.array[rows]
            if self.plain and not self.convert:
                return source
        elif self.plain:
            source = self._lend(len(rows), self.array.dtype)
            self.array.take(rows, axis=0, out=source, mode="clip")  # "raise" would copy once more
            if not self.convert:
                return source
        else:
            source = self.array[rows]
        out = self._lend(len(source), self.dtype)
        if self.scale:
            return np.divide(source, 255, out=out, dtype=self.dtype)
        np.copyto(out, source, casting="same_kind" if self.dtype.kind == "f" else "unsafe")
        return out

    def _lend(self, n, dtype):
        return self.workspace.take((n, *self.array.shape[1:]), dtype)


def _same_length(name, length, n):
    if length != n:
        raise ShapeError(f"{name}: expected {n} rows, as many as x has. Received: {length} rows")


def _check_indices(indices, n):
    indices = np.asarray(indices)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise ShapeError(
            f"indices: expected integers of shape (K,). Received: shape {indices.shape}, {indices.dtype}"
        )
    if indices.size and not (indices.min() >= 0 and indices.max() < n):
        raise ValueError(
            f"indices: expected numbers from 0 to {n - 1}. Received: {indices.min()} to {indices.max()}"
        )
    return indices.astype(np.int64)


def _fixed_seed(seed):
    """A number that all epochs' orders follow from."""
    if seed is None:
        return np.random.SeedSequence().entropy
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, a Generator or None. Received: seed={seed!r}")
    return int(seed)


def train_validation_split(x, y=None, fraction=0.1, seed=0, stratify=True):
    """Choose samples for validation at random.

    Parameters
    ----------
    x : array_like, (N, ...)
    y : array_like, (N, ...), optional
    fraction : float
        Part for validation, between 0 and 1.
    seed : int or numpy.random.Generator
    stratify : bool
        Give both parts every class of integer labels `y` (N,) in the same proportion, up to one sample. A
        class of one sample goes to training.

    Returns
    -------
    train, validation : ndarray of int64
        Numbers of the samples, ascending: for `Batches(x, y, indices=train)`, which copies nothing, or
        `x[train]`.

    Raises
    ------
    ShapeError
        Lengths differ.
    ValueError
        One part would be empty.

    Examples
    --------
    >>> train, validation = train_validation_split(np.zeros(10), np.arange(10) % 2, 0.4)
    >>> len(train), np.bincount(validation % 2).tolist()
    (6, [2, 2])
    """
    n = len(x)
    if y is not None:
        _same_length("y", len(y), n)
    n_validation = round(n * fraction) if 0 < fraction < 1 else 0
    if not 0 < n_validation < n:
        raise ValueError(
            f"fraction: expected both parts of {n} samples to get at least one. Received: fraction={fraction}"
        )
    order = np.random.default_rng(seed).permutation(n)
    labels = None if y is None else np.asarray(y)
    if stratify and labels is not None and labels.ndim == 1 and labels.dtype.kind in "iub":
        order = _by_quota(order, labels, n_validation)
    chosen = np.zeros(n, bool)
    chosen[order[:n_validation]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _by_quota(order, labels, n_chosen):
    """Put first, of each class in this random order, as many as its share of `n_chosen`.

    Shares are rounded down; what is left goes to the largest remainders.
    """
    _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)  # within the class
    share = counts * n_chosen / len(order)
    quota = share.astype(np.int64)
    remainder = np.where(counts > quota + 1, share - quota, -1)
    left = n_chosen - quota.sum()
    first = order[np.cumsum(counts) - 1]  # a random number for each class, so that equals take turns
    quota[np.lexsort((first, -remainder))[:left]] += 1
    return np.concatenate([order[rank < np.repeat(quota, counts)], order[rank >= np.repeat(quota, counts)]])


def one_hot(labels, n_classes=None, dtype="float32"):
    """Rows with a one at the label and zeros elsewhere.

    Parameters
    ----------
    labels : array_like of int, (N,)
    n_classes : int, optional
        By default the largest label + 1.
    dtype : dtype

    Returns
    -------
    ndarray, (N, n_classes)

    Examples
    --------
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ShapeError(f"labels: expected shape (N,). Received: labels of shape {labels.shape}")
    if labels.size and labels.dtype.kind not in "iub":
        raise TypeError(f"labels: expected integers. Received: labels of dtype {labels.dtype}")
    labels = labels.astype(np.int64)
    if n_classes is None:
        n_classes = int(labels.max(initial=-1)) + 1
    if labels.size and not (labels.min() >= 0 and labels.max() < n_classes):
        raise ValueError(
            f"labels: expected numbers from 0 to {n_classes - 1}. Received: {labels.min()} to {labels.max()}"
        )
    rows = np.zeros((len(labels), n_classes), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def check_finite(x, name="x"):
    """Raise ValueError if an array holds NaN or infinity, and say where.

    Looks at slices, so memory maps larger than memory are fine. Integers need no look.
    """
    x = np.asarray(x)
    if x.dtype.kind != "f" or x.size == 0:
        return
    x = np.atleast_1d(x)
    step = max(1, SLICE // max(1, x[0].size))
    for start in range(0, len(x), step):
        finite = np.isfinite(x[start : start + step])
        if not finite.all():
            first = np.unravel_index(np.argmin(finite), finite.shape)
            where = (start + int(first[0]), *(int(i) for i in first[1:]))
            raise ValueError(
                f"{name}: expected finite numbers. Received: {x[where]} at index {where}. Remove such "
                f"samples, np.isfinite({name}) finds them, or replace the values."
            )
