"""Layer normalization over the last axis (Ba, Kiros & Hinton 2016).

x is read as (R, C). A row has one owner, and passes memory once forward and once backward. The gradients of gamma
and beta are summed over blocks of rows, cut by the shape alone, and the blocks are added in order, in float64.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.threads cimport SLOT_REDUCE, scratch, threads_for
from libc.math cimport sqrt
from libc.stdint cimport int64_t
from libc.string cimport memset
from numpy cimport PyArray_DATA

cnp.import_array()

cdef extern from "layer_norm.h" nogil:
    void row_moments_f32(const float* x, int64_t n, double* mean, double* squares)
    void row_moments_f64(const double* x, int64_t n, double* mean, double* squares)
    void row_normalize_f32(const float* x, const float* gamma, const float* beta, float* y, int64_t n, float mean,
                           float inv_std)
    void row_normalize_f64(const double* x, const double* gamma, const double* beta, double* y, int64_t n,
                           double mean, double inv_std)
    void row_sums_f32(const float* dy, const float* x, const float* gamma, float* dgamma, float* dbeta, int64_t n,
                      float mean, float inv_std, double* total, double* product)
    void row_sums_f64(const double* dy, const double* x, const double* gamma, double* dgamma, double* dbeta,
                      int64_t n, double mean, double inv_std, double* total, double* product)
    void row_input_f32(const float* dy, const float* x, const float* gamma, float* dx, int64_t n, float mean,
                       float inv_std, float offset, float slope)
    void row_input_f64(const double* dy, const double* x, const double* gamma, double* dx, int64_t n, double mean,
                       double inv_std, double offset, double slope)

cdef enum:
    SHORT_BLOCK = 16  # rows in a block: enough blocks for the threads of a small array,
    LONG_BLOCK = 64   # and few partial sums for a large one
    MANY_ROWS = 1024
    COLUMNS = 512     # columns of one owner where the blocks are added


cdef inline int64_t block_rows(int64_t r) noexcept nogil:
    return LONG_BLOCK if r >= MANY_ROWS else SHORT_BLOCK


cdef int64_t describe(cnp.ndarray x, cnp.ndarray gamma, cnp.ndarray mean, cnp.ndarray inv_std) except -1:
    """Rows of x (..., C), with gamma (C,), mean and inv_std (R,)."""
    cdef int typenum = real_type(x, "x"), ndim = cnp.PyArray_NDIM(x), axis
    cdef int64_t r = 1
    check(x, "x", -1, typenum)
    if ndim < 2:
        raise ValueError(f"x: expected (..., C), 2 axes or more. Received: shape={(<object>x).shape}")
    for axis in range(ndim - 1):
        r *= x.shape[axis]
    check(gamma, "gamma", 1, typenum)
    check_shape(gamma, "gamma", 0, x.shape[ndim - 1])
    check(mean, "mean", 1, typenum)
    check_shape(mean, "mean", 0, r)
    check_like(inv_std, "inv_std", mean, "mean", typenum)
    return r


# Forward

cdef void normalize_row(
    const real* x, const real* gamma, const real* beta, real* y, real* mean, real* inv_std, int64_t c, double eps
) noexcept nogil:
    cdef double m, squares
    if real is float:
        row_moments_f32(x, c, &m, &squares)
    else:
        row_moments_f64(x, c, &m, &squares)
    mean[0] = <real>m
    inv_std[0] = <real>(1 / sqrt(squares / <double>c + eps))
    if real is float:
        row_normalize_f32(x, gamma, beta, y, c, mean[0], inv_std[0])
    else:
        row_normalize_f64(x, gamma, beta, y, c, mean[0], inv_std[0])


cdef void normalize_block(
    const real* x, const real* gamma, const real* beta, real* y, real* mean, real* inv_std, int64_t first,
    int64_t last, int64_t c, double eps
) noexcept nogil:
    cdef int64_t i
    for i in range(first, last):
        normalize_row(x + i * c, gamma, beta, y + i * c, mean + i, inv_std + i, c, eps)


cdef void forward(
    const real* x, const real* gamma, const real* beta, real* y, real* mean, real* inv_std, int64_t r, int64_t c,
    double eps
) noexcept nogil:
    cdef int64_t b, rows = block_rows(r)
    for b in prange((r + rows - 1) // rows, schedule="static", num_threads=threads_for(<double>(r * c) * 4)):
        normalize_block(x, gamma, beta, y, mean, inv_std, b * rows, min(r, (b + 1) * rows), c, eps)


def layernorm_forward(
    cnp.ndarray x,                        # IN (..., C), R rows
    cnp.ndarray gamma, cnp.ndarray beta,  # IN (C,)
    cnp.ndarray y,                        # OUT (..., C); may be x
    cnp.ndarray mean,                     # OUT (R,)
    cnp.ndarray inv_std,                  # OUT (R,) 1 / sqrt(variance + eps), variance = sum (x - mean)^2 / C
    double eps,
):
    """y = (x - mean) inv_std gamma + beta, with mean and variance of each row."""
    cdef int typenum = real_type(x, "x")
    cdef int64_t r = describe(x, gamma, mean, inv_std), c = gamma.shape[0]
    check_like(beta, "beta", gamma, "gamma", typenum)
    check_like(y, "y", x, "x", typenum)
    if r == 0 or c == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            forward[float](
                <float*>PyArray_DATA(x), <float*>PyArray_DATA(gamma), <float*>PyArray_DATA(beta),
                <float*>PyArray_DATA(y), <float*>PyArray_DATA(mean), <float*>PyArray_DATA(inv_std), r, c, eps)
        else:
            forward[double](
                <double*>PyArray_DATA(x), <double*>PyArray_DATA(gamma), <double*>PyArray_DATA(beta),
                <double*>PyArray_DATA(y), <double*>PyArray_DATA(mean), <double*>PyArray_DATA(inv_std), r, c, eps)


# Backward

cdef void gradient_row(
    const real* dy, const real* x, const real* gamma, real mean, real inv_std, real* dx, real* sums, int64_t c
) noexcept nogil:
    """Add to sums (2, C) of dy x_hat and dy; dx unless it is NULL."""
    cdef double total, product
    if real is float:
        row_sums_f32(dy, x, gamma, sums, sums + c, c, mean, inv_std, &total, &product)
        if dx != NULL:
            row_input_f32(dy, x, gamma, dx, c, mean, inv_std, <float>(total / c), <float>(product / c))
    else:
        row_sums_f64(dy, x, gamma, sums, sums + c, c, mean, inv_std, &total, &product)
        if dx != NULL:
            row_input_f64(dy, x, gamma, dx, c, mean, inv_std, total / c, product / c)


cdef void gradient_block(
    const real* dy, const real* x, const real* gamma, const real* mean, const real* inv_std, real* dx, real* sums,
    int64_t first, int64_t last, int64_t c
) noexcept nogil:
    cdef int64_t i
    memset(sums, 0, 2 * c * sizeof(real))
    for i in range(first, last):
        gradient_row(
            dy + i * c, x + i * c, gamma, mean[i], inv_std[i], dx + i * c if dx != NULL else NULL, sums, c)


cdef void add_blocks(
    const real* partial, double* total, int64_t blocks, int64_t width, int64_t first, int64_t last
) noexcept nogil:
    """total (width,) of partial (blocks, width), in order, for some columns."""
    cdef int64_t b, k
    for k in range(first, last):
        total[k] = 0
    for b in range(blocks):
        for k in range(first, last):
            total[k] += partial[b * width + k]


cdef int backward(
    const real* dy, const real* x, const real* gamma, const real* mean, const real* inv_std, real* dx, real* dgamma,
    real* dbeta, int64_t r, int64_t c, bint accumulate
) noexcept nogil:
    cdef int64_t b, k, rows = block_rows(r), blocks = (r + rows - 1) // rows
    cdef double* total = <double*>scratch(
        SLOT_REDUCE, 2 * c * (<int64_t>sizeof(double) + blocks * <int64_t>sizeof(real)))
    if total == NULL:
        return -1
    cdef real* partial = <real*>(total + 2 * c)
    for b in prange(blocks, schedule="static", num_threads=threads_for(<double>(r * c) * 6)):
        gradient_block(
            dy, x, gamma, mean, inv_std, dx, partial + 2 * b * c, b * rows, min(r, (b + 1) * rows), c)
    for b in prange((2 * c + COLUMNS - 1) // COLUMNS, schedule="static",
                    num_threads=threads_for(<double>(blocks * c) * 2)):
        add_blocks(partial, total, blocks, 2 * c, b * COLUMNS, min(2 * c, (b + 1) * COLUMNS))
    for k in range(c):
        dgamma[k] = <real>total[k] + (dgamma[k] if accumulate else 0)
        dbeta[k] = <real>total[c + k] + (dbeta[k] if accumulate else 0)
    return 0


def layernorm_backward(
    cnp.ndarray dy, cnp.ndarray x,               # IN (..., C), R rows
    cnp.ndarray gamma,                           # IN (C,)
    cnp.ndarray mean, cnp.ndarray inv_std,       # IN (R,), as forward wrote them
    cnp.ndarray dx,                              # OUT (..., C) or None; may be dy
    cnp.ndarray dgamma, cnp.ndarray dbeta,       # OUT (C,)
    bint accumulate=False,
):
    """dx = inv_std (g - mean(g) - x_hat mean(g x_hat)), g = dy gamma; dgamma = sum dy x_hat, dbeta = sum dy."""
    cdef int typenum = real_type(x, "x"), failed = 0
    cdef int64_t r = describe(x, gamma, mean, inv_std), c = gamma.shape[0]
    cdef void* dx_data = NULL
    check_like(dy, "dy", x, "x", typenum)
    check_like(dgamma, "dgamma", gamma, "gamma", typenum)
    check_like(dbeta, "dbeta", gamma, "gamma", typenum)
    if dx is not None:
        check_like(dx, "dx", x, "x", typenum)
        dx_data = PyArray_DATA(dx)
    if r == 0 or c == 0:
        if not accumulate:
            dgamma[...] = 0
            dbeta[...] = 0
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = backward[float](
                <float*>PyArray_DATA(dy), <float*>PyArray_DATA(x), <float*>PyArray_DATA(gamma),
                <float*>PyArray_DATA(mean), <float*>PyArray_DATA(inv_std), <float*>dx_data,
                <float*>PyArray_DATA(dgamma), <float*>PyArray_DATA(dbeta), r, c, accumulate)
        else:
            failed = backward[double](
                <double*>PyArray_DATA(dy), <double*>PyArray_DATA(x), <double*>PyArray_DATA(gamma),
                <double*>PyArray_DATA(mean), <double*>PyArray_DATA(inv_std), <double*>dx_data,
                <double*>PyArray_DATA(dgamma), <double*>PyArray_DATA(dbeta), r, c, accumulate)
    if failed:
        raise MemoryError(f"x: expected memory for partial sums of shape {(<object>x).shape}. Received: none")
