"""One step of gradient descent, plain and with momentum; optimizers.pyx says what all steps have in common."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.optimizers cimport CHUNK, Cut, check_like, cut, fastnn_flush, fastnn_restore, read_cut
from fastnn._ext.threads cimport threads_for
from libc.stdint cimport int64_t, uint64_t

cnp.import_array()


# SGD

ctypedef struct SGDNumbers:
    double lr, decay
    Cut cut


cdef void sgd_chunk(real* theta, const real* grad, int64_t n, SGDNumbers a) noexcept nogil:
    """w -= lr (g + decay w)"""
    cdef real lr = <real>a.lr, decay = <real>a.decay, scale = <real>a.cut.scale, clip = <real>a.cut.clip
    cdef int64_t i
    for i in range(n):
        theta[i] -= lr * (cut(grad[i], scale, clip) + decay * theta[i])


cdef void sgd(real* theta, const real* grad, int64_t n, SGDNumbers a) noexcept nogil:
    cdef int64_t c
    cdef int threads = threads_for(n)
    if threads == 1:  # without prange: entering a parallel region costs more than a small step
        sgd_chunk(theta, grad, n, a)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        sgd_chunk(theta + c * CHUNK, grad + c * CHUNK, min(CHUNK, n - c * CHUNK), a)


def sgd_step(
    cnp.ndarray theta,  # IN, OUT any shape
    cnp.ndarray grad,   # IN      like theta
    double lr,
    double weight_decay=0.0,
    double scale=1.0,
    double clip=0.0,
):
    """w <- w - lr (g + weight_decay w), with g = grad times scale, cut to [-clip, clip] unless clip is 0."""
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    cdef SGDNumbers a
    a.lr, a.decay = lr, weight_decay
    read_cut(scale, clip, &a.cut)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            sgd[float](<float*>w, <float*>g, n, a)
        else:
            sgd[double](<double*>w, <double*>g, n, a)


# Momentum

ctypedef struct MomentumNumbers:
    # u = beta u + c g;  w -= p u + q g
    double beta, c, p, q, decay
    Cut cut


cdef void momentum_chunk(
    real* theta, const real* grad, real* velocity, int64_t n, MomentumNumbers a
) noexcept nogil:
    """u = beta u + c g;  w -= p u + q g"""
    cdef real beta = <real>a.beta, c = <real>a.c, p = <real>a.p, q = <real>a.q, decay = <real>a.decay, g, u
    cdef real scale = <real>a.cut.scale, clip = <real>a.cut.clip
    cdef int64_t i
    cdef uint64_t mode = fastnn_flush()
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        u = beta * velocity[i] + c * g
        velocity[i] = u
        theta[i] -= p * u + q * g
    fastnn_restore(mode)


cdef void momentum_pass(
    real* theta, const real* grad, real* velocity, int64_t n, MomentumNumbers a
) noexcept nogil:
    cdef int64_t k, s
    cdef int threads = threads_for(n)
    if threads == 1:
        momentum_chunk(theta, grad, velocity, n, a)
        return
    for k in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        s = k * CHUNK
        momentum_chunk(theta + s, grad + s, velocity + s, min(CHUNK, n - s), a)


def momentum_step(
    cnp.ndarray theta,     # IN, OUT any shape
    cnp.ndarray grad,      # IN      like theta
    cnp.ndarray velocity,  # IN, OUT like theta
    double lr,
    double momentum,
    double weight_decay=0.0,
    str form="grad_sum",
    bint nesterov=False,
    double scale=1.0,
    double clip=0.0,
):
    """One step with the velocity u and beta = momentum.

    grad_sum: u <- g + beta u, w <- w - lr u; velocity: u <- beta u + lr g, w <- w - u;
    ema: u <- beta u + (1 - beta) g, w <- w - lr u. With nesterov, beta u + (what g just added to u) takes
    the place of u in the step of w. lookahead: u <- g + beta u, w <- w - lr g, because w is the look-ahead
    point already, from which the gradient alone leads to the next w.
    """
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    check_like(velocity, "velocity", theta, typenum)
    cdef MomentumNumbers a
    cdef double step
    a.beta, a.decay = momentum, weight_decay
    if form == "grad_sum" or form == "lookahead":
        a.c, step = 1.0, lr
    elif form == "velocity":
        a.c, step = lr, 1.0
    elif form == "ema":
        a.c, step = 1.0 - momentum, lr
    else:
        raise ValueError(
            f"form: expected 'grad_sum', 'velocity', 'ema' or 'lookahead'. Received: {form!r}"
        )
    a.p = step * momentum if nesterov else step
    a.q = step * a.c if nesterov else 0.0
    if form == "lookahead":
        a.p, a.q = 0.0, lr
    read_cut(scale, clip, &a.cut)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    cdef void* u = cnp.PyArray_DATA(velocity)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            momentum_pass[float](<float*>w, <float*>g, <float*>u, n, a)
        else:
            momentum_pass[double](<double*>w, <double*>g, <double*>u, n, a)
