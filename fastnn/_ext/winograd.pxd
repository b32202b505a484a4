# Convolution by Winograd's F(4x4, 3x3) and F(2x2, 5x5) for other kernels: stride 1, dilation 1, one group.
#
# x (N, H, W, C), w (F, R, R, C) with R = 3 or 5, y and da (N, OH, OW, F), bias (F,) or NULL; all C-contiguous.
# top and left are the padding before the first row and column, 0..R-1; what follows the last row and column
# is padding too, so that OH = H + top + bottom - R + 1 and OW = W + left + right - R + 1 say how much.
# Each returns 0, or -1 without memory. They take their number of threads from threads_for and use the
# slots SLOT_WINOGRAD_WEIGHT and SLOT_WINOGRAD_TILES. The `def` kernels of winograd.pyx have the long names:
# `from fastnn._ext.winograd cimport forward as winograd_forward`.
from libc.stdint cimport int64_t
from fastnn._ext.common cimport real

# y = act(x * w + bias + add); with `pool` y (N, OH // 2, OW // 2, F) is the maxima of its 2x2 windows. add is
# (N, OH, OW, F) or NULL; moments (2, F) is NULL or gets the mean of y and sum (y - mean)^2, for each filter, not with
# `pool`. `prepared` is NULL, or n_prepared numbers that `prepare` made of w.
cdef int forward(
    const real* x, const real* w, const real* bias, const real* add, real* y, const real* prepared,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t R, int64_t top, int64_t left, int64_t OH, int64_t OW,
    int activation, double alpha, bint pool, double* moments,
) noexcept nogil

cdef int64_t n_prepared(int64_t C, int64_t F, int64_t R, real* unused) noexcept nogil
cdef void prepare(const real* w, int64_t C, int64_t F, int64_t R, real* prepared) noexcept nogil

# dx (N, H, W, C) is overwritten. H, W and C are those of x, as above.
cdef int backward_input(
    const real* da, const real* w, real* dx,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t R, int64_t top, int64_t left, int64_t OH, int64_t OW,
) noexcept nogil

# dw (F, R, R, C) is overwritten or, with accumulate, added to.
cdef int backward_weight(
    const real* x, const real* da, real* dw,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t R, int64_t top, int64_t left, int64_t OH, int64_t OW,
    bint accumulate,
) noexcept nogil

# Whether this is faster than the direct algorithm, by measurement; see winograd.pyx.
cdef bint winograd_pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F, int64_t R) noexcept nogil
cdef bint prepared_pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F, int64_t R) noexcept nogil
