"""Batch normalization over the last axis (Ioffe & Szegedy 2015).

x is read as (R, C). Several rows are folded into one of about `WIDTH` numbers, so that the inner loops are
long for any number of channels, and the folded rows are cut into blocks of a length that only the shape
decides. A block's sums are kept in the array's dtype; the blocks are merged in order, in float64.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.threads cimport SLOT_REDUCE, scratch, threads_for
from libc.math cimport sqrt
from libc.stdint cimport int64_t

cnp.import_array()

cdef extern from "vmath.h" nogil:
    enum:
        ACT_LINEAR, ACT_RELU, ACT_LEAKY_RELU
    void activate_f32(const float* x, float* y, int64_t n, int act, float alpha)
    void activate_f64(const double* x, double* y, int64_t n, int act, double alpha)

cdef enum:
    WIDTH = 256         # numbers in a folded row, at least
    SHORT_BLOCK = 32    # folded rows in a block: enough blocks for the threads of a small array,
    LONG_BLOCK = 128    # and few partial sums for a large one
    MANY_ROWS = 4096

ctypedef struct Fold:
    int64_t r, c          # x (r, c)
    int64_t times, width  # rows in a folded row, and its numbers
    int64_t block, n_blocks


cdef int64_t gcd(int64_t a, int64_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef void fold(Fold* f, int64_t r, int64_t c) noexcept nogil:
    """Choose how rows are folded and cut, by the shape alone."""
    cdef int64_t multiple = 16 // gcd(16, c) if c < 64 else 1  # so that few channels leave no odd end
    f.r, f.c = r, c
    f.times = (WIDTH + multiple * c - 1) // (multiple * c) * multiple
    f.width = f.times * c
    cdef int64_t rows = (r + f.times - 1) // f.times
    f.block = LONG_BLOCK if rows >= MANY_ROWS else SHORT_BLOCK
    f.n_blocks = (rows + f.block - 1) // f.block


cdef inline int64_t block_end(const Fold* f, int64_t b) noexcept nogil:
    """The number of x after the last one of block b."""
    cdef int64_t end = (b + 1) * f.block * f.width
    return end if end < f.r * f.c else f.r * f.c


cdef void repeat(const real* v, real* out, const Fold* f) noexcept nogil:
    """(C,) once for every row in a folded row."""
    cdef int64_t i, c
    for i in range(f.times):
        for c in range(f.c):
            out[i * f.c + c] = v[c]


cdef void sum_block(const real* x, real* sums, real* squares, const Fold* f, int64_t b) noexcept nogil:
    """Sums of x - s and (x - s)^2, where s is the block's first row: no cancellation if mean >> deviation."""
    cdef int64_t start = b * f.block * f.width, end = block_end(f, b), i, k, n
    cdef const real* s = x + start
    cdef real d
    for k in range(f.width):
        sums[k] = 0
        squares[k] = 0
    i = start
    while i < end:
        n = f.width if i + f.width <= end else end - i
        for k in range(n):
            d = x[i + k] - s[k]
            sums[k] += d
            squares[k] += d * d
        i += f.width


cdef inline int64_t count(const Fold* f, int64_t b, int64_t j) noexcept nogil:
    """How many rows of x the sums of block b at fold j hold."""
    cdef int64_t first = b * f.block * f.times + j, last = (b + 1) * f.block * f.times
    if last > f.r:
        last = f.r
    return 0 if first >= last else (last - first + f.times - 1) // f.times


cdef void merge(const real* x, const real* partial, double* mean, double* squares, const Fold* f) noexcept nogil:
    """Mean, and sum of squared deviations from it, of all rows; partial (n_blocks, 2, width)."""
    cdef int64_t b, j, c
    cdef const real* s
    cdef const real* p
    cdef double n, m
    for c in range(f.c):
        mean[c] = 0
        squares[c] = 0
    for b in range(f.n_blocks):
        for j in range(f.times):
            n = <double>count(f, b, j)
            if n > 0:
                s = x + b * f.block * f.width + j * f.c
                p = partial + b * 2 * f.width + j * f.c
                for c in range(f.c):
                    mean[c] += n * s[c] + p[c]
    for c in range(f.c):
        mean[c] /= <double>f.r
    for b in range(f.n_blocks):
        for j in range(f.times):
            n = <double>count(f, b, j)
            if n > 0:
                s = x + b * f.block * f.width + j * f.c
                p = partial + b * 2 * f.width + j * f.c
                for c in range(f.c):  # sum (x - mean)^2 = sum (x - s)^2 + 2 (s - mean) sum (x - s) + n (s - mean)^2
                    m = s[c] - mean[c]
                    squares[c] += p[f.width + c] + m * (2 * <double>p[c] + n * m)


cdef void normalize_block(
    const real* x, real* y, const real* mean, const real* scale, const real* shift, const Fold* f, int64_t b,
    int activation, real alpha
) noexcept nogil:
    """y = activation((x - mean) * scale + shift); mean, scale and shift are folded."""
    cdef int64_t end = block_end(f, b), i = b * f.block * f.width, k, n
    cdef real v
    while i < end:
        n = f.width if i + f.width <= end else end - i
        if activation == ACT_RELU:
            for k in range(n):
                v = (x[i + k] - mean[k]) * scale[k] + shift[k]
                y[i + k] = 0 if v <= 0 else v
        elif activation == ACT_LEAKY_RELU:
            for k in range(n):
                v = (x[i + k] - mean[k]) * scale[k] + shift[k]
                y[i + k] = alpha * v if v <= 0 else v
        else:
            for k in range(n):
                y[i + k] = (x[i + k] - mean[k]) * scale[k] + shift[k]
            if activation != ACT_LINEAR:
                if real is float:
                    activate_f32(y + i, y + i, n, activation, alpha)
                else:
                    activate_f64(y + i, y + i, n, activation, alpha)
        i += f.width


cdef void normalize(
    const real* x, const real* gamma, const real* beta, const real* mean, const real* inv_std, real* y,
    real* folded, const Fold* f, int activation, real alpha
) noexcept nogil:
    """`folded` is room for 3 * width numbers."""
    cdef int64_t b, i, c
    cdef real* scale = folded + f.width
    repeat(mean, folded, f)
    repeat(beta, folded + 2 * f.width, f)
    for i in range(f.times):
        for c in range(f.c):
            scale[i * f.c + c] = gamma[c] * inv_std[c]
    cdef double work = <double>(f.r * f.c) * (2 if activation <= ACT_LEAKY_RELU else 8)
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(work)):
        normalize_block(x, y, folded, scale, folded + 2 * f.width, f, b, activation, alpha)


cdef int forward(
    const real* x, const real* gamma, const real* beta, real* y, real* mean, real* inv_std,
    real* running_mean, real* running_var, double momentum, double eps, const Fold* f, int activation, real alpha
) noexcept nogil:
    cdef int64_t b, c
    cdef real* folded = <real*>scratch(
        SLOT_REDUCE, 2 * f.c * <int64_t>sizeof(double) + (2 * f.n_blocks + 3) * f.width * <int64_t>sizeof(real)
    )
    if folded == NULL:
        return -1
    cdef real* partial = folded + 3 * f.width
    cdef double* total = <double*>(partial + 2 * f.n_blocks * f.width)
    cdef double* squares = total + f.c
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(f.r * f.c) * 2)):
        sum_block(x, partial + 2 * b * f.width, partial + (2 * b + 1) * f.width, f, b)
    merge(x, partial, total, squares, f)
    for c in range(f.c):
        mean[c] = <real>total[c]
        inv_std[c] = <real>(1 / sqrt(squares[c] / <double>f.r + eps))
    if running_mean != NULL:
        for c in range(f.c):
            running_mean[c] += <real>(momentum * (total[c] - running_mean[c]))
        if f.r > 1:  # one row says nothing about the variance
            for c in range(f.c):
                running_var[c] += <real>(momentum * (squares[c] / <double>(f.r - 1) - running_var[c]))
    normalize(x, gamma, beta, mean, inv_std, y, folded, f, activation, alpha)
    return 0


cdef int inference(
    const real* x, const real* gamma, const real* beta, const real* mean, const real* var, real* y, double eps,
    const Fold* f, int activation, real alpha
) noexcept nogil:
    cdef int64_t c
    cdef real* folded = <real*>scratch(SLOT_REDUCE, (3 * f.width + f.c) * <int64_t>sizeof(real))
    if folded == NULL:
        return -1
    cdef real* inv_std = folded + 3 * f.width
    for c in range(f.c):
        inv_std[c] = <real>(1 / sqrt(<double>var[c] + eps))
    normalize(x, gamma, beta, mean, inv_std, y, folded, f, activation, alpha)
    return 0


cdef void sum_gradient_block(
    const real* dy, const real* x, const real* y, const real* mean, real* sums, real* products, const Fold* f,
    int64_t b, int activation, real alpha
) noexcept nogil:
    """Sums of da and da * (x - mean), where da = dy * activation'."""
    cdef int64_t end = block_end(f, b), i = b * f.block * f.width, k, n
    cdef real g
    for k in range(f.width):
        sums[k] = 0
        products[k] = 0
    while i < end:
        n = f.width if i + f.width <= end else end - i
        if activation == ACT_LINEAR:
            for k in range(n):
                g = dy[i + k]
                sums[k] += g
                products[k] += g * (x[i + k] - mean[k])
        elif activation == ACT_RELU:
            for k in range(n):
                g = dy[i + k]
                g = 0 if y[i + k] <= 0 else g
                sums[k] += g
                products[k] += g * (x[i + k] - mean[k])
        else:
            for k in range(n):
                g = dy[i + k]
                g = alpha * g if y[i + k] <= 0 else g
                sums[k] += g
                products[k] += g * (x[i + k] - mean[k])
        i += f.width


cdef void merge_gradients(const real* partial, double* sums, double* products, const Fold* f) noexcept nogil:
    cdef int64_t b, j, c
    cdef const real* p
    for c in range(f.c):
        sums[c] = 0
        products[c] = 0
    for b in range(f.n_blocks):
        for j in range(f.times):
            p = partial + b * 2 * f.width + j * f.c
            for c in range(f.c):
                sums[c] += p[c]
                products[c] += p[f.width + c]


cdef void input_gradient_block(
    const real* dy, const real* x, const real* y, real* dx, const real* mean, const real* scale,
    const real* slope, const real* shift, const Fold* f, int64_t b, int activation, real alpha
) noexcept nogil:
    """dx = da * scale + (x - mean) * slope + shift; the factors are folded."""
    cdef int64_t end = block_end(f, b), i = b * f.block * f.width, k, n
    cdef real g
    while i < end:
        n = f.width if i + f.width <= end else end - i
        if activation == ACT_LINEAR:
            for k in range(n):
                dx[i + k] = dy[i + k] * scale[k] + ((x[i + k] - mean[k]) * slope[k] + shift[k])
        elif activation == ACT_RELU:
            for k in range(n):
                g = dy[i + k]
                g = 0 if y[i + k] <= 0 else g
                dx[i + k] = g * scale[k] + ((x[i + k] - mean[k]) * slope[k] + shift[k])
        else:
            for k in range(n):
                g = dy[i + k]
                g = alpha * g if y[i + k] <= 0 else g
                dx[i + k] = g * scale[k] + ((x[i + k] - mean[k]) * slope[k] + shift[k])
        i += f.width


cdef int backward(
    const real* dy, const real* x, const real* y, const real* gamma, const real* mean, const real* inv_std,
    real* dx, real* dgamma, real* dbeta, const Fold* f, int activation, real alpha, bint accumulate
) noexcept nogil:
    cdef int64_t b, i, c, k
    cdef real* folded = <real*>scratch(
        SLOT_REDUCE, 2 * f.c * <int64_t>sizeof(double) + (2 * f.n_blocks + 4) * f.width * <int64_t>sizeof(real)
    )
    if folded == NULL:
        return -1
    cdef real* scale = folded + f.width
    cdef real* slope = scale + f.width
    cdef real* shift = slope + f.width
    cdef real* partial = shift + f.width
    cdef double* sums = <double*>(partial + 2 * f.n_blocks * f.width)
    cdef double* products = sums + f.c
    cdef double s
    repeat(mean, folded, f)
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(f.r * f.c) * 2)):
        sum_gradient_block(dy, x, y, folded, partial + 2 * b * f.width, partial + (2 * b + 1) * f.width, f, b,
                           activation, alpha)
    merge_gradients(partial, sums, products, f)
    for c in range(f.c):
        s = products[c] * inv_std[c]
        dgamma[c] = <real>(s + dgamma[c] if accumulate else s)
        dbeta[c] = <real>(sums[c] + dbeta[c] if accumulate else sums[c])
    if dx == NULL:
        return 0
    # dx = gamma inv_std (da - mean(da) - x_hat mean(da x_hat)),  x_hat = (x - mean) inv_std
    for c in range(f.c):
        s = <double>gamma[c] * inv_std[c]
        scale[c] = <real>s
        slope[c] = <real>(-s * inv_std[c] * inv_std[c] * products[c] / <double>f.r)
        shift[c] = <real>(-s * sums[c] / <double>f.r)
    for i in range(1, f.times):
        for c in range(f.c):
            k = i * f.c + c
            scale[k] = scale[c]
            slope[k] = slope[c]
            shift[k] = shift[c]
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(f.r * f.c) * 2)):
        input_gradient_block(dy, x, y, dx, folded, scale, slope, shift, f, b, activation, alpha)
    return 0


cdef int check_channels(cnp.ndarray v, str name, int64_t c, int typenum) except -1:
    check(v, name, 1, typenum)
    check_shape(v, name, 0, c)
    return 0


cdef int check_like(cnp.ndarray v, str name, cnp.ndarray x, int typenum) except -1:
    cdef int axis
    check(v, name, cnp.PyArray_NDIM(x), typenum)
    for axis in range(cnp.PyArray_NDIM(x)):
        check_shape(v, name, axis, x.shape[axis])
    return 0


cdef int describe(Fold* f, cnp.ndarray x) except -1:
    """Check x and choose how to cut it; f.r is 0 if it is empty."""
    cdef int typenum = real_type(x, "x"), ndim = cnp.PyArray_NDIM(x)
    cdef int64_t c
    check(x, "x", -1, typenum)
    if ndim < 2:
        raise ValueError(f"x: expected (..., C), 2 axes or more. Received: shape={(<object>x).shape}")
    c = x.shape[ndim - 1]
    f.r, f.c = 0, c
    if cnp.PyArray_SIZE(x) > 0:
        fold(f, cnp.PyArray_SIZE(x) // c, c)
    return typenum


cdef no_memory(cnp.ndarray x):
    raise MemoryError(f"x: expected memory for partial sums of shape {(<object>x).shape}. Received: none")


def batchnorm_forward(
    cnp.ndarray x,              # IN (..., C)
    cnp.ndarray gamma,          # IN (C,)
    cnp.ndarray beta,           # IN (C,)
    cnp.ndarray y,              # OUT (..., C)
    cnp.ndarray mean,           # OUT (C,)
    cnp.ndarray inv_std,        # OUT (C,) 1 / sqrt(variance + eps), variance = sum (x - mean)^2 / R
    cnp.ndarray running_mean,   # IN OUT (C,) or None
    cnp.ndarray running_var,    # IN OUT (C,) or None; from sum (x - mean)^2 / (R - 1), kept if R = 1
    double momentum, double eps, str activation="linear", double alpha=0.0,
):
    """y = activation((x - mean) * inv_std * gamma + beta); running += momentum * (batch - running)."""
    cdef Fold f
    cdef int typenum = describe(&f, x), act = activation_code(activation), failed = 0
    check_like(y, "y", x, typenum)
    check_channels(gamma, "gamma", f.c, typenum)
    check_channels(beta, "beta", f.c, typenum)
    check_channels(mean, "mean", f.c, typenum)
    check_channels(inv_std, "inv_std", f.c, typenum)
    if (running_mean is None) != (running_var is None):
        raise TypeError("running_mean, running_var: expected two arrays, or None for both. Received: one None")
    cdef void* mean_data = NULL
    cdef void* var_data = NULL
    if running_mean is not None:
        check_channels(running_mean, "running_mean", f.c, typenum)
        check_channels(running_var, "running_var", f.c, typenum)
        mean_data, var_data = cnp.PyArray_DATA(running_mean), cnp.PyArray_DATA(running_var)
    cdef void* data[6]
    data[:] = [cnp.PyArray_DATA(x), cnp.PyArray_DATA(gamma), cnp.PyArray_DATA(beta), cnp.PyArray_DATA(y),
               cnp.PyArray_DATA(mean), cnp.PyArray_DATA(inv_std)]
    if f.r == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = forward[float](
                <float*>data[0], <float*>data[1], <float*>data[2], <float*>data[3], <float*>data[4],
                <float*>data[5], <float*>mean_data, <float*>var_data, momentum, eps, &f, act, <float>alpha)
        else:
            failed = forward[double](
                <double*>data[0], <double*>data[1], <double*>data[2], <double*>data[3], <double*>data[4],
                <double*>data[5], <double*>mean_data, <double*>var_data, momentum, eps, &f, act, alpha)
    if failed:
        no_memory(x)
