# Convolution through an explicit matrix of windows; see conv_im2col.pyx.
from libc.stdint cimport int64_t

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef void image_to_columns(
    const Geometry* g, int64_t group, int64_t first, int64_t last, const real* x, real* cols
) noexcept nogil
cdef int columns_to_image(
    const Geometry* g, int64_t group, int64_t first, int64_t last, const real* cols, real* x
) noexcept nogil
cdef int im2col_forward(
    const Geometry* g, const real* x, const real* weight, const real* bias, real* y, int activation, double alpha
) noexcept nogil
cdef int im2col_backward_input(const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil
cdef int im2col_backward_weight(
    const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil
