"""Losses of scores whose sign is the answer, and of the lead of one score over the others."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.losses cimport (
    LOSS_BINARY, LOSS_HINGE, LOSS_SQUARED_HINGE, ROWS, check_samples, data_or_null, divisor, has_labels,
    pointwise, weighted_sum,
)
from fastnn._ext.threads cimport threads_for
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memset

cnp.import_array()


cdef int weights_of_two(cnp.ndarray class_weight, int typenum, double* weight) except -1:
    """The weights of both classes, 1 without any."""
    weight[0] = weight[1] = 1
    if class_weight is None:
        return 0
    check(class_weight, "class_weight", 1, typenum)
    check_shape(class_weight, "class_weight", 0, 2)
    cdef int i
    for i in range(2):
        if typenum == cnp.NPY_FLOAT32:
            weight[i] = (<float*>cnp.PyArray_DATA(class_weight))[i]
        else:
            weight[i] = (<double*>cnp.PyArray_DATA(class_weight))[i]
    return 0


# Binary cross-entropy

def binary_cross_entropy(
    cnp.ndarray logits,             # IN  (N, ...)
    cnp.ndarray target,             # IN  like logits, in [0, 1]
    cnp.ndarray sample_weight,      # IN  (N,) or None
    cnp.ndarray dlogits,            # OUT like logits, or None; may be logits
    cnp.ndarray losses,             # OUT (N,)
    cnp.ndarray class_weight=None,  # IN  (2,) or None
    str reduction="mean_samples",
):
    """w_1 t log(1 + e^-z) + w_0 (1 - t) log(1 + e^z), summed over the outputs; returns the mean, 0 if N = 0."""
    cdef int typenum = real_type(logits, "logits")
    cdef double[2] weight
    weights_of_two(class_weight, typenum, weight)
    return pointwise(
        LOSS_BINARY, logits, "logits", target, sample_weight, dlogits, losses, weight[0], weight[1], reduction
    )


# Hinge

cdef real lead_row(const real* z, int64_t label, real* dz, int64_t k, double share, bint squared) noexcept nogil:
    """loss = max(0, 1 + max_(j != label) z_j - z_label), or its square; the first of equal rivals counts."""
    cdef real best = -INFINITY, gap
    cdef double slope
    cdef int64_t j, rival = -1
    for j in range(k):
        if j != label and not (z[j] <= best):  # NaN comes in here
            best, rival = z[j], j
            if z[j] != z[j]:
                break
    gap = 1 + best - z[label]
    if gap <= 0:
        gap = 0
    if dz != NULL:
        memset(dz, 0, k * sizeof(real))
        if gap != 0 and rival >= 0:
            slope = share * (2 * gap if squared else 1)
            dz[rival] = <real>slope
            dz[label] = <real>-slope
    return gap * gap if squared else gap


cdef void lead_block(
    const real* z, const int64_t* label, const real* weight, const real* cw, real* dz, real* losses,
    int64_t first, int64_t stop, int64_t k, bint squared, double one_over,
) noexcept nogil:
    cdef real* row = NULL
    cdef double share, w
    cdef int64_t i
    for i in range(first, stop):
        w = 1 if cw == NULL else cw[label[i]]
        share = one_over * w if weight == NULL else one_over * w * weight[i]
        if dz != NULL:
            row = dz + i * k
        losses[i] = <real>(w * lead_row(z + i * k, label[i], row, k, share, squared))


cdef double lead(
    const real* z, const int64_t* label, const real* weight, const real* cw, real* dz, real* losses,
    int64_t n, int64_t k, bint squared, double total,
) noexcept nogil:
    cdef int64_t c, blocks = (n + ROWS - 1) // ROWS
    cdef int threads = threads_for(n * (2.0 * k + 10))
    if threads == 1:
        for c in range(blocks):
            lead_block(
                z, label, weight, cw, dz, losses, c * ROWS, min((c + 1) * ROWS, n), k, squared, 1 / total
            )
    else:
        for c in prange(blocks, num_threads=threads, schedule="static"):
            lead_block(
                z, label, weight, cw, dz, losses, c * ROWS, min((c + 1) * ROWS, n), k, squared, 1 / total
            )
    return weighted_sum(losses, weight, n) / total


def hinge(
    cnp.ndarray scores,             # IN  (N, ...), or (N, K) for labels
    cnp.ndarray target,             # IN  like scores, -1 or 1; or (N,) int64 labels
    cnp.ndarray sample_weight,      # IN  (N,) or None
    cnp.ndarray dscores,            # OUT like scores, or None; not scores
    cnp.ndarray losses,             # OUT (N,)
    cnp.ndarray class_weight=None,  # IN  (2,), or (K,) for labels, or None
    bint squared=False,
    str reduction="mean_samples",
):
    """w max(0, 1 - t z), summed over the outputs; with labels t w_t max(0, 1 + max_(j != t) z_j - z_t).

    `squared` squares the maximum. Returns the mean over the samples, 0 if N = 0.
    """
    cdef int typenum = real_type(scores, "scores")
    cdef double[2] weight
    if target is None or cnp.PyArray_TYPE(target) != cnp.NPY_INT64:
        weights_of_two(class_weight, typenum, weight)
        return pointwise(
            LOSS_SQUARED_HINGE if squared else LOSS_HINGE, scores, "scores", target, sample_weight, dscores,
            losses, weight[0], weight[1], reduction,
        )
    check(scores, "scores", 2, typenum)
    cdef int64_t n = scores.shape[0], k = scores.shape[1]
    check_samples(losses, "losses", n, typenum)
    if dscores is not None:
        check_like(dscores, "dscores", scores, "scores", typenum)
    if n > 0 and k < 2:
        raise ValueError(f"scores: expected at least two classes. Received: shape={(<object>scores).shape}")
    has_labels(target, scores, "scores", typenum)
    if class_weight is not None:
        check(class_weight, "class_weight", 1, typenum)
        check_shape(class_weight, "class_weight", 0, k)
    cdef double total = divisor(sample_weight, n, typenum, reduction, True), loss
    if n == 0:
        return 0.0
    cdef const int64_t* label = <int64_t*>cnp.PyArray_DATA(target)
    cdef void* z = cnp.PyArray_DATA(scores)
    cdef void* w = data_or_null(sample_weight)
    cdef void* cw = data_or_null(class_weight)
    cdef void* dz = data_or_null(dscores)
    cdef void* out = cnp.PyArray_DATA(losses)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            loss = lead[float](
                <float*>z, label, <float*>w, <float*>cw, <float*>dz, <float*>out, n, k, squared, total
            )
        else:
            loss = lead[double](
                <double*>z, label, <double*>w, <double*>cw, <double*>dz, <double*>out, n, k, squared, total
            )
    return loss
