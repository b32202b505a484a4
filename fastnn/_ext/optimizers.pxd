# What the steps of all optimizers share: numbers, checks, pieces of work, roots, clipping. See optimizers.pyx.
cimport numpy as cnp
from fastnn._ext.common cimport real
from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t

cdef extern from "<math.h>" nogil:
    float sqrtf(float x)
    float fabsf(float x)

# What does not change from element to element; each step sets what its loop reads.
ctypedef struct Numbers:
    double lr, decay        # weight decay: decay w is added to g
    double scale, clip      # g is grad times scale, cut to [-clip, clip]
    double inside, outside  # eps: sqrt(v + inside) + outside
    double beta1, beta2, rest1, rest2  # rest = 1 - beta
    double p, q             # shares of the average of g and of g itself
    double correct          # of v
    double shrink           # of w

# The loop of a step over n elements of theta, in x the gradient and the state; NULL for what is missing.
ctypedef void (*Loop32)(float* theta, void** x, int64_t n, const Numbers* a) noexcept nogil
ctypedef void (*Loop64)(double* theta, void** x, int64_t n, const Numbers* a) noexcept nogil

cdef int read_numbers(Numbers* a, double lr, double weight_decay, double scale, double clip) except -1
cdef int read_eps(Numbers* a, double eps, str mode) except -1
cdef int check_step(int64_t step) except -1
cdef double squares_chunk(const real* x, int64_t n) noexcept nogil

# Checks the arrays, of which those after the first `needed` may be None, and runs the loop of their type.
cdef int run(
    cnp.ndarray theta, tuple arrays, tuple names, int needed, Loop32 single, Loop64 twofold, const Numbers* a
) except -1


cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline real magnitude(real x) noexcept nogil:
    if real is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline real cut(real g, real scale, real clip) noexcept nogil:
    """scale g, cut to [-clip, clip]; what is not a number stays so, because it compares false."""
    g = scale * g
    g = clip if g > clip else g
    return -clip if g < -clip else g
