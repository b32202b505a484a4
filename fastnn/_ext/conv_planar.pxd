# Forward convolution of one channel with few filters; see conv_planar.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef bint is_planar(const Geometry* g) noexcept nogil
cdef int planar_forward(
    const Geometry* g, const real* x, const real* weight, const real* bias, real* y, int activation, double alpha
) noexcept nogil
