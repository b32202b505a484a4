"""Changes of images that keep the label (the notes, S6.2): moved, partly erased, with other contrast and brightness.

Coordinates are integers in units of 2^-32 pixel, which every processor computes alike: which pixels are read does
not depend on the instruction set, and whole shifts, flips and turns by 90 degrees are exact.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.threads cimport threads_for
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy
from numpy cimport PyArray_DATA

import numpy as np

cnp.import_array()

cdef enum:
    CONSTANT = 0  # how pixels outside the image are filled
    NEAREST = 1
    REFLECT = 2
    LANES = 16    # partial sums of a mean

cdef int64_t ONE = <int64_t>1 << 32  # a pixel
cdef double UNIT = 1.0 / 4294967296.0
cdef dict FILLS = {"constant": CONSTANT, "nearest": NEAREST, "reflect": REFLECT}

ctypedef struct Images:  # what is the same for all rows
    int64_t h, w, c, out_h, out_w
    int fill
    bint bilinear


# Moved images

cdef int64_t inside(int64_t i, int64_t n, int fill) noexcept nogil:
    """The index in 0 ... n - 1 that is read for i; -1 for the constant."""
    cdef int64_t period = 2 * (n - 1)
    if 0 <= i < n:
        return i
    if fill == CONSTANT:
        return -1
    if fill == NEAREST or period == 0:
        return 0 if i < 0 else n - 1
    i %= period
    if i < 0:
        i += period
    return i if i < n else period - i


cdef inline const real* pixel(
    const real* x, const real* constant, int64_t r, int64_t c, const Images* im
) noexcept nogil:
    r = inside(r, im.h, im.fill)
    c = inside(c, im.w, im.fill)
    return constant if r < 0 or c < 0 else x + (r * im.w + c) * im.c


cdef void copied_row(
    const real* x, const real* constant, real* y, int64_t r, int64_t c, int64_t dc, const Images* im
) noexcept nogil:
    """Pixels (r, c), (r, c + dc), ..., dc = 1 or -1; those inside the image at once."""
    cdef int64_t j, k, row = inside(r, im.h, im.fill)
    cdef int64_t first = -c if dc == 1 else c - im.w + 1  # the first and last columns j of y that are inside
    cdef int64_t last = im.w - c if dc == 1 else c + 1
    cdef const real* p
    first = min(max(first, 0), im.out_w) if row >= 0 else im.out_w
    last = min(max(last, first), im.out_w)
    for j in range(first):
        memcpy(y + j * im.c, pixel(x, constant, r, c + j * dc, im), im.c * sizeof(real))
    if dc == 1 and first < last:
        memcpy(y + first * im.c, x + (row * im.w + c + first) * im.c, (last - first) * im.c * sizeof(real))
    elif dc == -1:
        for j in range(first, last):
            p = x + (row * im.w + c - j) * im.c
            for k in range(im.c):
                y[j * im.c + k] = p[k]
    for j in range(last, im.out_w):
        memcpy(y + j * im.c, pixel(x, constant, r, c + j * dc, im), im.c * sizeof(real))


cdef inline void blended(
    const real* x, const real* constant, real* y, int64_t r, int64_t c, int64_t channels, const Images* im
) noexcept nogil:
    """The pixel between four; one of weight 0 is not read, so that whole coordinates are exact."""
    cdef int64_t r0 = r >> 32, c0 = c >> 32, k
    cdef uint32_t part_r = <uint32_t>r, part_c = <uint32_t>c  # the lower halves
    cdef real fr = <real>(part_r * UNIT), fc = <real>(part_c * UNIT), top, bottom
    cdef const real* a
    cdef const real* b
    cdef const real* d
    cdef const real* e
    if 0 <= r0 < im.h - 1 and 0 <= c0 < im.w - 1 and part_r and part_c:
        a = x + (r0 * im.w + c0) * channels
        b = a + channels
        d = a + im.w * channels
        e = d + channels
    else:
        a = pixel(x, constant, r0, c0, im)
        b = pixel(x, constant, r0, c0 + 1, im) if part_c else a
        d = pixel(x, constant, r0 + 1, c0, im) if part_r else a
        e = pixel(x, constant, r0 + 1, c0 + 1, im) if part_r and part_c else d
    for k in range(channels):
        top = a[k] + fc * (b[k] - a[k])
        bottom = d[k] + fc * (e[k] - d[k])
        y[k] = top + fr * (bottom - top)


cdef void warped_row(
    const real* x, const real* constant, real* y, const int64_t* m, int64_t i, const Images* im
) noexcept nogil:
    """Row i of one image: pixel j comes from row m0 i + m1 j + m2 and column m3 i + m4 j + m5 of x."""
    cdef int64_t r = m[0] * i + m[2], c = m[3] * i + m[5], dr = m[1], dc = m[4], j
    if not im.bilinear:
        r += ONE >> 1
        c += ONE >> 1
    if dr == 0 and (dc == ONE or dc == -ONE) and (not im.bilinear or <uint32_t>(r | c) == 0):
        copied_row(x, constant, y, r >> 32, c >> 32, dc // ONE, im)
    elif not im.bilinear:
        for j in range(im.out_w):
            memcpy(y + j * im.c, pixel(x, constant, (r + j * dr) >> 32, (c + j * dc) >> 32, im), im.c * sizeof(real))
    elif im.c == 1:  # the usual numbers of channels, unrolled
        for j in range(im.out_w):
            blended(x, constant, y + j, r + j * dr, c + j * dc, 1, im)
    elif im.c == 3:
        for j in range(im.out_w):
            blended(x, constant, y + 3 * j, r + j * dr, c + j * dc, 3, im)
    else:
        for j in range(im.out_w):
            blended(x, constant, y + j * im.c, r + j * dr, c + j * dc, im.c, im)


cdef void warp(
    const real* x, const real* constant, real* y, const int64_t* matrix, int64_t n, const Images* im
) noexcept nogil:
    cdef int64_t row, rows = n * im.out_h, size = im.h * im.w * im.c, length = im.out_w * im.c
    for row in prange(rows, schedule="static", num_threads=threads_for(4.0 * rows * length)):
        warped_row(x + row // im.out_h * size, constant, y + row * length, matrix + row // im.out_h * 6,
                   row % im.out_h, im)


def warp_images(
    cnp.ndarray x,       # IN  (N, H, W, C)
    cnp.ndarray y,       # OUT (N, OH, OW, C), not x
    cnp.ndarray matrix,  # IN  (N, 2, 3) float64
    str fill="constant",
    double value=0.0,
    str interpolation="bilinear",
):
    """Pixel (i, j) of y comes from row m00 i + m01 j + m02 and column m10 i + m11 j + m12 of x."""
    cdef Images im
    cdef int typenum = real_type(x, "x")
    check(x, "x", 4, typenum)
    check(y, "y", 4, typenum)
    check(matrix, "matrix", 3, cnp.NPY_FLOAT64)
    cdef int64_t n = x.shape[0]
    check_shape(y, "y", 0, n)
    check_shape(y, "y", 3, x.shape[3])
    check_shape(matrix, "matrix", 0, n)
    check_shape(matrix, "matrix", 1, 2)
    check_shape(matrix, "matrix", 2, 3)
    if fill not in FILLS:
        raise ValueError(f"fill: expected one of {', '.join(FILLS)}. Received: {fill!r}")
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f"interpolation: expected 'bilinear' or 'nearest'. Received: {interpolation!r}")
    if cnp.PyArray_SIZE(y) == 0:
        return
    if cnp.PyArray_SIZE(x) == 0 or PyArray_DATA(x) == PyArray_DATA(y):
        raise ValueError(
            f"x: expected images of at least one pixel, other than y. Received: shape={(<object>x).shape}"
        )
    if not (np.abs(matrix) @ (y.shape[1], y.shape[2], 1.0) < 2.0**30).all():
        raise ValueError("matrix: expected coordinates below 2^30. Received: larger ones, infinite or NaN")
    im.h, im.w, im.c, im.out_h, im.out_w = x.shape[1], x.shape[2], x.shape[3], y.shape[1], y.shape[2]
    im.fill, im.bilinear = FILLS[fill], interpolation == "bilinear"
    cdef cnp.ndarray fixed = np.rint(matrix * 2.0**32).astype(np.int64)
    cdef cnp.ndarray constant = np.full(x.shape[3], value, x.dtype)
    cdef void* px = PyArray_DATA(x)
    cdef void* py = PyArray_DATA(y)
    cdef void* pc = PyArray_DATA(constant)
    cdef const int64_t* pm = <const int64_t*>PyArray_DATA(fixed)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            warp[float](<float*>px, <float*>pc, <float*>py, pm, n, &im)
        else:
            warp[double](<double*>px, <double*>pc, <double*>py, pm, n, &im)


# Partly erased images

cdef void erased_row(const real* x, real* y, int64_t length, int64_t first, int64_t last, real value) noexcept nogil:
    cdef int64_t k
    if x != y:
        memcpy(y, x, length * sizeof(real))
    for k in range(first, last):
        y[k] = value


cdef void erase(const real* x, real* y, const int64_t* boxes, double value, int64_t n, const Images* im) noexcept nogil:
    cdef int64_t row, i, last, rows = n * im.h, length = im.w * im.c
    cdef const int64_t* box
    for row in prange(rows, schedule="static", num_threads=threads_for(1.0 * rows * length)):
        box = boxes + row // im.h * 4
        i = row % im.h
        last = box[3] if box[0] <= i < box[1] else box[2]
        erased_row(x + row * length, y + row * length, length, box[2] * im.c, last * im.c, <real>value)


def erase_images(
    cnp.ndarray x,      # IN  (N, H, W, C)
    cnp.ndarray y,      # OUT (N, H, W, C); may be x
    cnp.ndarray boxes,  # IN  (N, 4) int64: top, bottom, left, right
    double value=0.0,
):
    """y = x, but `value` in the rows from top to bottom - 1 and the columns from left to right - 1."""
    cdef Images im
    cdef int typenum = real_type(x, "x")
    check(x, "x", 4, typenum)
    check_like(y, "y", x, "x", typenum)
    check(boxes, "boxes", 2, cnp.NPY_INT64)
    cdef int64_t n = x.shape[0], i
    check_shape(boxes, "boxes", 0, n)
    check_shape(boxes, "boxes", 1, 4)
    im.h, im.w, im.c = x.shape[1], x.shape[2], x.shape[3]
    cdef const int64_t* box = <const int64_t*>PyArray_DATA(boxes)
    for i in range(n):
        if not (0 <= box[4 * i] <= box[4 * i + 1] <= im.h and 0 <= box[4 * i + 2] <= box[4 * i + 3] <= im.w):
            raise ValueError(
                f"boxes: expected 0 <= top <= bottom <= {im.h} and 0 <= left <= right <= {im.w}. "
                f"Received: {boxes[i].tolist()} for image {i}"
            )
    cdef void* px = PyArray_DATA(x)
    cdef void* py = PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            erase[float](<float*>px, <float*>py, box, value, n, &im)
        else:
            erase[double](<double*>px, <double*>py, box, value, n, &im)


# Contrast and brightness

cdef double mean(const real* x, int64_t n) noexcept nogil:
    """Lane k sums x[k], x[k + LANES], ..., which the processor does for all lanes at once."""
    cdef double[LANES] sums
    cdef double total = 0
    cdef int64_t i = 0, k
    for k in range(LANES):
        sums[k] = 0
    while i + LANES <= n:
        for k in range(LANES):
            sums[k] += x[i + k]
        i += LANES
    for k in range(n - i):
        sums[k] += x[i + k]
    for k in range(LANES):
        total += sums[k]
    return total / n


cdef void adjusted(
    const real* x, real* y, int64_t n, double contrast, double brightness, real low, real high
) noexcept nogil:
    cdef real scale = <real>contrast, shift = <real>brightness, v
    cdef int64_t i
    if contrast != 1:
        shift = <real>(brightness + (1 - contrast) * mean(x, n))
    for i in range(n):
        v = scale * x[i] + shift
        v = low if v < low else v
        y[i] = high if v > high else v


cdef void adjust(
    const real* x, real* y, const double* contrast, const double* brightness, double low, double high, int64_t n,
    int64_t size
) noexcept nogil:
    cdef int64_t i
    for i in prange(n, schedule="static", num_threads=threads_for(2.0 * n * size)):
        adjusted(x + i * size, y + i * size, size, contrast[i], brightness[i], <real>low, <real>high)


def adjust_images(
    cnp.ndarray x,           # IN  (N, H, W, C)
    cnp.ndarray y,           # OUT (N, H, W, C); may be x
    cnp.ndarray contrast,    # IN  (N,) float64
    cnp.ndarray brightness,  # IN  (N,) float64
    low=None,
    high=None,
):
    """y = contrast (x - mean) + mean + brightness, cut to [low, high]; the mean is that of the image."""
    cdef double least = -INFINITY if low is None else low, most = INFINITY if high is None else high
    cdef int typenum = real_type(x, "x")
    check(x, "x", 4, typenum)
    check_like(y, "y", x, "x", typenum)
    check(contrast, "contrast", 1, cnp.NPY_FLOAT64)
    check(brightness, "brightness", 1, cnp.NPY_FLOAT64)
    cdef int64_t n = x.shape[0], size = x.shape[1] * x.shape[2] * x.shape[3]
    check_shape(contrast, "contrast", 0, n)
    check_shape(brightness, "brightness", 0, n)
    if not least <= most:
        raise ValueError(f"low, high: expected low <= high. Received: low={low}, high={high}")
    cdef void* px = PyArray_DATA(x)
    cdef void* py = PyArray_DATA(y)
    cdef const double* pc = <const double*>PyArray_DATA(contrast)
    cdef const double* pb = <const double*>PyArray_DATA(brightness)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            adjust[float](<float*>px, <float*>py, pc, pb, least, most, n, size)
        else:
            adjust[double](<double*>px, <double*>py, pc, pb, least, most, n, size)
