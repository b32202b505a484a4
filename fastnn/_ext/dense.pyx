"""The dense layer: three matrix products and a sum."""

from fastnn.workspace import aligned_empty

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.gemm cimport gemm_core, gemm_prepare, gemm_prepared, prepared_size
from fastnn._ext.threads cimport threads_for

cnp.import_array()


def dense_forward(
    cnp.ndarray x,       # IN  (N, in)
    cnp.ndarray weight,  # IN  (out, in)
    cnp.ndarray bias,    # IN  (out,) or None
    cnp.ndarray y,       # OUT (N, out)
    str activation="linear",
    double alpha=0.0,
    cnp.ndarray prepared=None,  # IN  what dense_prepare made of `weight`, then read in its place
):
    """`y = activation(x W^T + b)`."""
    cdef int typenum = real_type(x, "x")
    cdef int act = activation_code(activation), status
    check(x, "x", 2, typenum)
    check(weight, "weight", 2, typenum)
    check(y, "y", 2, typenum)
    cdef int64_t M = x.shape[0], K = x.shape[1], N = weight.shape[0]
    check_shape(weight, "weight", 1, K)
    check_shape(y, "y", 0, M)
    check_shape(y, "y", 1, N)
    cdef void* b = NULL
    if bias is not None:
        check(bias, "bias", 1, typenum)
        check_shape(bias, "bias", 0, N)
        b = cnp.PyArray_DATA(bias)
    cdef void* pp = NULL
    if prepared is not None:
        check(prepared, "prepared", 1, typenum)
        check_shape(prepared, "prepared", 0, prepared_size(N, K, x.itemsize))
        pp = cnp.PyArray_DATA(prepared)
    cdef void* px = cnp.PyArray_DATA(x)
    cdef void* pw = cnp.PyArray_DATA(weight)
    cdef void* py = cnp.PyArray_DATA(y)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = forward[float](M, N, K, <float*>px, <float*>pw, <float*>pp, <float*>b, <float*>py, act, alpha)
        else:
            status = forward[double](M, N, K, <double*>px, <double*>pw, <double*>pp, <double*>b, <double*>py, act,
                                     alpha)
    if status:
        raise MemoryError(f"dense_forward: no memory to pack x {(<object>x).shape}")


cdef int forward(
    int64_t M, int64_t N, int64_t K, const real* x, const real* w, const real* prepared, const real* b, real* y,
    int act, double alpha,
) noexcept nogil:
    cdef int threads = threads_for(<double>M * N * K)
    if prepared == NULL:
        return gemm_core(M, N, K, x, K, 1, w, 1, K, y, N, b, act, alpha, False, threads)
    gemm_prepared(M, N, K, x, prepared, y, b, act, alpha, threads)
    return 0


def dense_prepare(cnp.ndarray weight):  # IN (out, in)
    """The weights as the register tile reads them, packed once for inference: an array for `prepared`.

    A call of `dense_forward` then has nothing to pack. The array is a copy: it does not follow `weight`. The results
    keep their bits, but for up to twelve samples, whose sums are taken in another order without it.
    """
    cdef int typenum = real_type(weight, "weight")
    check(weight, "weight", 2, typenum)
    cdef int64_t N = weight.shape[0], K = weight.shape[1]
    cdef cnp.ndarray prepared = aligned_empty((prepared_size(N, K, weight.itemsize),), weight.dtype)
    cdef void* pw = cnp.PyArray_DATA(weight)
    cdef void* pp = cnp.PyArray_DATA(prepared)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            gemm_prepare[float](N, K, <float*>pw, 1, K, <float*>pp)
        else:
            gemm_prepare[double](N, K, <double*>pw, 1, K, <double*>pp)
    return prepared


def dense_backward(
    cnp.ndarray x,       # IN  (N, in)
    cnp.ndarray weight,  # IN  (out, in)
    cnp.ndarray da,      # IN  (N, out)
    cnp.ndarray dx,      # OUT (N, in) or None
    cnp.ndarray dw,      # OUT (out, in) or None
    cnp.ndarray db,      # OUT (out,) or None
    bint accumulate=False,
):
    """`dx = da W`, `dW = da^T x`, `db = sum of da over the batch`; with `accumulate` dW and db are added to."""
    cdef int typenum = real_type(x, "x")
    cdef int status
    check(x, "x", 2, typenum)
    check(weight, "weight", 2, typenum)
    check(da, "da", 2, typenum)
    cdef int64_t M = x.shape[0], K = x.shape[1], N = weight.shape[0]
    check_shape(weight, "weight", 1, K)
    check_shape(da, "da", 0, M)
    check_shape(da, "da", 1, N)
    cdef void* pdx = NULL
    cdef void* pdw = NULL
    cdef void* pdb = NULL
    if dx is not None:
        check(dx, "dx", 2, typenum)
        check_shape(dx, "dx", 0, M)
        check_shape(dx, "dx", 1, K)
        pdx = cnp.PyArray_DATA(dx)
    if dw is not None:
        check(dw, "dw", 2, typenum)
        check_shape(dw, "dw", 0, N)
        check_shape(dw, "dw", 1, K)
        pdw = cnp.PyArray_DATA(dw)
    if db is not None:
        check(db, "db", 1, typenum)
        check_shape(db, "db", 0, N)
        pdb = cnp.PyArray_DATA(db)
    cdef void* px = cnp.PyArray_DATA(x)
    cdef void* pw = cnp.PyArray_DATA(weight)
    cdef void* pda = cnp.PyArray_DATA(da)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = backward[float](M, N, K, <float*>px, <float*>pw, <float*>pda, <float*>pdx, <float*>pdw,
                                     <float*>pdb, accumulate)
        else:
            status = backward[double](M, N, K, <double*>px, <double*>pw, <double*>pda, <double*>pdx, <double*>pdw,
                                      <double*>pdb, accumulate)
    if status:
        raise MemoryError(f"dense_backward: no memory to pack da {(<object>da).shape}")


cdef int backward(
    int64_t M, int64_t N, int64_t K, const real* x, const real* w, const real* da, real* dx, real* dw, real* db,
    bint accumulate,
) noexcept nogil:
    cdef int threads = threads_for(<double>M * N * K)
    cdef int64_t i, j
    if dw != NULL and gemm_core(N, K, M, da, 1, N, x, K, 1, dw, K, NULL, 0, 0.0, accumulate, threads):
        return -1
    if db != NULL:
        if not accumulate:
            for j in range(N):
                db[j] = 0
        for i in range(M):
            for j in range(N):
                db[j] += da[i * N + j]
    if dx != NULL:
        return gemm_core(M, K, N, da, N, 1, w, K, 1, dx, K, NULL, 0, 0.0, False, threads)
    return 0
