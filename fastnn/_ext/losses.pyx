"""The losses, each with its gradient in the same pass (the notes, S2.3 and S2.5 to S2.7).

`losses` receives the loss of each sample; what is returned is their mean, weighted by `sample_weight`
if there is one, added up in double in the order of the samples.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.threads cimport threads_for
from fastnn._ext.vmath cimport exp_rows, squared_row
from libc.math cimport log
from libc.stdint cimport int64_t

cnp.import_array()

cdef enum:
    ROWS = 16  # samples of one owner


cdef int check_samples(cnp.ndarray x, str name, int64_t n, int typenum) except -1:
    check(x, name, 1, typenum)
    check_shape(x, name, 0, n)
    return 0


cdef double sum_of(const real* x, int64_t n) noexcept nogil:
    cdef double total = 0
    cdef int64_t i
    for i in range(n):
        total += x[i]
    return total


cdef double weighted_sum(const real* x, const real* weight, int64_t n) noexcept nogil:
    cdef double total = 0
    cdef int64_t i
    if weight == NULL:
        return sum_of(x, n)
    for i in range(n):
        total += <double>weight[i] * x[i]
    return total


cdef double total_weight(cnp.ndarray weight, int64_t n, int typenum) except -1:
    """The sum of the weights, N without weights."""
    cdef double total
    if weight is None:
        return <double>n
    check_samples(weight, "sample_weight", n, typenum)
    if typenum == cnp.NPY_FLOAT32:
        total = sum_of(<float*>cnp.PyArray_DATA(weight), n)
    else:
        total = sum_of(<double*>cnp.PyArray_DATA(weight), n)
    if n > 0 and not total > 0:
        raise ValueError(f"sample_weight: expected a positive sum, to divide by. Received: sum={total}")
    return total


cdef inline void* data_or_null(cnp.ndarray x) noexcept:
    return NULL if x is None else cnp.PyArray_DATA(x)


# Softmax and cross-entropy

cdef real label_row(
    const real* z, int64_t label, real* dz, int64_t k, double total, double maximum, double share
) noexcept nogil:
    """loss = log(sum e^(z - max)) - (z_label - max); dz = (p - onehot) share. Here dz is e^(z - max)."""
    cdef real factor = <real>(share / total)
    cdef int64_t j
    if dz != NULL:
        for j in range(k):
            dz[j] *= factor
        dz[label] -= <real>share
    return <real>(log(total) - (<double>z[label] - maximum))


cdef real probability_row(
    const real* z, const real* t, real* dz, int64_t k, double total, double maximum, double share
) noexcept nogil:
    """loss = -sum t log p; dz = (p sum(t) - t) share. Where t = 0, p may be 0 too."""
    cdef double mass = 0, inner = 0
    cdef real factor, s = <real>share
    cdef int64_t j
    for j in range(k):
        if t[j] != 0:
            mass += t[j]
            inner += <double>t[j] * (<double>z[j] - maximum)
    factor = <real>(mass / total)
    if dz != NULL:
        for j in range(k):
            dz[j] = (dz[j] * factor - t[j]) * s
    return <real>(log(total) * mass - inner)


cdef void entropy_block(
    const real* z, const int64_t* label, const real* t, const real* weight, real* dz, real* losses,
    int64_t first, int64_t stop, int64_t k, double one_over,
) noexcept nogil:
    cdef real[ROWS] total
    cdef real[ROWS] maximum
    cdef int64_t i
    cdef real* row = NULL
    cdef double share = one_over
    exp_rows(z + first * k, NULL if dz == NULL else dz + first * k, stop - first, k, total, maximum)
    for i in range(first, stop):
        if weight != NULL:
            share = one_over * weight[i]
        if dz != NULL:
            row = dz + i * k
        if label != NULL:
            losses[i] = label_row(z + i * k, label[i], row, k, total[i - first], maximum[i - first], share)
        else:
            losses[i] = probability_row(
                z + i * k, t + i * k, row, k, total[i - first], maximum[i - first], share
            )


cdef double entropy(
    const real* z, const int64_t* label, const real* t, const real* weight, real* dz, real* losses,
    int64_t n, int64_t k, double total,
) noexcept nogil:
    cdef int64_t c, blocks = (n + ROWS - 1) // ROWS
    cdef int threads = threads_for(n * (12.0 * k + 40))
    if threads == 1:
        for c in range(blocks):
            entropy_block(
                z, label, t, weight, dz, losses, c * ROWS, min((c + 1) * ROWS, n), k, 1 / total
            )
    else:
        for c in prange(blocks, num_threads=threads, schedule="static"):
            entropy_block(
                z, label, t, weight, dz, losses, c * ROWS, min((c + 1) * ROWS, n), k, 1 / total
            )
    return weighted_sum(losses, weight, n) / total


def softmax_cross_entropy(
    cnp.ndarray logits,         # IN  (N, K)
    cnp.ndarray target,         # IN  (N,) int64 labels, or (N, K) probabilities
    cnp.ndarray sample_weight,  # IN  (N,) or None
    cnp.ndarray dlogits,        # OUT (N, K) or None; not logits
    cnp.ndarray losses,         # OUT (N,)
):
    """-log softmax(logits)[target], and (p - onehot) w / sum(w); returns the mean loss, 0 if N = 0."""
    cdef int typenum = real_type(logits, "logits")
    check(logits, "logits", 2, typenum)
    cdef int64_t n = logits.shape[0], k = logits.shape[1], i
    check_samples(losses, "losses", n, typenum)
    cdef double total = total_weight(sample_weight, n, typenum)
    if dlogits is not None:
        check_like(dlogits, "dlogits", logits, "logits", typenum)
    cdef const int64_t* label = NULL
    if target is not None and cnp.PyArray_TYPE(target) == cnp.NPY_INT64:
        check_samples(target, "target", n, cnp.NPY_INT64)
        label = <int64_t*>cnp.PyArray_DATA(target)
        for i in range(n):
            if label[i] < 0 or label[i] >= k:
                raise ValueError(
                    f"target: expected labels from 0 to {k - 1}, for the {k} classes of logits. "
                    f"Received: target[{i}]={label[i]}"
                )
    elif target is None or cnp.PyArray_TYPE(target) != typenum:
        raise TypeError(
            f"target: expected int64 labels (N,) or probabilities (N, K) of dtype {logits.dtype}, as logits. "
            f"Received: {'None' if target is None else f'dtype={target.dtype}'}"
        )
    else:
        check_like(target, "target", logits, "logits", typenum)
    if n > 0 and k == 0:
        raise ValueError(f"logits: expected at least one class. Received: shape={(<object>logits).shape}")
    if n == 0:
        return 0.0
    cdef void* z = cnp.PyArray_DATA(logits)
    cdef void* t = cnp.PyArray_DATA(target)
    cdef void* w = data_or_null(sample_weight)
    cdef void* dz = data_or_null(dlogits)
    cdef void* out = cnp.PyArray_DATA(losses)
    cdef double loss
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            loss = entropy[float](
                <float*>z, label, <float*>t, <float*>w, <float*>dz, <float*>out, n, k, total
            )
        else:
            loss = entropy[double](
                <double*>z, label, <double*>t, <double*>w, <double*>dz, <double*>out, n, k, total
            )
    return loss


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
    cdef double total = total_weight(sample_weight, n, typenum), c = 0.5 if half else 1.0
    if dprediction is not None:
        check_like(dprediction, "dprediction", prediction, "prediction", typenum)
    if reduction == "sum":
        total = 1
    elif reduction == "mean":
        c /= max(k, 1)
    elif reduction != "mean_samples":
        raise ValueError(f"reduction: expected 'mean_samples', 'mean' or 'sum'. Received: {reduction!r}")
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
