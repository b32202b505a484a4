"""One step of each optimizer: one pass over `theta`, in place; the gradient is only read.

What does not change from element to element is computed once, in double. Variants of a formula differ
in these numbers and not in the loop, so there is one loop per optimizer and the compiler vectorises it.
The passes are bound by memory: theta, state and gradient are read once and written once.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.threads cimport threads_for
from libc.math cimport pow, sqrt
from libc.stdint cimport int64_t, uint64_t

cdef extern from "denormals.h" nogil:
    uint64_t fastnn_flush()
    void fastnn_restore(uint64_t before)

cdef extern from "<math.h>" nogil:
    float sqrtf(float x)

cnp.import_array()

cdef enum:
    CHUNK = 8192  # elements of one owner: whole vectors, so that every cut gives the same bits


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef int check_like(cnp.ndarray x, str name, cnp.ndarray theta, int typenum) except -1:
    check(x, name, -1, typenum)
    if cnp.PyArray_SIZE(x) != cnp.PyArray_SIZE(theta):
        raise ValueError(
            f"{name}: expected as many elements as theta, {cnp.PyArray_SIZE(theta)}. "
            f"Received: shape={(<object>x).shape}"
        )
    return 0


# SGD

cdef void sgd_chunk(real* theta, const real* grad, int64_t n, real lr, real decay) noexcept nogil:
    """w -= lr (g + decay w)"""
    cdef int64_t i
    for i in range(n):
        theta[i] -= lr * (grad[i] + decay * theta[i])


cdef void sgd(real* theta, const real* grad, int64_t n, double lr, double decay) noexcept nogil:
    cdef int64_t c
    cdef int threads = threads_for(n)
    if threads == 1:  # without prange: entering a parallel region costs more than a small step
        sgd_chunk(theta, grad, n, <real>lr, <real>decay)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        sgd_chunk(theta + c * CHUNK, grad + c * CHUNK, min(CHUNK, n - c * CHUNK), <real>lr, <real>decay)


def sgd_step(
    cnp.ndarray theta,  # IN, OUT any shape
    cnp.ndarray grad,   # IN  like theta
    double lr,
    double weight_decay=0.0,
):
    """w <- w - lr (g + weight_decay w)."""
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            sgd[float](<float*>w, <float*>g, n, lr, weight_decay)
        else:
            sgd[double](<double*>w, <double*>g, n, lr, weight_decay)


# Momentum

ctypedef struct MomentumNumbers:
    # u = beta u + c g;  w -= p u + q g
    double beta, c, p, q, decay


cdef void momentum_chunk(
    real* theta, const real* grad, real* velocity, int64_t n, MomentumNumbers a
) noexcept nogil:
    """u = beta u + c g;  w -= p u + q g"""
    cdef real beta = <real>a.beta, c = <real>a.c, p = <real>a.p, q = <real>a.q, decay = <real>a.decay, g, u
    cdef int64_t i
    cdef uint64_t mode = fastnn_flush()
    for i in range(n):
        g = grad[i] + decay * theta[i]
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
):
    """One step with the velocity u and beta = momentum.

    grad_sum: u <- g + beta u, w <- w - lr u; velocity: u <- beta u + lr g, w <- w - u;
    ema: u <- beta u + (1 - beta) g, w <- w - lr u. With nesterov, beta u + (what g just added to u) takes
    the place of u in the step of w.
    """
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    check_like(velocity, "velocity", theta, typenum)
    cdef MomentumNumbers a
    cdef double step
    a.beta, a.decay = momentum, weight_decay
    if form == "grad_sum":
        a.c, step = 1.0, lr
    elif form == "velocity":
        a.c, step = lr, 1.0
    elif form == "ema":
        a.c, step = 1.0 - momentum, lr
    else:
        raise ValueError(f"form: expected 'grad_sum', 'velocity' or 'ema'. Received: {form!r}")
    a.p = step * momentum if nesterov else step
    a.q = step * a.c if nesterov else 0.0
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    cdef void* u = cnp.PyArray_DATA(velocity)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            momentum_pass[float](<float*>w, <float*>g, <float*>u, n, a)
        else:
            momentum_pass[double](<double*>w, <double*>g, <double*>u, n, a)


# Adam

ctypedef struct AdamNumbers:
    double beta1, beta2, rest1, rest2  # rest = 1 - beta
    double step, scale                 # lr / (1 - beta1^t), 1 / (1 - beta2^t)
    double inside, outside             # eps, in one of the two places
    double decay, shrink               # weight decay: added to g, or w is shrunk


cdef void adam_chunk(
    real* theta, const real* grad, real* m, real* v, int64_t n, AdamNumbers a
) noexcept nogil:
    """m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  w -= lr m^ / (sqrt(v^) + eps)"""
    cdef real beta1 = <real>a.beta1, beta2 = <real>a.beta2, rest1 = <real>a.rest1, rest2 = <real>a.rest2
    cdef real step = <real>a.step, scale = <real>a.scale, inside = <real>a.inside, outside = <real>a.outside
    cdef real decay = <real>a.decay, shrink = <real>a.shrink, g, m1, v1
    cdef int64_t i
    cdef uint64_t mode = fastnn_flush()
    for i in range(n):
        g = grad[i] + decay * theta[i]
        m1 = beta1 * m[i] + rest1 * g
        v1 = beta2 * v[i] + rest2 * (g * g)
        m[i] = m1
        v[i] = v1
        theta[i] = shrink * theta[i] - step * m1 / (root(scale * v1 + inside) + outside)
    fastnn_restore(mode)


cdef void adam(real* theta, const real* grad, real* m, real* v, int64_t n, AdamNumbers a) noexcept nogil:
    cdef int64_t c, s
    cdef int threads = threads_for(n)
    if threads == 1:
        adam_chunk(theta, grad, m, v, n, a)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        s = c * CHUNK
        adam_chunk(theta + s, grad + s, m + s, v + s, min(CHUNK, n - s), a)


def adam_step(
    cnp.ndarray theta,  # IN, OUT any shape
    cnp.ndarray grad,   # IN      like theta
    cnp.ndarray m,      # IN, OUT like theta
    cnp.ndarray v,      # IN, OUT like theta
    int64_t step,
    double lr,
    double beta1,
    double beta2,
    double eps,
    double weight_decay=0.0,
    bint decoupled=False,
    str eps_mode="outside",
    bint bias_correction=True,
):
    """One step of Adam, or with `decoupled` of AdamW; `step` counts from 1."""
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    check_like(m, "m", theta, typenum)
    check_like(v, "v", theta, typenum)
    if step < 1:
        raise ValueError(f"step: expected at least 1, the number of this update. Received: {step}")
    cdef AdamNumbers a
    a.beta1, a.beta2, a.rest1, a.rest2 = beta1, beta2, 1.0 - beta1, 1.0 - beta2
    a.step, a.scale = lr, 1.0
    if bias_correction:
        a.step = lr / (1.0 - pow(beta1, <double>step))
        a.scale = 1.0 / (1.0 - pow(beta2, <double>step))
    a.inside, a.outside = 0.0, eps
    if eps_mode == "inside":
        a.inside, a.outside = eps, 0.0
    elif eps_mode != "outside":
        raise ValueError(f"eps_mode: expected 'outside' or 'inside'. Received: {eps_mode!r}")
    a.decay = 0.0 if decoupled else weight_decay
    a.shrink = 1.0 - lr * weight_decay if decoupled else 1.0
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    cdef void* mean = cnp.PyArray_DATA(m)
    cdef void* square = cnp.PyArray_DATA(v)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            adam[float](<float*>w, <float*>g, <float*>mean, <float*>square, n, a)
        else:
            adam[double](<double*>w, <double*>g, <double*>mean, <double*>square, n, a)
