cimport numpy as cnp
from fastnn._ext.common cimport real
from libc.stdint cimport int64_t

cdef int check_like(cnp.ndarray x, str name, cnp.ndarray like, str like_name, int typenum) except -1

# y = act(a + b) of n numbers, one after the other or shared among threads; y may be a or b.
cdef void add_chunk(const real* a, const real* b, real* y, int64_t n, int act, real alpha) noexcept nogil
cdef void add_all(const real* a, const real* b, real* y, int64_t n, int act, real alpha) noexcept nogil
