"""Buffers that are reused from step to step: page faults cost more than arithmetic.

An array that `take` handed out is free again as soon as nobody refers to it any more, neither to the
array nor to a view of it. So nothing has to be given back, what `forward` returned stays valid for as
long as its caller keeps it, and a steady training step allocates nothing.
"""

from sys import getrefcount

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def aligned_empty(shape, dtype):
    """An uninitialised C-contiguous array that starts on a cache line."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    block = np.empty(n_bytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + n_bytes].view(dtype).reshape(shape)


def _count(pool):
    for array in pool:
        return getrefcount(array), getrefcount(array.base)


# What a free array and its memory count: measured, in a loop like that of `take`, because versions of Python
# differ.
FREE, FREE_BASE = _count([aligned_empty((1,), np.uint8)])


class Workspace:
    """The buffers of one model.

    Attributes
    ----------
    keep : bool
        Whether layers keep what their backward pass needs; `predict` switches it off.
    fuse : bool
        Whether a layer may do work of the next one in its own pass over memory. Batch statistics are summed
        in another order then, all else has the same bits.
    once : bool
        Whether a backward pass lets go of what each layer kept as soon as it has been used: the trainer's,
        which goes through it once and needs the memory for gradients.
    seed, step, epoch : int
        What random layers draw from: the model's seed, the number of training passes so far and, for a mask
        that lasts an epoch, the number of the epoch, another for every epoch of every `fit`.
    """

    def __init__(self, seed=0):
        self.keep = self.fuse = True
        self.once = False
        self.seed = seed
        self.step = self.epoch = 0
        self._pools = {}

    def take(self, shape, dtype):
        """An uninitialised array of that shape, `(N, ...)`, that is the caller's while he refers to it.

        Smaller batches (the last of an epoch) get the beginning of an array for a larger one.
        """
        key = shape[1:], dtype
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = []
        n = shape[0]
        i, smaller = 0, -1
        for array in pool:  # not enumerate(): its tuple would refer to the array too
            if getrefcount(array) == FREE and getrefcount(array.base) == FREE_BASE:
                if array.shape[0] == n:
                    return array
                if array.shape[0] > n:
                    return array[:n]
                smaller = i
            i += 1  # noqa: SIM113
        if smaller >= 0:  # a larger one replaces it
            del pool[smaller]
        array = aligned_empty(shape, dtype)
        pool.append(array)
        return array

    def arrays(self):
        """All buffers, free or not."""
        return [array for pool in self._pools.values() for array in pool]

    @property
    def n_bytes(self):
        """Memory held, in bytes."""
        return sum(array.nbytes for array in self.arrays())

    def clear(self):
        """Let go of all buffers; those in use live on with their users."""
        self._pools.clear()
