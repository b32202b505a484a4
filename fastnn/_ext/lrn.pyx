"""Local response normalization over channels (Krizhevsky, Sutskever & Hinton 2012).

x is read as (R, C); a row has one owner. `scale` holds the sums of squares while they are made, so that no memory
is needed besides, and serves the backward pass.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.threads cimport SLOT_REDUCE, scratch, threads_for
from libc.math cimport pow, powf, sqrt, sqrtf
from libc.stdint cimport int64_t
from numpy cimport PyArray_DATA

cnp.import_array()

cdef enum:
    BLOCKS = 64  # at most: each has room of its own in backward

ctypedef struct Window:
    int64_t c, half          # channels, and neighbours on each side
    double alpha, beta, k


cdef inline real root(real s) noexcept nogil:
    if real is float:
        return sqrtf(s)
    else:
        return sqrt(s)


cdef void powers(const real* s, real* p, int64_t n, real beta) noexcept nogil:
    """p = s^-beta; the paper's beta, 3/4, by two roots: pow is ten times slower."""
    cdef int64_t c
    if beta == <real>0.75:
        for c in range(n):
            p[c] = 1 / (root(s[c]) * root(root(s[c])))
    elif real is float:
        for c in range(n):
            p[c] = powf(s[c], -beta)
    else:
        for c in range(n):
            p[c] = pow(s[c], -beta)


cdef void forward_row(const real* x, real* scale, real* y, const Window* w) noexcept nogil:
    """scale = k + alpha sum x^2, y = x scale^-beta"""
    cdef int64_t c, d
    cdef real alpha = <real>w.alpha, k = <real>w.k
    for c in range(w.c):
        scale[c] = x[c] * x[c]
    for d in range(1, min(w.half, w.c - 1) + 1):
        for c in range(w.c - d):
            scale[c] += x[c + d] * x[c + d]
        for c in range(d, w.c):
            scale[c] += x[c - d] * x[c - d]
    for c in range(w.c):
        scale[c] = k + alpha * scale[c]
    powers(scale, y, w.c, <real>w.beta)
    for c in range(w.c):
        y[c] *= x[c]


cdef void forward_block(
    const real* x, real* scale, real* y, int64_t first, int64_t last, const Window* w
) noexcept nogil:
    cdef int64_t i
    for i in range(first, last):
        forward_row(x + i * w.c, scale + i * w.c, y + i * w.c, w)


cdef void forward(const real* x, real* scale, real* y, int64_t r, const Window* w) noexcept nogil:
    cdef int64_t b, rows = (r + BLOCKS - 1) // BLOCKS
    cdef double work = <double>(r * w.c) * (12 + 2 * w.half)
    for b in prange((r + rows - 1) // rows, schedule="static", num_threads=threads_for(work)):
        forward_block(x, scale, y, b * rows, min(r, (b + 1) * rows), w)


cdef void backward_row(
    const real* dy, const real* x, const real* y, const real* scale, real* dx, real* t, const Window* w
) noexcept nogil:
    """dx = dy scale^-beta - 2 alpha beta x sum t, t = dy y / scale; t is room for 2 C numbers."""
    cdef int64_t c, d
    cdef real factor = <real>(2 * w.alpha * w.beta)
    cdef real* sums = t + w.c
    for c in range(w.c):
        t[c] = dy[c] * y[c] / scale[c]
    for c in range(w.c):
        sums[c] = t[c]
    for d in range(1, min(w.half, w.c - 1) + 1):
        for c in range(w.c - d):
            sums[c] += t[c + d]
        for c in range(d, w.c):
            sums[c] += t[c - d]
    powers(scale, t, w.c, <real>w.beta)
    for c in range(w.c):
        dx[c] = dy[c] * t[c] - factor * x[c] * sums[c]


cdef void backward_block(
    const real* dy, const real* x, const real* y, const real* scale, real* dx, real* t, int64_t first, int64_t last,
    const Window* w
) noexcept nogil:
    cdef int64_t i
    for i in range(first, last):
        backward_row(dy + i * w.c, x + i * w.c, y + i * w.c, scale + i * w.c, dx + i * w.c, t, w)


cdef int backward(
    const real* dy, const real* x, const real* y, const real* scale, real* dx, int64_t r, const Window* w
) noexcept nogil:
    cdef int64_t b, rows = (r + BLOCKS - 1) // BLOCKS
    cdef double work = <double>(r * w.c) * (16 + 2 * w.half)
    cdef real* t = <real*>scratch(SLOT_REDUCE, BLOCKS * 2 * w.c * <int64_t>sizeof(real))
    if t == NULL:
        return -1
    for b in prange((r + rows - 1) // rows, schedule="static", num_threads=threads_for(work)):
        backward_block(dy, x, y, scale, dx, t + 2 * b * w.c, b * rows, min(r, (b + 1) * rows), w)
    return 0


cdef int64_t describe(
    Window* w, cnp.ndarray x, int64_t size, double alpha, double beta, double k
) except -1:
    """Rows of x (..., C), 0 if it is empty, and the constants checked."""
    cdef int ndim = cnp.PyArray_NDIM(x)
    if ndim < 1:
        raise ValueError(f"x: expected (..., C), 1 axis or more. Received: shape={(<object>x).shape}")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size: expected an odd number, a channel and as many neighbours on each side. "
                         f"Received: {size}")
    if not (k > 0 and alpha >= 0 and beta >= 0):
        raise ValueError(f"k, alpha, beta: expected k > 0, alpha >= 0 and beta >= 0. Received: {k}, {alpha}, {beta}")
    w.c, w.half, w.alpha, w.beta, w.k = x.shape[ndim - 1], size // 2, alpha, beta, k
    return cnp.PyArray_SIZE(x) // w.c if w.c > 0 else 0


def lrn_forward(
    cnp.ndarray x,      # IN  (..., C)
    cnp.ndarray y,      # OUT (..., C); not x
    cnp.ndarray scale,  # OUT (..., C)
    int64_t size, double alpha, double beta, double k,
):
    """y = x scale^-beta, scale = k + alpha sum x^2 over the channel and (size - 1) / 2 neighbours on each side."""
    cdef Window w
    cdef int typenum = real_type(x, "x")
    check(x, "x", -1, typenum)
    check_like(y, "y", x, "x", typenum)
    check_like(scale, "scale", x, "x", typenum)
    cdef int64_t r = describe(&w, x, size, alpha, beta, k)
    if r == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            forward[float](
                <float*>PyArray_DATA(x), <float*>PyArray_DATA(scale), <float*>PyArray_DATA(y), r, &w)
        else:
            forward[double](
                <double*>PyArray_DATA(x), <double*>PyArray_DATA(scale), <double*>PyArray_DATA(y), r, &w)


def lrn_backward(
    cnp.ndarray dy, cnp.ndarray x,     # IN  (..., C)
    cnp.ndarray y, cnp.ndarray scale,  # IN  (..., C), as forward wrote them
    cnp.ndarray dx,                    # OUT (..., C); may be dy
    int64_t size, double alpha, double beta, double k,
):
    """dx = dy scale^-beta - 2 alpha beta x sum(dy y / scale), the sum over the same window."""
    cdef Window w
    cdef int typenum = real_type(x, "x"), failed = 0
    check(x, "x", -1, typenum)
    check_like(dy, "dy", x, "x", typenum)
    check_like(y, "y", x, "x", typenum)
    check_like(scale, "scale", x, "x", typenum)
    check_like(dx, "dx", x, "x", typenum)
    cdef int64_t r = describe(&w, x, size, alpha, beta, k)
    if r == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = backward[float](
                <float*>PyArray_DATA(dy), <float*>PyArray_DATA(x), <float*>PyArray_DATA(y),
                <float*>PyArray_DATA(scale), <float*>PyArray_DATA(dx), r, &w)
        else:
            failed = backward[double](
                <double*>PyArray_DATA(dy), <double*>PyArray_DATA(x), <double*>PyArray_DATA(y),
                <double*>PyArray_DATA(scale), <double*>PyArray_DATA(dx), r, &w)
    if failed:
        raise MemoryError(f"x: expected memory for {w.c} channels. Received: none")
