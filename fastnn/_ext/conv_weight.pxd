# The gradient of a convolution to its weights; see conv_weight.pyx.
from libc.stdint cimport int64_t

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef int direct_backward_weight(
    const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil
cdef void pad_row(const Geometry* g, const real* x, real* padded, int64_t r) noexcept nogil
