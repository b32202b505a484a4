# Products of rows with rows; see dot.h.
from libc.stdint cimport int64_t

cdef extern from "dot.h" nogil:
    enum: DOT_ROWS, DOT_COLUMNS
    ctypedef struct dot_args:
        const void* a[4]  # DOT_ROWS of them
        const void* b[6]
        int64_t a_seg, b_seg, n_seg, len
        void* sums
        int accumulate
    void dot_tile_f32(int rows, const dot_args* p)
    void dot_tile_f64(int rows, const dot_args* p)
    void lane_sums_f32(const void* sums, int n, float* out)
    void lane_sums_f64(const void* sums, int n, double* out)
    void part_channels_f32(const float* row, int64_t pixels, int64_t channels, float* planes, int64_t plane)
    void part_channels_f64(const double* row, int64_t pixels, int64_t channels, double* planes, int64_t plane)
