# What the Winograd kernels share: one convolution, its blocks of tiles and their transforms; see winograd_plan.pyx.
from fastnn._ext.common cimport real
from fastnn._ext.moments cimport Moments
from fastnn._ext.winograd_kernels cimport wino_kernels
from libc.stdint cimport int64_t

cdef enum:
    LARGE_BLOCK = 10 << 20    # bytes of a block of tiles that threads share: a part of the level 3 cache
    LARGE_TILES = 128         # tiles in it: their products with one panel fit the level 2 cache

# The transforms are 36 matrices, each `ld` numbers after the one before.
ctypedef struct Plan:
    const wino_kernels* k
    int64_t n, h, w, c, f, top, left, oh, ow   # x (n, h, w, c), y (n, oh, ow, f)
    int64_t r, size                            # kernels of r x r, tiles of size x size outputs
    int64_t tile_rows, tile_cols, tiles        # tiles in an image, and in all images
    int64_t nr, align                          # panel width, numbers in 64 bytes
    int64_t block, row, ld                     # tiles in a block; numbers in a row of d
    int64_t part, u_ld                         # channels of a panel of filters in u
    int threads

# y = act(sums + bias + add), or the maxima of its 2x2 windows; arrays of the dtype that the plan is for.
ctypedef struct Output:
    const void* bias                           # (f,) or NULL
    const void* add                            # (n, oh, ow, f) or NULL
    void* y                                    # (n, oh, ow, f), with `pool` (n, oh // 2, ow // 2, f)
    int activation
    double alpha
    bint pool
    double* moments                            # (2, f), or NULL: mean of y, and sum (y - mean)^2; not with `pool`
    Moments sums                               # of the blocks of tiles

cdef inline Output output_to(void* y, const void* bias, int activation, double alpha) noexcept nogil:
    cdef Output o
    o.y, o.bias, o.activation, o.alpha = y, bias, activation, alpha
    o.add, o.pool, o.moments = NULL, False, NULL
    return o

cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b

cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b

cdef Plan make_plan(
    bint is_float, int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t R, int64_t top, int64_t left,
    int64_t OH, int64_t OW,
) noexcept nogil
cdef void set_block(Plan* p, int64_t n_bytes, int64_t per_tile, int64_t most) noexcept nogil
cdef void* with_zeros(int64_t zeros, int64_t numbers, int64_t item) noexcept nogil
cdef void transform_tile(
    const real* x, const real* zeros, const Plan* p, int64_t t, int64_t n_pixels, int64_t H, int64_t W, int64_t C,
    int64_t top, int64_t left, real* out, int64_t panel, int64_t ld,
) noexcept nogil
