# Checks of a convolution's arguments; see conv_geometry.pyx.
cimport numpy as cnp
from fastnn._ext.conv_plan cimport Geometry
from libc.stdint cimport int64_t

cdef int read_weight(
    Geometry* g, cnp.ndarray weight, str name, stride, padding, dilation, groups, int typenum
) except -1
cdef int read_geometry(
    Geometry* g, cnp.ndarray x, str x_name, cnp.ndarray weight, str weight_name, cnp.ndarray y, str y_name,
    stride, padding, dilation, groups, int typenum, int64_t window=*,
) except -1
cdef int read_columns(
    Geometry* g, cnp.ndarray x, cnp.ndarray cols, kernel_size, stride, padding, dilation, int typenum
) except -1
