"""One step of Adam, AMSGrad, NAdam and AdaMax; optimizers.pyx says what all steps have in common."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.optimizers cimport (
    CHUNK,
    Cut,
    Place,
    check_like,
    check_step,
    cut,
    fastnn_flush,
    fastnn_restore,
    magnitude,
    read_cut,
    read_eps,
    root,
)
from fastnn._ext.threads cimport threads_for
from libc.math cimport pow
from libc.stdint cimport int64_t, uint64_t

cnp.import_array()


# Adam, AMSGrad and NAdam

ctypedef struct AdamNumbers:
    double beta1, beta2, rest1, rest2  # rest = 1 - beta
    double p, q                        # w -= (p m + q g) / ...; Adam: lr / (1 - beta1^t), 0
    double scale                       # 1 / (1 - beta2^t)
    double decay, shrink               # weight decay: added to g, or w is shrunk
    Place eps
    Cut cut


cdef inline void adam_loop(
    real* theta, const real* grad, real* m, real* v, real* v_max, int64_t n, const AdamNumbers* a, bint amsgrad
) noexcept nogil:
    """m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  w -= (p m + q g) / (sqrt(v^) + eps)"""
    cdef real beta1 = <real>a.beta1, beta2 = <real>a.beta2, rest1 = <real>a.rest1, rest2 = <real>a.rest2
    cdef real p = <real>a.p, q = <real>a.q, correct = <real>a.scale, decay = <real>a.decay
    cdef real inside = <real>a.eps.inside, outside = <real>a.eps.outside, shrink = <real>a.shrink
    cdef real scale = <real>a.cut.scale, clip = <real>a.cut.clip, g, m1, v1, largest
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


cdef void adam_chunk(
    real* theta, const real* grad, real* m, real* v, real* v_max, int64_t n, const AdamNumbers* a
) noexcept nogil:
    """`v_max` may be NULL. The compiler vectorises the loop where it knows whether it is."""
    cdef uint64_t mode = fastnn_flush()
    if v_max == NULL:
        adam_loop(theta, grad, m, v, v_max, n, a, False)
    else:
        adam_loop(theta, grad, m, v, v_max, n, a, True)
    fastnn_restore(mode)


cdef void adam(
    real* theta, const real* grad, real* m, real* v, real* v_max, int64_t n, const AdamNumbers* a
) noexcept nogil:
    cdef int64_t c, s
    cdef int threads = threads_for(n)
    if threads == 1:
        adam_chunk(theta, grad, m, v, v_max, n, a)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        s = c * CHUNK
        adam_chunk(
            theta + s, grad + s, m + s, v + s, NULL if v_max == NULL else v_max + s, min(CHUNK, n - s), a
        )


cdef int adam_arrays(
    cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray m, cnp.ndarray v, cnp.ndarray v_max, const AdamNumbers* a
) except -1:
    """Check the arrays and let the step run on them."""
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    check_like(m, "m", theta, typenum)
    check_like(v, "v", theta, typenum)
    cdef void* largest = NULL
    if v_max is not None:
        check_like(v_max, "v_max", theta, typenum)
        largest = cnp.PyArray_DATA(v_max)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    cdef void* mean = cnp.PyArray_DATA(m)
    cdef void* square = cnp.PyArray_DATA(v)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            adam[float](<float*>w, <float*>g, <float*>mean, <float*>square, <float*>largest, n, a)
        else:
            adam[double](<double*>w, <double*>g, <double*>mean, <double*>square, <double*>largest, n, a)
    return 0


cdef int read_numbers(
    AdamNumbers* a, int64_t step, double lr, double beta1, double beta2, double eps, double weight_decay,
    bint decoupled, str eps_mode, bint bias_correction, double scale, double clip,
) except -1:
    check_step(step)
    a.beta1, a.beta2, a.rest1, a.rest2 = beta1, beta2, 1.0 - beta1, 1.0 - beta2
    a.p, a.q, a.scale = lr, 0.0, 1.0
    if bias_correction:
        a.p = lr / (1.0 - pow(beta1, <double>step))
        a.scale = 1.0 / (1.0 - pow(beta2, <double>step))
    a.decay = 0.0 if decoupled else weight_decay
    a.shrink = 1.0 - lr * weight_decay if decoupled else 1.0
    read_eps(eps, eps_mode, &a.eps)
    read_cut(scale, clip, &a.cut)
    return 0


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
    cdef AdamNumbers a
    read_numbers(
        &a, step, lr, beta1, beta2, eps, weight_decay, decoupled, eps_mode, bias_correction, scale, clip
    )
    adam_arrays(theta, grad, m, v, v_max, &a)


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
    cdef AdamNumbers a
    read_numbers(&a, step, lr, beta1, beta2, eps, weight_decay, decoupled, eps_mode, True, scale, clip)
    a.p, a.q = lr * m_share, lr * g_share
    adam_arrays(theta, grad, m, v, None, &a)


# AdaMax and MaxProp

ctypedef struct AdaMaxNumbers:
    double beta1, beta2, rest1, step  # rest1 = 1 - beta1, step = lr / (1 - beta1^t)
    double in_max, denominator        # eps, in one of the two places
    double decay
    Cut cut


cdef void adamax_chunk(
    real* theta, const real* grad, real* m, real* u, int64_t n, AdaMaxNumbers a
) noexcept nogil:
    """m = beta1 m + (1 - beta1) g;  u = max(beta2 u, |g|);  w -= step m / (u + eps); without m: g in its place"""
    cdef real beta1 = <real>a.beta1, beta2 = <real>a.beta2, rest1 = <real>a.rest1, step = <real>a.step
    cdef real in_max = <real>a.in_max, outside = <real>a.denominator, decay = <real>a.decay
    cdef real scale = <real>a.cut.scale, clip = <real>a.cut.clip, g, size, u1
    cdef bint averaged = m != NULL
    cdef int64_t i
    cdef uint64_t mode = fastnn_flush()
    for i in range(n):
        g = cut(grad[i], scale, clip) + decay * theta[i]
        size = magnitude(g) + in_max
        u1 = beta2 * u[i]
        u1 = u1 if u1 > size else size
        u[i] = u1
        if averaged:
            g = beta1 * m[i] + rest1 * g
            m[i] = g
        theta[i] -= step * g / (u1 + outside)
    fastnn_restore(mode)


cdef void adamax(
    real* theta, const real* grad, real* m, real* u, int64_t n, AdaMaxNumbers a
) noexcept nogil:
    cdef int64_t c, s
    cdef int threads = threads_for(n)
    if threads == 1:
        adamax_chunk(theta, grad, m, u, n, a)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        s = c * CHUNK
        adamax_chunk(theta + s, grad + s, NULL if m == NULL else m + s, u + s, min(CHUNK, n - s), a)


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
    cdef int typenum = real_type(theta, "theta")
    check(theta, "theta", -1, typenum)
    check_like(grad, "grad", theta, typenum)
    cdef void* mean = NULL
    if m is not None:
        check_like(m, "m", theta, typenum)
        mean = cnp.PyArray_DATA(m)
    elif beta1 != 0:
        raise ValueError(f"m: expected an array where beta1 is not 0. Received: None with beta1={beta1}")
    check_like(u, "u", theta, typenum)
    check_step(step)
    cdef AdaMaxNumbers a
    a.beta1, a.beta2, a.rest1, a.decay = beta1, beta2, 1.0 - beta1, weight_decay
    a.step = lr / (1.0 - pow(beta1, <double>step))
    if eps_mode == "denominator":
        a.in_max, a.denominator = 0.0, eps
    elif eps_mode == "in_max":
        a.in_max, a.denominator = eps, 0.0
    else:
        raise ValueError(f"eps_mode: expected 'denominator' or 'in_max'. Received: {eps_mode!r}")
    read_cut(scale, clip, &a.cut)
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef void* g = cnp.PyArray_DATA(grad)
    cdef void* largest = cnp.PyArray_DATA(u)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            adamax[float](<float*>w, <float*>g, <float*>mean, <float*>largest, n, a)
        else:
            adamax[double](<double*>w, <double*>g, <double*>mean, <double*>largest, n, a)
