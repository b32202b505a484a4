# Direct convolution and its gradient to the input; see conv_direct.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry
from libc.stdint cimport int64_t

# y = act(x * weight + bias + add). `prepared` is NULL, or n_direct_prepared numbers that direct_prepare made of the
# weights; add (N, OH, OW, F) is NULL or other memory than y; moments (2, F) is NULL or gets the mean of y and
# sum (y - mean)^2 of each filter.
cdef int direct_forward(
    const Geometry* g, const real* x, const real* weight, const real* prepared, const real* bias, const real* add,
    real* y, int activation, double alpha, double* moments,
) noexcept nogil
cdef int64_t n_direct_prepared(const Geometry* g, real* unused) noexcept nogil
cdef void direct_prepare(const Geometry* g, const real* weight, real* prepared) noexcept nogil
cdef int direct_backward_input(const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil
