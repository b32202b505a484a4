"""One step of Adam, AMSGrad, NAdam and AdaMax; optimizers.pyx says what all steps have in common."""

cimport numpy as cnp
from fastnn._ext.common cimport real
from fastnn._ext.optimizers cimport Numbers, check_step, cut, magnitude, read_eps, read_numbers, root, run
from libc.math cimport pow
from libc.stdint cimport int64_t

cnp.import_array()


# Adam, AMSGrad and NAdam

cdef inline void adam_as(real* theta, void** x, int64_t n, const Numbers* a, bint amsgrad) noexcept nogil:
    """m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  w -= (p m + q g) / (sqrt(v^) + eps)"""
    cdef const real* grad = <const real*>x[0]
    cdef real* m = <real*>x[1]
    cdef real* v = <real*>x[2]
    cdef real* v_max = <real*>x[3]
    cdef real beta1 = <real>a.beta1, beta2 = <real>a.beta2, rest1 = <real>a.rest1, rest2 = <real>a.rest2
    cdef real p = <real>a.p, q = <real>a.q, correct = <real>a.correct, decay = <real>a.decay
    cdef real inside = <real>a.inside, outside = <real>a.outside, shrink = <real>a.shrink
    cdef real scale = <real>a.scale, clip = <real>a.clip, g, m1, v1, largest
    cdef int64_t i
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        m1 = beta1 * m[i] + rest1 * g
        v1 = beta2 * v[i] + rest2 * (g * g)
        m[i] = m1
        v[i] = v1
        if amsgrad:
            largest = v_max[i]
            v1 = largest if largest > v1 else v1
            v_max[i] = v1
        theta[i] = shrink * theta[i] - (p * m1 + q * g) / (root(correct * v1 + inside) + outside)


cdef void adam_loop(real* theta, void** x, int64_t n, const Numbers* a) noexcept nogil:
    """The compiler vectorises the loop where it knows whether there is `v_max`."""
    if x[3] == NULL:
        adam_as(theta, x, n, a, False)
    else:
        adam_as(theta, x, n, a, True)


cdef int adam_numbers(
    Numbers* a, int64_t step, double lr, double beta1, double beta2, double eps, double weight_decay,
    bint decoupled, str eps_mode, bint bias_correction, double scale, double clip,
) except -1:
    check_step(step)
    read_numbers(a, lr, 0.0 if decoupled else weight_decay, scale, clip)
    read_eps(a, eps, eps_mode)
    a.beta1, a.beta2, a.rest1, a.rest2 = beta1, beta2, 1.0 - beta1, 1.0 - beta2
    a.p, a.q, a.correct = lr, 0.0, 1.0
    if bias_correction:
        a.p = lr / (1.0 - pow(beta1, <double>step))
        a.correct = 1.0 / (1.0 - pow(beta2, <double>step))
    a.shrink = 1.0 - lr * weight_decay if decoupled else 1.0
    return 0


cdef int adam_run(
    cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray m, cnp.ndarray v, cnp.ndarray v_max, const Numbers* a
) except -1:
    return run(
        theta, (grad, m, v, v_max), ("grad", "m", "v", "v_max"), 3, adam_loop[float], adam_loop[double], a
    )


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
    cnp.ndarray v_max=None,  # IN, OUT like theta, or None
    double scale=1.0,
    double clip=0.0,
):
    """One step of Adam, with `decoupled` of AdamW, with `v_max` of AMSGrad; `step` counts from 1."""
    cdef Numbers a
    adam_numbers(
        &a, step, lr, beta1, beta2, eps, weight_decay, decoupled, eps_mode, bias_correction, scale, clip
    )
    adam_run(theta, grad, m, v, v_max, &a)


def nadam_step(
    cnp.ndarray theta,  # IN, OUT any shape
    cnp.ndarray grad,   # IN      like theta
    cnp.ndarray m,      # IN, OUT like theta
    cnp.ndarray v,      # IN, OUT like theta
    int64_t step,
    double lr,
    double beta1,
    double beta2,
    double eps,
    double m_share,
    double g_share,
    double weight_decay=0.0,
    bint decoupled=False,
    str eps_mode="outside",
    double scale=1.0,
    double clip=0.0,
):
    """One step of NAdam: m and v as in Adam, w <- w - lr (m_share m + g_share g) / (sqrt(v^) + eps)."""
    cdef Numbers a
    adam_numbers(&a, step, lr, beta1, beta2, eps, weight_decay, decoupled, eps_mode, True, scale, clip)
    a.p, a.q = lr * m_share, lr * g_share
    adam_run(theta, grad, m, v, None, &a)


# AdaMax and MaxProp

cdef void adamax_loop(real* theta, void** x, int64_t n, const Numbers* a) noexcept nogil:
    """m = beta1 m + (1 - beta1) g;  u = max(beta2 u, |g|);  w -= p m / (u + eps); without m: g in its place"""
    cdef const real* grad = <const real*>x[0]
    cdef real* u = <real*>x[1]
    cdef real* m = <real*>x[2]
    cdef real beta1 = <real>a.beta1, beta2 = <real>a.beta2, rest1 = <real>a.rest1, p = <real>a.p
    cdef real in_max = <real>a.inside, outside = <real>a.outside, decay = <real>a.decay
    cdef real scale = <real>a.scale, clip = <real>a.clip, g, size, u1
    cdef bint averaged = m != NULL
    cdef int64_t i
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        size = magnitude(g) + in_max
        u1 = beta2 * u[i]
        u1 = u1 if u1 > size else size
        u[i] = u1
        if averaged:
            g = beta1 * m[i] + rest1 * g
            m[i] = g
        theta[i] -= p * g / (u1 + outside)


def adamax_step(
    cnp.ndarray theta,  # IN, OUT any shape
    cnp.ndarray grad,   # IN      like theta
    cnp.ndarray m,      # IN, OUT like theta, or None: then beta1 is 0
    cnp.ndarray u,      # IN, OUT like theta
    int64_t step,
    double lr,
    double beta1,
    double beta2,
    double eps,
    double weight_decay=0.0,
    str eps_mode="denominator",
    double scale=1.0,
    double clip=0.0,
):
    """One step of AdaMax, without `m` of MaxProp; `step` counts from 1.

    u <- max(beta2 u, |g|), w <- w - lr m^ / (u + eps); eps_mode="in_max": max(beta2 u, |g| + eps) and no eps
    in the denominator.
    """
    if m is None and beta1 != 0:
        raise ValueError(f"m: expected an array where beta1 is not 0. Received: None with beta1={beta1}")
    if eps_mode != "denominator" and eps_mode != "in_max":
        raise ValueError(f"eps_mode: expected 'denominator' or 'in_max'. Received: {eps_mode!r}")
    check_step(step)
    cdef Numbers a
    read_numbers(&a, lr, weight_decay, scale, clip)
    read_eps(&a, eps, "inside" if eps_mode == "in_max" else "outside")
    a.beta1, a.beta2, a.rest1 = beta1, beta2, 1.0 - beta1
    a.p = lr / (1.0 - pow(beta1, <double>step))
    run(theta, (grad, u, m), ("grad", "u", "m"), 2, adamax_loop[float], adamax_loop[double], &a)
