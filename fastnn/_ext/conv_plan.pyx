"""The tables of a direct convolution: which numbers of the source each target pixel reads.

The forward pass and the gradient to the input are the same computation. A target pixel reads a window of
the source: `x` for the forward pass, `da` for the gradient to the input, whose taps run backwards and, with
a stride, only those that hit a pixel of `da` take part:

    forward    y[oh]  += x[oh*stride - pad + k*dilation] * w[k]
    backward   dx[ih] += da[(ih + pad - k*dilation) / stride] * w[k]      where the division has no remainder

Taps are numbered so that those of a window are neighbours. Pixels whose windows see the same taps are a
class (the interior, an edge, a corner; with a stride the backward pass has one for each remainder): a
register tile takes MR pixels of one class. So padding costs neither copies nor tests nor multiplications.
"""

from fastnn._ext.threads cimport SLOT_CONV_ROWS, scratch
from fastnn._ext.tile cimport MR
from libc.stdint cimport int64_t

cdef enum:
    KC = 640        # inner size of a block: a panel of KC x NR numbers stays in the level 2 cache
    PIXELS = 256    # pixels of a group of images, at least
    TILES = 32      # register tiles of an item
    ITEMS = 8       # items that share out evenly between a few threads
    ITEM_WORK = 1_000_000


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t max_classes(int64_t size, int64_t n_taps, int64_t stride) noexcept nogil:
    """Along an axis both ends of a window's taps only grow: each tap starts and ends at most one class."""
    return min(size, 2 * n_taps + stride + 1)


cdef int64_t axis_numbers(int64_t size, int64_t n_taps, int64_t stride) noexcept nogil:
    """int64 numbers that `fill_axis` needs."""
    return n_taps + 4 * size + max_classes(size, n_taps, stride) + 1


cdef int64_t* fill_axis(
    Axis* a, int64_t* memory, int64_t size, int64_t source_size, int64_t n_taps, int64_t stride,
    int64_t pad, int64_t dilation, bint backward,
) noexcept nogil:
    """Fill `a`, whose tables start at `memory`; return where they end."""
    cdef int64_t p, t, k, at, period, phase, n
    a.size, a.source_size, a.n_taps = size, source_size, n_taps
    a.tap, a.begin, a.end = memory, memory + n_taps, memory + n_taps + size
    a.source, a.order = a.end + size, a.end + 2 * size
    a.start = a.order + size
    a.step = dilation
    if backward:
        period, t = stride, dilation  # taps a period apart hit the same remainder: stride / gcd
        while t:
            period, t = t, period % t
        a.step = dilation // period
        period = stride // period
        t = 0
        for phase in range(min(period, n_taps)):
            k = (n_taps - 1 - phase) // period * period + phase
            while k >= 0:
                a.tap[t] = k
                t += 1
                k -= period
    else:
        for t in range(n_taps):
            a.tap[t] = t
    for p in range(size):
        a.begin[p] = a.end[p] = a.source[p] = 0
        for t in range(n_taps):
            if backward:
                at = p + pad - a.tap[t] * dilation
                if at < 0 or at % stride:
                    continue
                at = at // stride
            else:
                at = p * stride - pad + t * dilation
            if at < 0 or at >= source_size:
                continue
            if a.end[p] == 0:
                a.begin[p], a.source[p] = t, at
            a.end[p] = t + 1
    a.n_classes = n = 0
    for p in range(size):
        for t in range(p):
            if a.begin[t] == a.begin[p] and a.end[t] == a.end[p]:
                break
        else:  # the first of a class collects the others
            a.start[a.n_classes] = n
            a.n_classes += 1
            for t in range(p, size):
                if a.begin[t] == a.begin[p] and a.end[t] == a.end[p]:
                    a.order[n] = t
                    n += 1
    a.start[a.n_classes] = n
    return a.start + max_classes(size, n_taps, stride) + 1


cdef void fill_blocks(
    Plan* p, int64_t per_block, int64_t pieces, int64_t run, int64_t row, int64_t pixel, int64_t NR
) noexcept nogil:
    """Cut the inner size into blocks of runs, or of pieces of runs, and list the segments of each class."""
    cdef bint contiguous = p.w.step == 1 and pixel == p.inner, seen
    cdef int64_t n_runs = p.h.n_taps * (1 if contiguous else p.w.n_taps), piece = ceil_div(run, pieces)
    cdef int64_t ch, cw, h0, h1, w0, w1, b, r, th, tw, low, high, at, n = 0
    cdef Block* block = p.blocks
    cdef Block* last
    for ch in range(p.h.n_classes):
        h0, h1 = p.h.begin[p.h.order[p.h.start[ch]]], p.h.end[p.h.order[p.h.start[ch]]]
        for cw in range(p.w.n_classes):
            w0, w1 = p.w.begin[p.w.order[p.w.start[cw]]], p.w.end[p.w.order[p.w.start[cw]]]
            seen, last = False, block
            for b in range(p.n_blocks):
                block.first, block.n_seg, block.seg_len = n, 0, 0
                for r in range(b // pieces * per_block, min((b // pieces + 1) * per_block, n_runs)):
                    low, high = b % pieces * piece, min((b % pieces + 1) * piece, run)
                    if contiguous:
                        th = r
                        low, high = max(low, w0 * p.inner), min(high, w1 * p.inner)
                        at = low - w0 * p.inner
                    else:
                        th, tw = r // p.w.n_taps, r % p.w.n_taps
                        at = (tw - w0) * p.w.step * pixel + low
                        if tw < w0 or tw >= w1:
                            continue
                    if th < h0 or th >= h1 or low >= high:
                        continue
                    p.a_off[n] = (th - h0) * p.h.step * row + at
                    p.b_off[n] = (r * run + low) * NR
                    block.n_seg += 1
                    block.seg_len = high - low
                    n += 1
                block.skip, block.accumulate, block.last = block.n_seg == 0, seen, False
                if block.n_seg:
                    seen, last = True, block
                block += 1
            last.skip, last.last = False, True  # a window without taps gets the bias alone


cdef int64_t* fill_pixels(
    Plan* p, Pixels* pixels, int64_t* memory, int64_t images, int64_t row, int64_t pixel
) noexcept nogil:
    """The pixels of so many images by class, and the tiles that hold them."""
    cdef int64_t target_pixel = p.columns * p.groups
    cdef int64_t target_row = p.w.size * target_pixel
    cdef int64_t total = images * p.h.size * p.w.size
    cdef int64_t ch, cw, image, i, j, h, w, left, n = 0, first
    cdef Tile* tile
    pixels.source, pixels.target, pixels.tiles = memory, memory + total, <Tile*>(memory + 2 * total)
    tile = pixels.tiles
    for ch in range(p.h.n_classes):
        for cw in range(p.w.n_classes):
            first = n
            for image in range(images):
                for i in range(p.h.start[ch], p.h.start[ch + 1]):
                    h = p.h.order[i]
                    for j in range(p.w.start[cw], p.w.start[cw + 1]):
                        w = p.w.order[j]
                        pixels.source[n] = (image * p.h.source_size + p.h.source[h]) * row + p.w.source[w] * pixel
                        pixels.target[n] = (image * p.h.size + h) * target_row + w * target_pixel
                        n += 1
            while first < n:
                left = n - first
                tile.first, tile.shape, tile.n = first, ch * p.w.n_classes + cw, min(left, <int64_t>MR)
                if MR < left < MR + MR // 2:
                    tile.n = (left + 1) // 2  # fewer than MR/2 rows cost as much as MR/2
                first += tile.n
                tile += 1
    pixels.n_tiles = tile - pixels.tiles
    return <int64_t*>tile


cdef int plan(Plan* p, const Geometry* g, int64_t NR, bint backward) noexcept nogil:
    cdef int64_t channels = g.f if backward else g.c, run, runs, pieces, per_block, total, size
    cdef int64_t h_size = g.h if backward else g.oh, h_source = g.oh if backward else g.h
    cdef int64_t w_size = g.w if backward else g.ow, w_source = g.ow if backward else g.w
    cdef int64_t row = w_source * channels, classes, n_row_items
    cdef int64_t* memory
    p.images, p.groups, p.inner = g.n, g.groups, channels // g.groups
    p.columns = (g.c if backward else g.f) // g.groups
    p.K, p.n_panels = g.kh * g.kw * p.inner, ceil_div(p.columns, NR)
    p.group_size = max(<int64_t>1, min(g.n, ceil_div(PIXELS, h_size * w_size)))
    if h_size * w_size <= PIXELS:  # full tiles even for the corners of small images
        p.group_size = min(g.n, ceil_div(p.group_size, MR) * MR)
    p.n_image_groups = ceil_div(g.n, p.group_size)

    classes = max_classes(h_size, g.kh, g.sh) * max_classes(w_size, g.kw, g.sw)
    runs = g.kh * g.kw
    total = p.group_size * h_size * w_size
    size = axis_numbers(h_size, g.kh, g.sh) + axis_numbers(w_size, g.kw, g.sw)
    size += classes * (runs + ceil_div(p.K, KC) + g.kh) * (2 + sizeof(Block) // 8)
    size += 2 * (2 * total + 3 * (total // MR + 1 + 2 * classes))
    memory = <int64_t*>scratch(SLOT_CONV_ROWS, size * 8)
    if memory == NULL:
        return -1
    memory = fill_axis(&p.h, memory, h_size, h_source, g.kh, g.sh, g.top, g.dh, backward)
    memory = fill_axis(&p.w, memory, w_size, w_source, g.kw, g.sw, g.left, g.dw, backward)

    run = p.inner
    if p.w.step == 1 and g.groups == 1:
        run *= g.kw
        runs = g.kh
    pieces = max(<int64_t>1, ceil_div(run, KC))
    per_block = 1 if pieces > 1 or p.K == 0 else ceil_div(runs, ceil_div(p.K, KC))
    p.n_blocks = ceil_div(runs, per_block) * pieces
    classes = p.h.n_classes * p.w.n_classes
    p.blocks = <Block*>memory
    p.a_off = <int64_t*>(p.blocks + classes * p.n_blocks)
    p.b_off = p.a_off + classes * runs * pieces
    fill_blocks(p, per_block, pieces, run, row, channels, NR)
    memory = fill_pixels(p, &p.full, p.b_off + classes * runs * pieces, p.group_size, row, channels)
    fill_pixels(p, &p.rest, memory, g.n - (p.n_image_groups - 1) * p.group_size, row, channels)

    p.tiles_per_item = max(<int64_t>TILES, ITEM_WORK // max(<int64_t>1, MR * p.K * p.columns * p.groups))
    p.ranges = ceil_div(p.full.n_tiles, p.tiles_per_item)
    p.tiles_per_item = ceil_div(p.full.n_tiles, p.ranges)
    n_row_items = p.n_image_groups * p.ranges
    p.panel_groups = min(p.n_panels * p.groups, ceil_div(ITEMS, n_row_items))
    p.n_items = n_row_items * p.panel_groups
    return 0


cdef int plan_forward(Plan* p, const Geometry* g, int64_t NR) noexcept nogil:
    return plan(p, g, NR, False)


cdef int plan_backward(Plan* p, const Geometry* g, int64_t NR) noexcept nogil:
    return plan(p, g, NR, True)
