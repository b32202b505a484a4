"""Max, average and global average pooling, channels last; the loops over a window are in pooling.h."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.threads cimport SLOT_REDUCE, scratch, threads_for
from libc.stdint cimport int64_t, uint8_t

cnp.import_array()

cdef extern from "pooling.h" nogil:
    enum:
        POOL_MAX, POOL_MAX_INDEX, POOL_AVERAGE
    ctypedef struct geometry:
        int64_t n, h, w, c, oh, ow
        int64_t ph, pw, sh, sw, top, left
        bint padded, count_include_pad
    int64_t at_least_0(int64_t a)
    int64_t smaller(int64_t a, int64_t b)
    # Rows r0 to r1 of the N * OH rows of y, or of the N * H rows of dx.
    void pool_forward_f32(const float* x, float* y, uint8_t* index, const geometry* p, int op,
                          int64_t r0, int64_t r1)
    void pool_forward_f64(const double* x, double* y, uint8_t* index, const geometry* p, int op,
                          int64_t r0, int64_t r1)
    void pool_backward_f32(const float* dy, const uint8_t* index, float* dx, const geometry* p, float scale,
                           int64_t r0, int64_t r1)
    void pool_backward_f64(const double* dy, const uint8_t* index, double* dx, const geometry* p,
                           double scale, int64_t r0, int64_t r1)

cdef enum:
    RUN = 4096     # elements of the rows that one thread owns, about
    CHUNK = 64     # channels that one owner of the global average sums
    PARTIAL = 64   # pixels summed in the array's dtype before they are added to a float64 sum


cdef void forward(const real* x, real* y, uint8_t* index, const geometry* p, int op) noexcept nogil:
    cdef int64_t rows = p.n * p.oh, run = 1 + RUN // (p.ow * p.c + 1), i
    cdef double work = <double>(rows * p.ow * p.c) * <double>(p.ph * p.pw)
    for i in prange((rows + run - 1) // run, schedule="static", num_threads=threads_for(work)):
        if real is float:
            pool_forward_f32(x, y, index, p, op, i * run, smaller(rows, (i + 1) * run))
        else:
            pool_forward_f64(x, y, index, p, op, i * run, smaller(rows, (i + 1) * run))


cdef void backward(
    const real* dy, const uint8_t* index, real* dx, const geometry* p, real scale
) noexcept nogil:
    cdef int64_t rows = p.n * p.h, run = 1 + RUN // (p.w * p.c + 1), i
    cdef double work = <double>(rows * p.w * p.c) * 4
    for i in prange((rows + run - 1) // run, schedule="static", num_threads=threads_for(work)):
        if real is float:
            pool_backward_f32(dy, index, dx, p, scale, i * run, smaller(rows, (i + 1) * run))
        else:
            pool_backward_f64(dy, index, dx, p, scale, i * run, smaller(rows, (i + 1) * run))


cdef inline int64_t window_count(const geometry* p, int64_t oh, int64_t ow) noexcept nogil:
    """Pixels of the image in a window."""
    cdef int64_t ih = oh * p.sh - p.top, iw = ow * p.sw - p.left
    return (smaller(p.ph, p.h - ih) - at_least_0(-ih)) * (smaller(p.pw, p.w - iw) - at_least_0(-iw))


cdef int average_backward(const real* dy, real* dx, const geometry* p) noexcept nogil:
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
    cdef int64_t chunks = (c + CHUNK - 1) // CHUNK, i, image, start
    for i in prange(n * chunks, schedule="static", num_threads=threads_for(<double>(n * n_pixels * c))):
        image = i // chunks
        start = (i % chunks) * CHUNK
        global_chunk(x + image * n_pixels * c + start, y + image * c + start, n_pixels, c,
                     <int>smaller(CHUNK, c - start))


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
    geometry* p, cnp.ndarray x, str x_name, cnp.ndarray y, str y_name, cnp.ndarray index,
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
            f"padding: expected (top, bottom, left, right), each smaller than pool_size={pool_size!r}, so "
            f"that every window holds a pixel. Received: {padding!r}"
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
    cdef geometry p
    cdef int typenum = describe(&p, x, "x", y, "y", index, pool_size, stride, padding, False)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* y_data = cnp.PyArray_DATA(y)
    cdef uint8_t* index_data = NULL if index is None else <uint8_t*>cnp.PyArray_DATA(index)
    cdef int op = POOL_MAX if index is None else POOL_MAX_INDEX
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
    cdef geometry p
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
    cdef geometry p
    cdef int typenum = describe(&p, x, "x", y, "y", None, pool_size, stride, padding, count_include_pad)
    cdef void* x_data = cnp.PyArray_DATA(x)
    cdef void* y_data = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            forward[float](<float*>x_data, <float*>y_data, NULL, &p, POOL_AVERAGE)
        else:
            forward[double](<double*>x_data, <double*>y_data, NULL, &p, POOL_AVERAGE)


def avg_pool2d_backward(
    cnp.ndarray dy,                 # IN (N, OH, OW, C)
    cnp.ndarray dx,                 # OUT (N, H, W, C)
    pool_size, stride, padding, bint count_include_pad=True,
):
    """dx[pixel] = sum of dy / window size over the windows that hold this pixel."""
    cdef geometry p
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
