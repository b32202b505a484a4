"""The Kullback-Leibler divergence of target probabilities from the softmax of logits."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.losses cimport (
    ROWS, check_samples, data_or_null, divergence_row_f32, divergence_row_f64, divisor, is_distribution_f32,
    is_distribution_f64, weighted_sum,
)
from fastnn._ext.threads cimport threads_for
from fastnn._ext.vmath cimport exp_rows
from libc.math cimport log
from libc.stdint cimport int64_t

cnp.import_array()

#: How far the probabilities of a row may be from adding up to 1.
SUM_TOLERANCE = 1e-4
cdef double tolerance = SUM_TOLERANCE


cdef int64_t first_other(const real* t, int64_t n, int64_t k) noexcept nogil:
    """The first row that is not a distribution, or n."""
    cdef int64_t i
    cdef int fit
    for i in range(n):
        if real is float:
            fit = is_distribution_f32(t + i * k, k, <float>tolerance)
        else:
            fit = is_distribution_f64(t + i * k, k, tolerance)
        if not fit:
            return i
    return n


cdef void divergence_block(
    const real* z, const real* t, const real* weight, real* dz, real* losses, int64_t first, int64_t stop,
    int64_t k, double one_over,
) noexcept nogil:
    """loss = sum t (log t - log p), dz = (p sum(t) - t) share."""
    cdef real[ROWS] total
    cdef real[ROWS] maximum
    cdef real factor, share = <real>one_over, mass, inner
    cdef int64_t i, j, r
    exp_rows(z + first * k, NULL if dz == NULL else dz + first * k, stop - first, k, total, maximum)
    for i in range(first, stop):
        r = i - first
        if real is float:
            inner = divergence_row_f32(z + i * k, t + i * k, k, maximum[r], &mass)
        else:
            inner = divergence_row_f64(z + i * k, t + i * k, k, maximum[r], &mass)
        losses[i] = <real>(log(<double>total[r]) * mass + inner)
        if dz != NULL:
            factor = mass / total[r]
            if weight != NULL:
                share = <real>(one_over * weight[i])
            for j in range(i * k, (i + 1) * k):
                dz[j] = (dz[j] * factor - t[j]) * share


cdef double divergence(
    const real* z, const real* t, const real* weight, real* dz, real* losses, int64_t n, int64_t k,
    double total,
) noexcept nogil:
    cdef int64_t c, blocks = (n + ROWS - 1) // ROWS
    cdef int threads = threads_for(n * (20.0 * k + 40))
    if threads == 1:
        for c in range(blocks):
            divergence_block(z, t, weight, dz, losses, c * ROWS, min((c + 1) * ROWS, n), k, 1 / total)
    else:
        for c in prange(blocks, num_threads=threads, schedule="static"):
            divergence_block(z, t, weight, dz, losses, c * ROWS, min((c + 1) * ROWS, n), k, 1 / total)
    return weighted_sum(losses, weight, n) / total


def kl_divergence(
    cnp.ndarray logits,         # IN  (N, K)
    cnp.ndarray target,         # IN  (N, K) probabilities, rows that add up to 1
    cnp.ndarray sample_weight,  # IN  (N,) or None
    cnp.ndarray dlogits,        # OUT (N, K) or None; not logits
    cnp.ndarray losses,         # OUT (N,)
    str reduction="mean_samples",
):
    """sum_j t_j (log t_j - log p_j), p = softmax(logits), and (p - t) w / sum(w); returns the mean."""
    cdef int typenum = real_type(logits, "logits")
    check(logits, "logits", 2, typenum)
    check_like(target, "target", logits, "logits", typenum)
    cdef int64_t n = logits.shape[0], k = logits.shape[1], other
    check_samples(losses, "losses", n, typenum)
    if dlogits is not None:
        check_like(dlogits, "dlogits", logits, "logits", typenum)
    cdef double total = divisor(sample_weight, n, typenum, reduction, False), loss
    if n == 0:
        return 0.0
    cdef void* z = cnp.PyArray_DATA(logits)
    cdef void* t = cnp.PyArray_DATA(target)
    cdef void* w = data_or_null(sample_weight)
    cdef void* dz = data_or_null(dlogits)
    cdef void* out = cnp.PyArray_DATA(losses)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            other = first_other[float](<float*>t, n, k)
        else:
            other = first_other[double](<double*>t, n, k)
    if other < n:
        raise ValueError(
            f"target: expected rows of probabilities that add up to 1. Received: target[{other}] with least "
            f"{target[other].min(initial=1)} and sum {target[other].sum()}"
        )
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            loss = divergence[float](
                <float*>z, <float*>t, <float*>w, <float*>dz, <float*>out, n, k, total
            )
        else:
            loss = divergence[double](
                <double*>z, <double*>t, <double*>w, <double*>dz, <double*>out, n, k, total
            )
    return loss
