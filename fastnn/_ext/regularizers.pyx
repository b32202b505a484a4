"""Penalties on the weights and their gradient in one pass, and the projection of units onto a ball (the notes, S6.1).

Sums are taken in double. A chunk of CHUNK elements has one owner, and so has a unit of `max_norm`: the bits do not
depend on the number of threads.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.optimizers cimport magnitude, squares_chunk
from fastnn._ext.threads cimport SLOT_REDUCE, scratch, threads_for
from libc.math cimport sqrt
from libc.stdint cimport int64_t

cnp.import_array()

cdef enum:
    CHUNK = 8192
    LANES = 16  # sums side by side: those of one vector


cdef double absolute_chunk(const real* w, int64_t n) noexcept nogil:
    """sum |w| in double: LANES sums, then these in order."""
    cdef double sums[LANES]
    cdef double total = 0.0
    cdef int64_t i, k, whole = n // LANES * LANES
    for k in range(LANES):
        sums[k] = 0.0
    for i in range(n // LANES):
        for k in range(LANES):
            sums[k] += magnitude(<double>w[i * LANES + k])
    for i in range(whole, n):
        sums[i - whole] += magnitude(<double>w[i])
    for k in range(LANES):
        total += sums[k]
    return total


cdef double penalty_chunk(const real* w, real* g, int64_t n, double l1, double l2) noexcept nogil:
    """The penalty; its gradient is added to g unless it is NULL. The chunk stays in the first cache."""
    cdef double total = 0.0
    cdef real s1 = <real>l1, s2 = <real>l2
    cdef int64_t i
    if l1 != 0:
        total += l1 * absolute_chunk(w, n)
    if l2 != 0:
        total += l2 / 2 * squares_chunk(w, n)
    if g != NULL:
        for i in range(n):
            g[i] += (s1 if w[i] > 0 else -s1 if w[i] < 0 else 0) + s2 * w[i]
    return total


cdef double penalty(const real* w, real* g, int64_t n, double l1, double l2, double* sums) noexcept nogil:
    cdef int64_t c, n_chunks = (n + CHUNK - 1) // CHUNK
    cdef double total = 0.0
    for c in prange(n_chunks, num_threads=threads_for(2.0 * n), schedule="static"):
        sums[c] = penalty_chunk(
            w + c * CHUNK, g + c * CHUNK if g != NULL else NULL, min(<int64_t>CHUNK, n - c * CHUNK), l1, l2
        )
    for c in range(n_chunks):
        total += sums[c]
    return total


def weight_penalty(
    cnp.ndarray theta,  # IN  any shape
    cnp.ndarray grad,   # OUT like theta, is added to; or None
    double l1,
    double l2,
):
    """l1 sum |w| + l2/2 sum w^2, in float64 whatever the dtype; grad += l1 sign(w) + l2 w, where sign(0) = 0."""
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* g = NULL
    if grad is not None:
        check(grad, "grad", -1, typenum)
        if cnp.PyArray_SIZE(grad) != n:
            raise ValueError(
                f"grad: expected as many elements as theta, {n}. Received: shape={(<object>grad).shape}"
            )
        g = cnp.PyArray_DATA(grad)
    cdef double total
    cdef double* sums = <double*>scratch(SLOT_REDUCE, ((n + CHUNK - 1) // CHUNK) * <int64_t>sizeof(double))
    if sums == NULL:
        raise MemoryError("theta: expected memory for its partial sums. Received: none from the system")
    cdef void* w = cnp.PyArray_DATA(theta)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            total = penalty[float](<float*>w, <float*>g, n, l1, l2, sums)
        else:
            total = penalty[double](<double*>w, <double*>g, n, l1, l2, sums)
    return total


# Max-norm

cdef void project_row(real* w, int64_t n, double limit) noexcept nogil:
    cdef double squares = squares_chunk(<const real*>w, n)
    cdef int64_t k
    cdef real factor
    if squares > limit * limit:
        factor = <real>(limit / sqrt(squares))
        for k in range(n):
            w[k] *= factor


cdef void project_columns(real* w, int64_t n, int64_t stride, int64_t m, double limit) noexcept nogil:
    """m neighbouring columns of n numbers, `stride` apart."""
    cdef double squares[LANES]
    cdef real factor[LANES]
    cdef int64_t i, k
    for k in range(m):
        squares[k] = 0.0
    for i in range(n):
        for k in range(m):
            squares[k] += <double>w[i * stride + k] * <double>w[i * stride + k]
    for k in range(m):
        factor[k] = <real>(limit / sqrt(squares[k])) if squares[k] > limit * limit else <real>1
    for i in range(n):
        for k in range(m):
            w[i * stride + k] *= factor[k]


cdef void project_item(real* w, int64_t n, int64_t inner, int64_t item, int64_t blocks, double limit) noexcept nogil:
    cdef int64_t first = item % blocks * LANES
    w += item // blocks * n * inner
    if inner == 1:
        project_row(w, n, limit)
    else:
        project_columns(w + first, n, inner, min(<int64_t>LANES, inner - first), limit)


cdef void project(real* w, int64_t outer, int64_t n, int64_t inner, double limit) noexcept nogil:
    cdef int64_t item, blocks = (inner + LANES - 1) // LANES
    for item in prange(outer * blocks, num_threads=threads_for(2.0 * outer * n * inner), schedule="static"):
        project_item(w, n, inner, item, blocks, limit)


def max_norm(
    cnp.ndarray weight,  # OUT (outer, n, inner), in place
    double limit,
):
    """w[o, :, i] *= min(1, limit / ||w[o, :, i]||), with norms in float64."""
    cdef int typenum = real_type(weight, "weight")
    check(weight, "weight", 3, typenum)
    if not limit > 0:
        raise ValueError(f"limit: expected a number above 0. Received: {limit}")
    cdef void* w = cnp.PyArray_DATA(weight)
    cdef int64_t outer = weight.shape[0], n = weight.shape[1], inner = weight.shape[2]
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            project[float](<float*>w, outer, n, inner, limit)
        else:
            project[double](<double*>w, outer, n, inner, limit)
