"""`out = activation(a @ b^T + bias)` for few rows, which would leave most lanes of the register tile empty.

Both operands are read in place, along their rows: each number of `out` is a sum whose parts lie side by side in a
vector until the end (dot.h). One picture at a time is the case that counts: packing would cost more than it saves.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t

from fastnn._ext.common cimport real
from fastnn._ext.dot cimport *
from fastnn._ext.tile cimport NR_F32, NR_F64

cdef extern from "vmath.h" nogil:
    void activate_f32(const float* x, float* y, int64_t n, int act, float alpha)
    void activate_f64(const double* x, double* y, int64_t n, int act, double alpha)

cdef enum:
    FEW = 12        # rows, at most: beyond, the register tile is as fast
    COLUMNS = 48    # columns of `out` in a work item
    MAX_LANES = 16  # numbers in a vector


cdef bint rows_pay(int64_t M, int64_t K, real* unused) noexcept nogil:
    cdef int64_t VL = (NR_F32 if real is float else NR_F64) // 2
    return VL > 1 and K >= 4 * VL and M <= FEW


cdef void rows_item(
    int64_t item, int64_t M, int64_t N, int64_t K, const real* a, int64_t a_row, const real* b, int64_t b_row,
    real* out, int64_t ldc, const real* bias, int activation, double alpha,
) noexcept nogil:
    """COLUMNS columns of `out`."""
    cdef int64_t first = item * COLUMNS, last = min(first + COLUMNS, N), i, j, row, column, rows
    cdef real[DOT_ROWS * DOT_COLUMNS * MAX_LANES] sums
    cdef real[DOT_ROWS * DOT_COLUMNS] totals
    cdef dot_args t
    t.n_seg, t.len, t.a_seg, t.b_seg, t.accumulate, t.sums = 1, K, 0, 0, False, sums
    column = first
    while column < last:
        for j in range(DOT_COLUMNS):
            t.b[j] = b + min(column + j, N - 1) * b_row
        row = 0
        while row < M:
            rows = min(<int64_t>DOT_ROWS, M - row)
            for i in range(rows):
                t.a[i] = a + (row + i) * a_row
            if real is float:
                dot_tile_f32(<int>rows, &t)
                lane_sums_f32(sums, <int>rows * DOT_COLUMNS, totals)
            else:
                dot_tile_f64(<int>rows, &t)
                lane_sums_f64(sums, <int>rows * DOT_COLUMNS, totals)
            for i in range(rows):
                for j in range(min(<int64_t>DOT_COLUMNS, last - column)):
                    out[(row + i) * ldc + column + j] = totals[i * DOT_COLUMNS + j] + (
                        bias[column + j] if bias != NULL else 0)
            row += rows
        column += DOT_COLUMNS
    if activation:
        for i in range(M):
            if real is float:
                activate_f32(out + i * ldc + first, out + i * ldc + first, last - first, activation, <float>alpha)
            else:
                activate_f64(out + i * ldc + first, out + i * ldc + first, last - first, activation, alpha)


cdef void gemm_rows(
    int64_t M, int64_t N, int64_t K,
    const real* a, int64_t a_row,   # IN  (M, K), rows a_row apart
    const real* b, int64_t b_row,   # IN  (N, K), rows b_row apart
    real* out, int64_t ldc,         # OUT (M, N), rows ldc apart
    const real* bias, int activation, double alpha,   # IN  (N,) or NULL
    int threads,
) noexcept nogil:
    cdef int64_t item, items = (N + COLUMNS - 1) // COLUMNS
    if threads == 1:
        for item in range(items):
            rows_item(item, M, N, K, a, a_row, b, b_row, out, ldc, bias, activation, alpha)
        return
    for item in prange(items, schedule="static", num_threads=threads):
        rows_item(item, M, N, K, a, a_row, b, b_row, out, ldc, bias, activation, alpha)
