# What the steps of all optimizers share: checks, pieces of work, roots, clipping, denormal numbers.
cimport numpy as cnp
from fastnn._ext.common cimport real
from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t, uint64_t

cdef extern from "denormals.h" nogil:
    uint64_t fastnn_flush()
    void fastnn_restore(uint64_t before)

cdef extern from "<math.h>" nogil:
    float sqrtf(float x)
    float fabsf(float x)

cdef enum:
    CHUNK = 8192  # elements of one owner: whole vectors, so that every cut gives the same bits

# What a gradient goes through before anything else: it is multiplied by `scale` and cut to [-clip, clip].
ctypedef struct Cut:
    double scale, clip

# Where eps stands: sqrt(v + inside) + outside.
ctypedef struct Place:
    double inside, outside


cdef int check_like(cnp.ndarray x, str name, cnp.ndarray theta, int typenum) except -1
cdef int check_step(int64_t step) except -1
cdef int read_cut(double scale, double clip, Cut* numbers) except -1
cdef int read_eps(double eps, str mode, Place* place) except -1
cdef double squares_chunk(const real* x, int64_t n) noexcept nogil


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
