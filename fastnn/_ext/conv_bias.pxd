# The gradient of a convolution to its bias, for the algorithms that do not sum it on their way.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef int bias_gradient(const Geometry* g, const real* da, real* db, bint accumulate) noexcept nogil
