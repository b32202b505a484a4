# winograd.h: the transforms of single tiles and filters, and the 36 products, for float and double.
# `size` is that of a tile of outputs: 4 for 3x3 kernels, 2 for 5x5.
from libc.stdint cimport int64_t

cdef extern from "winograd.h":
    enum: MR, WINO_INNER
    ctypedef struct wino_target:
        const void* bias
        const void* add
        void* y
        int64_t add_line, y_line, pixel
        int rows, cols, n, activation, pool
        double alpha
    ctypedef struct wino_kernels:
        int64_t nr, item
        void (*transform)(
            int size, int n, const void* image, const void* zeros, int64_t row, int64_t col,
            int64_t height, int64_t width, int64_t channels, void* out, int64_t panel, int64_t ld) noexcept nogil
        void (*filter)(
            int size, const void* w, int64_t f, int64_t filters, int64_t channels, int64_t c0, int64_t c1, void* out,
            int64_t ld) noexcept nogil
        void (*filter_rotated)(
            int size, const void* w, int64_t c, int64_t filters, int64_t channels, int64_t f0, int64_t f1, void* out,
            int64_t ld) noexcept nogil
        void (*products)(
            int64_t rows, int64_t inner, int64_t columns, const void* a, int64_t a_ld, int64_t a_panel,
            int64_t a_row, int64_t a_step, const void* b, int64_t b_ld, void* out, int64_t out_ld,
            int accumulate) noexcept nogil
        void (*output)(int size, const void* m, int64_t ld, const wino_target* to) noexcept nogil
        void (*filter_gradient)(
            int size, const void* s, int64_t ld, void* dw, int64_t channels, int n, int accumulate) noexcept nogil
    const wino_kernels wino_f32, wino_f64
