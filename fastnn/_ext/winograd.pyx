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
"""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.threads cimport SLOT_WINOGRAD_TILES, SLOT_WINOGRAD_WEIGHT, scratch, threads_for
from libc.stdint cimport int64_t
from libc.string cimport memset

cnp.import_array()

cdef extern from *:
    """
    #include "tile.h"
    #define T float
    #define V v_f32
    #define VI v_i32
    #define VL VL_F32
    #define NR NR_F32
    #define FN(name) name##_f32
    #define SPLAT SPLAT_F32
    #define LIST WINO_VECTOR_F32
    #include "winograd.h"
    #undef T
    #undef V
    #undef VI
    #undef VL
    #undef NR
    #undef FN
    #undef SPLAT
    #undef LIST
    #define T double
    #define V v_f64
    #define VI v_i64
    #define VL VL_F64
    #define NR NR_F64
    #define FN(name) name##_f64
    #define SPLAT SPLAT_F64
    #define LIST WINO_VECTOR_F64
    #include "winograd.h"
    #undef T
    #undef V
    #undef VI
    #undef VL
    #undef NR
    #undef FN
    #undef SPLAT
    #undef LIST
    """
    enum: MR, WINO_INNER
    ctypedef struct wino_kernels:
        int64_t nr, vl, item
        void (*transform)(
            const void* image, const void* zeros, int size, int64_t row, int64_t col, int64_t height,
            int64_t width, int64_t channels, void* out, int64_t panel, int64_t ld) noexcept nogil
        void (*filter)(
            const void* w, int64_t f, int64_t filters, int64_t channels, int64_t c0, int64_t c1, void* out,
            int64_t ld) noexcept nogil
        void (*filter_rotated)(
            const void* w, int64_t c, int64_t filters, int64_t channels, int64_t f0, int64_t f1, void* out,
            int64_t ld) noexcept nogil
        void (*products)(
            int64_t rows, int64_t inner, int n, const void* a, int64_t a_ld, int64_t a_panel, int64_t a_row,
            int64_t a_step, const void* b, int64_t b_ld, void* out, int64_t out_ld, int accumulate
        ) noexcept nogil
        void (*output)(
            const void* m, int64_t ld, const void* bias, void* y, int64_t line, int64_t pixel, int rows,
            int cols, int n, int activation, double alpha) noexcept nogil
        void (*filter_gradient)(
            const void* s, int64_t ld, void* dw, int64_t channels, int n, int accumulate) noexcept nogil
    const wino_kernels wino_f32, wino_f64

cdef enum:
    SHARED_FILTERS = 4 << 20  # bytes of transformed filters up to which they are transformed once
    BLOCK = 640 << 10         # bytes of a block of tiles with one owner: most of a level 2 cache
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


cdef inline int whole_vectors(const Plan* p, int64_t columns) noexcept nogil:
    """Columns of a panel that are worth a product."""
    return <int>(p.nr if columns > p.k.vl else p.k.vl)


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
    p.part = C
    p.block = p.ld = p.u_ld = 0
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
    """Tile t of x (N, H, W, C): 6x6 inputs or 4x4 gradients."""
    cdef int64_t in_image = p.tile_rows * p.tile_cols
    cdef int64_t n = t // in_image, row = t % in_image // p.tile_cols * 4, col = t % p.tile_cols * 4
    p.k.transform(x + n * H * W * C, zeros, size, row - top, col - left, H, W, C, out, panel, ld)


cdef void input_tiles(
    const real* x, const real* zeros, const Plan* p, int64_t t0, int64_t t1, real* d
) noexcept nogil:
    """d (36, tiles, row) = B^T x B, for the tiles t0..t1."""
    cdef int64_t t
    for t in range(t0, t1):
        transform_tile(x, zeros, p, t, 6, p.h, p.w, p.c, p.top, p.left, d + (t - t0) * p.row, p.nr, p.ld)


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
    p.k.products(tiles, channels, whole_vectors(p, p.f - panel * p.nr), d, p.ld, p.nr * p.row, p.row, 1, u,
                 p.u_ld, m, p.block * p.nr + p.align, accumulate)


cdef void output_tiles(
    const real* m, const real* bias, real* y, const Plan* p, int64_t t0, int64_t t1, int64_t panel,
    int activation, real alpha,
) noexcept nogil:
    """y = act(A^T m A + bias) of one panel of filters, for the tiles t0..t1."""
    cdef int64_t in_image = p.tile_rows * p.tile_cols, f = panel * p.nr, t, n, row, col
    cdef const real* b = bias + f if bias != NULL else NULL
    for t in range(t0, t1):
        n, row, col = t // in_image, t % in_image // p.tile_cols * 4, t % p.tile_cols * 4
        p.k.output(m + (t - t0) * p.nr, p.block * p.nr + p.align, b,
                   y + ((n * p.oh + row) * p.ow + col) * p.f + f, p.ow * p.f, p.f, <int>smaller(4, p.oh - row),
                   <int>smaller(4, p.ow - col), <int>smaller(p.nr, p.f - f), activation, alpha)


cdef void block_item(
    const real* x, const real* zeros, const real* u, const real* bias, real* y, const Plan* p, int64_t block,
    int activation, real alpha, int* failed,
) noexcept nogil:
    """All steps of one block of tiles, with filters that are transformed already."""
    cdef int64_t t0 = block * p.block, t1 = smaller(t0 + p.block, p.tiles), panel
    cdef int64_t n_numbers = 36 * (p.ld + p.block * p.nr + p.align)
    cdef real* d = <real*>scratch(SLOT_WINOGRAD_TILES, n_numbers * <int64_t>sizeof(real))
    cdef real* m = d + 36 * p.ld
    if d == NULL:
        failed[0] = 1
        return
    input_tiles(x, zeros, p, t0, t1, d)
    for panel in range(ceil_div(p.f, p.nr)):
        multiply(d, u + panel * 36 * p.u_ld, m, p, t1 - t0, p.c, panel, False)
        output_tiles(m, bias, y, p, t0, t1, panel, activation, alpha)


cdef void panel_item(
    const real* d, const real* w, const real* bias, real* y, const Plan* p, int64_t t0, int64_t t1,
    int64_t panel, bint rotated, int activation, real alpha, int* failed,
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


cdef real* with_zeros(int64_t n_zeros, int64_t n_numbers) noexcept nogil:
    """Shared memory that begins with the pixels outside of the image, or NULL."""
    cdef real* zeros = <real*>scratch(SLOT_WINOGRAD_WEIGHT, (n_zeros + n_numbers) * <int64_t>sizeof(real))
    if zeros != NULL:
        memset(zeros, 0, n_zeros * sizeof(real))
    return zeros


cdef int run_forward(
    const real* x, const real* w, const real* bias, real* y, Plan* p, bint rotated, int activation, real alpha
) noexcept nogil:
    cdef int64_t panels = ceil_div(p.f, p.nr), block, panel, t, t0, t1
    cdef int threads = p.threads, failed = 0
    cdef real* zeros
    cdef real* shared
    if 36 * panels * p.nr * p.c * p.k.item <= SHARED_FILTERS:
        set_block(p, BLOCK, p.row + p.nr, ceil_div(p.tiles, MIN_BLOCKS) + MR - 1)
        zeros = with_zeros[real](p.row, 36 * panels * p.u_ld)
        if zeros == NULL:
            return -1
        shared = zeros + p.row
        for panel in prange(panels, num_threads=threads, schedule="static"):
            filter_panel(w, p, panel, 0, p.c, rotated, shared + panel * 36 * p.u_ld)
        for block in prange(ceil_div(p.tiles, p.block), num_threads=threads, schedule="dynamic"):
            block_item(x, zeros, shared, bias, y, p, block, activation, alpha, &failed)
        return -failed
    p.part = smaller(p.c, WINO_INNER)
    set_block(p, LARGE_BLOCK, p.row, LARGE_TILES)
    zeros = with_zeros[real](p.row, 36 * p.ld)
    if zeros == NULL:
        return -1
    shared = zeros + p.row
    t0 = 0
    while t0 < p.tiles:
        t1 = smaller(t0 + p.block, p.tiles)
        for t in prange(t0, t1, num_threads=threads, schedule="static"):
            input_tiles(x, zeros, p, t, t + 1, shared + (t - t0) * p.row)
        for panel in prange(panels, num_threads=threads, schedule="dynamic"):
            panel_item(shared, w, bias, y, p, t0, t1, panel, rotated, activation, alpha, &failed)
        t0 = t1
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
    p.k.products(filters, tiles, whole_vectors(p, channels), e + f0 * p.block, e_ld, p.block * p.nr, 1, p.nr,
                 d + c0 * p.block, p.ld, s, s_ld, False)
    for f in range(filters):
        p.k.filter_gradient(s + f * p.nr, s_ld, dw + (f0 + f) * 9 * p.c + c0, p.c, <int>channels, accumulate)


cdef int run_backward_weight(const real* x, const real* da, real* dw, Plan* p, bint accumulate) noexcept nogil:
    cdef int64_t f_row = ceil_div(p.f, p.nr) * p.nr, items = ceil_div(p.c, p.nr) * ceil_div(p.f, FILTERS)
    cdef int64_t e_ld, panel, t0 = 0, tiles, t, item
    cdef int threads = p.threads, failed = 0
    cdef real* zeros
    cdef real* d
    cdef real* e
    set_block(p, LARGE_BLOCK, p.row + f_row, LARGE_TILES)
    e_ld, panel = p.block * f_row + p.align, p.block * p.nr
    zeros = with_zeros[real](p.row + f_row, 36 * (p.ld + e_ld))
    if zeros == NULL:
        return -1
    d = zeros + p.row + f_row
    e = d + 36 * p.ld
    while t0 < p.tiles:
        tiles = smaller(p.block, p.tiles - t0)
        for t in prange(tiles, num_threads=threads, schedule="static"):
            transform_tile(x, zeros, p, t0 + t, 6, p.h, p.w, p.c, p.top, p.left, d + t * p.nr, panel, p.ld)
            transform_tile(da, zeros, p, t0 + t, 4, p.oh, p.ow, p.f, 0, 0, e + t * p.nr, panel, e_ld)
        for item in prange(items, num_threads=threads, schedule="dynamic"):
            gradient_item(d, e, dw, p, e_ld, tiles, item, accumulate or t0 > 0, &failed)
        t0 += p.block
    return -failed


cdef int forward(
    const real* x, const real* w, const real* bias, real* y,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
    int activation, real alpha,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, H, W, C, F, top, left, OH, OW)
    return run_forward(x, w, bias, y, &p, False, activation, alpha)


cdef int backward_input(
    const real* da, const real* w, real* dx,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, OH, OW, F, C, 2 - top, 2 - left, H, W)
    return run_forward(da, w, <const real*>NULL, dx, &p, True, 0, <real>0)


cdef int backward_weight(
    const real* x, const real* da, real* dw,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
    bint accumulate,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, H, W, C, F, top, left, OH, OW)
    return run_backward_weight(x, da, dw, &p, accumulate)


cdef bint winograd_pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F) noexcept nogil:
    return C >= 32 and F >= 32


def pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F):
    """`winograd_pays` for tests."""
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
    if cnp.PyArray_SIZE(y) == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = run_forward(<const float*>cnp.PyArray_DATA(x), <const float*>cnp.PyArray_DATA(weight),
                                 <const float*>b, <float*>cnp.PyArray_DATA(y), &p, False, act, <float>alpha)
        else:
            status = run_forward(<const double*>cnp.PyArray_DATA(x), <const double*>cnp.PyArray_DATA(weight),
                                 <const double*>b, <double*>cnp.PyArray_DATA(y), &p, False, act, alpha)
    if status < 0:
        raise MemoryError("winograd_forward: no memory for the transforms")
