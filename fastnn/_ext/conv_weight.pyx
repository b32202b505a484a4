"""The gradient of a convolution to its weights: a matrix product summed over the pixels of `da`.

    dw[f, (kh, kw, c)] = sum over pixels p of da[p, f] * x[p*stride + (kh, kw)*dilation - padding, c]

An item packs a block of pixels of both operands, so that the register tile reads them from the level 1 and 2
caches: `da` MR filters wide, the windows of `x` (im2col's columns) NR columns wide. Tiles are added to `dw`
block by block in order. While the sum is long compared to `dw`, the pixels are cut into parts with their own
sums, which are added in order at the end; else the columns of `dw` are shared out.
"""

from cython.parallel cimport parallel, prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.threads cimport SLOT_CONV_IMAGE, SLOT_CONV_PARTIAL, SLOT_CONV_ROWS
from fastnn._ext.threads cimport scratch, threads_for
from fastnn._ext.tile cimport *

cdef enum:
    PIXELS = 256            # a block: a panel of x and one of da fit the level 1 cache
    ITEMS = 8               # items that share out evenly between a few threads
    PART = 512              # pixels of a part, at least
    PARTIAL = 2 * 1024 * 1024   # bytes of partial sums, about
    MAX_COPIES = 64
    TILE = PIXELS * MR + 16     # numbers from tile to tile: a power of two would be one cache set for all tiles

cdef struct Weights:
    Geometry g               # of the padded image if `clip` is False
    bint clip                # read x in place, tests for the border; else x is a padded copy
    int64_t fg, cg           # channels per group
    int64_t pixels, columns  # sizes of the sum and of a row of dw
    int64_t n_blocks, n_panels, n_tiles   # blocks of pixels; panels and tiles of MR filters per group
    int64_t n_parts, n_shares             # parts of the pixels, shares of the panels

cdef struct Copy:
    int64_t column, offset, kh, kw   # where in the panel, where in the window
    bint wide                        # two vectors instead of one


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


cdef void add_columns(const real* packed, int64_t pixels, real* sums, int64_t n) noexcept nogil:
    """sums[i] += sum of packed[p, i] over the pixels: four pixels at a time, the rest one by one."""
    cdef real total[4 * MR]
    cdef int64_t k, i
    for i in range(4 * MR):
        total[i] = 0
    for k in range(pixels // 4):
        for i in range(4 * MR):
            total[i] += packed[k * 4 * MR + i]
    for k in range(pixels // 4 * 4, pixels):
        for i in range(MR):
            total[i] += packed[k * MR + i]
    for i in range(n):
        sums[i] += (total[i] + total[i + MR]) + (total[i + 2 * MR] + total[i + 3 * MR])


cdef void pack_da(
    const Weights* p, int64_t group, int64_t first, int64_t last, const real* da, real* packed, real* sums
) noexcept nogil:
    """packed[tile, p, i] = da[p, tile*MR + i] for pixels first .. last; their sums are added to `sums`."""
    cdef int64_t k, tile, f, F = p.g.f, size = p.pixels * F
    cdef const real* row
    cdef real* out
    for k in range(first, last):
        row = da + k * F + group * p.fg
        out = packed + (k - first) * MR
        for tile in range(p.n_tiles):
            f = tile * MR
            if k * F + group * p.fg + f + MR <= size:  # of the last tile's columns not all are used
                memcpy(out, row + f, MR * sizeof(real))
            else:
                memset(out, 0, MR * sizeof(real))
                memcpy(out, row + f, (p.fg - f) * sizeof(real))
            out += TILE
    if sums == NULL:
        return
    for tile in range(p.n_tiles):
        f = tile * MR
        add_columns(packed + tile * TILE, last - first, sums + group * p.fg + f, min(<int64_t>MR, p.fg - f))


cdef int64_t list_copies(const Weights* p, int64_t column, int64_t end, Copy* copies, real* unused) noexcept nogil:
    """The vectors to copy for columns column .. end of a pixel's window."""
    cdef int64_t VL = (NR_F32 if real is float else NR_F64) // 2
    cdef int64_t n = 0, at = column, tap, left, offset
    cdef bint whole_row = not p.clip and p.g.dw == 1 and p.g.groups == 1
    while at < end:
        tap = at // p.cg
        copies[n].kh, copies[n].kw = tap // p.g.kw, tap % p.g.kw
        offset = ((copies[n].kh * p.g.dh * p.g.w) + copies[n].kw * p.g.dw) * p.g.c + at % p.cg
        left = p.g.kw * p.cg
        left = left - at % left if whole_row else p.cg - at % p.cg
        copies[n].column, copies[n].offset = at - column, offset
        copies[n].wide = at == column and left >= 2 * VL
        at += min(left, 2 * VL if copies[n].wide else VL)
        n += 1
    return n


cdef void pack_x(
    const Weights* p, const real* x, const Copy* copies, int64_t n_copies, int64_t first, int64_t last, real* panel
) noexcept nogil:
    """The columns of pixels first .. last. A vector that is too long is overwritten by the next one."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t n_bytes = NR // 2 * sizeof(real)
    cdef int64_t C = p.g.c, W = p.g.w, step = p.g.sw * C, k = first, count, ow, ih, iw, low, high, i, q, r, _i
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
                if copies[q].wide:
                    memset(out, 0, low * 2 * n_bytes)
                    for i in range(low, high):
                        memcpy(out + i * NR, source + copies[q].offset + i * step, 2 * n_bytes)
                    memset(out + high * NR, 0, (count - high) * 2 * n_bytes)
                    continue
                for i in range(low):
                    memset(out + i * NR, 0, n_bytes)
                for i in range(low, high):
                    memcpy(out + i * NR, source + copies[q].offset + i * step, n_bytes)
                for i in range(high, count):
                    memset(out + i * NR, 0, n_bytes)
            panel += count * NR
        else:
            for _i in range(count):
                if copies[0].wide:
                    memcpy(panel, source + copies[0].offset, 2 * n_bytes)
                for q in range(1 if copies[0].wide else 0, n_copies):
                    memcpy(panel + copies[q].column, source + copies[q].offset, n_bytes)
                source += step
                panel += NR
        k += count


cdef int sum_item(
    const Weights* p, int64_t item, const real* x, const real* da, real* dw, real* sums, bint accumulate
) noexcept nogil:
    """A share of the panels of one group, summed over one part of the pixels."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t part = item % p.n_parts, share = item // p.n_parts % p.n_shares
    cdef int64_t group = item // p.n_parts // p.n_shares, zero = 0
    cdef int64_t panel0 = share * p.n_panels // p.n_shares, panel1 = (share + 1) * p.n_panels // p.n_shares
    cdef int64_t first = p.n_blocks * part // p.n_parts, last = p.n_blocks * (part + 1) // p.n_parts
    cdef int64_t block, panel, tile, i, n, n_copies, start, end
    cdef int mr
    cdef Copy copies[MAX_COPIES]
    cdef tile_args t
    cdef real* columns = <real*>scratch(SLOT_CONV_ROWS, ((PIXELS + 2) * NR + p.n_tiles * TILE) * sizeof(real))
    cdef real* filters = columns + (PIXELS + 2) * NR
    if columns == NULL:
        return -1
    sums = NULL if sums == NULL or share else sums + part * p.g.f
    dw += group * p.fg * p.columns
    t.a_step, t.b, t.ldb, t.off, t.n_seg, t.bias, t.activation, t.ldc = MR, columns, NR, &zero, 1, NULL, 0, 0
    for block in range(first, last):
        start, end = block * PIXELS, min((block + 1) * PIXELS, p.pixels)
        t.seg_len, t.flags = end - start, TILE_ACCUMULATE if accumulate or block > first else 0
        pack_da(p, group, start, end, da, filters, sums)
        for panel in range(panel0, panel1):
            n = min(NR, p.columns - panel * NR)
            n_copies = list_copies(p, panel * NR, panel * NR + n, copies, columns)
            pack_x(p, x + group * p.cg, copies, n_copies, start, end, columns)
            for tile in range(p.n_tiles):
                mr = <int>min(<int64_t>MR, p.fg - tile * MR)
                for i in range(mr):
                    t.a[i] = filters + tile * TILE + i
                    t.out[i] = dw + (tile * MR + i) * p.columns + panel * NR
                if real is float:
                    tile_panel_f32(mr, <int>n, &t)
                else:
                    tile_panel_f64(mr, <int>n, &t)
    return 0


cdef void add_parts(const Weights* p, int64_t f, const real* partial, real* dw) noexcept nogil:
    """Row f of dw plus the rows of the other parts, in order."""
    cdef int64_t part, k
    cdef real* row = dw + f * p.columns
    for part in range(p.n_parts - 1):
        for k in range(p.columns):
            row[k] += partial[(part * p.g.f + f) * p.columns + k]


cdef void prepare(Weights* p, const Geometry* g, int64_t NR, int64_t n_bytes) noexcept nogil:
    p.g, p.fg, p.cg = g[0], g.f // g.groups, g.c // g.groups
    p.clip = p.cg % (NR // 2) == 0
    p.pixels, p.columns = g.n * g.oh * g.ow, g.kh * g.kw * p.cg
    p.n_blocks = (p.pixels + PIXELS - 1) // PIXELS
    p.n_panels, p.n_tiles = (p.columns + NR - 1) // NR, (p.fg + MR - 1) // MR
    p.n_parts = min(p.pixels // PART, PARTIAL // max(<int64_t>1, g.f * p.columns * n_bytes))
    p.n_parts = max(<int64_t>1, min(p.n_parts, (ITEMS + g.groups - 1) // g.groups))
    p.n_shares = max(<int64_t>1, min(p.n_panels, (ITEMS - 1) // (p.n_parts * g.groups) + 1))
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
    cdef int64_t i, part, f, n_items, n_dw, padded_rows
    cdef real* partial
    cdef real* sums = NULL
    cdef real* padded = NULL
    cdef int failed = 0
    cdef int* status = &failed
    prepare(&p, g, NR, sizeof(real))
    n_dw, n_items = g.f * p.columns, g.groups * p.n_shares * p.n_parts
    if p.pixels == 0:
        if not accumulate:
            memset(dw, 0, n_dw * sizeof(real))
            if db != NULL:
                memset(db, 0, g.f * sizeof(real))
        return 0
    padded_rows = 0 if p.clip else g.n * p.g.h
    partial = <real*>scratch(SLOT_CONV_PARTIAL, ((p.n_parts - 1) * n_dw + p.n_parts * g.f) * sizeof(real))
    if not p.clip:  # NR numbers behind the end: whole vectors are copied
        padded = <real*>scratch(SLOT_CONV_IMAGE, (padded_rows * p.g.w * g.c + NR) * sizeof(real))
    if partial == NULL or (padded == NULL and not p.clip):
        return -1
    if db != NULL:
        sums = partial + (p.n_parts - 1) * n_dw
        memset(sums, 0, p.n_parts * g.f * sizeof(real))
    with parallel(num_threads=threads_for(<double>p.pixels * <double>n_dw)):
        for i in prange(padded_rows, schedule="static"):
            pad_row(g, x, padded, i)
        for i in prange(n_items, schedule="dynamic"):
            if sum_item(&p, i, x if p.clip else padded, da,
                        dw if i % p.n_parts == 0 else partial + (i % p.n_parts - 1) * n_dw, sums,
                        accumulate and i % p.n_parts == 0):
                status[0] = -1
        for i in prange(g.f, schedule="static"):
            add_parts(&p, i, partial, dw)
    if db != NULL:
        if not accumulate:
            memset(db, 0, g.f * sizeof(real))
        for part in range(p.n_parts):
            for f in range(g.f):
                db[f] += sums[part * g.f + f]
    return failed
