"""One step of AdaGrad, RMSProp and AdaDelta; optimizers.pyx says what all steps have in common."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.optimizers cimport (
    CHUNK,
    Cut,
    Place,
    check_like,
    cut,
    fastnn_flush,
    fastnn_restore,
    read_cut,
    read_eps,
    root,
)
from fastnn._ext.threads cimport threads_for
from libc.stdint cimport int64_t, uint64_t

cnp.import_array()


# AdaGrad

ctypedef struct AdaGradNumbers:
    double lr, decay
    Place eps
    Cut cut


cdef void adagrad_chunk(
    real* theta, const real* grad, real* v, int64_t n, AdaGradNumbers a
) noexcept nogil:
    """v += g^2;  w -= lr g / (sqrt(v) + eps)"""
    cdef real lr = <real>a.lr, decay = <real>a.decay, scale = <real>a.cut.scale, clip = <real>a.cut.clip
    cdef real inside = <real>a.eps.inside, outside = <real>a.eps.outside, g, v1
    cdef int64_t i
    cdef uint64_t mode = fastnn_flush()
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        v1 = v[i] + g * g
        v[i] = v1
        theta[i] -= lr * g / (root(v1 + inside) + outside)
    fastnn_restore(mode)


cdef void adagrad(real* theta, const real* grad, real* v, int64_t n, AdaGradNumbers a) noexcept nogil:
    cdef int64_t c, s
    cdef int threads = threads_for(n)
    if threads == 1:
        adagrad_chunk(theta, grad, v, n, a)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        s = c * CHUNK
        adagrad_chunk(theta + s, grad + s, v + s, min(CHUNK, n - s), a)


def adagrad_step(
    cnp.ndarray theta,  # IN, OUT any shape
    cnp.ndarray grad,   # IN      like theta
    cnp.ndarray v,      # IN, OUT like theta
    double lr,
    double eps,
    double weight_decay=0.0,
    str eps_mode="outside",
    double scale=1.0,
    double clip=0.0,
):
    """v <- v + g^2, w <- w - lr g / (sqrt(v) + eps); eps_mode="inside" is sqrt(v + eps)."""
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    check_like(v, "v", theta, typenum)
    cdef AdaGradNumbers a
    a.lr, a.decay = lr, weight_decay
    read_eps(eps, eps_mode, &a.eps)
    read_cut(scale, clip, &a.cut)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    cdef void* square = cnp.PyArray_DATA(v)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            adagrad[float](<float*>w, <float*>g, <float*>square, n, a)
        else:
            adagrad[double](<double*>w, <double*>g, <double*>square, n, a)


# RMSProp

ctypedef struct RMSPropNumbers:
    double lr, rho, rest, momentum, decay  # rest = 1 - rho
    Place eps
    Cut cut


cdef inline void rmsprop_loop(
    real* theta, const real* grad, real* v, real* mean, real* velocity, int64_t n, RMSPropNumbers a,
    bint centered, bint moving,
) noexcept nogil:
    """v = rho v + (1 - rho) g^2;  w -= lr g / (sqrt(v) + eps)"""
    cdef real lr = <real>a.lr, rho = <real>a.rho, rest = <real>a.rest, beta = <real>a.momentum
    cdef real inside = <real>a.eps.inside, outside = <real>a.eps.outside, decay = <real>a.decay
    cdef real scale = <real>a.cut.scale, clip = <real>a.cut.clip, g, v1, mean1, d
    cdef int64_t i
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        v1 = rho * v[i] + rest * (g * g)
        v[i] = v1
        if centered:
            mean1 = rho * mean[i] + rest * g
            mean[i] = mean1
            v1 = v1 - mean1 * mean1
            v1 = <real>0 if v1 < 0 else v1  # a variance of 0 may be rounded to less
        d = g / (root(v1 + inside) + outside)
        if moving:
            d = beta * velocity[i] + d
            velocity[i] = d
        theta[i] -= lr * d


cdef void rmsprop_chunk(
    real* theta, const real* grad, real* v, real* mean, real* velocity, int64_t n, RMSPropNumbers a
) noexcept nogil:
    """`mean` and `velocity` may be NULL. The compiler vectorises a loop only where it knows which are."""
    cdef uint64_t mode = fastnn_flush()
    if mean == NULL and velocity == NULL:
        rmsprop_loop(theta, grad, v, mean, velocity, n, a, False, False)
    elif mean == NULL:
        rmsprop_loop(theta, grad, v, mean, velocity, n, a, False, True)
    elif velocity == NULL:
        rmsprop_loop(theta, grad, v, mean, velocity, n, a, True, False)
    else:
        rmsprop_loop(theta, grad, v, mean, velocity, n, a, True, True)
    fastnn_restore(mode)


cdef void rmsprop(
    real* theta, const real* grad, real* v, real* mean, real* velocity, int64_t n, RMSPropNumbers a
) noexcept nogil:
    cdef int64_t c, s
    cdef int threads = threads_for(n)
    if threads == 1:
        rmsprop_chunk(theta, grad, v, mean, velocity, n, a)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        s = c * CHUNK
        rmsprop_chunk(
            theta + s, grad + s, v + s, NULL if mean == NULL else mean + s,
            NULL if velocity == NULL else velocity + s, min(CHUNK, n - s), a,
        )


def rmsprop_step(
    cnp.ndarray theta,     # IN, OUT any shape
    cnp.ndarray grad,      # IN      like theta
    cnp.ndarray v,         # IN, OUT like theta
    cnp.ndarray mean,      # IN, OUT like theta, or None
    cnp.ndarray velocity,  # IN, OUT like theta, or None
    double lr,
    double rho,
    double eps,
    double momentum=0.0,
    double weight_decay=0.0,
    str eps_mode="outside",
    double scale=1.0,
    double clip=0.0,
):
    """v <- rho v + (1 - rho) g^2, w <- w - lr g / (sqrt(v) + eps).

    With `mean` the variance v - mean^2 takes the place of v; with `velocity` the step is
    u <- momentum u + g / (sqrt(v) + eps), w <- w - lr u.
    """
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    check_like(v, "v", theta, typenum)
    cdef void* average = NULL
    cdef void* u = NULL
    if mean is not None:
        check_like(mean, "mean", theta, typenum)
        average = cnp.PyArray_DATA(mean)
    if velocity is not None:
        check_like(velocity, "velocity", theta, typenum)
        u = cnp.PyArray_DATA(velocity)
    cdef RMSPropNumbers a
    a.lr, a.rho, a.rest, a.momentum, a.decay = lr, rho, 1.0 - rho, momentum, weight_decay
    read_eps(eps, eps_mode, &a.eps)
    read_cut(scale, clip, &a.cut)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    cdef void* square = cnp.PyArray_DATA(v)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            rmsprop[float](<float*>w, <float*>g, <float*>square, <float*>average, <float*>u, n, a)
        else:
            rmsprop[double](<double*>w, <double*>g, <double*>square, <double*>average, <double*>u, n, a)


# AdaDelta

ctypedef struct AdaDeltaNumbers:
    double lr, rho, rest, eps, decay  # rest = 1 - rho
    Cut cut


cdef void adadelta_chunk(
    real* theta, const real* grad, real* v, real* u, int64_t n, AdaDeltaNumbers a
) noexcept nogil:
    """v = rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1 - rho) d^2"""
    cdef real lr = <real>a.lr, rho = <real>a.rho, rest = <real>a.rest, eps = <real>a.eps
    cdef real decay = <real>a.decay, scale = <real>a.cut.scale, clip = <real>a.cut.clip, g, d, v1, u0
    cdef int64_t i
    cdef uint64_t mode = fastnn_flush()
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        v1 = rho * v[i] + rest * (g * g)
        v[i] = v1
        u0 = u[i]
        d = root(u0 + eps) / root(v1 + eps) * g
        u[i] = rho * u0 + rest * (d * d)
        theta[i] -= lr * d
    fastnn_restore(mode)


cdef void adadelta(
    real* theta, const real* grad, real* v, real* u, int64_t n, AdaDeltaNumbers a
) noexcept nogil:
    cdef int64_t c, s
    cdef int threads = threads_for(n)
    if threads == 1:
        adadelta_chunk(theta, grad, v, u, n, a)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        s = c * CHUNK
        adadelta_chunk(theta + s, grad + s, v + s, u + s, min(CHUNK, n - s), a)


def adadelta_step(
    cnp.ndarray theta,  # IN, OUT any shape
    cnp.ndarray grad,   # IN      like theta
    cnp.ndarray v,      # IN, OUT like theta
    cnp.ndarray u,      # IN, OUT like theta
    double lr,
    double rho,
    double eps,
    double weight_decay=0.0,
    double scale=1.0,
    double clip=0.0,
):
    """v <- rho v + (1 - rho) g^2, d = sqrt(u + eps) / sqrt(v + eps) g, w <- w - lr d; u is the average of d^2."""
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    check_like(v, "v", theta, typenum)
    check_like(u, "u", theta, typenum)
    cdef AdaDeltaNumbers a
    a.lr, a.rho, a.rest, a.eps, a.decay = lr, rho, 1.0 - rho, eps, weight_decay
    read_cut(scale, clip, &a.cut)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    cdef void* square = cnp.PyArray_DATA(v)
    cdef void* moved = cnp.PyArray_DATA(u)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            adadelta[float](<float*>w, <float*>g, <float*>square, <float*>moved, n, a)
        else:
            adadelta[double](<double*>w, <double*>g, <double*>square, <double*>moved, n, a)
