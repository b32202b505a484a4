"""Activations, their derivatives and softmax (the notes, S2.5, S2.13 and S7).

The functions themselves are vector code, `vmath_body.h`; here they are checked, cut into chunks and
shared among threads. An element's value does not depend on where it lies.
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport activation_code, check, real, real_type
from fastnn._ext.threads cimport threads_for
from fastnn._ext.vmath cimport (
    ACT_ELU, ACT_LEAKY_RELU, ACT_SWISH, activate, activate_backward, add_row, dot_row, exp_rows,
)
from libc.math cimport log
from libc.stdint cimport int64_t

cnp.import_array()

cdef enum:
    CHUNK = 4096  # elements of one owner: whole vectors, and small enough for the first cache
    ROWS = 16     # rows of softmax of one owner

#: Names whose derivative is computed from the pre-activation instead of the output.
SAVES_INPUT = frozenset(["gelu", "gelu_tanh", "gelu_sigmoid", "silu", "swish", "hard_swish", "relu_right"])


cdef int check_like(cnp.ndarray x, str name, cnp.ndarray like, str like_name, int typenum) except -1:
    """Raise unless `x` is contiguous and has the type and the shape of `like`."""
    check(x, name, -1, typenum)
    cdef int axis, same = cnp.PyArray_NDIM(x) == cnp.PyArray_NDIM(like)
    if same:
        for axis in range(cnp.PyArray_NDIM(x)):
            same = same and cnp.PyArray_DIM(x, axis) == cnp.PyArray_DIM(like, axis)
    if not same:
        raise ValueError(
            f"{name}: expected the shape of {like_name}, {(<object>like).shape}. "
            f"Received: shape={(<object>x).shape}"
        )
    return 0


cdef inline int threads_of(int64_t n, int act) noexcept nogil:
    """Threads for `n` elements; a function with an exponential costs about as much as 8 multiply-adds."""
    return threads_for(n if act <= ACT_LEAKY_RELU or act > ACT_SWISH else 8.0 * n)


# Forward

cdef void forward_all(const real* x, real* y, int64_t n, int act, real alpha) noexcept nogil:
    cdef int64_t c
    cdef int threads = threads_of(n, act)
    if threads == 1:
        activate(x, y, n, act, alpha)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        activate(x + c * CHUNK, y + c * CHUNK, min(CHUNK, n - c * CHUNK), act, alpha)


def activation_forward(
    cnp.ndarray x,  # IN  any shape
    cnp.ndarray y,  # OUT like x; may be x
    str activation,
    double alpha=0.0,
):
    """y = f(x). `alpha` is the slope of leaky_relu, the scale of elu and the beta of swish."""
    cdef int act = activation_code(activation), typenum = real_type(x, "x")
    check(x, "x", -1, typenum)
    check_like(y, "y", x, "x", typenum)
    cdef int64_t n = cnp.PyArray_SIZE(x)
    cdef void* px = cnp.PyArray_DATA(x)
    cdef void* py = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            forward_all[float](<float*>px, <float*>py, n, act, <float>alpha)
        else:
            forward_all[double](<double*>px, <double*>py, n, act, alpha)


# Backward

cdef void backward_all(
    const real* dy, const real* saved, real* da, int64_t n, int act, real alpha
) noexcept nogil:
    cdef int64_t c
    cdef int threads = threads_of(n, act)
    if threads == 1:
        activate_backward(dy, saved, da, n, act, alpha)
        return
    for c in prange((n + CHUNK - 1) // CHUNK, num_threads=threads, schedule="static"):
        activate_backward(
            dy + c * CHUNK, saved + c * CHUNK, da + c * CHUNK, min(CHUNK, n - c * CHUNK), act, alpha
        )


def activation_backward(
    cnp.ndarray dy,     # IN  any shape
    cnp.ndarray saved,  # IN  like dy: y = f(a), or a for the names in SAVES_INPUT
    cnp.ndarray da,     # OUT like dy; may be dy
    str activation,
    double alpha=0.0,
):
    """da = dy f'(a). The derivative at 0 is the left one: 0 for relu, alpha for leaky_relu and elu; relu_right, the
    same function as relu, has the right one. At the kinks of the hard_ ones it is that of the outer pieces.

    leaky_relu and elu tell the two sides apart by the sign of y, so their alpha must not be negative.
    """
    cdef int act = activation_code(activation), typenum = real_type(dy, "dy")
    check(dy, "dy", -1, typenum)
    check_like(saved, "saved", dy, "dy", typenum)
    check_like(da, "da", dy, "dy", typenum)
    if alpha < 0 and (act == ACT_LEAKY_RELU or act == ACT_ELU):
        raise ValueError(
            f"alpha: expected alpha >= 0: the derivative of {activation} is taken from the sign of its output. "
            f"Received: {alpha}"
        )
    cdef int64_t n = cnp.PyArray_SIZE(dy)
    cdef void* pdy = cnp.PyArray_DATA(dy)
    cdef void* ps = cnp.PyArray_DATA(saved)
    cdef void* pda = cnp.PyArray_DATA(da)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            backward_all[float](<float*>pdy, <float*>ps, <float*>pda, n, act, <float>alpha)
        else:
            backward_all[double](<double*>pdy, <double*>ps, <double*>pda, n, act, alpha)


# Sum

cdef void add_chunk(const real* a, const real* b, real* y, int64_t n, int act, real alpha) noexcept nogil:
    """The sum waits in the first cache for its activation."""
    add_row(a, b, y, n)
    activate(y, y, n, act, alpha)


cdef void add_all(const real* a, const real* b, real* y, int64_t n, int act, real alpha) noexcept nogil:
    cdef int64_t c, chunks = (n + CHUNK - 1) // CHUNK
    cdef int threads = threads_of(n, act)
    if threads == 1:
        for c in range(chunks):
            add_chunk(a + c * CHUNK, b + c * CHUNK, y + c * CHUNK, min(CHUNK, n - c * CHUNK), act, alpha)
        return
    for c in prange(chunks, num_threads=threads, schedule="static"):
        add_chunk(a + c * CHUNK, b + c * CHUNK, y + c * CHUNK, min(CHUNK, n - c * CHUNK), act, alpha)


def add_forward(
    cnp.ndarray a,  # IN  any shape
    cnp.ndarray b,  # IN  like a
    cnp.ndarray y,  # OUT like a; may be a or b
    str activation="linear",
    double alpha=0.0,
):
    """y = f(a + b), the end of a residual block (the notes, S8.14)."""
    cdef int act = activation_code(activation), typenum = real_type(a, "a")
    check(a, "a", -1, typenum)
    check_like(b, "b", a, "a", typenum)
    check_like(y, "y", a, "a", typenum)
    cdef int64_t n = cnp.PyArray_SIZE(a)
    cdef void* pa = cnp.PyArray_DATA(a)
    cdef void* pb = cnp.PyArray_DATA(b)
    cdef void* py = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            add_all[float](<float*>pa, <float*>pb, <float*>py, n, act, <float>alpha)
        else:
            add_all[double](<double*>pa, <double*>pb, <double*>py, n, act, alpha)


# Softmax and its logarithm

cdef void softmax_block(const real* x, real* y, int64_t n, int64_t k) noexcept nogil:
    """y = e^(x - max) / sum"""
    cdef real[ROWS] total
    cdef real[ROWS] maximum
    cdef int64_t i, j
    exp_rows(x, y, n, k, total, maximum)
    for i in range(n):
        for j in range(k):
            y[i * k + j] /= total[i]


cdef void log_softmax_block(const real* x, real* y, int64_t n, int64_t k) noexcept nogil:
    """y = (x - max) - log(sum e^(x - max))"""
    cdef real[ROWS] total
    cdef real[ROWS] maximum
    cdef real logarithm
    cdef int64_t i, j
    exp_rows(x, <real*>NULL, n, k, total, maximum)
    for i in range(n):
        logarithm = <real>log(total[i])
        for j in range(k):
            y[i * k + j] = (x[i * k + j] - maximum[i]) - logarithm


cdef void softmax_rows(const real* x, real* y, int64_t n, int64_t k, bint logarithm) noexcept nogil:
    cdef int64_t c
    cdef int threads = threads_for(12.0 * n * k)
    if threads == 1:  # entering a parallel region costs more than a few rows
        for c in range((n + ROWS - 1) // ROWS):
            softmax_part(x, y, c * ROWS, n, k, logarithm)
        return
    for c in prange((n + ROWS - 1) // ROWS, num_threads=threads, schedule="static"):
        softmax_part(x, y, c * ROWS, n, k, logarithm)


cdef void softmax_part(const real* x, real* y, int64_t first, int64_t n, int64_t k, bint logarithm) noexcept nogil:
    if logarithm:
        log_softmax_block(x + first * k, y + first * k, min(ROWS, n - first), k)
    else:
        softmax_block(x + first * k, y + first * k, min(ROWS, n - first), k)


cdef int run_softmax(cnp.ndarray x, cnp.ndarray y, bint logarithm) except -1:
    cdef int typenum = real_type(x, "x")
    check(x, "x", 2, typenum)
    check_like(y, "y", x, "x", typenum)
    cdef int64_t n = x.shape[0], k = x.shape[1]
    cdef void* px = cnp.PyArray_DATA(x)
    cdef void* py = cnp.PyArray_DATA(y)
    if k == 0:
        return 0
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            softmax_rows[float](<float*>px, <float*>py, n, k, logarithm)
        else:
            softmax_rows[double](<double*>px, <double*>py, n, k, logarithm)
    return 0


def softmax_forward(
    cnp.ndarray x,  # IN  (N, K)
    cnp.ndarray y,  # OUT (N, K); may be x
):
    """y = e^x / sum(e^x) in each row."""
    run_softmax(x, y, False)


def log_softmax_forward(
    cnp.ndarray x,  # IN  (N, K)
    cnp.ndarray y,  # OUT (N, K); may be x
):
    """y = x - log(sum(e^x)) in each row."""
    run_softmax(x, y, True)


cdef void softmax_backward_row(const real* dy, const real* y, real* dx, int64_t k) noexcept nogil:
    """dx = y (dy - sum(dy y))"""
    cdef real mean = dot_row(dy, y, k)
    cdef int64_t j
    for j in range(k):
        dx[j] = y[j] * (dy[j] - mean)


cdef void log_softmax_backward_block(const real* dy, const real* y, real* dx, int64_t n, int64_t k) noexcept nogil:
    """dx = dy - e^y sum(dy); e^y is the softmax of y, whose row adds up to 1 already."""
    cdef double total
    cdef int64_t i, j
    softmax_block(y, dx, n, k)
    for i in range(n):
        total = 0
        for j in range(k):
            total += dy[i * k + j]
        for j in range(k):
            dx[i * k + j] = dy[i * k + j] - dx[i * k + j] * <real>total


cdef void softmax_backward_part(
    const real* dy, const real* y, real* dx, int64_t first, int64_t n, int64_t k, bint logarithm
) noexcept nogil:
    cdef int64_t i, at = first * k, last = min(first + ROWS, n)
    if logarithm:
        log_softmax_backward_block(dy + at, y + at, dx + at, last - first, k)
        return
    for i in range(first, last):
        softmax_backward_row(dy + i * k, y + i * k, dx + i * k, k)


cdef void softmax_backward_rows(
    const real* dy, const real* y, real* dx, int64_t n, int64_t k, bint logarithm
) noexcept nogil:
    cdef int64_t c
    cdef int threads = threads_for((14.0 if logarithm else 3.0) * n * k)
    if threads == 1:
        for c in range((n + ROWS - 1) // ROWS):
            softmax_backward_part(dy, y, dx, c * ROWS, n, k, logarithm)
        return
    for c in prange((n + ROWS - 1) // ROWS, num_threads=threads, schedule="static"):
        softmax_backward_part(dy, y, dx, c * ROWS, n, k, logarithm)


cdef int run_softmax_backward(cnp.ndarray dy, cnp.ndarray y, cnp.ndarray dx, bint logarithm) except -1:
    cdef int typenum = real_type(dy, "dy")
    check(dy, "dy", 2, typenum)
    check_like(y, "y", dy, "dy", typenum)
    check_like(dx, "dx", dy, "dy", typenum)
    cdef int64_t n = dy.shape[0], k = dy.shape[1]
    cdef void* pdy = cnp.PyArray_DATA(dy)
    cdef void* py = cnp.PyArray_DATA(y)
    cdef void* pdx = cnp.PyArray_DATA(dx)
    if k == 0:
        return 0
    if logarithm and pdx == pdy:
        raise ValueError("dx: expected an array of its own. Received: dy")
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            softmax_backward_rows[float](<float*>pdy, <float*>py, <float*>pdx, n, k, logarithm)
        else:
            softmax_backward_rows[double](<double*>pdy, <double*>py, <double*>pdx, n, k, logarithm)
    return 0


def softmax_backward(
    cnp.ndarray dy,  # IN  (N, K)
    cnp.ndarray y,   # IN  (N, K) what forward returned
    cnp.ndarray dx,  # OUT (N, K); may be dy
):
    """dx = y (dy - sum(dy y)) in each row."""
    run_softmax_backward(dy, y, dx, False)


def log_softmax_backward(
    cnp.ndarray dy,  # IN  (N, K)
    cnp.ndarray y,   # IN  (N, K) what forward returned
    cnp.ndarray dx,  # OUT (N, K); not dy
):
    """dx = dy - e^y sum(dy) in each row."""
    run_softmax_backward(dy, y, dx, True)
