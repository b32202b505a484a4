# The register tile of tile.h, for the kernels that use it.
from libc.stdint cimport int64_t

cdef extern from "tile.h" nogil:
    enum: MR, NR_F32, NR_F64, TILE_ACCUMULATE, TILE_TRANSPOSED, FMA_CHAINS
    ctypedef struct tile_args:
        const void* a[8]
        int64_t a_step
        const void* b
        int64_t ldb
        const int64_t* b_off
        const int64_t* off
        int64_t n_seg
        int64_t seg_len
        void* out[8]
        int64_t ldc
        const void* bias
        double alpha
        int activation
        int flags
    void tile_panel_f32(int mr, int n, const tile_args* p) noexcept
    void tile_panel_f64(int mr, int n, const tile_args* p) noexcept
    void tile_gather_f32(int mr, int n, const tile_args* p) noexcept
    void tile_gather_f64(int mr, int n, const tile_args* p) noexcept
    void tile_taps_f32(int mr, int n, const tile_args* p) noexcept
    void tile_taps_f64(int mr, int n, const tile_args* p) noexcept
    float fma_loop_f32(int64_t n) noexcept
    double fma_loop_f64(int64_t n) noexcept
