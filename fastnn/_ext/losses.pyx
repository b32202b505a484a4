"""What the losses share; each computes its gradient in the same pass (the notes, S2.3 and S2.5 to S2.7).

`losses` receives the loss of each sample; what is returned is their mean, weighted by `sample_weight`
if there is one, added up in double in the order of the samples. The losses are in `regression.pyx`,
`classification.pyx`, `margin.pyx` and `divergence.pyx`.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.threads cimport threads_for
from libc.stdint cimport int64_t

cnp.import_array()

cdef enum:
    CHUNK = 1024  # outputs of one owner whose losses are kept until they are added up


# Checks of arguments

cdef int check_samples(cnp.ndarray x, str name, int64_t n, int typenum) except -1:
    check(x, name, 1, typenum)
    check_shape(x, name, 0, n)
    return 0


cdef int has_labels(cnp.ndarray target, cnp.ndarray scores, str name, int typenum) except -1:
    cdef int64_t n = scores.shape[0], k = scores.shape[1], i
    cdef const int64_t* label
    if target is None or cnp.PyArray_TYPE(target) not in (cnp.NPY_INT64, typenum):
        raise TypeError(
            f"target: expected int64 labels (N,) or probabilities (N, K) of dtype {scores.dtype}, as {name}. "
            f"Received: {'None' if target is None else f'dtype={target.dtype}'}"
        )
    if cnp.PyArray_TYPE(target) == typenum:
        check_like(target, "target", scores, name, typenum)
        return 0
    check_samples(target, "target", n, cnp.NPY_INT64)
    label = <int64_t*>cnp.PyArray_DATA(target)
    for i in range(n):
        if label[i] < 0 or label[i] >= k:
            raise ValueError(
                f"target: expected labels from 0 to {k - 1}, for the {k} classes of {name}. "
                f"Received: target[{i}]={label[i]}"
            )
    return 1


cdef void* data_or_null(cnp.ndarray x) noexcept:
    return NULL if x is None else cnp.PyArray_DATA(x)


# Means

cdef double weighted_sum(const real* x, const real* weight, int64_t n) noexcept nogil:
    cdef double total = 0
    cdef int64_t i
    if weight == NULL:
        for i in range(n):
            total += x[i]
    else:
        for i in range(n):
            total += <double>weight[i] * x[i]
    return total


cdef double divisor(cnp.ndarray weight, int64_t n, int typenum, str reduction, bint outputs) except -1:
    cdef double total = n
    if weight is not None:
        check_samples(weight, "sample_weight", n, typenum)
        if typenum == cnp.NPY_FLOAT32:
            total = weighted_sum(<float*>cnp.PyArray_DATA(weight), <float*>NULL, n)
        else:
            total = weighted_sum(<double*>cnp.PyArray_DATA(weight), <double*>NULL, n)
        if n > 0 and not total > 0:
            raise ValueError(f"sample_weight: expected a positive sum, to divide by. Received: sum={total}")
    if reduction == "mean_samples" or (outputs and reduction == "mean"):
        return total
    if reduction != "sum":
        known = "'mean_samples', 'mean' or 'sum'" if outputs else "'mean_samples' or 'sum'"
        raise ValueError(f"reduction: expected {known}. Received: {reduction!r}")
    return 1


# Losses of single outputs

cdef inline int targets_fit(int kind, const real* t, int64_t n) noexcept nogil:
    if real is float:
        return targets_fit_f32(kind, t, n)
    else:
        return targets_fit_f64(kind, t, n)


cdef inline void loss_each(
    int kind, const real* z, const real* t, real* dz, real* losses, int64_t n, double a, double b, double c,
    double scale,
) noexcept nogil:
    if real is float:
        loss_each_f32(kind, z, t, dz, losses, n, <float>a, <float>b, <float>c, <float>scale)
    else:
        loss_each_f64(kind, z, t, dz, losses, n, a, b, c, scale)


cdef void pointwise_block(
    int kind, const real* z, const real* t, const real* weight, real* dz, real* losses, int64_t first,
    int64_t stop, int64_t k, double a, double b, double c, double scale,
) noexcept nogil:
    """Samples first ... stop - 1 of k outputs each: either CHUNK outputs at most, or one sample."""
    cdef real[CHUNK] each
    cdef real* d = NULL
    cdef int64_t start = first * k, end = stop * k, i, j, n
    for i in range(first, stop):
        losses[i] = 0
    while start < end:
        n = min(CHUNK, end - start)
        if dz != NULL:
            d = dz + start
        i, j = start // k, 0
        if k == 1:  # nothing to add up
            loss_each(kind, z + start, t + start, d, losses + i, n, a, b, c, scale)
        else:
            loss_each(kind, z + start, t + start, d, each, n, a, b, c, scale)
            while j < n:
                losses[i] += sum_row(each + j, min(k, n - j))
                i, j = i + 1, j + k
        start += n
    if dz != NULL and weight != NULL:
        for i in range(first, stop):
            for j in range(i * k, (i + 1) * k):
                dz[j] *= weight[i]


cdef double pointwise_all(
    int kind, const real* z, const real* t, const real* weight, real* dz, real* losses, int64_t n, int64_t k,
    double a, double b, double c, double total,
) noexcept nogil:
    cdef int64_t block = max(CHUNK // max(k, 1), 1), i
    cdef int threads = threads_for(n * ((20.0 if kind == LOSS_BINARY else 2.0) * k + 10))
    if threads == 1:
        for i in range((n + block - 1) // block):
            pointwise_block(
                kind, z, t, weight, dz, losses, i * block, min((i + 1) * block, n), k, a, b, c, c / total
            )
    else:
        for i in prange((n + block - 1) // block, num_threads=threads, schedule="static"):
            pointwise_block(
                kind, z, t, weight, dz, losses, i * block, min((i + 1) * block, n), k, a, b, c, c / total
            )
    return weighted_sum(losses, weight, n) / total


cdef double pointwise(
    int kind, cnp.ndarray z, str name, cnp.ndarray target, cnp.ndarray sample_weight, cnp.ndarray dz,
    cnp.ndarray losses, double a, double b, str reduction,
) except? -1:
    cdef int typenum = real_type(z, name), fit
    check(z, name, -1, typenum)
    if cnp.PyArray_NDIM(z) == 0:
        raise ValueError(f"{name}: expected at least 1 axis, the samples. Received: shape=()")
    check_like(target, "target", z, name, typenum)
    cdef int64_t n = z.shape[0], size = cnp.PyArray_SIZE(z), k = size // n if n > 0 else 0
    check_samples(losses, "losses", n, typenum)
    if dz is not None:
        check_like(dz, f"d{name}", z, name, typenum)
    cdef double total = divisor(sample_weight, n, typenum, reduction, True), loss
    cdef double c = 1.0 / max(k, 1) if reduction == "mean" else 1.0
    if n == 0:
        return 0.0
    cdef void* pz = cnp.PyArray_DATA(z)
    cdef void* t = cnp.PyArray_DATA(target)
    cdef void* w = data_or_null(sample_weight)
    cdef void* d = data_or_null(dz)
    cdef void* out = cnp.PyArray_DATA(losses)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            fit = targets_fit[float](kind, <float*>t, size)
        else:
            fit = targets_fit[double](kind, <double*>t, size)
    if not fit:
        expected = "numbers in [0, 1]" if kind == LOSS_BINARY else "-1 or 1"
        raise ValueError(
            f"target: expected {expected} everywhere. Received: {target.min()} ... {target.max()}"
        )
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            loss = pointwise_all[float](
                kind, <float*>pz, <float*>t, <float*>w, <float*>d, <float*>out, n, k, a, b, c, total
            )
        else:
            loss = pointwise_all[double](
                kind, <double*>pz, <double*>t, <double*>w, <double*>d, <double*>out, n, k, a, b, c, total
            )
    return loss
