# Partial sums for the mean and variance of each channel, and their merge; see moments.pyx.
cimport numpy as cnp
from fastnn._ext.common cimport real
from libc.stdint cimport int64_t
from libc.string cimport memset

# Each row is of some numbers that one thread has at hand, in `width` columns: those of the `c` channels, once or,
# where rows are folded, several times.
ctypedef struct Moments:
    int64_t rows, width, c
    void* sums        # (rows, 3, width): a shift s, sum (x - s), sum (x - s)^2
    int64_t* counts   # (rows, width // c): how many numbers of a channel these are

cdef void* moments_room(Moments* m, int64_t rows, int64_t width, int64_t c, int64_t item) noexcept nogil
cdef void merge_moments(const Moments* m, double* moments, const real* unused) noexcept nogil
cdef double* moments_data(cnp.ndarray moments, int64_t c) except? NULL
cdef int channel_moments(const real* x, int64_t r, int64_t c, double* moments) noexcept nogil


cdef inline real* moments_row(const Moments* m, int64_t row, const real* unused) noexcept nogil:
    return <real*>m.sums + 3 * row * m.width


cdef inline void start_moments(const real* x, int64_t n, real* sums, int64_t width) noexcept nogil:
    """The first pixel x (n,) is the shift: it keeps a large mean from cancelling."""
    cdef int64_t k
    memset(sums + width, 0, n * sizeof(real))
    memset(sums + 2 * width, 0, n * sizeof(real))
    for k in range(n):
        sums[k] = x[k]


cdef inline void add_moments(const real* x, int64_t n, real* sums, int64_t width) noexcept nogil:
    """One more pixel x (n,), while it is in the cache."""
    cdef int64_t k
    cdef real d
    cdef real* first = sums + width
    cdef real* second = first + width
    for k in range(n):
        d = x[k] - sums[k]
        first[k] += d
        second[k] += d * d
