"""Max, average and global average pooling over channels-last images.

Channels go one vector at a time (pooling.h). With fewer channels than a vector has lanes it reaches into
the next pixels: what it reads there is discarded, what it writes there is written again with the next pixel.
Only at the end of an array, or of the rows that one thread owns, does it read or write fewer.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.threads cimport SLOT_REDUCE, scratch, threads_for
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

cnp.import_array()

cdef extern from "pooling.h" nogil:
    int VL_F32, VL_F64
    void pool_max_f32(const float* x, float* y, uint8_t* index, int64_t kh, int64_t kw, int64_t row,
                      int64_t pixel, int64_t first, int64_t pw, int n_in, int n_out)
    void pool_max_f64(const double* x, double* y, uint8_t* index, int64_t kh, int64_t kw, int64_t row,
                      int64_t pixel, int64_t first, int64_t pw, int n_in, int n_out)
    void pool_sum_f32(const float* x, float* y, int64_t kh, int64_t kw, int64_t row, int64_t pixel,
                      float scale, int n_in, int n_out)
    void pool_sum_f64(const double* x, double* y, int64_t kh, int64_t kw, int64_t row, int64_t pixel,
                      double scale, int n_in, int n_out)
    void pool_gather_f32(const float* dy, const uint8_t* index, float* dx, int64_t kh, int64_t kw, int64_t row,
                         int64_t pixel, int64_t first, int64_t down, int64_t right, int n_in, int n_out)
    void pool_gather_f64(const double* dy, const uint8_t* index, double* dx, int64_t kh, int64_t kw, int64_t row,
                         int64_t pixel, int64_t first, int64_t down, int64_t right, int n_in, int n_out)
    void pool_spread_f32(const float* dy, const uint8_t* index, float* dx, int64_t kw, int64_t pixel,
                         int64_t first, float scale, int n_in, int n_out)
    void pool_spread_f64(const double* dy, const uint8_t* index, double* dx, int64_t kw, int64_t pixel,
                         int64_t first, double scale, int n_in, int n_out)

cdef enum:
    RUN = 4096     # elements of the rows that one thread owns, about
    CHUNK = 64     # channels that one owner of the global average sums
    PARTIAL = 64   # pixels summed in the array's dtype before they are added to a float64 sum
    MAX = 0
    MAX_INDEX = 1
    AVERAGE = 2

ctypedef struct Geometry:
    int64_t n, h, w, c, oh, ow       # x (n, h, w, c), y (n, oh, ow, c)
    int64_t ph, pw, sh, sw, top, left
    bint padded, count_include_pad


cdef inline int64_t begin(int64_t start) noexcept nogil:
    """First offset of a window that begins at `start` which is not before the image."""
    return -start if start < 0 else 0


cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef inline int64_t window_count(const Geometry* p, int64_t oh, int64_t ow) noexcept nogil:
    """What an average divides by."""
    if p.count_include_pad:
        return p.ph * p.pw
    cdef int64_t ih = oh * p.sh - p.top, iw = ow * p.sw - p.left
    return (smaller(p.ph, p.h - ih) - begin(ih)) * (smaller(p.pw, p.w - iw) - begin(iw))


cdef void forward_row(
    const real* x, real* y, uint8_t* index, const Geometry* p, int64_t r, int64_t y_end, int op
) noexcept nogil:
    """Row r of the n * oh rows of y; the thread owns y up to y_end."""
    cdef int vl = VL_F64 if sizeof(real) == 8 else VL_F32
    cdef int64_t oh = r % p.oh, ih = oh * p.sh - p.top
    cdef int64_t kh0 = begin(ih), kh = smaller(p.ph, p.h - ih) - kh0
    cdef int64_t row = p.w * p.c, x_end = p.n * p.h * row, x_row = ((r // p.oh) * p.h + ih + kh0) * row
    cdef int64_t ow, iw, kw0, kw, c, at, at_y
    cdef int n_in, n_out
    cdef real scale = 1
    for ow in range(p.ow):
        iw = ow * p.sw - p.left
        kw0 = begin(iw)
        kw = smaller(p.pw, p.w - iw) - kw0
        if op == AVERAGE:
            scale = <real>1 / <real>window_count(p, oh, ow)
        c = 0
        while c < p.c:
            if c + vl > p.c >= vl:
                c = p.c - vl  # the last vector overlaps the one before
            at = x_row + (iw + kw0) * p.c + c
            at_y = (r * p.ow + ow) * p.c + c
            n_in = n_out = vl
            if p.c < vl:
                n_in = vl if at + (kh - 1) * row + (kw - 1) * p.c + vl <= x_end else <int>p.c
                n_out = vl if at_y + vl <= y_end else <int>p.c
            if op == MAX:
                if real is float:
                    pool_max_f32(x + at, y + at_y, NULL, kh, kw, row, p.c, 0, 0, n_in, n_out)
                else:
                    pool_max_f64(x + at, y + at_y, NULL, kh, kw, row, p.c, 0, 0, n_in, n_out)
            elif op == MAX_INDEX:
                if real is float:
                    pool_max_f32(x + at, y + at_y, index + at_y, kh, kw, row, p.c, kh0 * p.pw + kw0, p.pw,
                                 n_in, n_out)
                else:
                    pool_max_f64(x + at, y + at_y, index + at_y, kh, kw, row, p.c, kh0 * p.pw + kw0, p.pw,
                                 n_in, n_out)
            elif real is float:
                pool_sum_f32(x + at, y + at_y, kh, kw, row, p.c, scale, n_in, n_out)
            else:
                pool_sum_f64(x + at, y + at_y, kh, kw, row, p.c, scale, n_in, n_out)
            c += vl


cdef void gather_row(
    const real* dy, uint8_t* index, real* dx, const Geometry* p, real scale, int64_t r, int64_t dx_end
) noexcept nogil:
    """Row r of the n * h rows of dx: each pixel gathers from the windows that hold it, in order."""
    cdef int vl = VL_F64 if sizeof(real) == 8 else VL_F32
    cdef int64_t row = p.ow * p.c, dy_end = p.n * p.oh * row
    cdef int64_t ih = r % p.h + p.top  # in the padded image
    cdef int64_t oh0 = (begin(p.ph - 1 - ih) + p.sh - 1) // p.sh, kh = smaller(p.oh, ih // p.sh + 1) - oh0
    cdef int64_t dy_row = ((r // p.h) * p.oh + oh0) * row
    cdef int64_t ow0 = 0, ow1 = 0, w, iw, kw, c, at, at_dx, first
    cdef int n_in, n_out
    for w in range(p.w):
        iw = w + p.left
        while ow0 * p.sw + p.pw <= iw:  # windows that end before this pixel
            ow0 += 1
        while ow1 < p.ow and ow1 * p.sw <= iw:  # windows that begin before or on it
            ow1 += 1
        kw = ow1 - ow0
        first = (ih - oh0 * p.sh) * p.pw + iw - ow0 * p.sw
        c = 0
        while c < p.c:
            if c + vl > p.c >= vl:
                c = p.c - vl
            at = dy_row + ow0 * p.c + c
            at_dx = (r * p.w + w) * p.c + c
            n_in = n_out = vl
            if p.c < vl:
                n_in = vl if at + (kh - 1) * row + (kw - 1) * p.c + vl <= dy_end else <int>p.c
                n_out = vl if at_dx + vl <= dx_end else <int>p.c
            if index == NULL:
                if real is float:
                    pool_sum_f32(dy + at, dx + at_dx, kh, kw, row, p.c, scale, n_in, n_out)
                else:
                    pool_sum_f64(dy + at, dx + at_dx, kh, kw, row, p.c, scale, n_in, n_out)
            elif real is float:
                pool_gather_f32(dy + at, index + at, dx + at_dx, kh, kw, row, p.c, first, p.sh * p.pw, p.sw,
                                    n_in, n_out)
            else:
                pool_gather_f64(dy + at, index + at, dx + at_dx, kh, kw, row, p.c, first, p.sh * p.pw, p.sw,
                                    n_in, n_out)
            c += vl


cdef void spread_row(
    const real* dy, uint8_t* index, real* dx, const Geometry* p, real scale, int64_t r, int64_t dx_end
) noexcept nogil:
    """The same for windows that tile the image: each passes its dy to its pixels of this row."""
    cdef int vl = VL_F64 if sizeof(real) == 8 else VL_F32
    cdef int64_t ih = r % p.h, oh = ih // p.ph, dy_row = ((r // p.h) * p.oh + oh) * p.ow * p.c
    cdef int64_t dy_end = p.n * p.oh * p.ow * p.c, dx_row = r * p.w * p.c, covered = p.ow * p.pw * p.c
    cdef int64_t first = (ih - oh * p.ph) * p.pw, ow, c, at, at_dx
    cdef int n_in, n_out
    if oh >= p.oh:
        covered = 0
    else:
        for ow in range(p.ow):
            c = 0
            while c < p.c:
                if c + vl > p.c >= vl:
                    c = p.c - vl
                at = dy_row + ow * p.c + c
                at_dx = dx_row + ow * p.pw * p.c + c
                n_in = n_out = vl
                if p.c < vl:
                    n_in = vl if at + vl <= dy_end else <int>p.c
                    n_out = vl if at_dx + (p.pw - 1) * p.c + vl <= dx_end else <int>p.c
                if real is float:
                    pool_spread_f32(dy + at, NULL if index == NULL else index + at, dx + at_dx, p.pw, p.c, first,
                                    scale, n_in, n_out)
                else:
                    pool_spread_f64(dy + at, NULL if index == NULL else index + at, dx + at_dx, p.pw, p.c, first,
                                    scale, n_in, n_out)
                c += vl
    memset(dx + dx_row + covered, 0, (p.w * p.c - covered) * sizeof(real))


cdef void rows_forward(
    const real* x, real* y, uint8_t* index, const Geometry* p, int op, int64_t r0, int64_t r1
) noexcept nogil:
    cdef int64_t r
    for r in range(r0, r1):
        forward_row(x, y, index, p, r, r1 * p.ow * p.c, op)


cdef void forward(const real* x, real* y, uint8_t* index, const Geometry* p, int op) noexcept nogil:
    cdef int64_t rows = p.n * p.oh, run = 1 + RUN // (p.ow * p.c + 1), i
    cdef double work = <double>(rows * p.ow * p.c) * <double>(p.ph * p.pw)
    for i in prange((rows + run - 1) // run, schedule="static", num_threads=threads_for(work)):
        rows_forward(x, y, index, p, op, i * run, smaller(rows, (i + 1) * run))


cdef void rows_backward(
    const real* dy, uint8_t* index, real* dx, const Geometry* p, real scale, int64_t r0, int64_t r1
) noexcept nogil:
    cdef int64_t r
    cdef bint tiled = p.sh == p.ph and p.sw == p.pw and not p.padded
    for r in range(r0, r1):
        if tiled:
            spread_row(dy, index, dx, p, scale, r, r1 * p.w * p.c)
        else:
            gather_row(dy, index, dx, p, scale, r, r1 * p.w * p.c)


cdef void backward(
    const real* dy, uint8_t* index, real* dx, const Geometry* p, real scale
) noexcept nogil:
    cdef int64_t rows = p.n * p.h, run = 1 + RUN // (p.w * p.c + 1), i
    for i in prange(
        (rows + run - 1) // run, schedule="static", num_threads=threads_for(<double>(rows * p.w * p.c) * 4)
    ):
        rows_backward(dy, index, dx, p, scale, i * run, smaller(rows, (i + 1) * run))


cdef int average_backward(const real* dy, real* dx, const Geometry* p) noexcept nogil:
    """Windows of one size share one factor; otherwise dy is divided by each window's size first."""
    cdef int64_t i, k
    cdef real* scaled
    if p.count_include_pad:
        backward[real](dy, NULL, dx, p, <real>1 / <real>(p.ph * p.pw))
        return 0
    scaled = <real*>scratch(SLOT_REDUCE, p.n * p.oh * p.ow * p.c * <int64_t>sizeof(real))
    if scaled == NULL:
        return -1
    for i in range(p.n * p.oh * p.ow):
        for k in range(i * p.c, (i + 1) * p.c):
            scaled[k] = dy[k] / <real>window_count(p, i // p.ow % p.oh, i % p.ow)
    backward[real](scaled, NULL, dx, p, 1)
    return 0


cdef void global_chunk(const real* x, real* y, int64_t n_pixels, int64_t c, int n) noexcept nogil:
    """y[:n] = mean over the pixels of x[:, :n]."""
    cdef double total[CHUNK]
    cdef real partial[CHUNK]
    cdef int64_t i, j
    cdef int k
    for k in range(n):
        total[k] = 0
    i = 0
    while i < n_pixels:
        for k in range(n):
            partial[k] = 0
        for j in range(i, smaller(i + PARTIAL, n_pixels)):
            for k in range(n):
                partial[k] += x[j * c + k]
        for k in range(n):
            total[k] += partial[k]
        i += PARTIAL
    for k in range(n):
        y[k] = <real>(total[k] / <double>n_pixels)


cdef void global_forward(const real* x, real* y, int64_t n, int64_t n_pixels, int64_t c) noexcept nogil:
    cdef int64_t chunks = (c + CHUNK - 1) // CHUNK, i, start
    for i in prange(n * chunks, schedule="static", num_threads=threads_for(<double>(n * n_pixels * c))):
        start = (i % chunks) * CHUNK
        if start + CHUNK <= c:
            global_chunk(x + (i // chunks) * n_pixels * c + start, y + (i // chunks) * c + start, n_pixels, c, CHUNK)
        else:
            global_chunk(x + (i // chunks) * n_pixels * c + start, y + (i // chunks) * c + start, n_pixels, c,
                         <int>(c - start))


cdef void spread(const real* dy, real* dx, int64_t n_pixels, int64_t c) noexcept nogil:
    """dx[:, :] = dy / n_pixels for one image."""
    cdef real scale = <real>1 / <real>n_pixels
    cdef int64_t i, k
    for i in range(n_pixels):
        for k in range(c):
            dx[i * c + k] = dy[k] * scale


cdef void global_backward(const real* dy, real* dx, int64_t n, int64_t n_pixels, int64_t c) noexcept nogil:
    cdef int64_t i
    for i in prange(n, schedule="static", num_threads=threads_for(<double>(n * n_pixels * c))):
        spread(dy + i * c, dx + i * n_pixels * c, n_pixels, c)


cdef int describe(
    Geometry* p, cnp.ndarray x, str x_name, cnp.ndarray y, str y_name, cnp.ndarray index,
    object pool_size, object stride, object padding, bint count_include_pad
) except -1:
    """Check all arguments of a pooling kernel and fill `p`; returns the type number."""
    cdef int typenum = real_type(x, x_name)
    cdef int64_t bottom, right
    check(x, x_name, 4, typenum)
    check(y, y_name, 4, typenum)
    p.ph, p.pw = pool_size
    p.sh, p.sw = stride
    p.top, bottom, p.left, right = padding
    if p.ph < 1 or p.pw < 1:
        raise ValueError(f"pool_size: expected positive numbers. Received: {pool_size!r}")
    if p.sh < 1 or p.sw < 1:
        raise ValueError(f"stride: expected positive numbers. Received: {stride!r}")
    if not (0 <= p.top < p.ph and 0 <= bottom < p.ph and 0 <= p.left < p.pw and 0 <= right < p.pw):
        raise ValueError(
            f"padding: expected (top, bottom, left, right), each smaller than pool_size={pool_size!r} so that "
            f"every window holds a pixel. Received: {padding!r}"
        )
    p.n, p.h, p.w, p.c = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    p.oh, p.ow = (p.h + p.top + bottom - p.ph) // p.sh + 1, (p.w + p.left + right - p.pw) // p.sw + 1
    p.padded = p.top + bottom + p.left + right > 0
    p.count_include_pad = count_include_pad or not p.padded  # then both ways to count are one
    if p.h < 1 or p.w < 1 or p.h + p.top + bottom < p.ph or p.w + p.left + right < p.pw:
        raise ValueError(
            f"pool_size: expected at most the padded image's size. Received: pool_size={pool_size!r}, "
            f"{x_name} of shape {(<object>x).shape}, padding={padding!r}"
        )
    check_shape(y, y_name, 0, p.n)
    check_shape(y, y_name, 1, p.oh)
    check_shape(y, y_name, 2, p.ow)
    check_shape(y, y_name, 3, p.c)
    if index is not None:
        check(index, "index", 4, cnp.NPY_UINT8)
        for axis in range(4):
            check_shape(index, "index", axis, y.shape[axis])
        if p.ph * p.pw > 255:
            raise ValueError(
                f"pool_size: expected at most 255 positions when index is given. Received: {pool_size!r}"
            )
    return typenum


def max_pool2d_forward(
    cnp.ndarray x,                  # IN (N, H, W, C)
    cnp.ndarray y,                  # OUT (N, OH, OW, C)
    cnp.ndarray index,              # OUT (N, OH, OW, C) uint8, position in the window, or None
    pool_size, stride, padding,     # (ph, pw), (sh, sw), (top, bottom, left, right)
):
    """y = max over each window; padding counts as minus infinity. index: the first of equals, NaN wins."""
    cdef Geometry p
    cdef int typenum = describe(&p, x, "x", y, "y", index, pool_size, stride, padding, False)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* y_data = cnp.PyArray_DATA(y)
    cdef uint8_t* index_data = NULL if index is None else <uint8_t*>cnp.PyArray_DATA(index)
    cdef int op = MAX if index is None else MAX_INDEX
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            forward[float](<float*>x_data, <float*>y_data, index_data, &p, op)
        else:
            forward[double](<double*>x_data, <double*>y_data, index_data, &p, op)


def max_pool2d_backward(
    cnp.ndarray dy,                 # IN (N, OH, OW, C)
    cnp.ndarray index,              # IN (N, OH, OW, C) uint8, from forward
    cnp.ndarray dx,                 # OUT (N, H, W, C)
    pool_size, stride, padding,
):
    """dx[pixel] = sum of dy over the windows whose maximum was this pixel."""
    cdef Geometry p
    if index is None:
        raise TypeError("index: expected the array that max_pool2d_forward wrote. Received: None")
    cdef int typenum = describe(&p, dx, "dx", dy, "dy", index, pool_size, stride, padding, False)
    cdef void* dy_data = cnp.PyArray_DATA(dy)
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    cdef uint8_t* index_data = <uint8_t*>cnp.PyArray_DATA(index)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            backward[float](<float*>dy_data, index_data, <float*>dx_data, &p, 1)
        else:
            backward[double](<double*>dy_data, index_data, <double*>dx_data, &p, 1)


def avg_pool2d_forward(
    cnp.ndarray x,                  # IN (N, H, W, C)
    cnp.ndarray y,                  # OUT (N, OH, OW, C)
    pool_size, stride, padding, bint count_include_pad=True,
):
    """y = sum over each window / its size; padding counts as zeros, or not at all."""
    cdef Geometry p
    cdef int typenum = describe(&p, x, "x", y, "y", None, pool_size, stride, padding, count_include_pad)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* y_data = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            forward[float](<float*>x_data, <float*>y_data, NULL, &p, AVERAGE)
        else:
            forward[double](<double*>x_data, <double*>y_data, NULL, &p, AVERAGE)


def avg_pool2d_backward(
    cnp.ndarray dy,                 # IN (N, OH, OW, C)
    cnp.ndarray dx,                 # OUT (N, H, W, C)
    pool_size, stride, padding, bint count_include_pad=True,
):
    """dx[pixel] = sum of dy / window size over the windows that hold this pixel."""
    cdef Geometry p
    cdef int typenum = describe(&p, dx, "dx", dy, "dy", None, pool_size, stride, padding, count_include_pad)
    cdef int failed
    cdef void* dy_data = cnp.PyArray_DATA(dy)
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = average_backward[float](<float*>dy_data, <float*>dx_data, &p)
        else:
            failed = average_backward[double](<double*>dy_data, <double*>dx_data, &p)
    if failed:
        raise MemoryError(f"dy: expected memory for a copy of shape {(<object>dy).shape}. Received: none")


cdef int check_global(cnp.ndarray x, str x_name, cnp.ndarray y, str y_name) except -1:
    cdef int typenum = real_type(x, x_name)
    check(x, x_name, 4, typenum)
    check(y, y_name, 2, typenum)
    check_shape(y, y_name, 0, x.shape[0])
    check_shape(y, y_name, 1, x.shape[3])
    if x.shape[1] * x.shape[2] < 1:
        raise ValueError(f"{x_name}: expected at least one pixel. Received: shape={(<object>x).shape}")
    return typenum


def global_avg_pool2d_forward(
    cnp.ndarray x,                  # IN (N, H, W, C)
    cnp.ndarray y,                  # OUT (N, C)
):
    """y = mean over the pixels of each image."""
    cdef int typenum = check_global(x, "x", y, "y")
    cdef int64_t n = x.shape[0], n_pixels = x.shape[1] * x.shape[2], c = x.shape[3]
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* y_data = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            global_forward[float](<float*>x_data, <float*>y_data, n, n_pixels, c)
        else:
            global_forward[double](<double*>x_data, <double*>y_data, n, n_pixels, c)


def global_avg_pool2d_backward(
    cnp.ndarray dy,                 # IN (N, C)
    cnp.ndarray dx,                 # OUT (N, H, W, C)
):
    """dx[pixel] = dy / number of pixels."""
    cdef int typenum = check_global(dx, "dx", dy, "dy")
    cdef int64_t n = dx.shape[0], n_pixels = dx.shape[1] * dx.shape[2], c = dx.shape[3]
    cdef void* dy_data = cnp.PyArray_DATA(dy)
    cdef void* dx_data = cnp.PyArray_DATA(dx)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            global_backward[float](<float*>dy_data, <float*>dx_data, n, n_pixels, c)
        else:
            global_backward[double](<double*>dy_data, <double*>dx_data, n, n_pixels, c)
