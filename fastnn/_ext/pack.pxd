# Copies into the panels that the register tile reads; see pack.h.
from libc.stdint cimport int64_t
from fastnn._ext.common cimport real

cdef extern from "pack.h" nogil:
    void pack_columns_f32(const float*, int64_t, int64_t, int64_t, int64_t, int64_t, float*) noexcept
    void pack_columns_f64(const double*, int64_t, int64_t, int64_t, int64_t, int64_t, double*) noexcept

cdef inline void pack_columns(
    const real* src, int64_t row, int64_t col, int64_t K, int64_t n, int64_t width, real* dst,
) noexcept nogil:
    """`dst[k, j] = src[k*row + j*col]` for j < n, 0 for n <= j < width; dst is (K, width)."""
    if real is float:
        pack_columns_f32(src, row, col, K, n, width, dst)
    else:
        pack_columns_f64(src, row, col, K, n, width, dst)
