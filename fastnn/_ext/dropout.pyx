"""Dropout (the notes, S6.8): y = scale x + shift where an element is kept, a constant elsewhere.

With scale = 1 / (1 - rate), no shift and 0 elsewhere it is dropout with the scaling in training; scale = 1 leaves
the scaling to prediction, and AlphaDropout uses all of them.

The mask is never stored: the bits of element i are a hash of (key, i), the same in forward and backward,
for float32 and float64 and for any number of threads. An element is kept if its 32 bits, as an integer,
reach rate * 2^32.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.threads cimport threads_for
from fastnn._ext.vmath cimport dropout_row
from libc.math cimport rint
from libc.stdint cimport int64_t, uint32_t, uint64_t

cnp.import_array()

ctypedef struct Drop:  # what is the same for all elements
    double rate, scale, shift, fill
    uint64_t key


cdef uint64_t words_of(uint64_t key, uint64_t block) noexcept nogil:
    """Two 32-bit words for a key: one step of splitmix64 (Steele, Lea and Flood 2014)."""
    cdef uint64_t z = key + (block + 1) * <uint64_t>0x9E3779B97F4A7C15u
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9u
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EBu
    return z ^ (z >> 31)


cdef void drop_chunk(const real* x, real* y, int64_t first, int64_t n, const Drop* d) noexcept nogil:
    cdef uint64_t words = words_of(d.key, <uint64_t>first >> 32)
    cdef uint32_t least = <uint32_t>min(rint(d.rate * 4294967296.0), 4294967295.0)
    dropout_row(
        x + first, y + first, n, <uint32_t>first + <uint32_t>words, <uint32_t>(words >> 32), least,
        <real>d.scale, <real>d.shift, <real>d.fill,
    )


cdef void drop_part(const real* x, real* y, int64_t n, int64_t chunks, int64_t c, const Drop* d) noexcept nogil:
    cdef int64_t row = c // chunks * n, first = c % chunks * CHUNK
    drop_chunk(x + row, y + row, first, min(CHUNK, n - first), d)


cdef void drop(const real* x, real* y, int64_t rows, int64_t n, const Drop* d) noexcept nogil:
    """Rows of n elements with the same mask."""
    cdef int64_t c, chunks = (n + CHUNK - 1) // CHUNK
    cdef int threads = threads_for(4.0 * rows * n)
    if threads == 1:
        for c in range(rows * chunks):
            drop_part(x, y, n, chunks, c, d)
        return
    for c in prange(rows * chunks, num_threads=threads, schedule="static"):
        drop_part(x, y, n, chunks, c, d)


def dropout_forward(
    cnp.ndarray x,  # IN  any shape
    cnp.ndarray y,  # OUT like x; may be x
    double rate,
    uint64_t key,
    scale=None,
    double shift=0.0,
    double fill=0.0,
    bint same_mask=False,
):
    """y = scale x + shift with probability 1 - rate, else `fill`. `key` is an integer from 0 to 2^64 - 1.

    scale is by default 1 / (1 - rate), which keeps the mean. With `same_mask` all x[i] have the mask of x[0].
    """
    cdef Drop d
    cdef int typenum = real_type(x, "x")
    check(x, "x", -1, typenum)
    check_like(y, "y", x, "x", typenum)
    if not 0 <= rate < 1:
        raise ValueError(f"rate: expected 0 <= rate < 1, the share of elements set to 0. Received: {rate}")
    d.rate, d.shift, d.fill, d.key = rate, shift, fill, key
    d.scale = 1 / (1 - rate) if scale is None else scale
    cdef int64_t n = cnp.PyArray_SIZE(x), rows = 1
    if same_mask:
        if cnp.PyArray_NDIM(x) == 0:
            raise ValueError("x: expected a first axis, whose entries get the same mask. Received: shape=()")
        rows = max(<int64_t>1, x.shape[0])
        n //= rows
    cdef void* px = cnp.PyArray_DATA(x)
    cdef void* py = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            drop[float](<float*>px, <float*>py, rows, n, &d)
        else:
            drop[double](<double*>px, <double*>py, rows, n, &d)


def dropout_backward(
    cnp.ndarray dy,  # IN  any shape
    cnp.ndarray dx,  # OUT like dy; may be dy
    double rate,
    uint64_t key,
    scale=None,
    bint same_mask=False,
):
    """The same mask and factor for the gradient."""
    if dy is None or dx is None:
        raise TypeError("dropout_backward: expected arrays dy and dx. Received: None")
    dropout_forward(dy, dx, rate, key, scale, same_mask=same_mask)
