"""One step of AdaGrad, RMSProp and AdaDelta; optimizers.pyx says what all steps have in common."""

cimport numpy as cnp
from fastnn._ext.common cimport real
from fastnn._ext.optimizers cimport Numbers, cut, read_eps, read_numbers, root, run
from libc.stdint cimport int64_t

cnp.import_array()


cdef void adagrad_loop(real* theta, void** x, int64_t n, const Numbers* a) noexcept nogil:
    """v += g^2;  w -= lr g / (sqrt(v) + eps)"""
    cdef const real* grad = <const real*>x[0]
    cdef real* v = <real*>x[1]
    cdef real lr = <real>a.lr, decay = <real>a.decay, scale = <real>a.scale, clip = <real>a.clip
    cdef real inside = <real>a.inside, outside = <real>a.outside, g, v1
    cdef int64_t i
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        v1 = v[i] + g * g
        v[i] = v1
        theta[i] -= lr * g / (root(v1 + inside) + outside)


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
    cdef Numbers a
    read_numbers(&a, lr, weight_decay, scale, clip)
    read_eps(&a, eps, eps_mode)
    run(theta, (grad, v), ("grad", "v"), 2, adagrad_loop[float], adagrad_loop[double], &a)


cdef inline void rmsprop_as(
    real* theta, void** x, int64_t n, const Numbers* a, bint centered, bint moving
) noexcept nogil:
    """v = rho v + (1 - rho) g^2;  w -= lr g / (sqrt(v) + eps)"""
    cdef const real* grad = <const real*>x[0]
    cdef real* v = <real*>x[1]
    cdef real* mean = <real*>x[2]
    cdef real* velocity = <real*>x[3]
    cdef real lr = <real>a.lr, rho = <real>a.beta2, rest = <real>a.rest2, beta = <real>a.beta1
    cdef real inside = <real>a.inside, outside = <real>a.outside, decay = <real>a.decay
    cdef real scale = <real>a.scale, clip = <real>a.clip, g, v1, mean1, d
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


cdef void rmsprop_loop(real* theta, void** x, int64_t n, const Numbers* a) noexcept nogil:
    """The compiler vectorises a loop only where it knows which of `mean` and `velocity` there are."""
    if x[2] == NULL and x[3] == NULL:
        rmsprop_as(theta, x, n, a, False, False)
    elif x[2] == NULL:
        rmsprop_as(theta, x, n, a, False, True)
    elif x[3] == NULL:
        rmsprop_as(theta, x, n, a, True, False)
    else:
        rmsprop_as(theta, x, n, a, True, True)


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
    cdef Numbers a
    read_numbers(&a, lr, weight_decay, scale, clip)
    read_eps(&a, eps, eps_mode)
    a.beta1, a.beta2, a.rest2 = momentum, rho, 1.0 - rho
    run(
        theta, (grad, v, mean, velocity), ("grad", "v", "mean", "velocity"), 2, rmsprop_loop[float],
        rmsprop_loop[double], &a,
    )


cdef void adadelta_loop(real* theta, void** x, int64_t n, const Numbers* a) noexcept nogil:
    """v = rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1 - rho) d^2"""
    cdef const real* grad = <const real*>x[0]
    cdef real* v = <real*>x[1]
    cdef real* u = <real*>x[2]
    cdef real lr = <real>a.lr, rho = <real>a.beta2, rest = <real>a.rest2, eps = <real>a.inside
    cdef real decay = <real>a.decay, scale = <real>a.scale, clip = <real>a.clip, g, d, v1, u0
    cdef int64_t i
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        v1 = rho * v[i] + rest * (g * g)
        v[i] = v1
        u0 = u[i]
        d = root(u0 + eps) / root(v1 + eps) * g
        u[i] = rho * u0 + rest * (d * d)
        theta[i] -= lr * d


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
    cdef Numbers a
    read_numbers(&a, lr, weight_decay, scale, clip)
    a.beta2, a.rest2, a.inside = rho, 1.0 - rho, eps
    run(theta, (grad, v, u), ("grad", "v", "u"), 3, adadelta_loop[float], adadelta_loop[double], &a)
