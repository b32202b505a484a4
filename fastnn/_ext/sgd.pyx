"""One step of gradient descent, plain and with momentum; optimizers.pyx says what all steps have in common."""

cimport numpy as cnp
from fastnn._ext.common cimport real
from fastnn._ext.optimizers cimport Numbers, cut, read_numbers, run
from libc.stdint cimport int64_t

cnp.import_array()


cdef void sgd_loop(real* theta, void** x, int64_t n, const Numbers* a) noexcept nogil:
    """w -= lr (g + decay w)"""
    cdef const real* grad = <const real*>x[0]
    cdef real lr = <real>a.lr, decay = <real>a.decay, scale = <real>a.scale, clip = <real>a.clip
    cdef int64_t i
    for i in range(n):
        theta[i] -= lr * (cut(grad[i], scale, clip) + decay * theta[i])


def sgd_step(
    cnp.ndarray theta,  # IN, OUT any shape
    cnp.ndarray grad,   # IN      like theta
    double lr,
    double weight_decay=0.0,
    double scale=1.0,
    double clip=0.0,
):
    """w <- w - lr (g + weight_decay w), with g = grad times scale, cut to [-clip, clip] unless clip is 0."""
    cdef Numbers a
    read_numbers(&a, lr, weight_decay, scale, clip)
    run(theta, (grad,), ("grad",), 1, sgd_loop[float], sgd_loop[double], &a)


cdef void momentum_loop(real* theta, void** x, int64_t n, const Numbers* a) noexcept nogil:
    """u = beta u + c g;  w -= p u + q g"""
    cdef const real* grad = <const real*>x[0]
    cdef real* velocity = <real*>x[1]
    cdef real beta = <real>a.beta1, c = <real>a.rest1, p = <real>a.p, q = <real>a.q, decay = <real>a.decay, g, u
    cdef real scale = <real>a.scale, clip = <real>a.clip
    cdef int64_t i
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        u = beta * velocity[i] + c * g
        velocity[i] = u
        theta[i] -= p * u + q * g


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
    cdef Numbers a
    cdef double step
    read_numbers(&a, lr, weight_decay, scale, clip)
    a.beta1 = momentum
    if form == "grad_sum" or form == "lookahead":
        a.rest1, step = 1.0, lr
    elif form == "velocity":
        a.rest1, step = lr, 1.0
    elif form == "ema":
        a.rest1, step = 1.0 - momentum, lr
    else:
        raise ValueError(
            f"form: expected 'grad_sum', 'velocity', 'ema' or 'lookahead'. Received: {form!r}"
        )
    a.p = step * momentum if nesterov else step
    a.q = step * a.rest1 if nesterov else 0.0
    if form == "lookahead":
        a.p, a.q = 0.0, lr
    run(theta, (grad, velocity), ("grad", "velocity"), 2, momentum_loop[float], momentum_loop[double], &a)
