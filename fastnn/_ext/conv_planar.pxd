# Direct convolution with few output channels; see conv_planar.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef bint planar_pays(const Geometry* g, real* unused) noexcept nogil
cdef int planar_forward(
    const Geometry* g, const real* x, const real* weight, const real* bias, real* y, int activation, double alpha
) noexcept nogil
cdef int planar_backward_input(const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil
