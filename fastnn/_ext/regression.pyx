"""Losses of regression, each with its gradient in the same pass (the notes, S2.3)."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.losses cimport (
    LOSS_HUBER, check_samples, data_or_null, divisor, pointwise, weighted_sum,
)
from fastnn._ext.threads cimport threads_for
from fastnn._ext.vmath cimport squared_row
from libc.stdint cimport int64_t

cnp.import_array()


# Squared error

cdef void error_row(
    const real* p, const real* t, const real* weight, real* dp, real* losses, int64_t i, int64_t k,
    double c, double one_over,
) noexcept nogil:
    """loss = c sum (p - t)^2; dp = 2 c (p - t) w / sum(w)"""
    cdef double share = one_over if weight == NULL else one_over * weight[i]
    cdef real* row = NULL if dp == NULL else dp + i * k
    losses[i] = <real>(c * squared_row(p + i * k, t + i * k, row, k, <real>(2 * c * share)))


cdef double error(
    const real* p, const real* t, const real* weight, real* dp, real* losses, int64_t n, int64_t k,
    double c, double total,
) noexcept nogil:
    cdef int64_t i
    cdef int threads = threads_for(n * (<double>k + 20))
    if threads == 1:
        for i in range(n):
            error_row(p, t, weight, dp, losses, i, k, c, 1 / total)
    else:
        for i in prange(n, num_threads=threads, schedule="static"):
            error_row(p, t, weight, dp, losses, i, k, c, 1 / total)
    return weighted_sum(losses, weight, n) / total


def squared_error(
    cnp.ndarray prediction,     # IN  (N, ...)
    cnp.ndarray target,         # IN  like prediction
    cnp.ndarray sample_weight,  # IN  (N,) or None
    cnp.ndarray dprediction,    # OUT like prediction, or None; may be prediction
    cnp.ndarray losses,         # OUT (N,)
    str reduction="mean_samples",
    bint half=False,
):
    """L = 1/N sum_i sum_j (prediction_ij - target_ij)^2 and its gradient; returns L, 0 if N = 0.

    "mean_samples" is the notes' form, "mean" divides by the number of outputs too, "sum" does not divide;
    `half` puts 1/2 in front.
    """
    cdef int typenum = real_type(prediction, "prediction")
    check(prediction, "prediction", -1, typenum)
    if cnp.PyArray_NDIM(prediction) == 0:
        raise ValueError("prediction: expected at least 1 axis, the samples. Received: shape=()")
    check_like(target, "target", prediction, "prediction", typenum)
    cdef int64_t n = prediction.shape[0], k = cnp.PyArray_SIZE(prediction) // n if n > 0 else 0
    check_samples(losses, "losses", n, typenum)
    cdef double total = divisor(sample_weight, n, typenum, reduction, True), c = 0.5 if half else 1.0
    if dprediction is not None:
        check_like(dprediction, "dprediction", prediction, "prediction", typenum)
    if reduction == "mean":
        c /= max(k, 1)
    if n == 0:
        return 0.0
    cdef void* p = cnp.PyArray_DATA(prediction)
    cdef void* t = cnp.PyArray_DATA(target)
    cdef void* w = data_or_null(sample_weight)
    cdef void* dp = data_or_null(dprediction)
    cdef void* out = cnp.PyArray_DATA(losses)
    cdef double loss
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            loss = error[float](
                <float*>p, <float*>t, <float*>w, <float*>dp, <float*>out, n, k, c, total
            )
        else:
            loss = error[double](
                <double*>p, <double*>t, <double*>w, <double*>dp, <double*>out, n, k, c, total
            )
    return loss


# Huber

def huber(
    cnp.ndarray prediction,     # IN  (N, ...)
    cnp.ndarray target,         # IN  like prediction
    cnp.ndarray sample_weight,  # IN  (N,) or None
    cnp.ndarray dprediction,    # OUT like prediction, or None; may be prediction
    cnp.ndarray losses,         # OUT (N,)
    double delta=1.0,
    str reduction="mean_samples",
):
    """c (|e| - c / 2) with c = min(|e|, delta), e = prediction - target, summed over the outputs.

    The gradient is e, held between -delta and delta. Returns the mean as `squared_error` does.
    """
    if not delta > 0:
        raise ValueError(f"delta: expected a positive number. Received: {delta}")
    return pointwise(
        LOSS_HUBER, prediction, "prediction", target, sample_weight, dprediction, losses, delta, 0, reduction
    )
