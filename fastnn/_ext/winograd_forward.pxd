# The forward pass and the gradient to the input by Winograd; see winograd_forward.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.winograd_plan cimport Output, Plan
from libc.stdint cimport int64_t

cdef int64_t n_filter_numbers(const Plan* p) noexcept nogil
cdef void transform_filters(const real* w, const Plan* p, bint rotated, real* u) noexcept nogil
cdef int run_forward(
    const real* x, const real* w, Output* o, Plan* p, bint rotated, const real* prepared
) noexcept nogil
