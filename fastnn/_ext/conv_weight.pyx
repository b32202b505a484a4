"""The gradient of a convolution to its weights: a matrix product summed over the pixels of `da`.

    dw[f, (kh, kw, c)] = sum over pixels p of da[p, f] * x[p*stride + (kh, kw)*dilation - padding, c]

Both operands are packed, a block of pixels at a time, so that the register tile reads them from the level 1
and 2 caches: `da` once for all, MR filters wide; the windows of `x`, im2col's columns, NR columns wide by the
owner of those columns. A tile is added to `dw` block by block in order. If there are too few columns to share
out, the pixels are cut into parts with their own sums, which are added in order at the end.
"""

from cython.parallel cimport parallel, prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.threads cimport SLOT_CONV_IMAGE, SLOT_CONV_PARTIAL, SLOT_CONV_ROWS, SLOT_CONV_WEIGHT
from fastnn._ext.threads cimport scratch, threads_for
from fastnn._ext.tile cimport *

cdef enum:
    PIXELS = 256            # a block: two panels of them stay in the level 1 cache
    STRIP = 16              # pixels packed at a time: what is read and written fits the level 1 cache
    SLAB = 8 * 1024 * 1024  # bytes of packed `da`
    ITEMS = 8               # items that share out evenly between a few threads
    MAX_COPIES = 64

cdef struct Weights:
    Geometry g               # of the padded image if `clip` is False
    bint clip                # read x in place, tests for the border; else x is a padded copy
    int64_t fg, cg           # channels per group
    int64_t pixels, columns  # sizes of the sum and of a row of dw
    int64_t n_panels, n_tiles, n_parts   # panels and tiles of MR filters per group, parts of the pixels
    int64_t slab             # blocks that are packed at a time

cdef struct Copy:
    int64_t column, offset, kh, kw   # where in the panel, where in the window


cdef void pad_row(const Geometry* g, const real* x, real* padded, int64_t r) noexcept nogil:
    """Row r of the padded images."""
    cdef int64_t height = g.h + g.top + g.bottom, width = (g.w + g.left + g.right) * g.c
    cdef int64_t ih = r % height - g.top, row = g.w * g.c
    cdef real* out = padded + r * width
    if ih < 0 or ih >= g.h:
        memset(out, 0, width * sizeof(real))
        return
    memset(out, 0, g.left * g.c * sizeof(real))
    memcpy(out + g.left * g.c, x + (r // height * g.h + ih) * row, row * sizeof(real))
    memset(out + g.left * g.c + row, 0, g.right * g.c * sizeof(real))


cdef void pack_da(const Weights* p, const real* da, int64_t block, real* packed, real* sums) noexcept nogil:
    """packed[group, tile, p, i] = da[p, group, tile*MR + i] for the pixels p of a block; their sums over p."""
    cdef int64_t first = block * PIXELS, last = min(first + PIXELS, p.pixels), F = p.g.f
    cdef int64_t strip, k, end, tile, f, i, n
    cdef const real* row
    cdef real* out
    strip = first
    while strip < last:
        end = min(strip + STRIP, last)
        for tile in range(p.g.groups * p.n_tiles):
            f = tile % p.n_tiles * MR
            n = min(<int64_t>MR, p.fg - f)
            row = da + strip * F + tile // p.n_tiles * p.fg + f
            out = packed + (tile * PIXELS + strip - first) * MR
            for k in range(strip, end):
                if n == MR:
                    memcpy(out, row, MR * sizeof(real))
                else:
                    for i in range(n):
                        out[i] = row[i]
                row += F
                out += MR
        strip = end
    if sums != NULL:
        memset(sums, 0, F * sizeof(real))
        for k in range(first, last):
            row = da + k * F
            for f in range(F):
                sums[f] += row[f]


cdef int64_t list_copies(const Weights* p, int64_t column, int64_t end, Copy* copies, real* unused) noexcept nogil:
    """The vectors to copy for columns column .. end of a pixel's window."""
    cdef int64_t VL = (NR_F32 if real is float else NR_F64) // 2
    cdef int64_t n = 0, at = column, tap, left, offset, stop
    cdef bint whole_row = not p.clip and p.g.dw == 1 and p.g.groups == 1
    while at < end:
        tap = at // p.cg
        copies[n].kh, copies[n].kw = tap // p.g.kw, tap % p.g.kw
        offset = ((copies[n].kh * p.g.dh * p.g.w) + copies[n].kw * p.g.dw) * p.g.c + at % p.cg
        left = p.g.kw * p.cg
        left = left - at % left if whole_row else p.cg - at % p.cg
        copies[n].column, copies[n].offset = at - column, offset
        at += min(left, VL)
        n += 1
    return n


cdef void pack_x(
    const Weights* p, const real* x, const Copy* copies, int64_t n_copies, int64_t first, int64_t last, real* panel
) noexcept nogil:
    """The columns of pixels first .. last. A vector that is too long is overwritten by the next one."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t n_bytes = NR // 2 * sizeof(real)
    cdef int64_t C = p.g.c, W = p.g.w, step = p.g.sw * C, k = first, count, ow, ih, iw, low, high, i, q, r
    cdef const real* source
    cdef real* out
    while k < last:
        r, ow = k // p.g.ow, k % p.g.ow
        count = min(p.g.ow - ow, last - k)
        ih = r % p.g.oh * p.g.sh - p.g.top
        source = x + (((r // p.g.oh) * p.g.h + ih) * W + ow * p.g.sw - p.g.left) * C
        if p.clip:
            for q in range(n_copies):
                out = panel + copies[q].column
                iw = copies[q].kw * p.g.dw - p.g.left + ow * p.g.sw
                low = min(count, (-iw + p.g.sw - 1) // p.g.sw if iw < 0 else 0)
                high = min(count, (W - iw + p.g.sw - 1) // p.g.sw if iw < W else 0)
                if ih + copies[q].kh * p.g.dh < 0 or ih + copies[q].kh * p.g.dh >= p.g.h:
                    high = 0
                low = min(low, high)
                for i in range(low):
                    memset(out + i * NR, 0, n_bytes)
                for i in range(low, high):
                    memcpy(out + i * NR, source + copies[q].offset + i * step, n_bytes)
                for i in range(high, count):
                    memset(out + i * NR, 0, n_bytes)
            panel += count * NR
        else:
            for i in range(count):
                for q in range(n_copies):
                    memcpy(panel + copies[q].column, source + copies[q].offset, n_bytes)
                source += step
                panel += NR
        k += count


cdef int sum_panel(
    const Weights* p, int64_t item, int64_t block0, int64_t block1, const real* x, const real* packed, real* dw,
    real* partial, bint accumulate,
) noexcept nogil:
    """NR columns of dw of one group, summed over one part of the blocks block0 .. block1."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t part = item % p.n_parts, group = item // p.n_parts // p.n_panels
    cdef int64_t column = item // p.n_parts % p.n_panels * NR, n = min(NR, p.columns - column)
    cdef int64_t first = block0 + (block1 - block0) * part // p.n_parts, zero = 0
    cdef int64_t last = block0 + (block1 - block0) * (part + 1) // p.n_parts
    cdef int64_t block, tile, i, n_copies, pixels
    cdef int mr
    cdef Copy copies[MAX_COPIES]
    cdef tile_args t
    cdef real* out = dw if part == 0 else partial + (part - 1) * p.g.f * p.columns
    cdef real* panel = <real*>scratch(SLOT_CONV_ROWS, (PIXELS + 2) * NR * sizeof(real))
    cdef const real* a
    if panel == NULL:
        return -1
    n_copies = list_copies(p, column, column + n, copies, panel)
    t.a_step, t.b, t.ldb, t.off, t.n_seg, t.bias, t.activation, t.ldc = MR, panel, NR, &zero, 1, NULL, 0, 0
    out += group * p.fg * p.columns + column
    for block in range(first, max(last, first + 1)):
        pixels = min(<int64_t>PIXELS, p.pixels - block * PIXELS) if block < last else 0
        pack_x(p, x + group * p.cg, copies, n_copies, block * PIXELS, block * PIXELS + pixels, panel)
        t.seg_len = pixels
        t.flags = TILE_ACCUMULATE if accumulate or block > first else 0
        for tile in range(p.n_tiles):
            mr = <int>min(<int64_t>MR, p.fg - tile * MR)
            a = packed + (((block - block0) * p.g.groups + group) * p.n_tiles + tile) * PIXELS * MR
            for i in range(mr):
                t.a[i], t.out[i] = a + i, out + (tile * MR + i) * p.columns
            if real is float:
                tile_panel_f32(mr, <int>n, &t)
            else:
                tile_panel_f64(mr, <int>n, &t)
    return 0


cdef void prepare(Weights* p, const Geometry* g, int64_t NR, int64_t n_bytes) noexcept nogil:
    cdef int64_t blocks
    p.g, p.fg, p.cg = g[0], g.f // g.groups, g.c // g.groups
    p.clip = p.cg % (NR // 2) == 0
    p.pixels, p.columns = g.n * g.oh * g.ow, g.kh * g.kw * p.cg
    p.n_panels, p.n_tiles = (p.columns + NR - 1) // NR, (p.fg + MR - 1) // MR
    blocks = (p.pixels + PIXELS - 1) // PIXELS
    p.n_parts = max(<int64_t>1, min(blocks, (ITEMS - 1) // max(<int64_t>1, g.groups * p.n_panels) + 1))
    p.slab = max(p.n_parts, SLAB // (PIXELS * p.n_tiles * MR * g.groups * n_bytes))
    p.slab = max(<int64_t>1, min(p.slab, blocks))
    if not p.clip:
        p.g.h += g.top + g.bottom
        p.g.w += g.left + g.right
        p.g.top = p.g.left = 0


cdef int direct_backward_weight(
    const Geometry* g,
    const real* x,     # IN  (N, H, W, C)
    const real* da,    # IN  (N, OH, OW, F)
    real* dw,          # OUT (F, KH, KW, C // groups)
    real* db,          # OUT (F,) or NULL
    bint accumulate,
) noexcept nogil:
    """Overwrite `dw` and `db`, or add to them; -1 without memory."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef Weights p
    cdef int64_t i, s, f, block0, block1, block_size, n_items, n_dw, n_blocks, padded_rows
    cdef real* packed
    cdef real* partial
    cdef real* sums = NULL
    cdef real* padded = NULL
    cdef int failed = 0
    cdef int* status = &failed
    cdef bint add
    prepare(&p, g, NR, sizeof(real))
    n_dw, n_items, n_blocks = g.f * p.columns, g.groups * p.n_panels * p.n_parts, (p.pixels + PIXELS - 1) // PIXELS
    cdef int threads = threads_for(<double>p.pixels * <double>n_dw)
    block_size = g.groups * p.n_tiles * PIXELS * MR
    padded_rows = 0 if p.clip else g.n * p.g.h
    packed = <real*>scratch(SLOT_CONV_WEIGHT, p.slab * block_size * sizeof(real))
    partial = <real*>scratch(SLOT_CONV_PARTIAL, ((p.n_parts - 1) * n_dw + p.slab * g.f) * sizeof(real))
    if packed == NULL or partial == NULL:
        return -1
    if db != NULL:
        sums = partial + (p.n_parts - 1) * n_dw
        if not accumulate:
            memset(db, 0, g.f * sizeof(real))
    if not p.clip:  # NR numbers behind the end: whole vectors are copied
        padded = <real*>scratch(SLOT_CONV_IMAGE, (padded_rows * p.g.w * g.c + NR) * sizeof(real))
        if padded == NULL:
            return -1
    block0, add = 0, accumulate
    while True:
        block1 = min(block0 + p.slab, n_blocks)
        with parallel(num_threads=threads):
            for i in prange(padded_rows, schedule="static"):
                pad_row(g, x, padded, i)
            for i in prange(block0, block1, schedule="static"):
                pack_da(&p, da, i, packed + (i - block0) * block_size, NULL if sums == NULL else sums + (i - block0) * g.f)
            for i in prange(n_items, schedule="dynamic"):
                if sum_panel(&p, i, block0, block1, x if p.clip else padded, packed, dw, partial,
                             add if i % p.n_parts == 0 else block0 > 0):
                    status[0] = -1
        if sums != NULL:
            for i in range(block1 - block0):
                for f in range(g.f):
                    db[f] += sums[i * g.f + f]
        block0, padded_rows, add = block1, 0, True
        if block0 >= n_blocks:
            break
    for s in range(p.n_parts - 1):
        for i in range(n_dw):
            dw[i] += partial[s * n_dw + i]
    return failed
