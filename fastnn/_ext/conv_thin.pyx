"""The gradient to the weights of a convolution with few filters, as in LeNet: nothing is packed.

    dw[f, k] = sum over pixels p of x[p*stride + k, c] * da[p, f]      k = (kh, kw, c), a row of im2col's matrix

The rows of a tile are values of k: along an image row they are MR pointers into x, stride*C apart from pixel to
pixel. Its columns are all filters, read from `da` as it lies; what a vector reads beyond them is not stored. Where
the KW*C numbers of a window's row fill vectors better than filters do, rows and columns are exchanged. With many
filters conv_weight.pyx is faster, because it makes panels that fit the level 1 cache.
"""

from cython.parallel cimport parallel, prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_bias cimport bias_gradient
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.conv_weight cimport pad_row
from fastnn._ext.threads cimport SLOT_CONV_IMAGE, SLOT_CONV_PARTIAL, SLOT_CONV_ROWS, scratch, threads_for
from fastnn._ext.tile cimport *

cdef enum:
    PARTS = 8      # partial sums over groups of images; they are added in order
    PIXELS = 512   # of the images that a tile takes at a time, about: they stay in the level 1 cache


cdef bint is_thin(const Geometry* g, const real* unused) noexcept nogil:
    """One panel of filters, and rows long enough for the inner loop."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    return g.groups == 1 and g.f <= NR and g.ow >= 8


cdef void sum_part(
    const Geometry* g, int64_t first, int64_t last, int64_t chunk, const int64_t* off, const real* x,
    const real* da, const real* tail, real* dw,
) noexcept nogil:
    """dw = the sum over images first .. last; x is padded. `tail` is a copy of the last image of da."""
    cdef int64_t K = g.kh * g.kw * g.c, row = g.w * g.c, image = first, k, i, j, n
    cdef int64_t n_tiles = (K + MR - 1) // MR, tile
    cdef int mr
    cdef tile_args t
    t.a_step, t.ldb, t.b_off, t.off, t.seg_len = g.sw * g.c, g.f, NULL, off, g.ow
    t.ldc, t.bias, t.alpha, t.activation = K, NULL, 0.0, 0
    while image < last:
        n = min(chunk, last - image)
        t.b = da + image * g.oh * g.ow * g.f
        if image == g.n - 1:
            t.b = tail
        elif image + n == g.n:
            n -= 1
        t.n_seg = n * g.oh
        t.flags = TILE_TRANSPOSED if image == first else TILE_TRANSPOSED | TILE_ACCUMULATE
        for tile in range(n_tiles):
            k = tile * K // n_tiles
            mr = <int>((tile + 1) * K // n_tiles - k)
            for i in range(mr):
                j = (k + i) // g.c
                t.a[i] = (x + (image * g.h + j // g.kw * g.dh) * row + j % g.kw * g.dw * g.c + (k + i) % g.c)
            t.out[0] = dw + k
            if real is float:
                tile_panel_f32(mr, <int>g.f, &t)
            else:
                tile_panel_f64(mr, <int>g.f, &t)
        image += n


cdef bint is_wide(const Geometry* g, const real* unused) noexcept nogil:
    """Rows of windows fill their panels better than filters fill a vector; with few filters 1.2 to 2 times as fast."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t row = g.kw * g.c, panels = (row + NR - 1) // NR
    return g.dw == 1 and 2 * g.f <= NR and g.f * 4 >= MR * 3 and 5 * row >= 8 * g.f * panels


cdef void sum_part_wide(
    const Geometry* g, int64_t first, int64_t last, int64_t chunk, const int64_t* off, const real* x,
    const real* da, const real* tail, real* dw,
) noexcept nogil:
    """As sum_part, the rows of a tile being filters; `tail` is a copy of the last image of x."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t size = g.h * g.w * g.c, row = g.kw * g.c, image = first, kh, column, f, i, n
    cdef const real* images
    cdef int mr
    cdef tile_args t
    t.a_step, t.ldb, t.b_off, t.off, t.seg_len = g.f, g.sw * g.c, off, off + chunk * g.oh, g.ow
    t.bias, t.alpha, t.activation, t.ldc = NULL, 0.0, 0, 0
    while image < last:
        n = min(chunk, last - image)
        images = x + image * size
        if image == g.n - 1:
            images = tail
        elif image + n == g.n:
            n -= 1
        t.n_seg = n * g.oh
        t.flags = 0 if image == first else TILE_ACCUMULATE
        f = 0
        while f < g.f:
            mr = <int>min(<int64_t>MR, g.f - f)
            for i in range(mr):
                t.a[i] = da + image * g.oh * g.ow * g.f + f + i
            for kh in range(g.kh):
                column = 0
                while column < row:
                    t.b = images + kh * g.dh * g.w * g.c + column
                    for i in range(mr):
                        t.out[i] = dw + ((f + i) * g.kh + kh) * row + column
                    if real is float:
                        tile_taps_f32(mr, <int>min(NR, row - column), &t)
                    else:
                        tile_taps_f64(mr, <int>min(NR, row - column), &t)
                    column += NR
            f += mr
        image += n


cdef int thin_backward_weight(
    const Geometry* g,
    const real* x,     # IN  (N, H, W, C)
    const real* da,    # IN  (N, OH, OW, F)
    real* dw,          # OUT (F, KH, KW, C)
    real* db,          # OUT (F,) or NULL
    bint accumulate,
) noexcept nogil:
    """Overwrite `dw` and `db`, or add to them; -1 without memory."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t n_dw = g.f * g.kh * g.kw * g.c, parts = min(g.n, <int64_t>PARTS), i, part
    cdef int64_t padded_rows, size, chunk = max(<int64_t>1, PIXELS // (g.oh * g.ow))
    cdef Geometry p = g[0]
    cdef int64_t* off
    cdef real* partial
    cdef real* tail
    cdef real* padded = NULL
    cdef const real* source = x
    cdef bint wide = is_wide(g, x)
    p.h, p.w = g.h + g.top + g.bottom, g.w + g.left + g.right
    padded_rows = 0 if p.h == g.h and p.w == g.w else g.n * p.h
    if db != NULL and bias_gradient(g, da, db, accumulate):
        return -1
    size = p.h * p.w * g.c if wide else g.oh * g.ow * g.f
    off = <int64_t*>scratch(SLOT_CONV_ROWS, 2 * chunk * g.oh * 8 + (size + NR) * sizeof(real))
    partial = <real*>scratch(SLOT_CONV_PARTIAL, parts * n_dw * sizeof(real))
    if padded_rows:
        padded = <real*>scratch(SLOT_CONV_IMAGE, padded_rows * p.w * g.c * sizeof(real))
    if off == NULL or partial == NULL or (padded_rows and padded == NULL):
        return -1
    if padded_rows:
        source = padded
    if not accumulate:
        memset(dw, 0, n_dw * sizeof(real))
    if g.n == 0:
        return 0
    for i in range(chunk * g.oh):
        off[i] = (i // g.oh * p.h + i % g.oh * g.sh) * p.w * g.c
        off[chunk * g.oh + i] = i * g.ow * g.f
    tail = <real*>(off + 2 * chunk * g.oh)  # vectors read beyond the last number
    if not wide:
        memcpy(tail, da + (g.n - 1) * size, size * sizeof(real))
    elif padded_rows:
        for i in range(p.h):
            pad_row(g, x + (g.n - 1) * g.h * g.w * g.c, tail, i)
    else:
        memcpy(tail, x + (g.n - 1) * size, size * sizeof(real))
    memset(tail + size, 0, NR * sizeof(real))
    with parallel(num_threads=threads_for(<double>(g.n * g.oh * g.ow) * <double>n_dw)):
        for i in prange(padded_rows, schedule="static"):
            pad_row(g, x, padded, i)
        for i in prange(parts, schedule="dynamic"):
            if wide:
                sum_part_wide(&p, g.n * i // parts, g.n * (i + 1) // parts, chunk, off, source, da, tail,
                              partial + i * n_dw)
            else:
                sum_part(&p, g.n * i // parts, g.n * (i + 1) // parts, chunk, off, source, da, tail,
                         partial + i * n_dw)
    for part in range(parts):
        for i in range(n_dw):
            dw[i] += partial[part * n_dw + i]
    return 0
