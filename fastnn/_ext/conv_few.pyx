"""The gradient to the weights of a convolution with six filters or fewer, as LeNet's first.

    dw[f, k] = sum over pixels p of x[p + k, c] * da[p, f]      k = (kh, kw, c)

A vector of filters would be mostly empty. Here its lanes are neighbouring pixels: `x` and `da` are copied to planes,
one for each channel and filter, and a row of one times a row of the other goes to a vector of sums (dot.h). With
stride 1 all rows of a plane are one, with zeros of `da` between them. These meet numbers of x that no window holds
there: an infinite or NaN input makes NaN of more of dw than it would.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.dot cimport *
from fastnn._ext.threads cimport SLOT_CONV_IMAGE, SLOT_CONV_PARTIAL, scratch, threads_for
from fastnn._ext.tile cimport NR_F32, NR_F64

cdef enum:
    PARTS = 8   # partial sums over groups of images; they are added in order

cdef struct Planes:
    int64_t K, tiles             # values of k, tiles of them
    int64_t width, x_row, x_plane   # numbers in whole vectors of a row of da, in a row of x and in its planes
    int64_t x_rows, da_row, da_plane
    int64_t sums, size           # the sums of a part; all planes with these and a row to copy from


cdef inline int64_t vector_length(real* unused) noexcept nogil:
    return (NR_F32 if real is float else NR_F64) // 2


cdef bint is_few(const Geometry* g, real* unused) noexcept nogil:
    """Cycles for a row of pixels: here 3 K for each vector and 55 to make planes, in conv_thin.pyx 0.56 K a pixel."""
    cdef int64_t VL = vector_length(unused), K = g.kh * g.kw * g.c, vectors = (g.ow + VL - 1) // VL
    return (VL > 1 and g.groups == 1 and g.sw == 1 and g.f <= DOT_COLUMNS
            and 16 * vectors * (3 * K + 55) < 9 * g.ow * K)


cdef Planes measure(const Geometry* g, real* unused) noexcept nogil:
    cdef Planes p
    cdef int64_t VL = vector_length(unused)
    p.K = g.kh * g.kw * g.c
    p.tiles = (p.K + DOT_ROWS - 1) // DOT_ROWS
    p.width = (g.ow + VL - 1) // VL * VL
    p.x_row = p.width + (g.kw - 1) * g.dw
    p.x_rows = (g.oh - 1) * g.sh + (g.kh - 1) * g.dh + 1
    p.x_plane = (p.x_rows * p.x_row + VL - 1) // VL * VL
    p.da_row = p.x_row if g.sh == 1 else p.width
    p.da_plane = (g.oh * p.da_row + VL - 1) // VL * VL
    p.sums = (p.tiles * DOT_ROWS + 1) * DOT_COLUMNS * VL
    p.size = g.c * p.x_plane + (g.f + 1) * p.da_plane + p.sums + p.width * g.f + 8
    return p


cdef void fill_planes(
    const Geometry* g, const Planes* p, int64_t image, const real* x, const real* da, real* xs, real* das, real* row,
) noexcept nogil:
    """The planes of one image; what lies outside of it is zero already, as the end of `row`."""
    cdef int64_t r, i, c, ih, n = min(g.w, p.x_row - g.left)
    cdef const real* source
    cdef real* target
    for r in range(p.x_rows):
        ih = r - g.top
        if ih < 0 or ih >= g.h:
            continue
        source, target = x + (image * g.h + ih) * g.w * g.c, xs + r * p.x_row + g.left
        if g.c == 1:
            memcpy(target, source, n * sizeof(real))
        else:
            for i in range(n):
                for c in range(g.c):
                    target[c * p.x_plane + i] = source[i * g.c + c]
    for r in range(g.oh):
        memcpy(row, da + (image * g.oh + r) * g.ow * g.f, g.ow * g.f * sizeof(real))
        if real is float:
            part_channels_f32(row, p.width, g.f, das + r * p.da_row, p.da_plane)
        else:
            part_channels_f64(row, p.width, g.f, das + r * p.da_row, p.da_plane)


cdef int sum_part(
    const Geometry* g, const Planes* p, int64_t first, int64_t last, const real* x, const real* da, real* dw, real* db
) noexcept nogil:
    """dw (F, K) and db (F,) = the sums over images first .. last."""
    cdef int64_t VL = vector_length(dw), image, tile, k, i, j, n, of_tile = DOT_ROWS * DOT_COLUMNS * VL
    cdef real[DOT_COLUMNS * DOT_ROWS] totals
    cdef real* xs = <real*>scratch(SLOT_CONV_IMAGE, p.size * sizeof(real))
    cdef real* das = xs + g.c * p.x_plane
    cdef real* ones = das + g.f * p.da_plane
    cdef real* sums = ones + p.da_plane
    cdef real* row = sums + p.sums
    cdef dot_args t
    if xs == NULL:
        return -1
    memset(xs, 0, p.size * sizeof(real))
    t.n_seg, t.len = g.oh, p.width
    if g.sh == 1:
        t.n_seg, t.len = 1, p.da_plane
    t.a_seg, t.b_seg, t.accumulate = g.sh * p.x_row, p.da_row, True
    for i in range(t.len):
        ones[i] = 1
    for j in range(DOT_COLUMNS):
        t.b[j] = das + min(j, g.f - 1) * p.da_plane
    for image in range(first, last):
        fill_planes(g, p, image, x, da, xs, das, row)
        for tile in range(p.tiles):
            n = min(<int64_t>DOT_ROWS, p.K - tile * DOT_ROWS)
            for i in range(n):
                k = tile * DOT_ROWS + i
                j = k // g.c
                t.a[i] = xs + k % g.c * p.x_plane + j // g.kw * g.dh * p.x_row + j % g.kw * g.dw
            t.sums = sums + tile * of_tile
            if real is float:
                dot_tile_f32(<int>n, &t)
            else:
                dot_tile_f64(<int>n, &t)
        t.a[0], t.a_seg, t.sums = ones, 0, sums + p.tiles * of_tile
        if real is float:
            dot_tile_f32(1, &t)
        else:
            dot_tile_f64(1, &t)
        t.a_seg = g.sh * p.x_row
    for tile in range(p.tiles + 1):
        n = DOT_COLUMNS if tile == p.tiles else DOT_ROWS * DOT_COLUMNS
        if real is float:
            lane_sums_f32(sums + tile * of_tile, <int>n, totals)
        else:
            lane_sums_f64(sums + tile * of_tile, <int>n, totals)
        for i in range(min(<int64_t>DOT_ROWS, p.K - tile * DOT_ROWS)):
            for j in range(g.f):
                dw[j * p.K + tile * DOT_ROWS + i] = totals[i * DOT_COLUMNS + j]
    for j in range(g.f):
        db[j] = totals[j]
    return 0


cdef int few_backward_weight(
    const Geometry* g,
    const real* x,     # IN  (N, H, W, C)
    const real* da,    # IN  (N, OH, OW, F)
    real* dw,          # OUT (F, KH, KW, C)
    real* db,          # OUT (F,) or NULL
    bint accumulate,
) noexcept nogil:
    """Overwrite `dw` and `db`, or add to them; -1 without memory."""
    cdef Planes p = measure(g, dw)
    cdef int64_t n_dw = g.f * p.K, size = n_dw + g.f, parts = min(g.n, <int64_t>PARTS), i, part
    cdef int failed = 0
    cdef int* status = &failed
    cdef real* partial = <real*>scratch(SLOT_CONV_PARTIAL, parts * size * sizeof(real))
    if partial == NULL:
        return -1
    if not accumulate:
        memset(dw, 0, n_dw * sizeof(real))
        if db != NULL:
            memset(db, 0, g.f * sizeof(real))
    for i in prange(
        parts, schedule="dynamic", num_threads=threads_for(<double>(g.n * g.oh * g.ow) * <double>n_dw)
    ):
        if sum_part(g, &p, g.n * i // parts, g.n * (i + 1) // parts, x, da, partial + i * size,
                    partial + i * size + n_dw):
            status[0] = -1
    for part in range(parts):
        for i in range(n_dw):
            dw[i] += partial[part * size + i]
        if db != NULL:
            for i in range(g.f):
                db[i] += partial[part * size + n_dw + i]
    return failed
