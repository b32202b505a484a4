from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry

cdef bint is_few(const Geometry* g, real* unused) noexcept nogil
cdef int few_backward_weight(
    const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil
