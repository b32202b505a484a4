"""Convolution through an explicit matrix of windows, the form of the textbooks:

    cols = im2col(x)                 (N*OH*OW, KH*KW*C), one window per row
    y    = cols @ w.T + bias         w is (F, KH*KW*C)
    dx   = col2im(da @ w)            col2im is the transpose of im2col
    dw   = da.T @ cols

The matrix is KH*KW times as large as the image, so it is made for a few images at a time.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_bias cimport bias_gradient
from fastnn._ext.conv_plan cimport Axis, Geometry, axis_numbers, fill_axis
from fastnn._ext.gemm cimport gemm_core
from fastnn._ext.threads cimport SLOT_CONV_IMAGE, SLOT_CONV_ROWS, scratch, threads_for

cdef enum:
    CHUNK = 4 * 1024 * 1024   # bytes of the matrix that are made at a time: they stay in the caches


cdef void window_row(const Geometry* g, int64_t group, int64_t r, const real* x, real* cols) noexcept nogil:
    """The windows of output row r of the n * oh."""
    cdef int64_t cg = g.c // g.groups, ih, iw, ow, kh, kw
    cdef const real* image = x + r // g.oh * g.h * g.w * g.c + group * cg
    for ow in range(g.ow):
        for kh in range(g.kh):
            ih = r % g.oh * g.sh - g.top + kh * g.dh
            for kw in range(g.kw):
                iw = ow * g.sw - g.left + kw * g.dw
                if 0 <= ih < g.h and 0 <= iw < g.w:
                    memcpy(cols, image + (ih * g.w + iw) * g.c, cg * sizeof(real))
                else:
                    memset(cols, 0, cg * sizeof(real))
                cols += cg


cdef void image_to_columns(
    const Geometry* g, int64_t group, int64_t first, int64_t last,
    const real* x,   # IN  (N, H, W, C)
    real* cols,      # OUT ((last - first)*OH*OW, KH*KW*C // groups)
) noexcept nogil:
    cdef int64_t r, size = g.ow * g.kh * g.kw * (g.c // g.groups)
    cdef int threads = threads_for(<double>((last - first) * g.oh * size))
    for r in prange(first * g.oh, last * g.oh, schedule="static", num_threads=threads):
        window_row(g, group, r, x, cols + (r - first * g.oh) * size)


cdef void image_row(
    const Geometry* g, const Axis* h, const Axis* w, int64_t group, int64_t first, int64_t r, const real* cols,
    real* x,
) noexcept nogil:
    """Row r of the n * h rows of x: each pixel is the sum of its entries in all windows that see it."""
    cdef int64_t cg = g.c // g.groups, iw, th, tw, row, c, i
    cdef int64_t ih = r % g.h, image = (r // g.h - first) * g.oh
    cdef const real* entry
    cdef real* out
    for iw in range(g.w):
        out = x + (r * g.w + iw) * g.c + group * cg
        for c in range(cg):
            out[c] = 0
        for th in range(h.begin[ih], h.end[ih]):
            row = image + h.source[ih] + (th - h.begin[ih]) * h.step
            for tw in range(w.begin[iw], w.end[iw]):
                i = row * g.ow + w.source[iw] + (tw - w.begin[iw]) * w.step
                entry = cols + ((i * g.kh + h.tap[th]) * g.kw + w.tap[tw]) * cg
                for c in range(cg):
                    out[c] += entry[c]


cdef int columns_to_image(
    const Geometry* g, int64_t group, int64_t first, int64_t last,
    const real* cols,   # IN  ((last - first)*OH*OW, KH*KW*C // groups)
    real* x,            # OUT (N, H, W, C), images first .. last
) noexcept nogil:
    cdef Axis h, w
    cdef int64_t r
    cdef int64_t* memory = <int64_t*>scratch(
        SLOT_CONV_ROWS, 8 * (axis_numbers(g.h, g.kh, g.sh) + axis_numbers(g.w, g.kw, g.sw)))
    if memory == NULL:
        return -1
    memory = fill_axis(&h, memory, g.h, g.oh, g.kh, g.sh, g.top, g.dh, True)
    fill_axis(&w, memory, g.w, g.ow, g.kw, g.sw, g.left, g.dw, True)
    cdef int threads = threads_for(<double>((last - first) * g.h * g.w * (g.c // g.groups)) * <double>(g.kh * g.kw))
    for r in prange(first * g.h, last * g.h, schedule="static", num_threads=threads):
        image_row(g, &h, &w, group, first, r, cols, x)
    return 0


cdef int64_t images_per_chunk(const Geometry* g, int64_t n_bytes) noexcept nogil:
    cdef int64_t image = g.oh * g.ow * g.kh * g.kw * (g.c // g.groups) * n_bytes
    return max(<int64_t>1, min(g.n, CHUNK // max(<int64_t>1, image)))


cdef int im2col_forward(
    const Geometry* g, const real* x, const real* weight, const real* bias, real* y, int activation, double alpha
) noexcept nogil:
    cdef int64_t K = g.kh * g.kw * (g.c // g.groups), F = g.f // g.groups, pixels = g.oh * g.ow
    cdef int64_t chunk = images_per_chunk(g, sizeof(real)), first, last, group
    cdef real* cols = <real*>scratch(SLOT_CONV_IMAGE, chunk * pixels * K * sizeof(real))
    cdef const real* group_bias
    if cols == NULL:
        return -1
    first = 0
    while first < g.n:
        last = min(first + chunk, g.n)
        for group in range(g.groups):
            image_to_columns(g, group, first, last, x, cols)
            group_bias = bias
            if bias != NULL:
                group_bias = bias + group * F
            if gemm_core(
                (last - first) * pixels, F, K, cols, K, 1, weight + group * F * K, 1, K,
                y + first * pixels * g.f + group * F, g.f, group_bias, activation, alpha, False,
                threads_for(<double>((last - first) * pixels * F) * <double>K),
            ):
                return -1
        first = last
    return 0


cdef int im2col_backward_input(const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil:
    cdef int64_t K = g.kh * g.kw * (g.c // g.groups), F = g.f // g.groups, pixels = g.oh * g.ow
    cdef int64_t chunk = images_per_chunk(g, sizeof(real)), first, last, group
    cdef real* cols = <real*>scratch(SLOT_CONV_IMAGE, chunk * pixels * K * sizeof(real))
    if cols == NULL:
        return -1
    first = 0
    while first < g.n:
        last = min(first + chunk, g.n)
        for group in range(g.groups):
            if gemm_core(
                (last - first) * pixels, K, F, da + first * pixels * g.f + group * F, g.f, 1,
                weight + group * F * K, K, 1, cols, K, <const real*>NULL, 0, 0.0, False,
                threads_for(<double>((last - first) * pixels * F) * <double>K),
            ):
                return -1
            if columns_to_image(g, group, first, last, cols, dx):
                return -1
        first = last
    return 0


cdef int im2col_backward_weight(
    const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil:
    cdef int64_t K = g.kh * g.kw * (g.c // g.groups), F = g.f // g.groups, pixels = g.oh * g.ow
    cdef int64_t chunk = images_per_chunk(g, sizeof(real)), first, last, group
    cdef real* cols = <real*>scratch(SLOT_CONV_IMAGE, chunk * pixels * K * sizeof(real))
    if cols == NULL:
        return -1
    if not accumulate:
        memset(dw, 0, g.f * K * sizeof(real))
    first = 0
    while first < g.n:
        last = min(first + chunk, g.n)
        for group in range(g.groups):
            image_to_columns(g, group, first, last, x, cols)
            if gemm_core(
                F, K, (last - first) * pixels, da + first * pixels * g.f + group * F, 1, g.f, cols, K, 1,
                dw + group * F * K, K, <const real*>NULL, 0, 0.0, True,
                threads_for(<double>((last - first) * pixels * F) * <double>K),
            ):
                return -1
        first = last
    return 0 if db == NULL else bias_gradient(g, da, db, accumulate)
