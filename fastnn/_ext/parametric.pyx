"""Activations with parameters of their own (the notes, S7.5, S7.7, S7.11): PReLU, Swish with a learned beta, Maxout.

The sums over the batch are cut as batch normalization's are (normalization.pxd): a block's sums are kept in the
array's dtype, the blocks are merged in order, in float64. A parameter shared by all elements is one channel.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.activations cimport check_like
from fastnn._ext.common cimport check, check_shape, real, real_type
from fastnn._ext.normalization cimport WIDTH, Fold, block_end, fold, room, smaller
from fastnn._ext.threads cimport threads_for
from fastnn._ext.vmath cimport ACT_SIGMOID, activate
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset
from numpy cimport PyArray_DATA

cnp.import_array()

cdef enum:
    ROWS = 32  # samples of one owner in maxout


cdef void merge(const real* partial, real* total, const Fold* f, bint accumulate) noexcept nogil:
    """total (C,) of the blocks' sums (n_blocks, width)."""
    cdef int64_t b, j, c
    cdef double sum
    for c in range(f.c):
        sum = 0
        for b in range(f.n_blocks):
            for j in range(f.times):
                sum += partial[b * f.width + j * f.c + c]
        total[c] = <real>sum + (total[c] if accumulate else 0)


cdef int describe(Fold* f, cnp.ndarray x, cnp.ndarray alpha, int typenum) except -1:
    """How x is cut for alpha (1,), which all share, or (C,); f.r is 0 if x is empty."""
    cdef int64_t size = cnp.PyArray_SIZE(x)
    cdef int last = cnp.PyArray_NDIM(x) - 1
    check(alpha, "alpha", 1, typenum)
    if alpha.shape[0] != 1 and (last < 0 or alpha.shape[0] != x.shape[last]):
        raise ValueError(
            f"alpha: expected (1,) or (C,), C the last axis of x. Received: shape={(<object>alpha).shape} for "
            f"x {(<object>x).shape}"
        )
    f.r, f.c = 0, alpha.shape[0]
    if size > 0:
        fold(f, size // f.c, f.c)
    return 0


cdef int no_memory(cnp.ndarray x) except -1:
    raise MemoryError(f"x: expected memory for partial sums of shape {(<object>x).shape}. Received: none")


# PReLU

cdef real* repeated(const real* alpha, const Fold* f) noexcept nogil:
    """alpha for a folded row, in scratch memory; the blocks' sums come after it. NULL if there is no memory."""
    cdef int64_t i, c
    cdef real* row = <real*>room(f, 1, sizeof(real))
    if row != NULL:
        for i in range(f.times):
            for c in range(f.c):
                row[i * f.c + c] = alpha[c]
    return row


cdef void prelu_block(const real* x, const real* alpha, real* y, const Fold* f, int64_t b) noexcept nogil:
    cdef int64_t i = b * f.block * f.width, end = block_end(f, b), k
    while i < end:
        for k in range(smaller(f.width, end - i)):
            y[i + k] = x[i + k] if x[i + k] > 0 else alpha[k] * x[i + k]
        i += f.width


cdef int prelu(const real* x, const real* alpha, real* y, const Fold* f) noexcept nogil:
    cdef int64_t b
    cdef const real* row = repeated(alpha, f)
    if row == NULL:
        return -1
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(f.r * f.c))):
        prelu_block(x, row, y, f, b)
    return 0


def prelu_forward(
    cnp.ndarray x,      # IN  (..., C)
    cnp.ndarray alpha,  # IN  (C,) or (1,)
    cnp.ndarray y,      # OUT (..., C); may be x
):
    """y = x where x > 0, alpha x elsewhere."""
    cdef Fold f
    cdef int typenum = real_type(x, "x"), failed = 0
    check(x, "x", -1, typenum)
    check_like(y, "y", x, "x", typenum)
    describe(&f, x, alpha, typenum)
    if f.r == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = prelu[float](<float*>PyArray_DATA(x), <float*>PyArray_DATA(alpha), <float*>PyArray_DATA(y), &f)
        else:
            failed = prelu[double](
                <double*>PyArray_DATA(x), <double*>PyArray_DATA(alpha), <double*>PyArray_DATA(y), &f)
    if failed:
        no_memory(x)


cdef void prelu_gradient_block(
    const real* dy, const real* x, const real* alpha, real* dx, real* sums, const Fold* f, int64_t b
) noexcept nogil:
    """dx, and sums (width,) of dy min(0, x)."""
    cdef int64_t i = b * f.block * f.width, end = block_end(f, b), k
    cdef real g, v
    memset(sums, 0, f.width * sizeof(real))
    while i < end:
        for k in range(smaller(f.width, end - i)):
            g = dy[i + k]
            v = x[i + k]
            dx[i + k] = g if v > 0 else alpha[k] * g
            sums[k] += 0 if v > 0 else v * g
        i += f.width


cdef int prelu_gradient(
    const real* dy, const real* x, const real* alpha, real* dx, real* dalpha, const Fold* f, bint accumulate
) noexcept nogil:
    cdef int64_t b
    cdef real* row = repeated(alpha, f)
    if row == NULL:
        return -1
    cdef real* partial = row + f.width
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(f.r * f.c) * 2)):
        prelu_gradient_block(dy, x, row, dx, partial + b * f.width, f, b)
    merge(partial, dalpha, f, accumulate)
    return 0


def prelu_backward(
    cnp.ndarray dy, cnp.ndarray x,  # IN  (..., C)
    cnp.ndarray alpha,              # IN  (C,) or (1,)
    cnp.ndarray dx,                 # OUT (..., C); may be dy
    cnp.ndarray dalpha,             # OUT like alpha
    bint accumulate=False,
):
    """dx = dy where x > 0, alpha dy elsewhere; dalpha = sum dy min(0, x)."""
    cdef Fold f
    cdef int typenum = real_type(x, "x"), failed = 0
    check(x, "x", -1, typenum)
    check_like(dy, "dy", x, "x", typenum)
    check_like(dx, "dx", x, "x", typenum)
    describe(&f, x, alpha, typenum)
    check_like(dalpha, "dalpha", alpha, "alpha", typenum)
    if f.r == 0:
        if not accumulate:
            dalpha[...] = 0
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = prelu_gradient[float](
                <float*>PyArray_DATA(dy), <float*>PyArray_DATA(x), <float*>PyArray_DATA(alpha),
                <float*>PyArray_DATA(dx), <float*>PyArray_DATA(dalpha), &f, accumulate)
        else:
            failed = prelu_gradient[double](
                <double*>PyArray_DATA(dy), <double*>PyArray_DATA(x), <double*>PyArray_DATA(alpha),
                <double*>PyArray_DATA(dx), <double*>PyArray_DATA(dalpha), &f, accumulate)
    if failed:
        no_memory(x)


# Swish: its forward pass is activation_forward(x, y, "swish", beta)

cdef void swish_gradient_block(
    const real* dy, const real* x, real beta, real* dx, real* sums, const Fold* f, int64_t b
) noexcept nogil:
    """dx, and sums (width,) of dy x^2 s'; s' = q - q^2 with q = sigma(-|beta x|), which no digits cancel."""
    cdef int64_t i = b * f.block * f.width, end = block_end(f, b), k, n
    cdef real[WIDTH] q
    cdef real t, slope, v
    memset(sums, 0, f.width * sizeof(real))
    while i < end:
        n = smaller(f.width, end - i)
        for k in range(n):
            t = beta * x[i + k]
            q[k] = t if t < 0 else -t
        activate(q, q, n, ACT_SIGMOID, <real>0)
        for k in range(n):
            t = beta * x[i + k]
            v = 0 if q[k] == 0 else x[i + k]  # an infinite x times 0 would not be a number
            slope = v * (q[k] - q[k] * q[k])
            sums[k] += dy[i + k] * (v * slope)
            dx[i + k] = dy[i + k] * ((q[k] if t < 0 else 1 - q[k]) + beta * slope)
        i += f.width


cdef int swish_gradient(
    const real* dy, const real* x, real beta, real* dx, real* dbeta, const Fold* f, bint accumulate
) noexcept nogil:
    cdef int64_t b
    cdef real* partial = <real*>room(f, 0, sizeof(real))
    if partial == NULL:
        return -1
    for b in prange(f.n_blocks, schedule="static", num_threads=threads_for(<double>(f.r * f.c) * 10)):
        swish_gradient_block(dy, x, beta, dx, partial + b * f.width, f, b)
    merge(partial, dbeta, f, accumulate)
    return 0


def swish_backward(
    cnp.ndarray dy, cnp.ndarray x,  # IN  any shape
    double beta,
    cnp.ndarray dx,                 # OUT like x; may be dy
    cnp.ndarray dbeta,              # OUT (1,)
    bint accumulate=False,
):
    """dx = dy (s + beta x s'), dbeta = sum dy x^2 s', with s = sigma(beta x)."""
    cdef Fold f
    cdef int typenum = real_type(x, "x"), failed = 0
    check(x, "x", -1, typenum)
    check_like(dy, "dy", x, "x", typenum)
    check_like(dx, "dx", x, "x", typenum)
    check(dbeta, "dbeta", 1, typenum)
    check_shape(dbeta, "dbeta", 0, 1)
    describe(&f, x, dbeta, typenum)
    if f.r == 0:
        if not accumulate:
            dbeta[...] = 0
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            failed = swish_gradient[float](
                <float*>PyArray_DATA(dy), <float*>PyArray_DATA(x), <float>beta, <float*>PyArray_DATA(dx),
                <float*>PyArray_DATA(dbeta), &f, accumulate)
        else:
            failed = swish_gradient[double](
                <double*>PyArray_DATA(dy), <double*>PyArray_DATA(x), beta, <double*>PyArray_DATA(dx),
                <double*>PyArray_DATA(dbeta), &f, accumulate)
    if failed:
        no_memory(x)


# Maxout

cdef void maxout_rows(
    const real* a, real* y, uint8_t* index, int64_t n, int64_t pieces, int64_t units
) noexcept nogil:
    """y (n, units), and the winners' numbers unless index is NULL; the first NaN wins."""
    cdef int64_t i, p, u
    cdef const real* row
    cdef real v, best
    for i in range(n):
        for p in range(pieces):
            row = a + (i * pieces + p) * units
            for u in range(units):
                v = row[u]
                best = y[i * units + u]
                if p == 0 or v > best or (v != v and best == best):
                    y[i * units + u] = v
                    if index != NULL:
                        index[i * units + u] = <uint8_t>p


cdef void maxout(
    const real* a, real* y, uint8_t* index, int64_t n, int64_t pieces, int64_t units
) noexcept nogil:
    cdef int64_t c, i
    for c in prange((n + ROWS - 1) // ROWS, schedule="static",
                    num_threads=threads_for(2.0 * n * pieces * units)):
        i = c * ROWS
        maxout_rows(a + i * pieces * units, y + i * units, index + i * units if index != NULL else NULL,
                    min(<int64_t>ROWS, n - i), pieces, units)


cdef int check_maxout(
    cnp.ndarray a, str a_name, cnp.ndarray y, str y_name, cnp.ndarray index, int typenum
) except -1:
    """a (N, pieces, units), y (N, units), index (N, units) uint8."""
    check(a, a_name, 3, typenum)
    check(y, y_name, 2, typenum)
    check_shape(y, y_name, 0, a.shape[0])
    check_shape(y, y_name, 1, a.shape[2])
    if not 1 <= a.shape[1] <= 255:
        raise ValueError(f"{a_name}: expected 1 to 255 pieces along axis 1. Received: shape={(<object>a).shape}")
    if index is not None:
        check(index, "index", 2, cnp.NPY_UINT8)
        check_shape(index, "index", 0, a.shape[0])
        check_shape(index, "index", 1, a.shape[2])
    return 0


def maxout_forward(
    cnp.ndarray a,      # IN  (N, pieces, units)
    cnp.ndarray y,      # OUT (N, units)
    cnp.ndarray index,  # OUT (N, units) uint8, or None
):
    """y = max over the pieces; index: the piece that was the largest, the first of equals."""
    cdef int typenum = real_type(a, "a")
    check_maxout(a, "a", y, "y", index, typenum)
    cdef uint8_t* where = NULL if index is None else <uint8_t*>PyArray_DATA(index)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            maxout[float](<float*>PyArray_DATA(a), <float*>PyArray_DATA(y), where, a.shape[0], a.shape[1], a.shape[2])
        else:
            maxout[double](
                <double*>PyArray_DATA(a), <double*>PyArray_DATA(y), where, a.shape[0], a.shape[1], a.shape[2])


cdef void maxout_gradient_rows(
    const real* dy, const uint8_t* index, real* da, int64_t n, int64_t pieces, int64_t units
) noexcept nogil:
    cdef int64_t i, p, u
    cdef real* row
    for i in range(n):
        for p in range(pieces):
            row = da + (i * pieces + p) * units
            for u in range(units):
                row[u] = dy[i * units + u] if index[i * units + u] == p else 0


cdef void maxout_gradient(
    const real* dy, const uint8_t* index, real* da, int64_t n, int64_t pieces, int64_t units
) noexcept nogil:
    cdef int64_t c, i
    for c in prange((n + ROWS - 1) // ROWS, schedule="static",
                    num_threads=threads_for(2.0 * n * pieces * units)):
        i = c * ROWS
        maxout_gradient_rows(
            dy + i * units, index + i * units, da + i * pieces * units, min(<int64_t>ROWS, n - i), pieces, units)


def maxout_backward(
    cnp.ndarray dy,     # IN  (N, units)
    cnp.ndarray index,  # IN  (N, units) uint8, as forward wrote it
    cnp.ndarray da,     # OUT (N, pieces, units)
):
    """da = dy for the piece that was the largest, 0 for the others."""
    cdef int typenum = real_type(dy, "dy")
    if index is None:
        raise TypeError("index: expected an array, as maxout_forward writes it. Received: None")
    check_maxout(da, "da", dy, "dy", index, typenum)
    cdef const uint8_t* where = <const uint8_t*>PyArray_DATA(index)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            maxout_gradient[float](
                <float*>PyArray_DATA(dy), where, <float*>PyArray_DATA(da), da.shape[0], da.shape[1], da.shape[2])
        else:
            maxout_gradient[double](
                <double*>PyArray_DATA(dy), where, <double*>PyArray_DATA(da), da.shape[0], da.shape[1], da.shape[2])
