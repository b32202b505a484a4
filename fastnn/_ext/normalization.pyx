"""Batch normalization over the last axis (Ioffe & Szegedy 2015).

x is read as (R, C). Several rows are folded into one of about `WIDTH` numbers, so that the inner loops are
long for any number of channels, and the folded rows are cut into blocks (normalization.pxd). A block's sums
are kept in the array's dtype; the blocks are merged in order, in float64. Mean and variance of a convolution's
output may come from the convolution itself (moments.pyx).
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.moments cimport channel_moments, moments_data
from fastnn._ext.threads cimport threads_for
from libc.math cimport sqrt
from libc.stdint cimport int64_t
from libc.string cimport memset
from numpy cimport PyArray_DATA

cnp.import_array()

cdef extern from "vmath.h" nogil:
    enum:
        ACT_LINEAR, ACT_RELU, ACT_LEAKY_RELU
    void activate_f32(const float* x, float* y, int64_t n, int act, float alpha)
    void activate_f64(const double* x, double* y, int64_t n, int act, double alpha)


cdef void normalize_block(
    const real* x, const real* add, real* y, const real* factors, const Fold* f, int64_t b, int activation, real alpha
) noexcept nogil:
    """y = activation((x - mean) * scale + shift + add); factors (3, width) = mean, scale, shift; add may be NULL."""
    cdef int64_t i = b * f.block * f.width, n = block_end(f, b) - i
    cdef int simple = activation if activation <= ACT_LEAKY_RELU else ACT_LINEAR
    cdef const real* other = add + i if add != NULL else NULL
    if real is float:
        bn_normalize_f32(x + i, other, y + i, factors, n, f.width, simple, alpha)
        if activation > ACT_LEAKY_RELU:
            activate_f32(y + i, y + i, n, activation, alpha)
    else:
        bn_normalize_f64(x + i, other, y + i, factors, n, f.width, simple, alpha)
        if activation > ACT_LEAKY_RELU:
            activate_f64(y + i, y + i, n, activation, alpha)


cdef void fill_factors(
    const real* gamma, const real* beta, const real* mean, const real* inv_std, real* factors, const Fold* f
) noexcept nogil:
    """factors (3, width) = mean, scale, shift."""
    cdef int64_t i, c
    for i in range(f.times):
        for c in range(f.c):
            factors[i * f.c + c] = mean[c]
            factors[f.width + i * f.c + c] = gamma[c] * inv_std[c]
            factors[2 * f.width + i * f.c + c] = beta[c] if beta != NULL else 0


cdef void normalize(
    const real* x, const real* add, const real* gamma, const real* beta, const real* mean, const real* inv_std,
    real* y, real* factors, const Fold* f, int activation, real alpha
) noexcept nogil:
    """`factors` is room for 3 * width numbers."""
    cdef int64_t b
    fill_factors(gamma, beta, mean, inv_std, factors, f)
    cdef double work = <double>(f.r * f.c) * (2 if activation <= ACT_LEAKY_RELU else 8)
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(work)):
        normalize_block(x, add, y, factors, f, b, activation, alpha)


cdef int forward(
    const real* x, const real* add, const real* gamma, const real* beta, real* y, real* mean, real* inv_std,
    real* running_mean, real* running_var, double momentum, double eps, const Fold* f,
    int activation, real alpha, const double* moments
) noexcept nogil:
    """`moments` (2, c) may be NULL."""
    cdef int64_t c
    cdef double* own = room(f, 3, sizeof(real))
    if own == NULL or (moments == NULL and channel_moments(x, f.r, f.c, own)):
        return -1
    cdef const double* total = moments if moments != NULL else own
    cdef const double* squares = total + f.c
    cdef real* factors = <real*>(own + 2 * f.c)
    for c in range(f.c):
        mean[c] = <real>total[c]
        inv_std[c] = <real>(1 / sqrt(squares[c] / <double>f.r + eps))
    if running_mean != NULL:
        for c in range(f.c):
            running_mean[c] += <real>(momentum * (total[c] - running_mean[c]))
        if f.r > 1:  # one row says nothing about the variance
            for c in range(f.c):
                running_var[c] += <real>(momentum * (squares[c] / <double>(f.r - 1) - running_var[c]))
    normalize(x, add, gamma, beta, mean, inv_std, y, factors, f, activation, alpha)
    return 0


cdef int inference(
    const real* x, const real* add, const real* gamma, const real* beta, const real* mean, const real* var, real* y,
    double eps, const Fold* f, int activation, real alpha
) noexcept nogil:
    cdef int64_t c
    cdef real* inv_std = <real*>room(f, 3, sizeof(real))
    if inv_std == NULL:
        return -1
    for c in range(f.c):
        inv_std[c] = <real>(1 / sqrt(<double>var[c] + eps))
    normalize(x, add, gamma, beta, mean, inv_std, y, inv_std + f.c, f, activation, alpha)
    return 0


cdef void sum_gradient_block(
    int gate, const real* dy, const real* x, const real* y, const real* factors, real* sums, const Fold* f, int64_t b,
    int activation, real alpha
) noexcept nogil:
    """sums (2, width) of da and da * (x - mean)."""
    cdef int64_t i = b * f.block * f.width, n = block_end(f, b) - i
    memset(sums, 0, 2 * f.width * sizeof(real))
    if real is float:
        bn_sum_f32(gate, activation, dy + i, x + i, y + i, factors, sums, sums + f.width, n, f.width, alpha)
    else:
        bn_sum_f64(gate, activation, dy + i, x + i, y + i, factors, sums, sums + f.width, n, f.width, alpha)


cdef void merge_gradients(const real* partial, double* sums, double* products, const Fold* f) noexcept nogil:
    cdef int64_t b, j, c
    cdef const real* p
    memset(sums, 0, 2 * f.c * sizeof(double))  # products too
    for b in range(f.n_blocks):
        for j in range(f.times):
            p = partial + b * 2 * f.width + j * f.c
            for c in range(f.c):
                sums[c] += p[c]
                products[c] += p[f.width + c]


cdef void input_gradient_block(
    int gate, const real* dy, const real* x, const real* y, real* dx, const real* factors, const Fold* f, int64_t b,
    int activation, real alpha
) noexcept nogil:
    """dx = scale * (da - offset - (x - mean) * slope); factors (5, width) = mean, scale, shift, slope, offset."""
    cdef int64_t i = b * f.block * f.width, n = block_end(f, b) - i
    if real is float:
        bn_input_f32(gate, activation, dy + i, x + i, y + i, dx + i, factors, n, f.width, alpha)
    else:
        bn_input_f64(gate, activation, dy + i, x + i, y + i, dx + i, factors, n, f.width, alpha)


cdef int backward(
    const real* dy, const real* x, const real* y, const real* gamma, const real* beta, const real* mean,
    const real* inv_std, real* dx, real* dgamma, real* dbeta, const Fold* f, int activation, real alpha,
    bint accumulate
) noexcept nogil:
    """`y` may be NULL, then `beta` is not unless the activation is linear."""
    cdef int64_t b, i, c
    cdef int gate = GATE_NONE if activation == ACT_LINEAR else GATE_Y if y != NULL else GATE_X
    cdef double* sums = room(f, 5, sizeof(real))
    if sums == NULL:
        return -1
    cdef double* products = sums + f.c
    cdef real* factors = <real*>(products + f.c)
    cdef real* slope = factors + 3 * f.width
    cdef real* partial = factors + 5 * f.width
    cdef double s
    if y == NULL:
        y = x  # not read
    fill_factors(gamma, beta, mean, inv_std, factors, f)
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(f.r * f.c) * 2)):
        sum_gradient_block(gate, dy, x, y, factors, partial + 2 * b * f.width, f, b, activation, alpha)
    merge_gradients(partial, sums, products, f)
    for c in range(f.c):
        s = products[c] * inv_std[c]
        dgamma[c] = <real>(s + dgamma[c] if accumulate else s)
        dbeta[c] = <real>(sums[c] + dbeta[c] if accumulate else sums[c])
    if dx == NULL:
        return 0
    # dx = gamma inv_std (da - mean(da) - x_hat mean(da x_hat)),  x_hat = (x - mean) inv_std
    for i in range(f.times):
        for c in range(f.c):
            slope[i * f.c + c] = <real>(products[c] * inv_std[c] * inv_std[c] / <double>f.r)
            slope[f.width + i * f.c + c] = <real>(sums[c] / <double>f.r)
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(f.r * f.c) * 2)):
        input_gradient_block(gate, dy, x, y, dx, factors, f, b, activation, alpha)
    return 0


cdef int check_channels(
    int64_t c, int typenum, cnp.ndarray v, str v_name, cnp.ndarray w, str w_name
) except -1:
    """Two arrays (C,)."""
    check(v, v_name, 1, typenum)
    check_shape(v, v_name, 0, c)
    check(w, w_name, 1, typenum)
    check_shape(w, w_name, 0, c)
    return 0


cdef int check_like(cnp.ndarray v, str name, cnp.ndarray x, int typenum) except -1:
    cdef int axis, ndim = cnp.PyArray_NDIM(x)
    check(v, name, ndim, typenum)
    for axis in range(ndim):
        check_shape(v, name, axis, x.shape[axis])
    return 0


cdef void* optional(cnp.ndarray v, str name, cnp.ndarray x, int typenum) except? NULL:
    """The data of an array like x, NULL for None."""
    if v is None:
        return NULL
    check_like(v, name, x, typenum)
    return PyArray_DATA(v)


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


cdef int no_memory(cnp.ndarray x) except -1:
    raise MemoryError(f"x: expected memory for partial sums of shape {(<object>x).shape}. Received: none")


def batchnorm_forward(
    cnp.ndarray x,              # IN (..., C)
    cnp.ndarray gamma, cnp.ndarray beta,  # IN (C,)
    cnp.ndarray y,              # OUT (..., C)
    cnp.ndarray mean,           # OUT (C,)
    cnp.ndarray inv_std,        # OUT (C,) 1 / sqrt(variance + eps), variance = sum (x - mean)^2 / R
    cnp.ndarray running_mean,   # IN OUT (C,) or None
    cnp.ndarray running_var,    # IN OUT (C,) or None; from sum (x - mean)^2 / (R - 1), kept if R = 1
    double momentum, double eps, str activation="linear", double alpha=0.0,
    cnp.ndarray add=None,       # IN (..., C) or None
    cnp.ndarray moments=None,   # IN (2, C) float64, as conv2d_forward gathers them: mean, sum (x - mean)^2; or None
):
    """y = activation((x - mean) * inv_std * gamma + beta + add); running += momentum * (batch - running)."""
    cdef Fold f
    cdef int typenum = describe(&f, x), act = activation_code(activation), failed = 0
    check_like(y, "y", x, typenum)
    check_channels(f.c, typenum, gamma, "gamma", beta, "beta")
    check_channels(f.c, typenum, mean, "mean", inv_std, "inv_std")
    if running_mean is not None or running_var is not None:
        check_channels(f.c, typenum, running_mean, "running_mean", running_var, "running_var")
    if f.r == 0:
        return
    cdef void* other = optional(add, "add", x, typenum)
    cdef double* gathered = moments_data(moments, f.c)
    cdef void* running_mean_data = NULL if running_mean is None else PyArray_DATA(running_mean)
    cdef void* running_var_data = NULL if running_var is None else PyArray_DATA(running_var)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = forward[float](
                <float*>PyArray_DATA(x), <float*>other, <float*>PyArray_DATA(gamma), <float*>PyArray_DATA(beta),
                <float*>PyArray_DATA(y), <float*>PyArray_DATA(mean), <float*>PyArray_DATA(inv_std),
                <float*>running_mean_data, <float*>running_var_data, momentum, eps, &f, act, <float>alpha, gathered)
        else:
            failed = forward[double](
                <double*>PyArray_DATA(x), <double*>other, <double*>PyArray_DATA(gamma), <double*>PyArray_DATA(beta),
                <double*>PyArray_DATA(y), <double*>PyArray_DATA(mean), <double*>PyArray_DATA(inv_std),
                <double*>running_mean_data, <double*>running_var_data, momentum, eps, &f, act, alpha, gathered)
    if failed:
        no_memory(x)


def batchnorm_inference(
    cnp.ndarray x,              # IN (..., C)
    cnp.ndarray gamma, cnp.ndarray beta, cnp.ndarray running_mean, cnp.ndarray running_var,  # IN (C,)
    cnp.ndarray y,              # OUT (..., C)
    double eps, str activation="linear", double alpha=0.0,
    cnp.ndarray add=None,       # IN (..., C) or None
):
    """y = activation((x - running_mean) / sqrt(running_var + eps) * gamma + beta + add)."""
    cdef Fold f
    cdef int typenum = describe(&f, x), act = activation_code(activation), failed = 0
    check_like(y, "y", x, typenum)
    check_channels(f.c, typenum, gamma, "gamma", beta, "beta")
    check_channels(f.c, typenum, running_mean, "running_mean", running_var, "running_var")
    cdef void* other = optional(add, "add", x, typenum)
    if f.r == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = inference[float](
                <float*>PyArray_DATA(x), <float*>other, <float*>PyArray_DATA(gamma), <float*>PyArray_DATA(beta),
                <float*>PyArray_DATA(running_mean), <float*>PyArray_DATA(running_var),
                <float*>PyArray_DATA(y), eps, &f, act, <float>alpha)
        else:
            failed = inference[double](
                <double*>PyArray_DATA(x), <double*>other, <double*>PyArray_DATA(gamma), <double*>PyArray_DATA(beta),
                <double*>PyArray_DATA(running_mean), <double*>PyArray_DATA(running_var),
                <double*>PyArray_DATA(y), eps, &f, act, alpha)
    if failed:
        no_memory(x)


def batchnorm_backward(
    cnp.ndarray dy, cnp.ndarray x,  # IN (..., C)
    cnp.ndarray y,              # IN (..., C) what forward wrote; None if the activation is linear or beta is given
    cnp.ndarray gamma, cnp.ndarray mean, cnp.ndarray inv_std,  # IN (C,)
    cnp.ndarray dx,             # OUT (..., C) or None
    cnp.ndarray dgamma, cnp.ndarray dbeta,  # OUT (C,)
    str activation="linear", double alpha=0.0, bint accumulate=False,
    cnp.ndarray beta=None,      # IN (C,) instead of y, whose sign then is computed again: fewer passes over memory
):
    """dx = gamma inv_std (da - mean(da) - x_hat mean(da x_hat)), dgamma = sum da x_hat, dbeta = sum da.

    da = dy * activation' for "linear", "relu" and "leaky_relu"; others go through activation_backward first.
    """
    cdef Fold f
    cdef int typenum = describe(&f, x), act = activation_code(activation), failed = 0
    if act > ACT_LEAKY_RELU:
        raise ValueError(
            "activation: expected linear, relu or leaky_relu; call activation_backward first for others. "
            f"Received: {activation!r}"
        )
    check_like(dy, "dy", x, typenum)
    if y is None and act != ACT_LINEAR and beta is None:
        raise TypeError(f"y: expected an array, or beta, for {activation}. Received: None for both")
    cdef void* y_data = optional(y, "y", x, typenum)
    cdef void* dx_data = optional(dx, "dx", x, typenum)
    cdef void* beta_data = NULL
    if beta is not None:
        check_channels(f.c, typenum, beta, "beta", gamma, "gamma")
        beta_data = PyArray_DATA(beta)
    check_channels(f.c, typenum, gamma, "gamma", mean, "mean")
    check_channels(f.c, typenum, inv_std, "inv_std", dgamma, "dgamma")
    check_channels(f.c, typenum, dgamma, "dgamma", dbeta, "dbeta")
    if f.r == 0:
        if not accumulate:
            dgamma[...] = 0
            dbeta[...] = 0
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = backward[float](
                <float*>PyArray_DATA(dy), <float*>PyArray_DATA(x), <float*>y_data,
                <float*>PyArray_DATA(gamma), <float*>beta_data, <float*>PyArray_DATA(mean),
                <float*>PyArray_DATA(inv_std), <float*>dx_data, <float*>PyArray_DATA(dgamma),
                <float*>PyArray_DATA(dbeta), &f, act, <float>alpha, accumulate)
        else:
            failed = backward[double](
                <double*>PyArray_DATA(dy), <double*>PyArray_DATA(x), <double*>y_data,
                <double*>PyArray_DATA(gamma), <double*>beta_data, <double*>PyArray_DATA(mean),
                <double*>PyArray_DATA(inv_std), <double*>dx_data, <double*>PyArray_DATA(dgamma),
                <double*>PyArray_DATA(dbeta), &f, act, alpha, accumulate)
    if failed:
        no_memory(x)
