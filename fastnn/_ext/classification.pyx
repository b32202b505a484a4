"""Cross-entropy of softmax and of log-probabilities, with the gradient in the same pass (the notes, S2.5 to S2.7)."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.losses cimport (
    ROWS, centred_row, check_samples, data_or_null, divisor, has_labels, weighted_sum,
)
from fastnn._ext.threads cimport threads_for
from fastnn._ext.vmath cimport exp_rows
from libc.math cimport log
from libc.stdint cimport int64_t
from libc.string cimport memset

cnp.import_array()


# The weights of classes: the mean is sum(w loss) / sum(w), w the weight of the sample and of its class

cdef double class_total(
    const int64_t* label, const real* t, const real* weight, const real* cw, int64_t n, int64_t k
) noexcept nogil:
    """sum_i s_i sum_j w_j t_ij"""
    cdef double total = 0, w
    cdef int64_t i, j
    for i in range(n):
        if label != NULL:
            w = cw[label[i]]
        else:
            w = 0
            for j in range(k):
                w += <double>cw[j] * t[i * k + j]
        total += w if weight == NULL else w * weight[i]
    return total


cdef double class_divisor(
    cnp.ndarray target, bint labels, cnp.ndarray weight, cnp.ndarray class_weight, int64_t n, int64_t k,
    int typenum, str reduction,
) except -1:
    """`divisor` with the weights of the classes."""
    cdef double total = divisor(weight, n, typenum, reduction, False)
    if class_weight is None:
        return total
    check(class_weight, "class_weight", 1, typenum)
    check_shape(class_weight, "class_weight", 0, k)
    if reduction == "sum" or n == 0:
        return total
    cdef void* t = cnp.PyArray_DATA(target)
    cdef int64_t* label = <int64_t*>t if labels else NULL
    cdef void* w = data_or_null(weight)
    cdef void* cw = cnp.PyArray_DATA(class_weight)
    if typenum == cnp.NPY_FLOAT32:
        total = class_total(label, <float*>t, <float*>w, <float*>cw, n, k)
    else:
        total = class_total(label, <double*>t, <double*>w, <double*>cw, n, k)
    if not total > 0:
        raise ValueError(
            "class_weight: expected a positive sum over the samples, to divide by: some sample whose class "
            f"counts. Received: sum={total}"
        )
    return total


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


cdef real smooth_label_row(
    const real* z, int64_t label, const real* cw, real* dz, int64_t k, double total, real maximum,
    double share, double smoothing, double cw_sum,
) noexcept nogil:
    """q = (1 - eps) onehot + eps/K; loss = -sum w q log p; dz = (p sum(w q) - w q) share."""
    cdef double every = smoothing / k, own = 1 - smoothing, mass
    cdef real factor, less = <real>(every * share)
    cdef int64_t j
    if cw != NULL:
        own *= cw[label]
    mass = own + every * cw_sum
    factor = <real>(mass / total * share)
    if dz != NULL:
        if cw == NULL:
            for j in range(k):
                dz[j] = dz[j] * factor - less
        else:
            for j in range(k):
                dz[j] = dz[j] * factor - less * cw[j]
        dz[label] -= <real>(own * share)
    every *= centred_row(z, cw, k, maximum)
    if own != 0:
        every += own * (<double>z[label] - maximum)
    return <real>(log(total) * mass - every)


cdef real smooth_row(
    const real* z, const real* t, const real* cw, real* dz, int64_t k, double total, double maximum,
    double share, double smoothing,
) noexcept nogil:
    """The same of q = (1 - eps) t + eps/K sum(t). Where w q = 0, p may be 0 too."""
    cdef double mass = 0, every, inner = 0, wq, factor
    cdef int64_t j
    for j in range(k):
        mass += t[j]
    every = smoothing / k * mass
    mass = 0
    for j in range(k):
        wq = ((1 - smoothing) * t[j] + every) * (1 if cw == NULL else cw[j])
        if wq != 0:
            mass += wq
            inner += wq * (<double>z[j] - maximum)
    factor = mass / total
    if dz != NULL:
        for j in range(k):
            wq = ((1 - smoothing) * t[j] + every) * (1 if cw == NULL else cw[j])
            dz[j] = <real>((dz[j] * factor - wq) * share)
    return <real>(log(total) * mass - inner)


cdef void entropy_block(
    const real* z, const int64_t* label, const real* t, const real* weight, const real* cw, real* dz,
    real* losses, int64_t first, int64_t stop, int64_t k, double smoothing, double one_over, double cw_sum,
) noexcept nogil:
    cdef real[ROWS] total
    cdef real[ROWS] maximum
    cdef int64_t i, r
    cdef real* row = NULL
    cdef double share = one_over, w
    exp_rows(z + first * k, NULL if dz == NULL else dz + first * k, stop - first, k, total, maximum)
    for i in range(first, stop):
        r = i - first
        if weight != NULL:
            share = one_over * weight[i]
        if dz != NULL:
            row = dz + i * k
        if label != NULL and smoothing == 0 and cw == NULL:
            losses[i] = label_row(z + i * k, label[i], row, k, total[r], maximum[r], share)
        elif label != NULL and smoothing == 0:
            w = cw[label[i]]
            losses[i] = <real>(w * label_row(z + i * k, label[i], row, k, total[r], maximum[r], w * share))
        elif label != NULL:
            losses[i] = smooth_label_row(
                z + i * k, label[i], cw, row, k, total[r], maximum[r], share, smoothing, cw_sum
            )
        elif smoothing == 0 and cw == NULL:
            losses[i] = probability_row(z + i * k, t + i * k, row, k, total[r], maximum[r], share)
        else:
            losses[i] = smooth_row(
                z + i * k, t + i * k, cw, row, k, total[r], maximum[r], share, smoothing
            )


cdef double entropy(
    const real* z, const int64_t* label, const real* t, const real* weight, const real* cw, real* dz,
    real* losses, int64_t n, int64_t k, double smoothing, double total,
) noexcept nogil:
    cdef int64_t c, blocks = (n + ROWS - 1) // ROWS
    cdef int threads = threads_for(n * (12.0 * k + 40))
    cdef double cw_sum = k if cw == NULL else weighted_sum(cw, <real*>NULL, k)
    if threads == 1:
        for c in range(blocks):
            entropy_block(
                z, label, t, weight, cw, dz, losses, c * ROWS, min((c + 1) * ROWS, n), k, smoothing,
                1 / total, cw_sum,
            )
    else:
        for c in prange(blocks, num_threads=threads, schedule="static"):
            entropy_block(
                z, label, t, weight, cw, dz, losses, c * ROWS, min((c + 1) * ROWS, n), k, smoothing,
                1 / total, cw_sum,
            )
    return weighted_sum(losses, weight, n) / total


def softmax_cross_entropy(
    cnp.ndarray logits,             # IN  (N, K)
    cnp.ndarray target,             # IN  (N,) int64 labels, or (N, K) probabilities
    cnp.ndarray sample_weight,      # IN  (N,) or None
    cnp.ndarray dlogits,            # OUT (N, K) or None; not logits
    cnp.ndarray losses,             # OUT (N,)
    cnp.ndarray class_weight=None,  # IN  (K,) or None
    double label_smoothing=0.0,
    str reduction="mean_samples",
):
    """-log softmax(logits)[target], and (p - onehot) w / sum(w); returns the mean loss, 0 if N = 0.

    `label_smoothing` eps makes the target (1 - eps) onehot + eps / K.
    """
    cdef int typenum = real_type(logits, "logits")
    check(logits, "logits", 2, typenum)
    cdef int64_t n = logits.shape[0], k = logits.shape[1]
    check_samples(losses, "losses", n, typenum)
    if dlogits is not None:
        check_like(dlogits, "dlogits", logits, "logits", typenum)
    if not 0 <= label_smoothing <= 2:
        raise ValueError(f"label_smoothing: expected a number in [0, 2]. Received: {label_smoothing}")
    cdef bint labels = has_labels(target, logits, "logits", typenum)
    if n > 0 and k == 0:
        raise ValueError(f"logits: expected at least one class. Received: shape={(<object>logits).shape}")
    cdef double total = class_divisor(target, labels, sample_weight, class_weight, n, k, typenum, reduction)
    if n == 0:
        return 0.0
    cdef void* z = cnp.PyArray_DATA(logits)
    cdef const int64_t* label = <int64_t*>cnp.PyArray_DATA(target) if labels else NULL
    cdef void* t = NULL if labels else cnp.PyArray_DATA(target)
    cdef void* w = data_or_null(sample_weight)
    cdef void* cw = data_or_null(class_weight)
    cdef void* dz = data_or_null(dlogits)
    cdef void* out = cnp.PyArray_DATA(losses)
    cdef double loss
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            loss = entropy[float](
                <float*>z, label, <float*>t, <float*>w, <float*>cw, <float*>dz, <float*>out, n, k,
                label_smoothing, total,
            )
        else:
            loss = entropy[double](
                <double*>z, label, <double*>t, <double*>w, <double*>cw, <double*>dz, <double*>out, n, k,
                label_smoothing, total,
            )
    return loss


# Negative log-likelihood

cdef void likelihood_block(
    const real* log_p, const int64_t* label, const real* t, const real* weight, const real* cw, real* d,
    real* losses, int64_t first, int64_t stop, int64_t k, double one_over,
) noexcept nogil:
    """loss = -sum w t log p; d = -w t share. Where t = 0, p may be 0 too."""
    cdef double share = one_over, loss, w
    cdef int64_t i, j, at
    for i in range(first, stop):
        if weight != NULL:
            share = one_over * weight[i]
        if label != NULL:
            at = i * k + label[i]
            w = 1 if cw == NULL else cw[label[i]]
            if d != NULL:
                memset(d + i * k, 0, k * sizeof(real))
                d[at] = <real>(-w * share)
            losses[i] = <real>(-w * log_p[at])
            continue
        loss = 0
        for j in range(k):
            at = i * k + j
            w = t[at] if cw == NULL else <double>cw[j] * t[at]
            if w != 0:
                loss -= w * log_p[at]
            if d != NULL:
                d[at] = <real>(-w * share)
        losses[i] = <real>loss


cdef double likelihood(
    const real* log_p, const int64_t* label, const real* t, const real* weight, const real* cw, real* d,
    real* losses, int64_t n, int64_t k, double total,
) noexcept nogil:
    cdef int64_t c, blocks = (n + ROWS - 1) // ROWS
    cdef int threads = threads_for(n * (2.0 * k + 10))
    if threads == 1:
        for c in range(blocks):
            likelihood_block(
                log_p, label, t, weight, cw, d, losses, c * ROWS, min((c + 1) * ROWS, n), k, 1 / total
            )
    else:
        for c in prange(blocks, num_threads=threads, schedule="static"):
            likelihood_block(
                log_p, label, t, weight, cw, d, losses, c * ROWS, min((c + 1) * ROWS, n), k, 1 / total
            )
    return weighted_sum(losses, weight, n) / total


def nll(
    cnp.ndarray log_probs,          # IN  (N, K)
    cnp.ndarray target,             # IN  (N,) int64 labels, or (N, K) probabilities
    cnp.ndarray sample_weight,      # IN  (N,) or None
    cnp.ndarray dlog_probs,         # OUT (N, K) or None; not log_probs
    cnp.ndarray losses,             # OUT (N,)
    cnp.ndarray class_weight=None,  # IN  (K,) or None
    str reduction="mean_samples",
):
    """-log_probs[target], and -onehot w / sum(w); returns the mean loss, 0 if N = 0."""
    cdef int typenum = real_type(log_probs, "log_probs")
    check(log_probs, "log_probs", 2, typenum)
    cdef int64_t n = log_probs.shape[0], k = log_probs.shape[1]
    check_samples(losses, "losses", n, typenum)
    if dlog_probs is not None:
        check_like(dlog_probs, "dlog_probs", log_probs, "log_probs", typenum)
    cdef bint labels = has_labels(target, log_probs, "log_probs", typenum)
    cdef double total = class_divisor(target, labels, sample_weight, class_weight, n, k, typenum, reduction)
    if n == 0:
        return 0.0
    cdef void* log_p = cnp.PyArray_DATA(log_probs)
    cdef const int64_t* label = <int64_t*>cnp.PyArray_DATA(target) if labels else NULL
    cdef void* t = NULL if labels else cnp.PyArray_DATA(target)
    cdef void* w = data_or_null(sample_weight)
    cdef void* cw = data_or_null(class_weight)
    cdef void* d = data_or_null(dlog_probs)
    cdef void* out = cnp.PyArray_DATA(losses)
    cdef double loss
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            loss = likelihood[float](
                <float*>log_p, label, <float*>t, <float*>w, <float*>cw, <float*>d, <float*>out, n, k, total
            )
        else:
            loss = likelihood[double](
                <double*>log_p, label, <double*>t, <double*>w, <double*>cw, <double*>d, <double*>out, n, k, total
            )
    return loss
