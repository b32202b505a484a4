"""Mean and sum of squared deviations of each channel, for batch normalization.

The sums are of the array's dtype and short; they are merged in the order of their rows, in float64. Who writes the
numbers adds them up (conv_direct.pyx, winograd_forward.pyx: nothing is read again from memory), or a pass over
them does, `channel_moments`.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, check_shape, real
from fastnn._ext.normalization cimport Fold, block_end, count, fold, smaller
from fastnn._ext.threads cimport SLOT_MOMENTS, scratch, threads_for
from libc.stdint cimport int64_t
from libc.string cimport memset

cnp.import_array()


cdef double* moments_data(cnp.ndarray moments, int64_t c) except? NULL:
    """Of the argument `moments` (2, c) of a kernel; NULL for None."""
    if moments is None:
        return NULL
    if cnp.PyArray_TYPE(moments) != cnp.NPY_FLOAT64:
        raise TypeError(f"moments: expected float64, whatever the others are. Received: dtype={moments.dtype}")
    check(moments, "moments", 2, cnp.NPY_FLOAT64)
    check_shape(moments, "moments", 0, 2)
    check_shape(moments, "moments", 1, c)
    return <double*>cnp.PyArray_DATA(moments)


cdef void* moments_room(Moments* m, int64_t rows, int64_t width, int64_t c, int64_t item) noexcept nogil:
    """Scratch memory of the calling thread; NULL if there is none."""
    cdef int64_t n_counts = rows * (width // c)
    m.rows, m.width, m.c = rows, width, c
    m.counts = <int64_t*>scratch(SLOT_MOMENTS, n_counts * <int64_t>sizeof(int64_t) + 3 * rows * width * item)
    m.sums = m.counts + n_counts
    return m.counts


cdef void merge_moments(const Moments* m, double* moments, const real* unused) noexcept nogil:
    """moments (2, c): mean, and sum (x - mean)^2 = sum (x - s)^2 + 2 (s - mean) sum (x - s) + n (s - mean)^2."""
    cdef int64_t folds = m.width // m.c, i, c, total = 0
    cdef double* mean = moments
    cdef double* squares = moments + m.c
    cdef const real* s
    cdef double n, d
    memset(moments, 0, 2 * m.c * sizeof(double))
    for i in range(m.rows * folds):
        n = <double>m.counts[i]
        total += m.counts[i]
        s = moments_row(m, i // folds, unused) + i % folds * m.c
        if n > 0:
            for c in range(m.c):
                mean[c] += n * s[c] + s[m.width + c]
    for c in range(m.c):
        mean[c] /= <double>total
    for i in range(m.rows * folds):
        n = <double>m.counts[i]
        s = moments_row(m, i // folds, unused) + i % folds * m.c
        if n > 0:
            for c in range(m.c):
                d = s[c] - mean[c]
                squares[c] += s[2 * m.width + c] + d * (2 * <double>s[m.width + c] + n * d)
    for c in range(m.c):
        squares[c] = 0 if squares[c] < 0 else squares[c]  # rounding


cdef void sum_block(const real* x, const Fold* f, int64_t b, const Moments* m) noexcept nogil:
    cdef int64_t start = b * f.block * f.width, end = block_end(f, b), i = start, j
    cdef real* sums = moments_row(m, b, x)
    start_moments(x + start, smaller(f.width, end - start), sums, f.width)
    while i < end:
        add_moments(x + i, smaller(f.width, end - i), sums, f.width)
        i += f.width
    for j in range(f.times):
        m.counts[b * f.times + j] = count(f, b, j)


cdef int channel_moments(const real* x, int64_t r, int64_t c, double* moments) noexcept nogil:
    """moments (2, c) of x (r, c), with at least one row; -1 without memory."""
    cdef Fold f
    cdef Moments m
    cdef int64_t b
    fold(&f, r, c)
    if moments_room(&m, f.n_blocks, f.width, c, sizeof(real)) == NULL:
        return -1
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(r * c) * 2)):
        sum_block(x, &f, b, &m)
    merge_moments(&m, moments, x)
    return 0
