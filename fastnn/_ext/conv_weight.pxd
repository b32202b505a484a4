# The gradient of a convolution to its weights; see conv_weight.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef int direct_backward_weight(
    const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil
