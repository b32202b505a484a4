"""`out = activation(op(a) @ op(b) + bias)`: the wrapper that every matrix product goes through.

Letters: M rows, N columns, K inner size. The register tile (tile.h) multiplies MR rows, read in place
through row pointers, with a packed panel of NR columns. What is packed is the smaller operand:

    y = x W^T    W is (N, K), so its columns would have to be transposed into panels, and W is large
                 while the batch M is small. (W x^T)^T is the same product: now the rows of W are read
                 in place, x becomes the panel, and the tile is stored transposed.
    dx = da W    W is (K, N): panels are pieces of its rows, read in place for small batches.
    dW = da^T x  da^T is packed, MR rows at a time.

For inference W is packed once (gemm_prepare): then x is read in place and nothing is packed at a call.

Each element of `out` is one sum over k in ascending order, whatever the shape, the tile and the thread; only up to
twelve rows times rows, as of one picture in a dense layer, are added along the lanes of vectors (gemm_rows.pyx).
"""

import numpy as np

cimport numpy as cnp
from cython.parallel cimport parallel, prange
from libc.stdint cimport int64_t

from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.gemm_rows cimport gemm_rows, rows_pay
from fastnn._ext.threads cimport SLOT_GEMM_A, SLOT_GEMM_B, scratch, threads_for
from fastnn._ext.tile cimport *

from fastnn._ext.pack cimport pack_columns

cnp.import_array()

cdef enum:
    KC = 800        # inner size of a block: a panel of KC x NR numbers stays in the level 2 cache
    ROW_TILES = 4   # register tiles in a work item, downwards, at most
    PANELS = 8      # and panels, sideways: items are large enough for a thread, small enough to share out
    ROW_TILES_PREPARED = 16  # a prepared panel may come from far away: it is used for so many tiles
    ITEMS = 8                # fewer if there are fewer items than this
    PACK_COLUMNS = 128  # neighbouring columns that are packed together,
    PACK_ROWS = 64      # and their rows: what one thread packs at a time
    OWN = 1 << 20       # bytes up to which each thread packs its own copy of what all need: fetching lines that
    #                     another core has just written is slower
    IN_PLACE = 128  # up to so many rows, packing the right operand costs more than it saves,
    IN_PLACE_ALIASED = 32  # fewer if all its rows meet in a few places of the caches


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef struct Product:
    # A product whose left operand has rows contiguous in k or packed, and whose right operand is in
    # panels: panel j starts at b + j*b_panel, its k-th row at + k*ldb.
    int64_t M, N, K
    int64_t n_tiles, n_panels         # of MR rows, of NR columns
    int64_t row_items, column_items   # work items are so many shares of both: equal ones, up to a tile or panel
    const void* a
    int64_t a_row, a_tile, a_step   # distance between rows, between tiles of MR rows, along k
    const void* b
    int64_t b_panel, ldb
    const void* edge                # the last panel, zero-padded, if the right operand is read in place
    void* out
    int64_t ldc
    const void* bias
    double alpha
    int activation, flags


cdef void multiply(const Product* p, const real* left, const real* right, int64_t item, real* unused) noexcept nogil:
    """One work item: some tiles times some panels, KC of the inner size at a time.

    `left` and `right`, if not NULL, are the thread's own p.a and p.b.
    """
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t row = item % p.row_items, column = item // p.row_items
    cdef int64_t tile0 = row * p.n_tiles // p.row_items, tile1 = (row + 1) * p.n_tiles // p.row_items
    cdef int64_t panel0 = column * p.n_panels // p.column_items, panel1 = (column + 1) * p.n_panels // p.column_items
    cdef int64_t zero = 0, k0, i0, j0, i, tile, panel
    cdef int mr, n
    cdef bint last
    cdef const real* a
    cdef const real* b
    cdef real* out
    cdef tile_args t
    left = left if left != NULL else <const real*>p.a
    right = right if right != NULL else <const real*>p.b
    t.a_step, t.ldb, t.b_off, t.off, t.n_seg = p.a_step, p.ldb, NULL, &zero, 1
    t.ldc, t.alpha = p.ldc, p.alpha
    k0 = 0
    while True:
        t.seg_len = min(<int64_t>KC, p.K - k0)
        last = k0 + t.seg_len >= p.K
        t.activation = p.activation if last else 0
        t.flags = p.flags if k0 == 0 else p.flags | TILE_ACCUMULATE
        for panel in range(panel0, panel1):
            j0 = panel * NR
            n = <int>min(NR, p.N - j0)
            if p.edge != NULL and n < NR:
                b, t.ldb = <const real*>p.edge, NR
            else:
                b, t.ldb = right + panel * p.b_panel, p.ldb
            t.b = b + k0 * t.ldb
            for tile in range(tile0, tile1):
                i0 = tile * MR
                mr = <int>min(<int64_t>MR, p.M - i0)
                a = left + tile * p.a_tile + k0 * p.a_step
                for i in range(mr):
                    t.a[i] = a + i * p.a_row
                if p.flags & TILE_TRANSPOSED:
                    t.out[0] = <real*>p.out + j0 * p.ldc + i0
                    t.bias = <const real*>p.bias + i0 if last and p.bias != NULL else NULL
                else:
                    out = <real*>p.out + i0 * p.ldc + j0
                    for i in range(mr):
                        t.out[i] = out + i * p.ldc
                    t.bias = <const real*>p.bias + j0 if last and p.bias != NULL else NULL
                if real is float:
                    tile_panel_f32(mr, n, &t)
                else:
                    tile_panel_f64(mr, n, &t)
        k0 += KC
        if last:
            return


cdef void pack_part(
    int64_t N, int64_t K, const real* b, int64_t b_row, int64_t b_col, int64_t width, int64_t part, real* panels,
) noexcept nogil:
    """PACK_ROWS rows of neighbouring panels of `width` columns, PACK_COLUMNS in all, of an operand (K, N).

    Panel after panel would touch 128 bytes of each row: a page of memory for little, and with rows of 2^n
    bytes always the same few places of the caches.
    """
    cdef int64_t row_parts = ceil_div(K, PACK_ROWS), k = part % row_parts * PACK_ROWS
    cdef int64_t column = part // row_parts * group_columns(width), end = min(column + group_columns(width), N)
    while column < end:
        pack_columns(b + k * b_row + column * b_col, b_row, b_col, min(<int64_t>PACK_ROWS, K - k),
                     min(width, N - column), width, panels + column * K + k * width)
        column += width


cdef inline int64_t group_columns(int64_t width) noexcept nogil:
    return PACK_COLUMNS // width * width


cdef inline int64_t n_parts(int64_t N, int64_t K, int64_t width) noexcept nogil:
    return ceil_div(N, group_columns(width)) * ceil_div(K, PACK_ROWS)


cdef real* pack_own(
    int slot, int64_t N, int64_t K, const real* b, int64_t b_row, int64_t b_col, int64_t width
) noexcept nogil:
    """The whole operand in memory of the calling thread, NULL without memory."""
    cdef real* panels = <real*>scratch(slot, ceil_div(N, width) * width * K * sizeof(real))
    cdef int64_t part
    if panels != NULL:
        for part in range(n_parts(N, K, width)):
            pack_part(N, K, b, b_row, b_col, width, part, panels)
    return panels


cdef int gemm_core(
    int64_t M, int64_t N, int64_t K,
    const real* a, int64_t a_row, int64_t a_col,      # IN  a[i, k] at a + i*a_row + k*a_col
    const real* b, int64_t b_row, int64_t b_col,      # IN  b[k, j] at b + k*b_row + j*b_col
    real* out, int64_t ldc,                           # OUT (M, N), rows ldc apart
    const real* bias, int activation, double alpha,   # IN  (N,) or NULL
    bint accumulate, int threads,
) noexcept nogil:
    """`out = activation(a @ b + bias)`, or `activation(out + a @ b + bias)`; -1 without memory."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t n_items, a_parts = 0, b_parts = 0, j
    cdef real* a_pack = NULL
    cdef real* b_pack = NULL
    cdef real* left
    cdef real* right
    cdef bint own_a = False, own_b = False
    cdef int failed = 0
    cdef int* status = &failed
    cdef Product p
    if M == 0 or N == 0:
        return 0
    if a_col == 1 and b_row == 1 and b_col != 1 and not accumulate and rows_pay(M, K, out):
        gemm_rows(M, N, K, a, a_row, b, b_col, out, ldc, bias, activation, alpha, threads)
        return 0
    p.flags = TILE_ACCUMULATE if accumulate else 0
    if b_row == 1 and b_col != 1 and (a_col != 1 or M < N):  # the second form of the module's docstring
        p.flags |= TILE_TRANSPOSED
        M, N = N, M
        a, b = b, a
        a_row, a_col, b_row, b_col = b_col, b_row, a_col, a_row
    p.M, p.N, p.K, p.out, p.ldc = M, N, K, out, ldc
    p.bias, p.activation, p.alpha, p.edge = bias, activation, alpha, NULL
    p.n_panels, p.n_tiles = ceil_div(N, NR), ceil_div(M, MR)
    p.row_items, p.column_items = ceil_div(p.n_tiles, ROW_TILES), ceil_div(p.n_panels, PANELS)
    n_items = p.row_items * p.column_items
    threads = threads if n_items > 1 else 1
    if a_col == 1:
        p.a, p.a_row, p.a_tile, p.a_step = a, a_row, MR * a_row, 1
    else:
        # Threads share out the columns, so each needs all of a.
        own_a = threads > 1 and p.column_items > 1 and M * K * <int64_t>sizeof(real) <= OWN
        a_parts = 0 if own_a else n_parts(M, K, MR)
        if a_parts:
            a_pack = <real*>scratch(SLOT_GEMM_A, p.n_tiles * MR * K * sizeof(real))
        p.a, p.a_row, p.a_tile, p.a_step = a_pack, 1, MR * K, MR
    if b_col == 1 and M <= (IN_PLACE if b_row * <int64_t>sizeof(real) % 4096 else IN_PLACE_ALIASED):
        p.b, p.b_panel, p.ldb = b, NR, b_row
        if N % NR:  # the tile reads whole vectors: not past the end of the last row
            b_pack = <real*>scratch(SLOT_GEMM_B, NR * K * sizeof(real))
            if b_pack == NULL:
                return -1
            p.edge = b_pack
            j = N - N % NR
            pack_columns(b + j, b_row, 1, K, N - j, NR, b_pack)
    else:
        own_b = threads > 1 and p.column_items == 1 and N * K * <int64_t>sizeof(real) <= OWN
        b_parts = 0 if own_b else n_parts(N, K, NR)
        if b_parts:
            b_pack = <real*>scratch(SLOT_GEMM_B, p.n_panels * NR * K * sizeof(real))
        p.b, p.b_panel, p.ldb = b_pack, NR * K, NR
    if (a_parts and a_pack == NULL) or (b_parts and b_pack == NULL):
        return -1
    if threads == 1:
        for j in range(a_parts):
            pack_part(M, K, a, a_col, a_row, MR, j, a_pack)
        for j in range(b_parts):
            pack_part(N, K, b, b_row, b_col, NR, j, b_pack)
        for j in range(n_items):
            multiply(&p, <const real*>NULL, <const real*>NULL, j, out)
        return 0
    with parallel(num_threads=threads):
        left = pack_own(SLOT_GEMM_A, M, K, a, a_col, a_row, MR) if own_a else a_pack
        right = pack_own(SLOT_GEMM_B, N, K, b, b_row, b_col, NR) if own_b else NULL
        for j in prange(a_parts, schedule="static"):
            pack_part(M, K, a, a_col, a_row, MR, j, a_pack)
        for j in prange(b_parts, schedule="static"):
            pack_part(N, K, b, b_row, b_col, NR, j, b_pack)
        # static: a thread meets its part of a weight in its own cache again in the next call
        for j in prange(n_items, schedule="static"):
            if (own_a and left == NULL) or (own_b and right == NULL):
                status[0] = -1
            else:
                multiply(&p, left, right, j, out)
    return failed


cdef int64_t prepared_size(int64_t N, int64_t K, int64_t itemsize) noexcept nogil:
    """Numbers in the panels of a right operand (K, N)."""
    cdef int64_t NR = NR_F32 if itemsize == sizeof(float) else NR_F64
    return ceil_div(N, NR) * NR * K


cdef void gemm_prepare(
    int64_t N, int64_t K,
    const real* b, int64_t b_row, int64_t b_col,  # IN  b[k, j] at b + k*b_row + j*b_col
    real* panels,                                 # OUT prepared_size(N, K) numbers
) noexcept nogil:
    """Pack the right operand for `gemm_prepared`."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t j
    for j in range(n_parts(N, K, NR)):
        pack_part(N, K, b, b_row, b_col, NR, j, panels)


cdef void gemm_prepared(
    int64_t M, int64_t N, int64_t K,
    const real* a,       # IN  (M, K) contiguous
    const real* panels,  # IN  of gemm_prepare
    real* out,           # OUT (M, N) contiguous
    const real* bias, int activation, double alpha, int threads,
) noexcept nogil:
    """`out = activation(a @ b + bias)` with b packed before; the sums are those of `gemm_core`."""
    cdef int64_t NR = NR_F32 if real is float else NR_F64
    cdef int64_t j
    cdef Product p
    p.M, p.N, p.K, p.n_tiles, p.n_panels = M, N, K, ceil_div(M, MR), ceil_div(N, NR)
    p.column_items, p.row_items = p.n_panels, ceil_div(p.n_tiles, ROW_TILES_PREPARED)
    while p.row_items < p.n_tiles and p.row_items * p.n_panels < ITEMS:
        p.row_items += 1
    p.a, p.a_row, p.a_tile, p.a_step = a, K, MR * K, 1
    p.b, p.b_panel, p.ldb, p.edge = panels, NR * K, NR, NULL
    p.out, p.ldc, p.bias, p.alpha, p.activation, p.flags = out, N, bias, alpha, activation, 0
    if threads == 1:  # a parallel region of one thread costs half a microsecond
        for j in range(p.row_items * p.n_panels):
            multiply(&p, <const real*>NULL, <const real*>NULL, j % p.n_panels * p.row_items + j // p.n_panels, out)
        return
    for j in prange(p.row_items * p.n_panels, schedule="static", num_threads=threads):  # panel after panel
        multiply(&p, <const real*>NULL, <const real*>NULL, j % p.n_panels * p.row_items + j // p.n_panels, out)


cdef int64_t stride(cnp.ndarray x, str name, int axis) except? -1:
    """Elements between neighbours along an axis of a matrix."""
    cdef int64_t n_bytes = x.strides[axis]
    if n_bytes % x.itemsize or n_bytes < 0:
        raise ValueError(f"{name}: expected an aligned matrix. Received: strides={(<object>x).strides}")
    return n_bytes // x.itemsize


def gemm(
    cnp.ndarray a,         # IN  (M, K), or (K, M) with trans_a; any strides
    cnp.ndarray b,         # IN  (K, N), or (N, K) with trans_b; any strides
    cnp.ndarray out,       # OUT (M, N) C-contiguous
    cnp.ndarray bias=None,  # IN  (N,)
    bint trans_a=False,
    bint trans_b=False,
    str activation="linear",
    double alpha=0.0,
    bint accumulate=False,
    str algorithm="tile",
):
    """`out = activation(op(a) @ op(b) + bias)`, with `accumulate` `activation(out + op(a) @ op(b) + bias)`.

    Parameters
    ----------
    algorithm : {"tile", "blas"}
        The register tile, or NumPy's BLAS, the baseline that it is raced against.
    """
    cdef int typenum = real_type(a, "a")
    cdef int act = activation_code(activation)
    check(out, "out", 2, typenum)
    if cnp.PyArray_TYPE(b) != typenum or cnp.PyArray_NDIM(a) != 2 or cnp.PyArray_NDIM(b) != 2:
        raise ValueError(
            f"gemm: expected two matrices of one dtype. Received: a {(<object>a).shape} {a.dtype}, "
            f"b {(<object>b).shape} {b.dtype}"
        )
    cdef int64_t M = out.shape[0], N = out.shape[1], K = a.shape[0 if trans_a else 1]
    check_shape(a, "a", 1 if trans_a else 0, M)
    check_shape(b, "b", 1 if trans_b else 0, K)
    check_shape(b, "b", 0 if trans_b else 1, N)
    if bias is not None:
        check(bias, "bias", 1, typenum)
        check_shape(bias, "bias", 0, N)
    if algorithm == "blas":
        return blas(a.T if trans_a else a, b.T if trans_b else b, out, bias, activation, alpha, accumulate)
    if algorithm != "tile":
        raise ValueError(f"algorithm: expected 'tile' or 'blas'. Received: {algorithm!r}")
    cdef int64_t a_row = stride(a, "a", 1 if trans_a else 0), a_col = stride(a, "a", 0 if trans_a else 1)
    cdef int64_t b_row = stride(b, "b", 1 if trans_b else 0), b_col = stride(b, "b", 0 if trans_b else 1)
    cdef void* beta = NULL if bias is None else cnp.PyArray_DATA(bias)
    cdef void* pa = cnp.PyArray_DATA(a)
    cdef void* pb = cnp.PyArray_DATA(b)
    cdef void* pc = cnp.PyArray_DATA(out)
    cdef int status
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = gemm_core[float](
                M, N, K, <float*>pa, a_row, a_col, <float*>pb, b_row, b_col, <float*>pc, N, <float*>beta,
                act, alpha, accumulate, threads_for(<double>M * N * K))
        else:
            status = gemm_core[double](
                M, N, K, <double*>pa, a_row, a_col, <double*>pb, b_row, b_col, <double*>pc, N, <double*>beta,
                act, alpha, accumulate, threads_for(<double>M * N * K))
    if status:
        raise MemoryError(f"gemm: no memory to pack matrices of M={M}, N={N}, K={K}")


def blas(a, b, out, bias, activation, alpha, accumulate):
    """The same by NumPy's matrix product, then one pass each for the rest."""
    from fastnn._ext.activations import activation_forward

    if accumulate:
        out += a @ b
    else:
        np.matmul(a, b, out=out)
    if bias is not None:
        out += bias
    if activation != "linear":
        activation_forward(out, out, activation, alpha)


def _fma_loop(int64_t n, bint double_precision=False):
    """Operations of n rounds of independent multiply-adds on every thread; benchmarks time it for the peak."""
    cdef int threads = threads_for(1e12)
    cdef int64_t i
    cdef double[64] results
    cdef double total = 0
    with nogil:
        for i in prange(threads, schedule="static", num_threads=threads):
            results[i % 64] = fma_loop_f64(n) if double_precision else fma_loop_f32(n)
    for i in range(min(threads, 64)):
        total += results[i]  # used, or the compiler would leave the loop out
    if total != total:
        raise ArithmeticError("the loop ended in NaN")
    return 1.0 * n * threads * FMA_CHAINS * (NR_F64 if double_precision else NR_F32)
