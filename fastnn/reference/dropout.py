"""Dropout in NumPy (the notes, S6.8): by default with the scaling in training, so that predicting needs none.

The mask is not drawn from a generator with a state but computed: the bits of element i are a hash of
(key, i). Forward and backward find the same mask again, and so does any number of threads.
"""

import math

import numpy as np

MASK = 2**64 - 1


def words_of(key, block):
    """Two 32-bit words for a key: one step of splitmix64 (Steele, Lea and Flood 2014)."""
    z = (key + (block + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31
    return np.uint32(z & 0xFFFFFFFF), np.uint32(z >> 32)


def mix(h):
    """Every bit of the result depends on every bit of h (the end of MurmurHash3, Appleby 2011)."""
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def random_bits(key, n):
    """n uniform 32-bit integers for the elements 0 ... n - 1; every 2^32 elements have words of their own."""
    bits = np.empty(n, np.uint32)
    for block in range((n + 2**32 - 1) >> 32):
        part = bits[block << 32 : (block + 1) << 32]
        low, high = words_of(key, block)
        part[...] = mix(mix(np.arange(len(part), dtype=np.uint32) + low) ^ high)
    return bits


def dropout_forward(x, y, rate, key, scale=None, shift=0.0, fill=0.0, same_mask=False):
    """`y = scale x + shift` where the element is kept, `fill` elsewhere; kept with probability 1 - rate.

    scale is by default 1 / (1 - rate), which keeps the mean. With `same_mask` all x[i] have the mask of x[0].
    """
    shape = x.shape[1:] if same_mask else x.shape
    kept = random_bits(key, math.prod(shape)).reshape(shape) >= min(round(rate * 2**32), 2**32 - 1)
    factor = x.dtype.type(1 / (1 - rate) if scale is None else scale)
    y[...] = np.where(kept, x * factor + x.dtype.type(shift), x.dtype.type(fill))


def dropout_backward(dy, dx, rate, key, scale=None, same_mask=False):
    """The same mask and factor for the gradient."""
    dropout_forward(dy, dx, rate, key, scale, same_mask=same_mask)
