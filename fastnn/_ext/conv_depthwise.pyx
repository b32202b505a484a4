"""Convolution with one channel per group: a memory-bound kernel, vectorised over the channels.

Some neighbouring pixels' channels stay in registers over all taps of a window (depthwise.h). The gradient to the
input is the same loop with the taps of conv_plan.pyx; the gradient to the weights keeps the sum of one tap in
registers over a row of pixels.
"""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Axis, Geometry, axis_numbers, fill_axis
from fastnn._ext.threads cimport SLOT_CONV_PARTIAL, SLOT_CONV_ROWS, SLOT_CONV_WEIGHT, scratch, threads_for
from fastnn._ext.vmath cimport activate

cdef extern from "depthwise.h" nogil:
    enum:
        DEPTHWISE_PIXELS, VL_F32, VL_F64
    ctypedef struct depthwise_args:
        int64_t rows, cols, row, col, weight_row, weight_col, next, channels
    void depthwise_pixels_f32(int pixels, const float* x, const float* weight, const float* bias, float* y,
                              const depthwise_args* p)
    void depthwise_pixels_f64(int pixels, const double* x, const double* weight, const double* bias, double* y,
                              const depthwise_args* p)

cdef enum:
    BLOCK = 32    # channels
    PARTS = 16    # of the rows of da, with their own sums


cdef bint is_depthwise(const Geometry* g) noexcept nogil:
    return g.groups == g.c and g.groups == g.f and g.groups > 1


cdef void window(
    const real* source, const real* weight, const real* bias, real* target, const depthwise_args* p
) noexcept nogil:
    """target[c] = bias[c] + sum over the taps of source[tap, c] * weight[tap, c], for few channels."""
    cdef int64_t i, j, c
    cdef real total
    for c in range(p.channels):
        total = 0
        for i in range(p.rows):
            for j in range(p.cols):
                total += source[i * p.row + j * p.col + c] * weight[i * p.weight_row + j * p.weight_col + c]
        target[c] = total if bias == NULL else total + bias[c]


cdef inline bint same_taps(const Axis* w, int64_t x, int64_t n) noexcept nogil:
    """Whether n target pixels from x on have the same taps, and sources that are equally far apart."""
    cdef int64_t k
    if x + n > w.size:
        return False
    for k in range(1, n):
        if (w.begin[x + k] != w.begin[x] or w.end[x + k] != w.end[x]
                or w.source[x + k] - w.source[x + k - 1] != w.source[x + 1] - w.source[x]):
            return False
    return True


cdef void target_row(
    const Geometry* g, const Axis* h, const Axis* w, const real* source, const real* weight, const real* bias,
    real* target, int64_t r, int activation, double alpha,
) noexcept nogil:
    """Row r of the target's images."""
    cdef int64_t VL = VL_F32 if real is float else VL_F64
    cdef int64_t C = g.c, q = r % h.size, x = 0
    cdef int n
    cdef const real* s
    cdef const real* taps
    cdef depthwise_args p
    p.rows, p.row, p.col = h.end[q] - h.begin[q], h.step * w.source_size * C, w.step * C
    p.weight_row, p.weight_col, p.channels = w.n_taps * C, C, C
    source += (r // h.size * h.source_size + h.source[q]) * w.source_size * C
    target += r * w.size * C
    while x < w.size:
        n = DEPTHWISE_PIXELS if C >= VL and same_taps(w, x, DEPTHWISE_PIXELS) else 1
        p.cols, p.next = w.end[x] - w.begin[x], (w.source[x + 1] - w.source[x]) * C if n > 1 else 0
        s, taps = source + w.source[x] * C, weight + (h.begin[q] * w.n_taps + w.begin[x]) * C
        if C < VL:
            window(s, taps, bias, target + x * C, &p)
        elif real is float:
            depthwise_pixels_f32(n, s, taps, bias, target + x * C, &p)
        else:
            depthwise_pixels_f64(n, s, taps, bias, target + x * C, &p)
        x += n
    if activation:
        activate(target, target, w.size * C, activation, <real>alpha)


cdef int run(
    const Geometry* g, const real* source, const real* weight, const real* bias, real* target, int activation,
    double alpha, bint backward,
) noexcept nogil:
    cdef Axis h, w
    cdef int64_t r, th, tw, c, taps = g.kh * g.kw, h_size, w_size
    cdef real* packed = <real*>scratch(SLOT_CONV_WEIGHT, taps * g.c * sizeof(real))
    cdef int64_t* memory
    h_size, w_size = g.h if backward else g.oh, g.w if backward else g.ow
    memory = <int64_t*>scratch(
        SLOT_CONV_ROWS, 8 * (axis_numbers(h_size, g.kh, g.sh) + axis_numbers(w_size, g.kw, g.sw)))
    if packed == NULL or memory == NULL:
        return -1
    memory = fill_axis(&h, memory, h_size, g.oh if backward else g.h, g.kh, g.sh, g.top, g.dh, backward)
    fill_axis(&w, memory, w_size, g.ow if backward else g.w, g.kw, g.sw, g.left, g.dw, backward)
    for th in range(g.kh):
        for tw in range(g.kw):
            for c in range(g.c):
                packed[(th * g.kw + tw) * g.c + c] = weight[(c * g.kh + h.tap[th]) * g.kw + w.tap[tw]]
    cdef int threads = threads_for(<double>(g.n * h.size * w.size * g.c) * <double>taps)
    for r in prange(g.n * h.size, schedule="static", num_threads=threads):
        target_row(g, &h, &w, source, packed, bias, target, r, activation, alpha)
    return 0


cdef inline void add_row(
    const real* x, const real* da, real* total, int64_t pixels, int64_t step, int64_t pixel, int n
) noexcept nogil:
    """total[c] += sum over a row of pixels of da[p, c] * x[p*stride, c], or of da[p, c] if x is NULL"""
    cdef real s[BLOCK]
    cdef int64_t i
    cdef int c
    for c in range(n):
        s[c] = total[c]
    if x == NULL:
        for i in range(pixels):
            for c in range(n):
                s[c] += da[i * pixel + c]
    else:
        for i in range(pixels):
            for c in range(n):
                s[c] += da[i * pixel + c] * x[i * step + c]
    for c in range(n):
        total[c] = s[c]


cdef void sum_rows(
    const Geometry* g, const real* x, const real* da, real* total, int64_t first, int64_t last, bint with_bias
) noexcept nogil:
    """total[tap, c] over rows first .. last of da; behind the taps the sum of da itself."""
    cdef int64_t C = g.c, r, c, kh, kw, ih, iw, low, high, n, block, blocks = (C + BLOCK - 1) // BLOCK
    cdef const real* row
    cdef const real* image
    memset(total, 0, (g.kh * g.kw + 1) * C * sizeof(real))
    for r in range(first, last):
        row = da + r * g.ow * C
        for kh in range(g.kh):
            ih = r % g.oh * g.sh - g.top + kh * g.dh
            if ih < 0 or ih >= g.h:
                continue
            image = x + (r // g.oh * g.h + ih) * g.w * C
            for kw in range(g.kw):
                iw = kw * g.dw - g.left
                low = (g.sw - 1 - iw) // g.sw if iw < 0 else 0
                high = min(g.ow, (g.w - iw + g.sw - 1) // g.sw if iw < g.w else 0)
                for block in range(blocks):
                    c = block * BLOCK
                    n = min(<int64_t>BLOCK, C - c)
                    if low >= high:
                        break
                    if n == BLOCK:
                        add_row(image + (iw + low * g.sw) * C + c, row + low * C + c,
                                total + (kh * g.kw + kw) * C + c, high - low, g.sw * C, C, BLOCK)
                    else:
                        add_row(image + (iw + low * g.sw) * C + c, row + low * C + c,
                                total + (kh * g.kw + kw) * C + c, high - low, g.sw * C, C, <int>n)
        if with_bias:
            for block in range(blocks):
                c = block * BLOCK
                n = min(<int64_t>BLOCK, C - c)
                add_row(<const real*>NULL, row + c, total + g.kh * g.kw * C + c, g.ow, 0, C, <int>n)


cdef int depthwise_forward(
    const Geometry* g, const real* x, const real* weight, const real* bias, real* y, int activation, double alpha
) noexcept nogil:
    return run(g, x, weight, bias, y, activation, alpha, False)


cdef int depthwise_backward_input(const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil:
    return run(g, da, weight, <const real*>NULL, dx, 0, 0.0, True)


cdef int depthwise_backward_weight(
    const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil:
    cdef int64_t taps = g.kh * g.kw, size = (taps + 1) * g.c, rows = g.n * g.oh
    cdef int64_t parts = max(<int64_t>1, min(rows, <int64_t>PARTS)), i, c, t
    cdef real* totals = <real*>scratch(SLOT_CONV_PARTIAL, parts * size * sizeof(real))
    cdef real total
    if totals == NULL:
        return -1
    for i in prange(parts, schedule="static", num_threads=threads_for(<double>(rows * g.ow * g.c) * <double>taps)):
        sum_rows(g, x, da, totals + i * size, rows * i // parts, rows * (i + 1) // parts, db != NULL)
    for c in range(g.c):
        for t in range(taps + 1):
            total = 0
            for i in range(parts):
                total += totals[i * size + t * g.c + c]
            if t < taps:
                dw[c * taps + t] = dw[c * taps + t] + total if accumulate else total
            elif db != NULL:
                db[c] = db[c] + total if accumulate else total
    return 0
