from libc.stdint cimport int64_t
from fastnn._ext.common cimport real

cdef bint rows_pay(int64_t M, int64_t K, real* unused) noexcept nogil
cdef void gemm_rows(
    int64_t M, int64_t N, int64_t K, const real* a, int64_t a_row, const real* b, int64_t b_row, real* out,
    int64_t ldc, const real* bias, int activation, double alpha, int threads,
) noexcept nogil
