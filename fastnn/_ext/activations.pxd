cimport numpy as cnp

cdef int check_like(cnp.ndarray x, str name, cnp.ndarray like, str like_name, int typenum) except -1
