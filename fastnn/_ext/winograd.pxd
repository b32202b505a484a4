# Convolution by Winograd's F(4x4, 3x3) for other kernels: 3x3 filters, stride 1, dilation 1, one group.
#
# x (N, H, W, C), w (F, 3, 3, C), y and da (N, OH, OW, F), bias (F,) or NULL; all C-contiguous.
# top and left are the padding before the first row and column, 0..2; what follows the last row and column is
# padding too, so that OH = H + top + bottom - 2 and OW = W + left + right - 2 say how much.
# Each returns 0, or -1 without memory. They take their number of threads from threads_for and use the
# slots SLOT_WINOGRAD_WEIGHT and SLOT_WINOGRAD_TILES. The `def` kernels of winograd.pyx have the long names:
# `from fastnn._ext.winograd cimport forward as winograd_forward`.
from libc.stdint cimport int64_t
from fastnn._ext.common cimport real

# y = act(x * w + bias)
cdef int forward(
    const real* x, const real* w, const real* bias, real* y,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
    int activation, double alpha,
) noexcept nogil

# dx (N, H, W, C) is overwritten. H, W and C are those of x, as above.
cdef int backward_input(
    const real* da, const real* w, real* dx,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
) noexcept nogil

# dw (F, 3, 3, C) is overwritten or, with accumulate, added to.
cdef int backward_weight(
    const real* x, const real* da, real* dw,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t top, int64_t left, int64_t OH, int64_t OW,
    bint accumulate,
) noexcept nogil

# Whether this is faster than the direct algorithm, by measurement; see winograd.pyx.
cdef bint winograd_pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F) noexcept nogil
