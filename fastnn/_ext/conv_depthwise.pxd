# Convolution with one channel per group; see conv_depthwise.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef bint is_depthwise(const Geometry* g) noexcept nogil
cdef int depthwise_forward(
    const Geometry* g, const real* x, const real* weight, const real* bias, real* y, int activation, double alpha
) noexcept nogil
cdef int depthwise_backward_input(const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil
cdef int depthwise_backward_weight(
    const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil
