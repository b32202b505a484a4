"""Direct convolution with few output channels, as in LeNet's first layer and the gradient to its second's input.

Tiles of pixels x channels would leave most lanes of a vector empty. Here the roles are exchanged: the rows of a
tile are output channels, whose weights are read in place, its columns are neighbouring pixels, and the inner loop
gathers, for each tap, a vector of pixels from a zero-padded copy of some rows, one plane per channel. The tile is
stored transposed. Short rows share a tile: the columns between them, which belong to the padding, are left out when
it is copied to its place. With stride 1 the gradient to the input is a convolution with the window turned round.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.threads cimport SLOT_CONV_IMAGE, SLOT_CONV_ROWS, SLOT_CONV_WEIGHT, scratch, threads_for
from fastnn._ext.tile cimport *

cdef enum:
    BAND = 400_000      # multiplications of an item, about
    REFUSED = 1         # not a case for this module


cdef bint planar_pays(const Geometry* g, real* unused) noexcept nogil:
    """Tiles of pixels take about OW/2 cycles for a tap of a row, tiles of channels F/2 for each vector of pixels."""
    cdef int64_t VL = (NR_F32 if real is float else NR_F64) // 2
    return (g.groups == 1 and g.sw == 1 and g.left >= 0 and g.f <= VL
            and g.f * ((g.ow + VL - 1) // VL) * 5 <= g.ow * 4)


cdef void copy_row(const real* x, real* plane, int64_t pixels, int64_t channels, int64_t size) noexcept nogil:
    """plane[c, p] = x[p, c]"""
    cdef int64_t p, c
    if channels == 1:
        memcpy(plane, x, pixels * sizeof(real))
        return
    for p in range(pixels):
        for c in range(channels):
            plane[c * size + p] = x[p * channels + c]


cdef int64_t rows_together(const Geometry* g, int64_t width, real* unused) noexcept nogil:
    """Output rows that one tile holds with the columns between them; rows of one are stored at once."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    return (NR - g.ow) // width + 1 if g.sh == 1 and g.ow < NR else 1


cdef inline int64_t first_tap(const Geometry* g, int64_t r) noexcept nogil:
    """Kernel rows first_tap .. end_tap of output row r see the image; both fall from row to row."""
    cdef int64_t ih = r * g.sh - g.top
    return min(g.kh, (g.dh - 1 - ih) // g.dh if ih < 0 else 0)


cdef inline int64_t end_tap(const Geometry* g, int64_t r) noexcept nogil:
    cdef int64_t ih = r * g.sh - g.top
    return min(g.kh, (g.h - ih + g.dh - 1) // g.dh if ih < g.h else 0)


cdef void copy_filters(const real* source, real* target, int64_t pixels, int64_t F, int64_t n) noexcept nogil:
    """The first n of F filters of some pixels."""
    cdef int64_t p, f
    if n == F:
        memcpy(target, source, pixels * F * sizeof(real))
        return
    for p in range(pixels):
        for f in range(n):
            target[p * F + f] = source[p * F + f]


cdef int band(
    const Geometry* g, int64_t image, int64_t first, int64_t last, int64_t width, int64_t plane, const int64_t* taps,
    const real* x, const real* weight, const real* bias, real* y, int activation, double alpha,
) noexcept nogil:
    """Output rows first .. last of an image."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t r, ih, f, ow, i, low, high, row = g.kw * g.c, K = g.kh * row, zero = 0
    cdef int64_t together = rows_together(g, width, y), n_rows
    cdef real* padded = <real*>scratch(SLOT_CONV_IMAGE, (plane * g.c + NR + NR * g.f) * sizeof(real))
    cdef real* several = padded + plane * g.c + NR   # (NR, F), the tile of rows that share one
    cdef tile_args t
    cdef int mr
    if padded == NULL:
        return -1
    memset(padded, 0, (plane * g.c + NR) * sizeof(real))
    for r in range((last - first - 1) * g.sh + (g.kh - 1) * g.dh + 1):
        ih = first * g.sh - g.top + r
        if 0 <= ih < g.h and g.left < width:
            copy_row(x + (image * g.h + ih) * g.w * g.c, padded + r * width + g.left, min(g.w, width - g.left), g.c,
                     plane)
    t.a_step, t.off, t.n_seg, t.ldb = 1, &zero, 1, 0
    t.ldc, t.alpha, t.activation, t.flags = g.f, alpha, activation, TILE_TRANSPOSED
    f = 0
    while f < g.f:
        mr = <int>min(<int64_t>MR, g.f - f)
        t.bias = NULL
        if bias != NULL:
            t.bias = bias + f
        r = first
        while together > 1 and r < last:
            n_rows = min(together, last - r)
            low = first_tap(g, r + n_rows - 1)
            high = max(low, end_tap(g, r))
            t.b_off, t.seg_len = taps + low * row, (high - low) * row
            t.b, t.out[0] = padded + (r - first) * width, several
            for i in range(mr):
                t.a[i] = weight + (f + i) * K + low * row
            if real is float:
                tile_gather_f32(mr, <int>((n_rows - 1) * width + g.ow), &t)
            else:
                tile_gather_f64(mr, <int>((n_rows - 1) * width + g.ow), &t)
            for i in range(n_rows):
                copy_filters(several + i * width * g.f, y + ((image * g.oh + r + i) * g.ow) * g.f + f, g.ow, g.f, mr)
            r += n_rows
        for r in range(r, last):
            low = first_tap(g, r)
            high = max(low, end_tap(g, r))
            t.b_off, t.seg_len = taps + low * row, (high - low) * row
            for i in range(mr):
                t.a[i] = weight + (f + i) * K + low * row
            ow = 0
            while ow < g.ow:
                t.b = padded + (r - first) * g.sh * width + ow
                t.out[0] = y + ((image * g.oh + r) * g.ow + ow) * g.f + f
                if real is float:
                    tile_gather_f32(mr, <int>min(NR, g.ow - ow), &t)
                else:
                    tile_gather_f64(mr, <int>min(NR, g.ow - ow), &t)
                ow += NR
        f += MR
    return 0


cdef int planar_forward(
    const Geometry* g,
    const real* x,        # IN  (N, H, W, C)
    const real* weight,   # IN  (F, KH, KW, C)
    const real* bias,     # IN  (F,) or NULL
    real* y,              # OUT (N, OH, OW, F)
    int activation, double alpha,
) noexcept nogil:
    """`y = activation(conv(x, weight) + bias)`; -1 without memory, 1 if there is a better way."""
    cdef int64_t K = g.kh * g.kw * g.c, width = g.ow + (g.kw - 1) * g.dw, plane, rows, bands, kh, kw, c, i
    cdef int64_t* taps
    cdef int failed = 0
    cdef int* status = &failed
    if not planar_pays(g, y):
        return REFUSED
    rows = min(g.oh, BAND // max(<int64_t>1, g.ow * g.f * K) + 1)
    bands = (g.oh + rows - 1) // rows
    plane = ((rows - 1) * g.sh + (g.kh - 1) * g.dh + 1) * width
    taps = <int64_t*>scratch(SLOT_CONV_ROWS, K * 8)
    if taps == NULL:
        return -1
    for kh in range(g.kh):
        for kw in range(g.kw):
            for c in range(g.c):
                taps[(kh * g.kw + kw) * g.c + c] = c * plane + kh * g.dh * width + kw * g.dw
    for i in prange(
        g.n * bands, schedule="dynamic", num_threads=threads_for(<double>(g.n * g.oh * g.ow * g.f) * <double>K)
    ):
        if band(g, i // bands, i % bands * rows, min(g.oh, (i % bands + 1) * rows), width, plane, taps, x, weight,
                bias, y, activation, alpha):
            status[0] = -1
    return failed


cdef int planar_backward_input(
    const Geometry* g,
    const real* da,       # IN  (N, OH, OW, F)
    const real* weight,   # IN  (F, KH, KW, C)
    real* dx,             # OUT (N, H, W, C)
) noexcept nogil:
    """dx = conv(da, turned weight) with the padding that reaches all of x; else as `planar_forward`."""
    cdef Geometry t = g[0]
    cdef int64_t taps = g.kh * g.kw, f, k, c
    cdef real* turned
    t.h, t.w, t.c, t.oh, t.ow, t.f = g.oh, g.ow, g.f, g.h, g.w, g.c
    t.top, t.left = (g.kh - 1) * g.dh - g.top, (g.kw - 1) * g.dw - g.left
    if g.sh > 1 or not planar_pays(&t, dx):
        return REFUSED
    turned = <real*>scratch(SLOT_CONV_WEIGHT, g.c * taps * g.f * sizeof(real))
    if turned == NULL:
        return -1
    for f in range(g.f):
        for k in range(taps):
            for c in range(g.c):
                turned[(c * taps + taps - 1 - k) * g.f + f] = weight[(f * taps + k) * g.c + c]
    return planar_forward(&t, da, turned, <const real*>NULL, dx, 0, 0.0)
