# What every kernel's `def` shares: the fused dtype and the checks of arguments.
cimport numpy as cnp
from libc.stdint cimport int64_t

ctypedef fused real:
    float
    double

cdef int check(cnp.ndarray x, str name, int ndim, int typenum) except -1
cdef int check_shape(cnp.ndarray x, str name, int axis, int64_t expected) except -1
cdef int real_type(cnp.ndarray x, str name) except -1
cdef int activation_code(str name) except -1
