"""Noise that is a function of (key, element), like the mask of dropout (the notes, S6.3 and S7.8).

The words of element i are hashes of (key, i), so nothing is stored, backward finds the same gates again, and
the bits do not depend on the number of threads; float32 and float64 draw the same numbers, to rounding.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.dropout cimport CHUNK, words_of
from fastnn._ext.threads cimport threads_for
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint32_t, uint64_t

cnp.import_array()

cdef extern from "noise.h" nogil:
    int ACT_GELU, ACT_SILU
    void gaussian_row_f32(const float* x, float* y, int64_t n, float std, uint32_t first, uint32_t high,
                          uint32_t other_first, uint32_t other_high)
    void gaussian_row_f64(const double* x, double* y, int64_t n, double std, uint32_t first, uint32_t high,
                          uint32_t other_first, uint32_t other_high)
    void gate_row_f32(const float* x, const float* value, float* y, int64_t n, int act, uint32_t first, uint32_t high)
    void gate_row_f64(const double* x, const double* value, double* y, int64_t n, int act, uint32_t first,
                      uint32_t high)


# Normal noise

cdef void gaussian_chunk(const real* x, real* y, int64_t first, int64_t n, double std, uint64_t key) noexcept nogil:
    cdef uint64_t words = words_of(key, <uint64_t>first >> 32), other = words_of(~key, <uint64_t>first >> 32)
    cdef uint32_t start = <uint32_t>first
    if real is float:
        gaussian_row_f32(x + first, y + first, n, <float>std, start + <uint32_t>words, <uint32_t>(words >> 32),
                         start + <uint32_t>other, <uint32_t>(other >> 32))
    else:
        gaussian_row_f64(x + first, y + first, n, std, start + <uint32_t>words, <uint32_t>(words >> 32),
                         start + <uint32_t>other, <uint32_t>(other >> 32))


cdef void gaussian(const real* x, real* y, int64_t n, double std, uint64_t key) noexcept nogil:
    cdef int64_t c, chunks = (n + CHUNK - 1) // CHUNK
    for c in prange(chunks, num_threads=threads_for(16.0 * n), schedule="static"):
        gaussian_chunk(x, y, c * CHUNK, min(CHUNK, n - c * CHUNK), std, key)


def gaussian_noise_forward(
    cnp.ndarray x,  # IN  any shape
    cnp.ndarray y,  # OUT like x; may be x
    double std,
    uint64_t key,
):
    """y = x + std z, z normal with mean 0 and variance 1. `key` is an integer from 0 to 2^64 - 1."""
    cdef int typenum = real_type(x, "x")
    check(x, "x", -1, typenum)
    check_like(y, "y", x, "x", typenum)
    if not 0 <= std < INFINITY:
        raise ValueError(f"std: expected a finite number of at least 0. Received: {std}")
    cdef int64_t n = cnp.PyArray_SIZE(x)
    cdef void* px = cnp.PyArray_DATA(x)
    cdef void* py = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            gaussian[float](<float*>px, <float*>py, n, std, key)
        else:
            gaussian[double](<double*>px, <double*>py, n, std, key)


# Stochastic gates

cdef void gate_chunk(
    const real* x, const real* value, real* y, int64_t first, int64_t n, int act, uint64_t key
) noexcept nogil:
    cdef uint64_t words = words_of(key, <uint64_t>first >> 32)
    cdef uint32_t start = <uint32_t>first + <uint32_t>words, high = <uint32_t>(words >> 32)
    if real is float:
        gate_row_f32(x + first, value + first, y + first, n, act, start, high)
    else:
        gate_row_f64(x + first, value + first, y + first, n, act, start, high)


cdef void gate(const real* x, const real* value, real* y, int64_t n, int act, uint64_t key) noexcept nogil:
    cdef int64_t c, chunks = (n + CHUNK - 1) // CHUNK
    for c in prange(chunks, num_threads=threads_for(12.0 * n), schedule="static"):
        gate_chunk(x, value, y, c * CHUNK, min(CHUNK, n - c * CHUNK), act, key)


cdef int gate_all(cnp.ndarray x, cnp.ndarray value, cnp.ndarray y, str phi, uint64_t key, int typenum) except -1:
    cdef int act = ACT_GELU if phi == "gaussian_cdf" else ACT_SILU
    if phi != "gaussian_cdf" and phi != "logistic":
        raise ValueError(f"phi: expected 'gaussian_cdf' or 'logistic'. Received: {phi!r}")
    cdef int64_t n = cnp.PyArray_SIZE(x)
    cdef void* px = cnp.PyArray_DATA(x)
    cdef void* pv = cnp.PyArray_DATA(value)
    cdef void* py = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            gate[float](<float*>px, <float*>pv, <float*>py, n, act, key)
        else:
            gate[double](<double*>px, <double*>pv, <double*>py, n, act, key)
    return 0


def stochastic_gate_forward(
    cnp.ndarray x,  # IN  any shape
    cnp.ndarray y,  # OUT like x; may be x
    str phi,
    uint64_t key,
):
    """y = m x, m = 1 with probability phi(x), else 0: phi the normal distribution function or the logistic one."""
    cdef int typenum = real_type(x, "x")
    check(x, "x", -1, typenum)
    check_like(y, "y", x, "x", typenum)
    gate_all(x, x, y, phi, key, typenum)


def stochastic_gate_backward(
    cnp.ndarray dy,  # IN  any shape
    cnp.ndarray x,   # IN  like dy, as in forward
    cnp.ndarray dx,  # OUT like dy; may be dy
    str phi,
    uint64_t key,
):
    """dx = m dy with the gates of forward, which are taken as constants."""
    cdef int typenum = real_type(dy, "dy")
    check(dy, "dy", -1, typenum)
    check_like(x, "x", dy, "dy", typenum)
    check_like(dx, "dx", dy, "dy", typenum)
    gate_all(x, dy, dx, phi, key, typenum)
