"""The forward pass by Winograd: y = A^T [ sum_c (B^T x B)_c * (G w G^T)_fc ] A, and what follows it while a tile is in
registers or in the cache: bias, another image to add, activation, 2x2 maxima, sums for batch normalization.

The gradient to the input is the same computation with the filters rotated and F and C exchanged.

Tiles go in blocks whose transforms stay in the cache. Few filters are transformed once and shared; then each
block has one owner for all steps. Many filters would not stay in the cache themselves: there each panel of NR
filters has one owner, who transforms a part of it and uses it at once for all tiles of a larger block.
"""

from cython.parallel cimport parallel, prange
from fastnn._ext.common cimport real
from fastnn._ext.moments cimport add_moments, merge_moments, moments_room, moments_row, start_moments
from fastnn._ext.threads cimport SLOT_WINOGRAD_TILES, level2_cache, scratch
from fastnn._ext.winograd_kernels cimport MR, WINO_INNER, wino_target
from fastnn._ext.winograd_plan cimport (
    LARGE_BLOCK, LARGE_TILES, Output, Plan, ceil_div, set_block, smaller, transform_tile, with_zeros
)
from libc.stdint cimport int64_t
from libc.string cimport memset

cdef enum:
    SHARED_FILTERS = 4 << 20  # bytes of transformed filters up to which they are transformed once
    BLOCK = 448 << 10         # bytes of a block of tiles with one owner: within a level 2 cache; more if it is large
    MIN_BLOCKS = 8            # of them, so that there is work for some threads


cdef void filter_panel(
    const real* w, const Plan* p, int64_t panel, int64_t c0, int64_t c1, bint rotated, real* u
) noexcept nogil:
    """u (36, c1 - c0, NR) = G w G^T; the rotated filters are those of the gradient to the input."""
    if rotated:
        p.k.filter_rotated(<int>p.size, w, panel * p.nr, p.c, p.f, c0, c1, u, p.u_ld)
    else:
        p.k.filter(<int>p.size, w, panel * p.nr, p.f, p.c, c0, c1, u, p.u_ld)


cdef void multiply(
    const real* d, const real* u, real* m, const Plan* p, int64_t tiles, int64_t channels, int64_t panel,
    bint accumulate,
) noexcept nogil:
    """m (36, block, NR) = or += d u."""
    p.k.products(tiles, channels, p.f - panel * p.nr, d, p.ld, p.nr * p.row, p.row, 1, u, p.u_ld, m,
                 p.block * p.nr + p.align, accumulate)


cdef int start_sums(Output* o, const Plan* p, const real* unused) noexcept nogil:
    """Room for the sums of each block of tiles, where moments are asked for, and the numbers of their pixels."""
    cdef int64_t t, row, col, in_image = p.tile_rows * p.tile_cols, blocks = ceil_div(p.tiles, p.block)
    if o.moments == NULL:
        return 0
    if moments_room(&o.sums, blocks, p.f, p.f, sizeof(real)) == NULL:
        return -1
    memset(o.sums.counts, 0, blocks * sizeof(int64_t))
    for t in range(p.tiles):
        row, col = t % in_image // p.tile_cols * p.size, t % p.tile_cols * p.size
        o.sums.counts[t // p.block] += smaller(p.size, p.oh - row) * smaller(p.size, p.ow - col)
    return 0


cdef void add_tile(const wino_target* to, real* sums, int64_t width, bint first) noexcept nogil:
    """Add the tile that was just written to the sums of its block; `first` says that it is the block's first one."""
    cdef const real* y = <const real*>to.y
    cdef int64_t i, j
    if first:
        start_moments(y, to.n, sums, width)
    for i in range(to.rows):
        for j in range(to.cols):
            add_moments(y + i * to.y_line + j * to.pixel, to.n, sums, width)


cdef void output_tiles(
    const real* m, const Output* o, const Plan* p, int64_t t0, int64_t t1, int64_t panel
) noexcept nogil:
    """The outputs `o` of one panel of filters, for the tiles t0..t1 of one block."""
    cdef int64_t in_image = p.tile_rows * p.tile_cols, f = panel * p.nr, half = 1 if o.pool else 0
    cdef int64_t height = p.oh >> half, width = p.ow >> half, t, n, row, col
    cdef const real* bias = <const real*>o.bias
    cdef const real* add = <const real*>o.add
    cdef real* y = <real*>o.y
    cdef real* sums = moments_row(&o.sums, t0 // p.block, y) + f if o.moments != NULL else NULL
    cdef wino_target to
    to.bias = to.add = NULL
    if bias != NULL:
        to.bias = bias + f
    to.add_line, to.y_line, to.pixel = p.ow * p.f, width * p.f, p.f
    to.n = <int>smaller(p.nr, p.f - f)
    to.activation, to.alpha, to.pool = o.activation, o.alpha, o.pool
    for t in range(t0, t1):
        n, row, col = t // in_image, t % in_image // p.tile_cols * p.size, t % p.tile_cols * p.size
        if add != NULL:
            to.add = add + ((n * p.oh + row) * p.ow + col) * p.f + f
        to.y = y + ((n * height + (row >> half)) * width + (col >> half)) * p.f + f
        to.rows, to.cols = <int>smaller(p.size, p.oh - row), <int>smaller(p.size, p.ow - col)
        p.k.output(<int>p.size, m + (t - t0) * p.nr, p.block * p.nr + p.align, &to)
        if sums != NULL:
            add_tile(&to, sums, p.f, t == t0)


cdef void block_item(
    const real* x, const real* zeros, const real* u, const Output* o, const Plan* p, int64_t block, int* failed
) noexcept nogil:
    """All steps of one block of tiles, with filters that are transformed already."""
    cdef int64_t t0 = block * p.block, t1 = smaller(t0 + p.block, p.tiles), t, panel
    cdef int64_t n_numbers = 36 * (p.ld + p.block * p.nr + p.align)
    cdef real* d = <real*>scratch(SLOT_WINOGRAD_TILES, n_numbers * <int64_t>sizeof(real))
    cdef real* m = d + 36 * p.ld
    if d == NULL:
        failed[0] = 1
        return
    for t in range(t0, t1):
        transform_tile(x, zeros, p, t, 6, p.h, p.w, p.c, p.top, p.left, d + (t - t0) * p.row, p.nr, p.ld)
    for panel in range(ceil_div(p.f, p.nr)):
        multiply(d, u + panel * 36 * p.u_ld, m, p, t1 - t0, p.c, panel, False)
        output_tiles(m, o, p, t0, t1, panel)


cdef void panel_item(
    const real* d, const real* w, const Output* o, const Plan* p, int64_t t0, int64_t t1, int64_t panel, bint rotated,
    const real* prepared, int* failed,
) noexcept nogil:
    """One panel of filters, transformed here, for the tiles t0..t1, whose inputs are transformed already."""
    cdef int64_t n_products = 36 * (p.block * p.nr + p.align), c0 = 0, c1
    cdef int64_t n_filters = 36 * p.u_ld if prepared == NULL else 0
    cdef real* m = <real*>scratch(SLOT_WINOGRAD_TILES, (n_products + n_filters) * <int64_t>sizeof(real))
    cdef real* u = m + n_products
    if m == NULL:
        failed[0] = 1
        return
    if prepared != NULL:
        multiply(d, prepared + panel * 36 * p.u_ld, m, p, t1 - t0, p.c, panel, False)
        c0 = p.c
    while c0 < p.c:
        c1 = smaller(c0 + p.part, p.c)
        filter_panel(w, p, panel, c0, c1, rotated, u)
        multiply(d + c0, u, m, p, t1 - t0, c1 - c0, panel, c0 > 0)
        c0 = c1
    output_tiles(m, o, p, t0, t1, panel)


cdef int64_t n_filter_numbers(const Plan* p) noexcept nogil:
    """Numbers of all transformed filters, (panels, 36, C, NR) with a line more for each panel."""
    return 36 * ceil_div(p.f, p.nr) * (p.c * p.nr + p.align)


cdef void transform_filters(const real* w, const Plan* p, bint rotated, real* u) noexcept nogil:
    """All filters, as the forward pass makes them in each call and takes them as `prepared`."""
    cdef int64_t panel
    for panel in prange(ceil_div(p.f, p.nr), num_threads=p.threads, schedule="static"):
        filter_panel(w, p, panel, 0, p.c, rotated, u + panel * 36 * p.u_ld)


cdef int run_blocks(
    const real* x, const real* w, Output* o, Plan* p, bint rotated, const real* prepared
) noexcept nogil:
    """Each block of tiles has one owner; the filters are shared."""
    cdef int64_t panels = ceil_div(p.f, p.nr), block, panel
    cdef int threads = p.threads, failed = 0
    cdef const real* u = prepared
    cdef real* zeros
    set_block(p, max(<int64_t>BLOCK, level2_cache() * 2 // 5), p.row + p.nr, ceil_div(p.tiles, MIN_BLOCKS) + MR - 1)
    zeros = <real*>with_zeros(p.row, n_filter_numbers(p) if prepared == NULL else 0, sizeof(real))
    if zeros == NULL or start_sums(o, p, x):
        return -1
    if prepared == NULL:
        u = zeros + p.row
    with parallel(num_threads=threads):
        if prepared == NULL:
            for panel in prange(panels, schedule="static"):
                filter_panel(w, p, panel, 0, p.c, rotated, zeros + p.row + panel * 36 * p.u_ld)
        for block in prange(ceil_div(p.tiles, p.block), schedule="dynamic"):
            block_item(x, zeros, u, o, p, block, &failed)
    return -failed


cdef int run_panels(
    const real* x, const real* w, Output* o, Plan* p, bint rotated, const real* prepared
) noexcept nogil:
    """Each panel of filters has one owner; a large block of tiles is shared."""
    cdef int64_t block, panel, t, t0, t1
    cdef int threads = p.threads, failed = 0
    cdef real* zeros
    cdef real* d
    if prepared == NULL:
        p.part = smaller(p.c, WINO_INNER)
        p.u_ld = p.part * p.nr + p.align
    set_block(p, LARGE_BLOCK, p.row, LARGE_TILES)
    zeros = <real*>with_zeros(p.row, 36 * p.ld, sizeof(real))
    if zeros == NULL or start_sums(o, p, x):
        return -1
    d = zeros + p.row
    for block in range(ceil_div(p.tiles, p.block)):
        t0 = block * p.block
        t1 = smaller(t0 + p.block, p.tiles)
        for t in prange(t0, t1, num_threads=threads, schedule="static"):
            transform_tile(x, zeros, p, t, 6, p.h, p.w, p.c, p.top, p.left, d + (t - t0) * p.row, p.nr, p.ld)
        for panel in prange(ceil_div(p.f, p.nr), num_threads=threads, schedule="dynamic"):
            panel_item(d, w, o, p, t0, t1, panel, rotated, prepared, &failed)
    return -failed


cdef int run_forward(
    const real* x, const real* w, Output* o, Plan* p, bint rotated, const real* prepared
) noexcept nogil:
    """`prepared` is NULL or what transform_filters wrote; the bits are the same. Returns -1 without memory."""
    if p.tiles == 0 or p.f == 0:
        return 0
    # A single block would have a single owner; without the transforms of the filters, panels cost no more.
    cdef bint single = prepared != NULL and p.tiles <= MR
    cdef int failed
    if single or n_filter_numbers(p) * <int64_t>sizeof(real) > SHARED_FILTERS:
        failed = run_panels(x, w, o, p, rotated, prepared)
    else:
        failed = run_blocks(x, w, o, p, rotated, prepared)
    if o.moments != NULL and not failed:
        merge_moments(&o.sums, o.moments, x)
    return failed
