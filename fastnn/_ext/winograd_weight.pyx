"""The gradient to the weights by Winograd: dw = G^T [ sum over tiles of (B^T x B)_c * (A da A^T)_f ] G.

The tiles are the inner size of the 36 products. While the 36 sums fit a level 2 cache, the tiles are cut into
parts: each has one owner, who transforms a few tiles at a time and adds their products to sums of his own, which
are added in order at the end. More sums than that have one owner for each piece of dw, and all threads share the
transforms of a large block of tiles; what one wrote and another reads costs two to three times the time of 64
channels.
"""

from cython.parallel cimport parallel, prange
from fastnn._ext.common cimport real
from fastnn._ext.threads cimport SLOT_WINOGRAD_TILES, scratch
from fastnn._ext.winograd_plan cimport (
    LARGE_BLOCK, LARGE_TILES, Plan, ceil_div, set_block, smaller, transform_tile, with_zeros
)
from libc.stdint cimport int64_t
from libc.string cimport memset

cdef enum:
    FILTERS = 64              # filters that one item owns, a multiple of NR
    OWN_SUMS = 2600 << 10     # bytes of the sums of a part, at most: 128 x 128 channels for AVX-512, whose tile has
    OWN_SUMS_NARROW = 650 << 10  # room for more of a sum than others; they come with smaller caches too: 64 x 64
    OWN_BLOCK = 900 << 10     # bytes of the transforms beside them, in a level 2 cache
    PARTS = 8                 # parts of the tiles; fewer if their sums
    ALL_SUMS = 10 << 20       # need more bytes than this,
    PART_TILES = 64           # or if they have fewer tiles


cdef void transform_pair(
    const real* x, const real* da, const real* zeros, const Plan* p, int64_t t, real* d, real* e, int64_t e_ld
) noexcept nogil:
    """B^T x B and A da A^T of tile t; d and e are (36, panels, block, NR)."""
    cdef int64_t panel = p.block * p.nr
    transform_tile(x, zeros, p, t, 6, p.h, p.w, p.c, p.top, p.left, d, panel, p.ld)
    transform_tile(da, zeros, p, t, p.size, p.oh, p.ow, p.f, 0, 0, e, panel, e_ld)


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


cdef void part_item(
    const real* x, const real* da, const real* zeros, real* sums, const Plan* p, int64_t e_ld, int64_t s_ld,
    int64_t part, int64_t n_parts, int* failed,
) noexcept nogil:
    """sums (c panels, 36, F, NR) of one part of the tiles."""
    cdef int64_t t0 = part * p.tiles // n_parts, end = (part + 1) * p.tiles // n_parts, first = t0, tiles, t, c
    cdef real* d = <real*>scratch(SLOT_WINOGRAD_TILES, 36 * (p.ld + e_ld) * <int64_t>sizeof(real))
    cdef real* e = d + 36 * p.ld
    if d == NULL:
        failed[0] = 1
        return
    while t0 < end:
        tiles = smaller(p.block, end - t0)
        for t in range(tiles):
            transform_pair(x, da, zeros, p, t0 + t, d + t * p.nr, e + t * p.nr, e_ld)
        for c in range(ceil_div(p.c, p.nr)):
            p.k.products(p.f, tiles, smaller(p.nr, p.c - c * p.nr), e, e_ld, p.block * p.nr, 1, p.nr,
                         d + c * p.nr * p.block, p.ld, sums + c * 36 * s_ld, s_ld, t0 > first)
        t0 += tiles


cdef void add_parts(
    real* sums, real* dw, const Plan* p, int64_t s_ld, int64_t size, int64_t n_parts, int64_t f, bint accumulate
) noexcept nogil:
    """dw of filter f: the sums of the parts, in order, transformed back."""
    cdef int64_t c, k, part, j
    cdef real* s
    for c in range(ceil_div(p.c, p.nr)):
        s = sums + c * 36 * s_ld + f * p.nr
        for k in range(36):
            for part in range(1, n_parts):
                for j in range(p.nr):
                    s[k * s_ld + j] += s[part * size + k * s_ld + j]
        p.k.filter_gradient(<int>p.size, s, s_ld, dw + f * p.r * p.r * p.c + c * p.nr, p.c,
                            <int>smaller(p.nr, p.c - c * p.nr), accumulate)


cdef int run_parts(const real* x, const real* da, real* dw, Plan* p, bint accumulate, int64_t n_parts) noexcept nogil:
    """Each part of the tiles has one owner."""
    cdef int64_t f_row = ceil_div(p.f, p.nr) * p.nr, s_ld = p.f * p.nr + p.align, e_ld, part, f
    cdef int64_t size = ceil_div(p.c, p.nr) * 36 * s_ld
    cdef int threads = p.threads, failed = 0
    cdef real* zeros
    cdef real* sums
    set_block(p, OWN_BLOCK, p.row + f_row, p.tiles)
    e_ld = p.block * f_row + p.align
    zeros = <real*>with_zeros(p.row + f_row, n_parts * size, sizeof(real))
    if zeros == NULL:
        return -1
    sums = zeros + p.row + f_row
    with parallel(num_threads=threads):
        for part in prange(n_parts, schedule="dynamic"):
            part_item(x, da, zeros, sums + part * size, p, e_ld, s_ld, part, n_parts, &failed)
        for f in prange(p.f, schedule="static"):
            add_parts(sums, dw, p, s_ld, size, n_parts, f, accumulate)
    return -failed


cdef int run_shared(const real* x, const real* da, real* dw, Plan* p, bint accumulate) noexcept nogil:
    """Each piece of dw has one owner; a large block of tiles is shared."""
    cdef int64_t f_row = ceil_div(p.f, p.nr) * p.nr, items = ceil_div(p.c, p.nr) * ceil_div(p.f, FILTERS)
    cdef int64_t e_ld, block, t0, tiles, t, item
    cdef int threads = p.threads, failed = 0
    cdef real* zeros
    cdef real* d
    cdef real* e
    set_block(p, LARGE_BLOCK, p.row + f_row, LARGE_TILES)
    e_ld = p.block * f_row + p.align
    zeros = <real*>with_zeros(p.row + f_row, 36 * (p.ld + e_ld), sizeof(real))
    if zeros == NULL:
        return -1
    d = zeros + p.row + f_row
    e = d + 36 * p.ld
    for block in range(ceil_div(p.tiles, p.block)):
        t0 = block * p.block
        tiles = smaller(p.block, p.tiles - t0)
        for t in prange(tiles, num_threads=threads, schedule="static"):
            transform_pair(x, da, zeros, p, t0 + t, d + t * p.nr, e + t * p.nr, e_ld)
        for item in prange(items, num_threads=threads, schedule="dynamic"):
            gradient_item(d, e, dw, p, e_ld, tiles, item, accumulate or block > 0, &failed)
    return -failed


cdef int run_backward_weight(
    const real* x, const real* da, real* dw, Plan* p, bint accumulate
) noexcept nogil:
    if p.tiles == 0 or p.c == 0 or p.f == 0:
        if not accumulate:
            memset(dw, 0, p.f * p.r * p.r * p.c * sizeof(real))
        return 0
    cdef int64_t n_bytes = 36 * p.f * p.row * <int64_t>sizeof(real)
    cdef int64_t n_parts = smaller(smaller(PARTS, p.tiles // PART_TILES), ALL_SUMS // n_bytes)
    if n_parts > 1 and n_bytes <= (OWN_SUMS if p.nr * <int64_t>sizeof(real) >= 128 else OWN_SUMS_NARROW):
        return run_parts(x, da, dw, p, accumulate, n_parts)
    return run_shared(x, da, dw, p, accumulate)
