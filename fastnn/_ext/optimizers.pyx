"""What the steps of all optimizers share, and the length of a gradient, which clipping asks for.

The steps themselves are in sgd.pyx, adaptive.pyx and adam.pyx: one pass over `theta`, in place; the gradient
is only read. What does not change from element to element is computed once, in double. Variants of a formula
differ in these numbers and not in the loop, or in whether an array is there, which the compiler asks outside
of the loop; so there is one loop per optimizer and it is vectorised. The passes are bound by memory: theta,
state and gradient are read once and written once.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, real, real_type
from fastnn._ext.threads cimport SLOT_REDUCE, scratch, threads_for
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint64_t

cnp.import_array()

cdef extern from "denormals.h" nogil:
    uint64_t fastnn_flush()
    void fastnn_restore(uint64_t before)

cdef enum:
    CHUNK = 8192  # elements of one owner: whole vectors, so that every cut gives the same bits
    MOST = 4      # arrays beside theta
    LANES = 16    # sums side by side: those of one vector


# Steps

cdef int read_numbers(Numbers* a, double lr, double weight_decay, double scale, double clip) except -1:
    if not clip >= 0:
        raise ValueError(f"clip: expected a number above 0, or 0 for no clipping. Received: {clip}")
    a.lr, a.decay = lr, weight_decay
    a.scale, a.clip = scale, clip if clip > 0 else INFINITY
    return 0


cdef int read_eps(Numbers* a, double eps, str mode) except -1:
    if mode == "outside":
        a.inside, a.outside = 0.0, eps
    elif mode == "inside":
        a.inside, a.outside = eps, 0.0
    else:
        raise ValueError(f"eps_mode: expected 'outside' or 'inside'. Received: {mode!r}")
    return 0


cdef int check_step(int64_t step) except -1:
    if step < 1:
        raise ValueError(f"step: expected at least 1, the number of this update. Received: {step}")
    return 0


cdef void part(
    int typenum, void* theta, void** x, int count, int64_t first, int64_t n, Loop32 single, Loop64 twofold,
    const Numbers* a,
) noexcept nogil:
    """The loop from element `first` on. What remembers decays, and its denormal numbers count as zero."""
    cdef void* moved[MOST]
    cdef int64_t offset = first * (4 if typenum == cnp.NPY_FLOAT32 else 8)
    cdef uint64_t mode = 0
    cdef int i
    for i in range(count):
        moved[i] = NULL if x[i] == NULL else <char*>x[i] + offset
    if count > 1:
        mode = fastnn_flush()
    if typenum == cnp.NPY_FLOAT32:
        single(<float*>theta + first, moved, n, a)
    else:
        twofold(<double*>theta + first, moved, n, a)
    if count > 1:
        fastnn_restore(mode)


cdef void parts(
    int typenum, void* theta, void** x, int count, int64_t n, Loop32 single, Loop64 twofold, const Numbers* a
) noexcept nogil:
    cdef int64_t c
    cdef int threads = threads_for(n)
    if threads == 1:  # without prange: entering a parallel region costs more than a small step
        part(typenum, theta, x, count, 0, n, single, twofold, a)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        part(typenum, theta, x, count, c * CHUNK, min(CHUNK, n - c * CHUNK), single, twofold, a)


cdef int run(
    cnp.ndarray theta, tuple arrays, tuple names, int needed, Loop32 single, Loop64 twofold, const Numbers* a
) except -1:
    cdef int typenum = real_type(theta, "theta"), count = <int>len(arrays), i
    cdef int64_t n = cnp.PyArray_SIZE(theta)
    cdef void* x[MOST]
    cdef void* w = cnp.PyArray_DATA(theta)
    cdef cnp.ndarray array
    check(theta, "theta", -1, typenum)
    for i in range(count):
        x[i], array = NULL, arrays[i]
        if array is None and i >= needed:
            continue
        check(array, names[i], -1, typenum)
        if cnp.PyArray_SIZE(array) != n:
            raise ValueError(
                f"{names[i]}: expected as many elements as theta, {n}. Received: shape={(<object>array).shape}"
            )
        x[i] = cnp.PyArray_DATA(array)
    with nogil:
        parts(typenum, w, x, count, n, single, twofold, a)
    return 0


# The length of a gradient

cdef double squares_chunk(const real* x, int64_t n) noexcept nogil:
    """sum x^2 in double: LANES sums, then these in order."""
    cdef double sums[LANES]
    cdef double total = 0.0
    cdef int64_t i, k, whole = n // LANES * LANES
    for k in range(LANES):
        sums[k] = 0.0
    for i in range(n // LANES):
        for k in range(LANES):
            sums[k] += <double>x[i * LANES + k] * <double>x[i * LANES + k]
    for i in range(whole, n):
        sums[i - whole] += <double>x[i] * <double>x[i]
    for k in range(LANES):
        total += sums[k]
    return total


cdef double squares(const real* x, int64_t n, double* sums) noexcept nogil:
    cdef int64_t c, n_chunks = (n + CHUNK - 1) // CHUNK
    cdef int threads = threads_for(n)
    cdef double total = 0.0
    if threads == 1:
        for c in range(n_chunks):
            total += squares_chunk(x + c * CHUNK, min(CHUNK, n - c * CHUNK))
        return total
    for c in prange(n_chunks, num_threads=threads, schedule="static"):
        sums[c] = squares_chunk(x + c * CHUNK, min(CHUNK, n - c * CHUNK))
    for c in range(n_chunks):
        total += sums[c]
    return total


def sum_of_squares(
    cnp.ndarray x,  # IN any shape
):
    """sum x^2, in float64 whatever the dtype: the square of a gradient's length."""
    cdef int typenum = real_type(x, "x")
    check(x, "x", -1, typenum)
    cdef int64_t n = cnp.PyArray_SIZE(x)
    cdef void* data = cnp.PyArray_DATA(x)
    cdef double* sums = <double*>scratch(SLOT_REDUCE, ((n + CHUNK - 1) // CHUNK) * <int64_t>sizeof(double))
    cdef double total
    if sums == NULL:
        raise MemoryError("x: expected memory for its partial sums. Received: none from the system")
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            total = squares[float](<float*>data, n, sums)
        else:
            total = squares[double](<double*>data, n, sums)
    return total
