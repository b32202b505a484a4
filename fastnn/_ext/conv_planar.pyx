"""Forward convolution of images of one channel with few filters, as in LeNet's first layer.

Tiles of pixels x filters would leave most lanes of a vector empty. Here the roles are exchanged: the rows of a
tile are filters, read in place, its columns are neighbouring pixels, and the inner loop gathers, for each tap, a
vector of pixels from a zero-padded copy of some rows of the image. The tile is stored transposed.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.threads cimport SLOT_CONV_IMAGE, SLOT_CONV_ROWS, scratch, threads_for
from fastnn._ext.tile cimport *

cdef enum:
    FILTERS = 16        # from here on a vector of filters is full
    BAND = 400_000      # multiplications of an item, about


cdef bint is_planar(const Geometry* g) noexcept nogil:
    return g.c == 1 and g.sw == 1 and g.f < FILTERS


cdef int band(
    const Geometry* g, int64_t image, int64_t first, int64_t last, const int64_t* taps, const real* x,
    const real* weight, const real* bias, real* y, int activation, double alpha,
) noexcept nogil:
    """Output rows first .. last of an image."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t width = g.left + g.w + g.right, height = (last - first - 1) * g.sh + (g.kh - 1) * g.dh + 1
    cdef int64_t r, ih, f, ow, i, K = g.kh * g.kw, zero = 0
    cdef real* padded = <real*>scratch(SLOT_CONV_IMAGE, (height * width + NR) * sizeof(real))
    cdef tile_args t
    cdef int mr
    if padded == NULL:
        return -1
    memset(padded, 0, (height * width + NR) * sizeof(real))
    for r in range(height):
        ih = first * g.sh - g.top + r
        if 0 <= ih < g.h:
            memcpy(padded + r * width + g.left, x + (image * g.h + ih) * g.w, g.w * sizeof(real))
    t.a_step, t.b_off, t.off, t.n_seg, t.seg_len, t.ldb = 1, taps, &zero, 1, K, 0
    t.ldc, t.alpha, t.activation, t.flags = g.f, alpha, activation, TILE_TRANSPOSED
    f = 0
    while f < g.f:
        mr = <int>min(<int64_t>MR, g.f - f)
        t.bias = NULL if bias == NULL else bias + f
        for i in range(mr):
            t.a[i] = weight + (f + i) * K
        for r in range(first, last):
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
    const real* x,        # IN  (N, H, W, 1)
    const real* weight,   # IN  (F, KH, KW, 1)
    const real* bias,     # IN  (F,) or NULL
    real* y,              # OUT (N, OH, OW, F)
    int activation, double alpha,
) noexcept nogil:
    """`y = activation(conv(x, weight) + bias)`; -1 without memory."""
    cdef int64_t width = g.left + g.w + g.right, K = g.kh * g.kw, kh, kw, i
    cdef int64_t rows = min(g.oh, BAND // (g.ow * g.f * K) + 1)
    cdef int64_t bands = (g.oh + rows - 1) // rows
    cdef int64_t* taps = <int64_t*>scratch(SLOT_CONV_ROWS, K * 8)
    cdef int failed = 0
    cdef int* status = &failed
    if taps == NULL:
        return -1
    for kh in range(g.kh):
        for kw in range(g.kw):
            taps[kh * g.kw + kw] = kh * g.dh * width + kw * g.dw
    for i in prange(
        g.n * bands, schedule="dynamic", num_threads=threads_for(<double>(g.n * g.oh * g.ow * g.f) * <double>K)
    ):
        if band(g, i // bands, i % bands * rows, min(g.oh, (i % bands + 1) * rows), taps, x, weight, bias, y,
                activation, alpha):
            status[0] = -1
    return failed
