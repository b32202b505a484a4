"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016); winograd.h has the matrices. The
image is cut into tiles of 4x4 outputs. A tile's inputs and the filters are transformed to 36 numbers per
channel, and at each of these 36 points the convolution is a product of matrices, (tiles, C) times (C, F):

    forward          y  = A^T [ sum_c (B^T x B)_c * (G w G^T)_fc ] A
    backward_input   the same, of da with the filters rotated and F and C exchanged
    backward_weight  dw = G^T [ sum_tiles (B^T x B)_c * (A da A^T)_f ] G

Tiles go in blocks whose transforms stay in the cache. Few filters are transformed once and shared; then each
block has one owner for all steps. Many filters would not stay in the cache themselves: there each panel of NR
filters has one owner, who transforms a part of it and uses it at once for all tiles of a larger block.

An infinite or NaN input makes NaN of all outputs of the tiles that read it.
"""

cimport numpy as cnp
from cython.parallel cimport parallel, prange
from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.threads cimport SLOT_WINOGRAD_TILES, SLOT_WINOGRAD_WEIGHT, scratch, threads_for
from fastnn._ext.winograd_kernels cimport MR, WINO_INNER, wino_f32, wino_f64, wino_kernels
from libc.stdint cimport int64_t
from libc.string cimport memset

cnp.import_array()

cdef enum:
    SHARED_FILTERS = 4 << 20  # bytes of transformed filters up to which they are transformed once
    BLOCK = 448 << 10         # bytes of a block of tiles with one owner: within a level 2 cache
    MIN_BLOCKS = 8            # of them, so that there is work for some threads
    LARGE_BLOCK = 10 << 20    # bytes of a block of tiles that threads share: a part of the level 3 cache
    LARGE_TILES = 128         # tiles in it: their products with one panel fit the level 2 cache
    FILTERS = 64              # filters that one item of backward_weight owns, a multiple of NR

# One convolution, and the layout of its transforms: 36 matrices, each `ld` numbers after the one before.
ctypedef struct Plan:
    const wino_kernels* k
    int64_t n, h, w, c, f, top, left, oh, ow   # x (n, h, w, c), y (n, oh, ow, f)
    int64_t tile_rows, tile_cols, tiles        # tiles in an image, and in all images
    int64_t nr, align                          # panel width, numbers in 64 bytes
    int64_t block, row, ld                     # tiles in a block; numbers in a row of d
    int64_t part, u_ld                         # channels of a panel of filters in u
    int threads


cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef Plan make_plan(
    bint is_float, int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left,
    int64_t OH, int64_t OW,
) noexcept nogil:
    cdef Plan p
    p.k = &wino_f32 if is_float else &wino_f64
    p.n, p.h, p.w, p.c, p.f, p.top, p.left, p.oh, p.ow = N, H, W, C, F, top, left, OH, OW
    p.tile_rows, p.tile_cols = ceil_div(OH, 4), ceil_div(OW, 4)
    p.tiles = N * p.tile_rows * p.tile_cols
    p.nr = p.k.nr
    p.align = 64 // p.k.item
    p.row = ceil_div(C, p.nr) * p.nr
    p.part, p.block, p.ld, p.u_ld = C, 0, 0, 0
    p.threads = threads_for(<double>p.tiles * 36 * C * F)
    return p


cdef void set_block(Plan* p, int64_t n_bytes, int64_t per_tile, int64_t most) noexcept nogil:
    """Blocks of at most `most` tiles that fit into n_bytes, about equal; per_tile is in numbers."""
    cdef int64_t blocks
    most = smaller(most, n_bytes // (36 * per_tile * p.k.item)) // MR * MR
    blocks = ceil_div(p.tiles, most if most > MR else MR)
    p.block = ceil_div(ceil_div(p.tiles, blocks), MR) * MR
    # The 36 streams of a transform must not meet in one set of the level 1 cache: one line more.
    p.ld = p.block * p.row + p.align
    p.u_ld = p.part * p.nr + p.align


cdef void transform_tile(
    const real* x, const real* zeros, const Plan* p, int64_t t, int size, int64_t H, int64_t W, int64_t C,
    int64_t top, int64_t left, real* out, int64_t panel, int64_t ld,
) noexcept nogil:
    """B^T x B of tile t of x (N, H, W, C), size 6, or A x A^T, size 4. `panel` lies between NR channels."""
    cdef int64_t in_image = p.tile_rows * p.tile_cols
    cdef int64_t n = t // in_image, row = t % in_image // p.tile_cols * 4, col = t % p.tile_cols * 4
    p.k.transform(x + n * H * W * C, zeros, size, row - top, col - left, H, W, C, out, panel, ld)


cdef void filter_panel(
    const real* w, const Plan* p, int64_t panel, int64_t c0, int64_t c1, bint rotated, real* u
) noexcept nogil:
    """u (36, c1 - c0, NR) = G w G^T; the rotated filters are those of the gradient to the input."""
    if rotated:
        p.k.filter_rotated(w, panel * p.nr, p.c, p.f, c0, c1, u, p.u_ld)
    else:
        p.k.filter(w, panel * p.nr, p.f, p.c, c0, c1, u, p.u_ld)


cdef void multiply(
    const real* d, const real* u, real* m, const Plan* p, int64_t tiles, int64_t channels, int64_t panel,
    bint accumulate,
) noexcept nogil:
    """m (36, block, NR) = or += d u."""
    p.k.products(tiles, channels, p.f - panel * p.nr, d, p.ld, p.nr * p.row, p.row, 1, u, p.u_ld, m,
                 p.block * p.nr + p.align, accumulate)


cdef void output_tiles(
    const real* m, const real* bias, real* y, const Plan* p, int64_t t0, int64_t t1, int64_t panel,
    int activation, double alpha,
) noexcept nogil:
    """y = act(A^T m A + bias) of one panel of filters, for the tiles t0..t1."""
    cdef int64_t in_image = p.tile_rows * p.tile_cols, f = panel * p.nr, t, n, row, col
    cdef const real* b = bias + f if bias != NULL else NULL
    for t in range(t0, t1):
        n, row, col = t // in_image, t % in_image // p.tile_cols * 4, t % p.tile_cols * 4
        p.k.output(m + (t - t0) * p.nr, p.block * p.nr + p.align, b,
                   y + ((n * p.oh + row) * p.ow + col) * p.f + f, p.ow * p.f, p.f,
                   <int>smaller(4, p.oh - row), <int>smaller(4, p.ow - col), <int>smaller(p.nr, p.f - f),
                   activation, alpha)


cdef void block_item(
    const real* x, const real* zeros, const real* u, const real* bias, real* y, const Plan* p, int64_t block,
    int activation, double alpha, int* failed,
) noexcept nogil:
    """All steps of one block of tiles, with filters that are transformed already."""
    cdef int64_t t0 = block * p.block, t1 = smaller(t0 + p.block, p.tiles), t, panel
    cdef int64_t n_numbers = 36 * (p.ld + p.block * p.nr + p.align)
    cdef real* d = <real*>scratch(SLOT_WINOGRAD_TILES, n_numbers * <int64_t>sizeof(real))
    cdef real* m = d + 36 * p.ld
    if d == NULL:
        failed[0] = 1
        return
    for t in range(t0, t1):
        transform_tile(x, zeros, p, t, 6, p.h, p.w, p.c, p.top, p.left, d + (t - t0) * p.row, p.nr, p.ld)
    for panel in range(ceil_div(p.f, p.nr)):
        multiply(d, u + panel * 36 * p.u_ld, m, p, t1 - t0, p.c, panel, False)
        output_tiles(m, bias, y, p, t0, t1, panel, activation, alpha)


cdef void panel_item(
    const real* d, const real* w, const real* bias, real* y, const Plan* p, int64_t t0, int64_t t1,
    int64_t panel, bint rotated, int activation, double alpha, int* failed,
) noexcept nogil:
    """One panel of filters, transformed here, for the tiles t0..t1, whose inputs are transformed already."""
    cdef int64_t n_numbers = 36 * (p.u_ld + p.block * p.nr + p.align), c0 = 0, c1
    cdef real* u = <real*>scratch(SLOT_WINOGRAD_TILES, n_numbers * <int64_t>sizeof(real))
    cdef real* m = u + 36 * p.u_ld
    if u == NULL:
        failed[0] = 1
        return
    while c0 < p.c:
        c1 = smaller(c0 + p.part, p.c)
        filter_panel(w, p, panel, c0, c1, rotated, u)
        multiply(d + c0, u, m, p, t1 - t0, c1 - c0, panel, c0 > 0)
        c0 = c1
    output_tiles(m, bias, y, p, t0, t1, panel, activation, alpha)


cdef void* with_zeros(int64_t zeros, int64_t numbers, int64_t item) noexcept nogil:
    """Shared memory that begins with the pixels outside of the image, or NULL."""
    cdef void* shared = scratch(SLOT_WINOGRAD_WEIGHT, (zeros + numbers) * item)
    if shared != NULL:
        memset(shared, 0, zeros * item)
    return shared


cdef int run_forward(
    const real* x, const real* w, const real* bias, real* y, Plan* p, bint rotated, int activation,
    double alpha,
) noexcept nogil:
    cdef int64_t panels = ceil_div(p.f, p.nr), block, panel, t, t0, t1
    cdef int threads = p.threads, failed = 0
    cdef real* zeros
    cdef real* shared
    if p.tiles == 0 or p.f == 0:
        return 0
    if 36 * panels * p.nr * p.c * p.k.item <= SHARED_FILTERS:
        set_block(p, BLOCK, p.row + p.nr, ceil_div(p.tiles, MIN_BLOCKS) + MR - 1)
        zeros = <real*>with_zeros(p.row, 36 * panels * p.u_ld, sizeof(real))
        if zeros == NULL:
            return -1
        shared = zeros + p.row
        with parallel(num_threads=threads):
            for panel in prange(panels, schedule="static"):
                filter_panel(w, p, panel, 0, p.c, rotated, shared + panel * 36 * p.u_ld)
            for block in prange(ceil_div(p.tiles, p.block), schedule="dynamic"):
                block_item(x, zeros, shared, bias, y, p, block, activation, alpha, &failed)
        return -failed
    p.part = smaller(p.c, WINO_INNER)
    set_block(p, LARGE_BLOCK, p.row, LARGE_TILES)
    zeros = <real*>with_zeros(p.row, 36 * p.ld, sizeof(real))
    if zeros == NULL:
        return -1
    shared = zeros + p.row
    for block in range(ceil_div(p.tiles, p.block)):
        t0 = block * p.block
        t1 = smaller(t0 + p.block, p.tiles)
        for t in prange(t0, t1, num_threads=threads, schedule="static"):
            transform_tile(x, zeros, p, t, 6, p.h, p.w, p.c, p.top, p.left, shared + (t - t0) * p.row, p.nr,
                           p.ld)
        for panel in prange(panels, num_threads=threads, schedule="dynamic"):
            panel_item(shared, w, bias, y, p, t0, t1, panel, rotated, activation, alpha, &failed)
    return -failed


cdef void gradient_item(
    const real* d, const real* e, real* dw, const Plan* p, int64_t e_ld, int64_t tiles, int64_t item,
    bint accumulate, int* failed,
) noexcept nogil:
    """dw of FILTERS filters and NR channels from a block of tiles; d and e are (36, panels, block, NR)."""
    cdef int64_t c_panels = ceil_div(p.c, p.nr), s_ld = FILTERS * p.nr + p.align, f
    cdef int64_t c0 = item % c_panels * p.nr, f0 = item // c_panels * FILTERS
    cdef int64_t filters = smaller(FILTERS, p.f - f0), channels = smaller(p.nr, p.c - c0)
    cdef real* s = <real*>scratch(SLOT_WINOGRAD_TILES, 36 * s_ld * <int64_t>sizeof(real))
    if s == NULL:
        failed[0] = 1
        return
    p.k.products(filters, tiles, channels, e + f0 * p.block, e_ld, p.block * p.nr, 1, p.nr,
                 d + c0 * p.block, p.ld, s, s_ld, False)
    for f in range(filters):
        p.k.filter_gradient(s + f * p.nr, s_ld, dw + (f0 + f) * 9 * p.c + c0, p.c, <int>channels, accumulate)


cdef int run_backward_weight(
    const real* x, const real* da, real* dw, Plan* p, bint accumulate
) noexcept nogil:
    cdef int64_t f_row = ceil_div(p.f, p.nr) * p.nr, items = ceil_div(p.c, p.nr) * ceil_div(p.f, FILTERS)
    cdef int64_t e_ld, panel, block, t0, tiles, t, item
    cdef int threads = p.threads, failed = 0
    cdef real* zeros
    cdef real* d
    cdef real* e
    if p.tiles == 0 or p.c == 0:
        if not accumulate:
            memset(dw, 0, p.f * 9 * p.c * sizeof(real))
        return 0
    set_block(p, LARGE_BLOCK, p.row + f_row, LARGE_TILES)
    e_ld, panel = p.block * f_row + p.align, p.block * p.nr
    zeros = <real*>with_zeros(p.row + f_row, 36 * (p.ld + e_ld), sizeof(real))
    if zeros == NULL:
        return -1
    d = zeros + p.row + f_row
    e = d + 36 * p.ld
    for block in range(ceil_div(p.tiles, p.block)):
        t0 = block * p.block
        tiles = smaller(p.block, p.tiles - t0)
        for t in prange(tiles, num_threads=threads, schedule="static"):
            transform_tile(x, zeros, p, t0 + t, 6, p.h, p.w, p.c, p.top, p.left, d + t * p.nr, panel, p.ld)
            transform_tile(da, zeros, p, t0 + t, 4, p.oh, p.ow, p.f, 0, 0, e + t * p.nr, panel, e_ld)
        for item in prange(items, num_threads=threads, schedule="dynamic"):
            gradient_item(d, e, dw, p, e_ld, tiles, item, accumulate or block > 0, &failed)
    return -failed


cdef int forward(
    const real* x, const real* w, const real* bias, real* y,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
    int activation, double alpha,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, H, W, C, F, top, left, OH, OW)
    return run_forward(x, w, bias, y, &p, False, activation, alpha)


cdef int backward_input(
    const real* da, const real* w, real* dx,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, OH, OW, F, C, 2 - top, 2 - left, H, W)
    return run_forward(da, w, <const real*>NULL, dx, &p, True, 0, 0)


cdef int backward_weight(
    const real* x, const real* da, real* dw,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
    bint accumulate,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, H, W, C, F, top, left, OH, OW)
    return run_backward_weight(x, da, dw, &p, accumulate)


cdef bint winograd_pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F) noexcept nogil:
    # Time of "direct" / time of this, one thread, AVX-512, float32; in brackets with both gradients:
    #     C = F          16           32           64           128          512
    #     1 x  8 x  8    0.68 (0.81)  0.94 (1.05)  1.00 (1.01)  1.15 (1.06)  1.17 (1.14)
    #     2 x  8 x  8    0.86 (1.02)  1.15 (1.32)  1.38 (1.44)  1.61 (1.52)  1.42 (1.53)
    #    32 x  6 x  6    0.57 (0.79)  0.86 (1.05)  1.12 (1.10)  1.19 (1.11)  1.51 (1.24)
    #     4 x  7 x  7    0.71 (0.91)  0.98 (1.26)  1.23 (1.38)  1.54 (1.60)  1.69 (1.35)
    #    16 x  4 x  4    0.79 (1.14)  1.14 (1.58)  1.33 (1.63)  1.65 (1.87)  1.26 (1.40)
    #     8 x 16 x 16    1.17 (1.30)  1.69 (1.77)  2.15 (1.94)  2.40 (2.21)  1.52 (1.72)
    # So: a panel of channels on both sides, tiles that are mostly full, pixels to pay for the filters.
    cdef int64_t pixels = N * OH * OW
    return C >= 32 and F >= 32 and pixels >= 128 and pixels >= 10 * N * ceil_div(OH, 4) * ceil_div(OW, 4)


def pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F):
    return bool(winograd_pays(N, OH, OW, C, F))


cdef int check_convolution(
    cnp.ndarray x, str x_name, cnp.ndarray weight, str weight_name, cnp.ndarray y, str y_name, padding
) except -1:
    """The type number of x (N, H, W, C), weight (F, 3, 3, C) and y (N, OH, OW, F), or an exception."""
    cdef int typenum = real_type(x, x_name)
    if len(padding) != 4 or min(padding) < 0 or max(padding) > 2:
        raise ValueError(f"padding: expected (top, bottom, left, right), each 0..2. Received: {padding}")
    top, bottom, left, right = padding
    check(x, x_name, 4, typenum)
    check(weight, weight_name, 4, typenum)
    check(y, y_name, 4, typenum)
    check_shape(weight, weight_name, 1, 3)
    check_shape(weight, weight_name, 2, 3)
    check_shape(weight, weight_name, 3, x.shape[3])
    check_shape(y, y_name, 0, x.shape[0])
    check_shape(y, y_name, 1, max(0, x.shape[1] + top + bottom - 2))
    check_shape(y, y_name, 2, max(0, x.shape[2] + left + right - 2))
    check_shape(y, y_name, 3, weight.shape[0])
    return typenum


cdef Plan array_plan(int typenum, cnp.ndarray x, cnp.ndarray y, padding):
    return make_plan(typenum == cnp.NPY_FLOAT32, x.shape[0], x.shape[1], x.shape[2], x.shape[3], y.shape[3],
                     padding[0], padding[2], y.shape[1], y.shape[2])


def winograd_forward(
    cnp.ndarray x,        # IN (N, H, W, C)
    cnp.ndarray weight,   # IN (F, 3, 3, C)
    cnp.ndarray bias,     # IN (F,) or None
    cnp.ndarray y,        # OUT (N, OH, OW, F)
    padding,
    str activation="linear",
    double alpha=0.0,
):
    """y = activation(conv2d(x, weight) + bias), stride 1, `padding` = (top, bottom, left, right) in 0..2."""
    cdef int typenum = check_convolution(x, "x", weight, "weight", y, "y", padding)
    cdef int act = activation_code(activation), status
    cdef void* b = NULL
    cdef Plan p = array_plan(typenum, x, y, padding)
    if bias is not None:
        check(bias, "bias", 1, typenum)
        check_shape(bias, "bias", 0, weight.shape[0])
        b = cnp.PyArray_DATA(bias)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = run_forward(<const float*>cnp.PyArray_DATA(x), <const float*>cnp.PyArray_DATA(weight),
                                 <const float*>b, <float*>cnp.PyArray_DATA(y), &p, False, act, alpha)
        else:
            status = run_forward(<const double*>cnp.PyArray_DATA(x), <const double*>cnp.PyArray_DATA(weight),
                                 <const double*>b, <double*>cnp.PyArray_DATA(y), &p, False, act, alpha)
    if status < 0:
        raise MemoryError("winograd_forward: no memory for the transforms")


def winograd_backward_input(
    cnp.ndarray da,       # IN (N, OH, OW, F)
    cnp.ndarray weight,   # IN (F, 3, 3, C)
    cnp.ndarray dx,       # OUT (N, H, W, C)
    padding,
):
    """dx = the gradient to the input of `winograd_forward` with this padding."""
    cdef int typenum = check_convolution(dx, "dx", weight, "weight", da, "da", padding), status
    cdef Plan p = array_plan(typenum, da, dx, (2 - padding[0], 0, 2 - padding[2], 0))
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = run_forward(<const float*>cnp.PyArray_DATA(da), <const float*>cnp.PyArray_DATA(weight),
                                 <const float*>NULL, <float*>cnp.PyArray_DATA(dx), &p, True, 0, 0)
        else:
            status = run_forward(<const double*>cnp.PyArray_DATA(da), <const double*>cnp.PyArray_DATA(weight),
                                 <const double*>NULL, <double*>cnp.PyArray_DATA(dx), &p, True, 0, 0)
    if status < 0:
        raise MemoryError("winograd_backward_input: no memory for the transforms")


def winograd_backward_weight(
    cnp.ndarray x,        # IN (N, H, W, C)
    cnp.ndarray da,       # IN (N, OH, OW, F)
    cnp.ndarray dw,       # OUT (F, 3, 3, C)
    padding,
    bint accumulate=False,
):
    """dw = (or, with `accumulate`, +=) the gradient to the weights of `winograd_forward`."""
    cdef int typenum = check_convolution(x, "x", dw, "dw", da, "da", padding), status
    cdef Plan p = array_plan(typenum, x, da, padding)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = run_backward_weight(
                <const float*>cnp.PyArray_DATA(x), <const float*>cnp.PyArray_DATA(da),
                <float*>cnp.PyArray_DATA(dw), &p, accumulate)
        else:
            status = run_backward_weight(
                <const double*>cnp.PyArray_DATA(x), <const double*>cnp.PyArray_DATA(da),
                <double*>cnp.PyArray_DATA(dw), &p, accumulate)
    if status < 0:
        raise MemoryError("winograd_backward_weight: no memory for the transforms")
