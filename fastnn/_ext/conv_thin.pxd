# The gradient to the weights of a convolution with few filters; see conv_thin.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef bint is_thin(const Geometry* g, const real* unused) noexcept nogil
cdef int thin_backward_weight(
    const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil
