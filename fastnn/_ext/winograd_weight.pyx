"""The gradient to the weights by Winograd: dw = G^T [ sum over tiles of (B^T x B)_c * (A da A^T)_f ] G.

The tiles are the inner size of the 36 products. Threads share the transforms of a large block of tiles; each
piece of dw has one owner, who adds up the blocks in order.
"""

from cython.parallel cimport prange
from fastnn._ext.common cimport real
from fastnn._ext.threads cimport SLOT_WINOGRAD_TILES, scratch
from fastnn._ext.winograd_plan cimport (
    LARGE_BLOCK, LARGE_TILES, Plan, ceil_div, set_block, smaller, transform_tile, with_zeros
)
from libc.stdint cimport int64_t
from libc.string cimport memset

cdef enum:
    FILTERS = 64              # filters that one item owns, a multiple of NR


cdef void gradient_item(
    const real* d, const real* e, real* dw, const Plan* p, int64_t e_ld, int64_t tiles, int64_t item,
    bint accumulate, int* failed,
) noexcept nogil:
    """dw of FILTERS filters and NR channels from a block of tiles; d and e are (36, panels, block, NR)."""
    cdef int64_t c_panels = ceil_div(p.c, p.nr), s_ld = FILTERS * p.nr + p.align, f
    cdef int64_t c0 = item % c_panels * p.nr, f0 = item // c_panels * FILTERS
    cdef int64_t filters = smaller(FILTERS, p.f - f0), channels = smaller(p.nr, p.c - c0)
    cdef real* s = <real*>scratch(SLOT_WINOGRAD_TILES, 36 * s_ld * <int64_t>sizeof(real))
    if s == NULL:
        failed[0] = 1
        return
    p.k.products(filters, tiles, channels, e + f0 * p.block, e_ld, p.block * p.nr, 1, p.nr,
                 d + c0 * p.block, p.ld, s, s_ld, False)
    for f in range(filters):
        p.k.filter_gradient(<int>p.size, s + f * p.nr, s_ld, dw + (f0 + f) * p.r * p.r * p.c + c0, p.c, <int>channels,
                            accumulate)


cdef int run_backward_weight(
    const real* x, const real* da, real* dw, Plan* p, bint accumulate
) noexcept nogil:
    cdef int64_t f_row = ceil_div(p.f, p.nr) * p.nr, items = ceil_div(p.c, p.nr) * ceil_div(p.f, FILTERS)
    cdef int64_t e_ld, panel, block, t0, tiles, t, item
    cdef int threads = p.threads, failed = 0
    cdef real* zeros
    cdef real* d
    cdef real* e
    if p.tiles == 0 or p.c == 0:
        if not accumulate:
            memset(dw, 0, p.f * p.r * p.r * p.c * sizeof(real))
        return 0
    set_block(p, LARGE_BLOCK, p.row + f_row, LARGE_TILES)
    e_ld, panel = p.block * f_row + p.align, p.block * p.nr
    zeros = <real*>with_zeros(p.row + f_row, 36 * (p.ld + e_ld), sizeof(real))
    if zeros == NULL:
        return -1
    d = zeros + p.row + f_row
    e = d + 36 * p.ld
    for block in range(ceil_div(p.tiles, p.block)):
        t0 = block * p.block
        tiles = smaller(p.block, p.tiles - t0)
        for t in prange(tiles, num_threads=threads, schedule="static"):
            transform_tile(x, zeros, p, t0 + t, 6, p.h, p.w, p.c, p.top, p.left, d + t * p.nr, panel, p.ld)
            transform_tile(da, zeros, p, t0 + t, p.size, p.oh, p.ow, p.f, 0, 0, e + t * p.nr, panel, e_ld)
        for item in prange(items, num_threads=threads, schedule="dynamic"):
            gradient_item(d, e, dw, p, e_ld, tiles, item, accumulate or block > 0, &failed)
    return -failed
