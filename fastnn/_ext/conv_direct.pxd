# Direct convolution and its gradient to the input; see conv_direct.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef int direct_forward(
    const Geometry* g, const real* x, const real* weight, const real* bias, real* y, int activation, double alpha
) noexcept nogil
cdef int direct_backward_input(const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil
