# The gradient to the weights by Winograd; see winograd_weight.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.winograd_plan cimport Plan

cdef int run_backward_weight(
    const real* x, const real* da, real* dw, Plan* p, bint accumulate
) noexcept nogil
