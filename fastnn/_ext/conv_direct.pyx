"""Direct convolution on the register tile: an implicit matrix product, no im2col copy.

The rows of a tile are pixels of the image, read in place through row pointers; the weights are packed into
panels of NR filters whose rows are (kh, kw, c). Neighbouring taps of a kernel row are neighbours in the
image too, so a whole kernel row of KW*C numbers is one segment of the tile's inner loop. The loops are,
from the outside: a block of the inner size, a panel of it (in the level 1 or 2 cache), tiles of pixels.
The gradient to the input is the same with other tables and another packing (conv_plan.pyx).
"""

from cython.parallel cimport parallel, prange
from libc.stdint cimport int64_t

from fastnn._ext.activations cimport add_chunk
from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Block, Geometry, Pixels, Plan, Tile, plan_backward, plan_forward
from fastnn._ext.moments cimport Moments, add_moments, merge_moments, moments_room, moments_row, start_moments
from fastnn._ext.pack cimport pack_columns
from fastnn._ext.threads cimport SLOT_CONV_WEIGHT, scratch, threads_for
from fastnn._ext.tile cimport *


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef void run_item(
    const Plan* p, int64_t item, const real* source, const real* panels, const real* bias, const real* add,
    real* target, int activation, double alpha, const Moments* m,
) noexcept nogil:
    """One item: a range of the tiles of a group of images, times some panels; m is NULL or takes sums of target."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t rows = p.n_image_groups * p.ranges, group = item % rows // p.ranges
    cdef int64_t first = item % p.ranges * p.tiles_per_item, n_panels = p.n_panels * p.groups
    cdef int64_t panel0 = item // rows * n_panels // p.panel_groups
    cdef int64_t panel1 = (item // rows + 1) * n_panels // p.panel_groups
    cdef const Pixels* pixels = &p.rest if group == p.n_image_groups - 1 else &p.full
    cdef int64_t last = min(first + p.tiles_per_item, pixels.n_tiles)
    cdef int64_t b, panel, i, k, column = 0, first_column
    cdef const real* image
    cdef real* out
    cdef const Block* block
    cdef const Tile* tile
    cdef const int64_t* source_at
    cdef const int64_t* target_at
    cdef tile_args t
    cdef real* sums = NULL
    cdef int64_t n = 0
    cdef int act = activation if add == NULL else 0
    source += group * p.group_size * p.h.source_size * p.w.source_size * p.inner * p.groups
    target += group * p.group_size * p.h.size * p.w.size * p.columns * p.groups
    t.a_step, t.ldb, t.alpha, t.ldc = 1, NR, alpha, 0
    for b in range(p.n_blocks):
        for panel in range(panel0, panel1):
            column = panel // p.n_panels * p.columns + panel % p.n_panels * NR
            n = min(NR, p.columns - panel % p.n_panels * NR)
            image, out = source + panel // p.n_panels * p.inner, target + column
            t.b = panels + panel * p.K * NR
            for k in range(first, last):
                tile = pixels.tiles + k
                block = p.blocks + tile.shape * p.n_blocks + b
                if block.skip:
                    continue
                t.off, t.b_off = p.a_off + block.first, p.b_off + block.first
                t.n_seg, t.seg_len = block.n_seg, block.seg_len
                t.flags = TILE_ACCUMULATE if block.accumulate else 0
                t.activation = act if block.last else 0
                t.bias = bias + column if block.last and bias != NULL else NULL
                source_at, target_at = pixels.source + tile.first, pixels.target + tile.first
                for i in range(tile.n):
                    t.a[i] = image + source_at[i]
                    t.out[i] = out + target_at[i]
                if real is float:
                    tile_taps_f32(<int>tile.n, <int>n, &t)
                else:
                    tile_taps_f64(<int>tile.n, <int>n, &t)
    if (add == NULL and m == NULL) or first >= last:
        return
    # Once all channels of the item are there: fewer calls, and the pixels are in the cache still.
    first_column = panel0 // p.n_panels * p.columns + panel0 % p.n_panels * NR
    n += column - first_column
    if add != NULL:
        add += group * p.group_size * p.h.size * p.w.size * p.columns * p.groups
    if m != NULL:
        sums = moments_row(m, item % rows, target) + first_column
        start_moments(target + pixels.target[pixels.tiles[first].first] + first_column, n, sums, m.width)
    for i in range(pixels.tiles[first].first, pixels.tiles[last - 1].first + pixels.tiles[last - 1].n):
        k = pixels.target[i] + first_column
        if add != NULL:
            add_chunk(target + k, add + k, target + k, n, activation, <real>alpha)
        if m != NULL:
            add_moments(target + k, n, sums, m.width)


cdef void count_pixels(const Plan* p, int64_t row, const Moments* m) noexcept nogil:
    """The pixels of the items that share a row of sums."""
    cdef const Pixels* pixels = &p.rest if row // p.ranges == p.n_image_groups - 1 else &p.full
    cdef int64_t k, first = row % p.ranges * p.tiles_per_item
    m.counts[row] = 0
    for k in range(first, min(first + p.tiles_per_item, pixels.n_tiles)):
        m.counts[row] += pixels.tiles[k].n


cdef void pack_forward(
    const Plan* p, const Geometry* g, int64_t item, const real* weight, real* panels
) noexcept nogil:
    """panels[panel, (kh, kw, c), f] = weight[f, kh, kw, c], one kernel row of a panel."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t panel = item // g.kh, length = g.kw * p.inner, k = item % g.kh * length
    cdef int64_t filter = panel // p.n_panels * p.columns + panel % p.n_panels * NR
    pack_columns(weight + filter * p.K + k, 1, p.K, length, min(NR, p.columns - panel % p.n_panels * NR), NR,
                 panels + (panel * p.K + k) * NR)


cdef void pack_backward(
    const Plan* p, const Geometry* g, int64_t item, const real* weight, real* panels
) noexcept nogil:
    """panels[panel, (th, tw, f), c] = weight[f, kh, kw, c] for the kernel position (kh, kw) of a tap."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t panel = item // g.kh, th = item % g.kh, tw, at
    cdef int64_t group = panel // p.n_panels, c = panel % p.n_panels * NR, filter = g.kh * g.kw * p.columns
    for tw in range(g.kw):
        at = (p.h.tap[th] * g.kw + p.w.tap[tw]) * p.columns + c
        pack_columns(weight + group * p.inner * filter + at, filter, 1, p.inner, min(NR, p.columns - c), NR,
                     panels + (panel * p.K + (th * g.kw + tw) * p.inner) * NR)


cdef int run(
    const Plan* p, const Geometry* g, const real* source, const real* weight, const real* prepared, const real* bias,
    const real* add, real* target, int activation, double alpha, double* moments, bint backward,
) noexcept nogil:
    """Pack the weights, unless `prepared` holds them, and go through the items."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t i, n_packs = p.groups * p.n_panels * g.kh if prepared == NULL else 0
    cdef const real* panels = prepared
    cdef real* packed = NULL
    cdef int64_t rows = p.n_image_groups * p.ranges, n_columns = p.columns * p.groups
    cdef Moments m
    cdef const Moments* sums = &m if moments != NULL else NULL
    cdef int threads = threads_for(<double>(p.images * p.h.size * p.w.size * p.columns * p.groups) * <double>p.K)
    if prepared == NULL:
        panels = packed = <real*>scratch(SLOT_CONV_WEIGHT, p.groups * p.n_panels * p.K * NR * sizeof(real))
        if packed == NULL:
            return -1
    if moments != NULL:
        if moments_room(&m, rows, n_columns, n_columns, sizeof(real)) == NULL:
            return -1
        for i in range(rows):
            count_pixels(p, i, &m)
    if threads == 1:
        for i in range(n_packs):
            if backward:
                pack_backward(p, g, i, weight, packed)
            else:
                pack_forward(p, g, i, weight, packed)
        for i in range(p.n_items):
            run_item(p, i, source, panels, bias, add, target, activation, alpha, sums)
    else:
        with parallel(num_threads=threads):
            for i in prange(n_packs, schedule="static"):
                if backward:
                    pack_backward(p, g, i, weight, packed)
                else:
                    pack_forward(p, g, i, weight, packed)
            for i in prange(p.n_items, schedule="dynamic"):
                run_item(p, i, source, panels, bias, add, target, activation, alpha, sums)
    if moments != NULL:
        merge_moments(&m, moments, source)
    return 0


cdef int64_t n_direct_prepared(const Geometry* g, real* unused) noexcept nogil:
    """Numbers of all panels: whole ones, whose last columns are zero."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    return g.groups * ceil_div(g.f // g.groups, NR) * NR * g.kh * g.kw * (g.c // g.groups)


cdef void direct_prepare(const Geometry* g, const real* weight, real* prepared) noexcept nogil:
    """The panels that `direct_forward` packs in each call; of g only the weight's shape and the groups matter."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t i
    cdef Plan p
    p.columns, p.inner = g.f // g.groups, g.c // g.groups
    p.K, p.n_panels = g.kh * g.kw * p.inner, ceil_div(p.columns, NR)
    for i in range(g.groups * p.n_panels * g.kh):
        pack_forward(&p, g, i, weight, prepared)


cdef int direct_forward(
    const Geometry* g,
    const real* x,        # IN  (N, H, W, C)
    const real* weight,   # IN  (F, KH, KW, C // groups)
    const real* prepared,  # IN  what `direct_prepare` wrote, or NULL
    const real* bias,     # IN  (F,) or NULL
    const real* add,      # IN  (N, OH, OW, F) or NULL
    real* y,              # OUT (N, OH, OW, F)
    int activation, double alpha,
    double* moments,      # OUT (2, F) mean of y, and sum (y - mean)^2, or NULL
) noexcept nogil:
    """`y = activation(conv(x, weight) + bias + add)`; -1 without memory."""
    cdef Plan p
    if plan_forward(&p, g, NR_F32 if real is float else NR_F64):
        return -1
    return run(&p, g, x, weight, prepared, bias, add, y, activation, alpha, moments, False)


cdef int direct_backward_input(
    const Geometry* g,
    const real* da,       # IN  (N, OH, OW, F)
    const real* weight,   # IN  (F, KH, KW, C // groups)
    real* dx,             # OUT (N, H, W, C)
) noexcept nogil:
    """`dx[i] = sum of da[o] * weight[k] over the o and k with o*stride - pad + k*dilation = i`."""
    cdef Plan p
    if plan_backward(&p, g, NR_F32 if real is float else NR_F64):
        return -1
    return run(&p, g, da, weight, <const real*>NULL, <const real*>NULL, <const real*>NULL, dx, 0, 0.0, NULL, True)
