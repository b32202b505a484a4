# The gradient to the input of a convolution with few channels; see conv_overlap.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

# -1 without memory, 1 if this is not the way for this convolution.
cdef int overlap_backward_input(const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil
