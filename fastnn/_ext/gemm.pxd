# The matrix product for other kernels. Strides are in elements; see gemm.pyx.
from libc.stdint cimport int64_t
from fastnn._ext.common cimport real

cdef int gemm_core(
    int64_t M, int64_t N, int64_t K,
    const real* a, int64_t a_row, int64_t a_col,
    const real* b, int64_t b_row, int64_t b_col,
    real* out, int64_t ldc,
    const real* bias, int activation, double alpha, bint accumulate, int threads,
) noexcept nogil

cdef int64_t prepared_size(int64_t N, int64_t K, int64_t itemsize) noexcept nogil

cdef void gemm_prepare(
    int64_t N, int64_t K, const real* b, int64_t b_row, int64_t b_col, real* panels,
) noexcept nogil

cdef void gemm_prepared(
    int64_t M, int64_t N, int64_t K, const real* a, const real* panels, real* out,
    const real* bias, int activation, double alpha, int threads,
) noexcept nogil
