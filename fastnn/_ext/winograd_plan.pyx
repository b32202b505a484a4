"""Tiles of a Winograd convolution: how many, how many at a time, and the transform of one of them."""

from fastnn._ext.common cimport real
from fastnn._ext.threads cimport SLOT_WINOGRAD_WEIGHT, scratch, threads_for
from fastnn._ext.winograd_kernels cimport MR, wino_f32, wino_f64
from libc.stdint cimport int64_t
from libc.string cimport memset


cdef Plan make_plan(
    bint is_float, int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t R, int64_t top, int64_t left,
    int64_t OH, int64_t OW,
) noexcept nogil:
    cdef Plan p
    p.k = &wino_f32 if is_float else &wino_f64
    p.n, p.h, p.w, p.c, p.f, p.top, p.left, p.oh, p.ow = N, H, W, C, F, top, left, OH, OW
    p.r, p.size = R, 7 - R
    p.tile_rows, p.tile_cols = ceil_div(OH, p.size), ceil_div(OW, p.size)
    p.tiles = N * p.tile_rows * p.tile_cols
    p.nr = p.k.nr
    p.align = 64 // p.k.item
    p.row = ceil_div(C, p.nr) * p.nr
    p.block = p.ld = 0
    p.part, p.u_ld = C, C * p.nr + p.align
    p.threads = threads_for(<double>p.tiles * 36 * C * F)
    return p


cdef void set_block(Plan* p, int64_t n_bytes, int64_t per_tile, int64_t most) noexcept nogil:
    """Blocks of at most `most` tiles that fit into n_bytes, about equal; per_tile is in numbers."""
    cdef int64_t blocks
    most = smaller(most, n_bytes // (36 * per_tile * p.k.item)) // MR * MR
    blocks = ceil_div(p.tiles, most if most > MR else MR)
    p.block = ceil_div(ceil_div(p.tiles, blocks), MR) * MR
    # The 36 streams of a transform must not meet in one set of the level 1 cache: one line more.
    p.ld = p.block * p.row + p.align


cdef void* with_zeros(int64_t zeros, int64_t numbers, int64_t item) noexcept nogil:
    """Shared memory that begins with the pixels outside of the image, or NULL."""
    cdef void* shared = scratch(SLOT_WINOGRAD_WEIGHT, (zeros + numbers) * item)
    if shared != NULL:
        memset(shared, 0, zeros * item)
    return shared


cdef void transform_tile(
    const real* x, const real* zeros, const Plan* p, int64_t t, int64_t n_pixels, int64_t H, int64_t W, int64_t C,
    int64_t top, int64_t left, real* out, int64_t panel, int64_t ld,
) noexcept nogil:
    """B^T x B of tile t of x (N, H, W, C), 6 x 6 pixels, or A x A^T of p.size. `panel` lies between NR channels."""
    cdef int64_t in_image = p.tile_rows * p.tile_cols
    cdef int64_t n = t // in_image, row = t % in_image // p.tile_cols * p.size, col = t % p.tile_cols * p.size
    p.k.transform(<int>p.size, <int>n_pixels, x + n * H * W * C, zeros, row - top, col - left, H, W, C, out, panel, ld)
