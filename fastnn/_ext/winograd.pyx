"""Convolution with fewer multiplications: Winograd's F(4x4, 3x3), a quarter, and F(2x2, 5x5), 36 %.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016); winograd.h has the matrices. The image
is cut into tiles of 4x4 outputs for 3x3 kernels, of 2x2 outputs for 5x5 kernels. Either way a tile's 6x6 inputs and
the filters are transformed to 36 numbers per channel, and at each of these 36 points the convolution is a product
of matrices, (tiles, C) times (C, F):

    forward          y  = A^T [ sum_c (B^T x B)_c * (G w G^T)_fc ] A
    backward_input   the same, of da with the filters rotated and F and C exchanged
    backward_weight  dw = G^T [ sum_tiles (B^T x B)_c * (A da A^T)_f ] G

winograd_forward.pyx and winograd_weight.pyx compute these; here are the checks, and the rule that says when it pays.
An infinite or NaN input makes NaN of all outputs of the tiles that read it.
"""

cimport numpy as cnp
from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.winograd_forward cimport n_filter_numbers, run_forward, transform_filters
from fastnn._ext.winograd_plan cimport Output, Plan, ceil_div, make_plan, output_to
from fastnn._ext.winograd_weight cimport run_backward_weight
from libc.stdint cimport int64_t

cnp.import_array()


cdef int forward(
    const real* x, const real* w, const real* bias, const real* add, real* y, const real* prepared,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t R, int64_t top, int64_t left, int64_t OH, int64_t OW,
    int activation, double alpha, bint pool, double* moments,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, H, W, C, F, R, top, left, OH, OW)
    cdef Output o = output_to(y, bias, activation, alpha)
    o.add, o.pool, o.moments = add, pool, moments
    return run_forward(x, w, &o, &p, False, prepared)


cdef int64_t n_prepared(int64_t C, int64_t F, int64_t R, real* unused) noexcept nogil:
    cdef Plan p = make_plan(real is float, 1, 1, 1, C, F, R, 0, 0, 1, 1)
    return n_filter_numbers(&p)


cdef void prepare(const real* w, int64_t C, int64_t F, int64_t R, real* prepared) noexcept nogil:
    cdef Plan p = make_plan(real is float, 1, 1, 1, C, F, R, 0, 0, 1, 1)
    transform_filters(w, &p, False, prepared)


cdef int backward_input(
    const real* da, const real* w, real* dx,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t R, int64_t top, int64_t left, int64_t OH, int64_t OW,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, OH, OW, F, C, R, R - 1 - top, R - 1 - left, H, W)
    cdef Output o = output_to(dx, NULL, 0, 0)
    return run_forward(da, w, &o, &p, True, <const real*>NULL)


cdef int backward_weight(
    const real* x, const real* da, real* dw,
    int64_t N, int64_t H, int64_t W, int64_t C, int64_t F, int64_t R, int64_t top, int64_t left, int64_t OH, int64_t OW,
    bint accumulate,
) noexcept nogil:
    cdef Plan p = make_plan(real is float, N, H, W, C, F, R, top, left, OH, OW)
    return run_backward_weight(x, da, dw, &p, accumulate)


cdef bint pays_5x5(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F) noexcept nogil:
    # Time of "direct" / time of this, one thread, AVX-512, float32; in brackets with both gradients:
    #     C, F           16,16        16,64        32,32        64,64        128,128      512,512
    #    16 x  4 x  4    0.51 (0.79)               0.77 (1.10)  0.88 (1.20)  0.95 (1.19)  1.25 (1.12)
    #    16 x  5 x  5    0.44 (0.60)               0.67 (0.83)  0.77 (0.93)  0.87 (0.98)  0.96 (0.78)
    #     1 x  6 x  6                              1.32 (1.34)  1.41 (1.36)  1.23 (1.23)  1.46 (1.03)
    #     4 x  7 x  7    0.62 (0.71)               0.84 (0.98)  1.01 (1.14)  0.98 (1.13)  1.44 (1.15)
    #     1 x  8 x  8    1.02 (1.02)  1.20 (1.27)  1.29 (1.36)  1.46 (1.46)  1.34 (1.33)  1.44 (1.12)
    #     8 x 16 x 16    0.79 (0.80)  1.15 (1.07)  1.31 (1.25)  1.60 (1.53)  1.78 (1.82)
    # So: channels to pay for four transforms where 3x3 has one, tiles that are mostly full, and not the smallest
    # images, where the direct form leaves out the half of the taps that lies in the padding. One image pays already,
    # with filters that are prepared (1.2 to 2.4) or not.
    return (N > 0 and min(C, F) >= 16 and C * F >= 1024 and min(OH, OW) >= 6
            and OH * OW >= 3 * ceil_div(OH, 2) * ceil_div(OW, 2))


cdef bint winograd_pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F, int64_t R) noexcept nogil:
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
    if R == 5:
        return pays_5x5(N, OH, OW, C, F)
    return C >= 32 and F >= 32 and pixels >= 128 and pixels >= 10 * N * ceil_div(OH, 4) * ceil_div(OW, 4)


cdef bint prepared_pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F, int64_t R) noexcept nogil:
    # The same for the forward pass alone with filters that are prepared for both:
    #     C, F           16,16  16,64  64,16  32,32  64,64  128,128  512,512
    #     3 x  4 x  4    0.25   0.64          0.92   1.30   1.39     0.85
    #     1 x  6 x  6    0.51   0.72   0.87   0.79   1.15   1.30     0.78
    #     2 x  6 x  6    0.57   0.84   0.87   0.87   1.21   1.50     1.04
    #     1 x  7 x  7    0.62   0.91   1.11   0.99   1.50   1.77     0.93
    #     1 x  8 x  8    0.71   1.10   1.29   1.22   1.90   2.14     1.04
    #     1 x 16 x 16    1.19   1.77   1.80   1.93   2.53   2.88     1.87
    # So half the pixels suffice, and emptier tiles; with 512 channels the filters are read from memory, which 49
    # pixels do not pay for.
    cdef int64_t pixels = N * OH * OW
    if R == 5:
        return pays_5x5(N, OH, OW, C, F)
    return (min(C, F) >= 16 and C * F >= 1024 and pixels >= 64
            and pixels >= 9 * N * ceil_div(OH, 4) * ceil_div(OW, 4))


def pays(int64_t N, int64_t OH, int64_t OW, int64_t C, int64_t F, int64_t R=3, bint prepared=False):
    return bool(prepared_pays(N, OH, OW, C, F, R) if prepared else winograd_pays(N, OH, OW, C, F, R))


cdef int check_convolution(
    cnp.ndarray x, str x_name, cnp.ndarray weight, str weight_name, cnp.ndarray y, str y_name, padding
) except -1:
    """The type number of x (N, H, W, C), weight (F, R, R, C) and y (N, OH, OW, F), or an exception."""
    cdef int typenum = real_type(x, x_name)
    check(x, x_name, 4, typenum)
    check(weight, weight_name, 4, typenum)
    check(y, y_name, 4, typenum)
    cdef int64_t edge = weight.shape[1] - 1
    if edge != 2 and edge != 4:
        raise ValueError(f"{weight_name}: expected kernels of 3x3 or 5x5. Received: shape={(<object>weight).shape}")
    if len(padding) != 4 or min(padding) < 0 or max(padding) > edge:
        raise ValueError(f"padding: expected (top, bottom, left, right), each 0..{edge}. Received: {padding}")
    top, bottom, left, right = padding
    check_shape(weight, weight_name, 2, edge + 1)
    check_shape(weight, weight_name, 3, x.shape[3])
    check_shape(y, y_name, 0, x.shape[0])
    check_shape(y, y_name, 1, max(0, x.shape[1] + top + bottom - edge))
    check_shape(y, y_name, 2, max(0, x.shape[2] + left + right - edge))
    check_shape(y, y_name, 3, weight.shape[0])
    return typenum


cdef Plan array_plan(int typenum, cnp.ndarray x, cnp.ndarray weight, cnp.ndarray y, int64_t top, int64_t left):
    return make_plan(typenum == cnp.NPY_FLOAT32, x.shape[0], x.shape[1], x.shape[2], x.shape[3], y.shape[3],
                     weight.shape[1], top, left, y.shape[1], y.shape[2])


def winograd_forward(
    cnp.ndarray x,        # IN (N, H, W, C)
    cnp.ndarray weight,   # IN (F, R, R, C), R = 3 or 5
    cnp.ndarray bias,     # IN (F,) or None
    cnp.ndarray y,        # OUT (N, OH, OW, F)
    padding,
    str activation="linear",
    double alpha=0.0,
):
    """y = activation(conv2d(x, weight) + bias), stride 1, `padding` = (top, bottom, left, right) in 0..R-1."""
    cdef int typenum = check_convolution(x, "x", weight, "weight", y, "y", padding)
    cdef int act = activation_code(activation), status
    cdef void* b = NULL
    cdef Plan p = array_plan(typenum, x, weight, y, padding[0], padding[2])
    if bias is not None:
        check(bias, "bias", 1, typenum)
        check_shape(bias, "bias", 0, weight.shape[0])
        b = cnp.PyArray_DATA(bias)
    cdef Output o = output_to(cnp.PyArray_DATA(y), b, act, alpha)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = run_forward(<const float*>cnp.PyArray_DATA(x), <const float*>cnp.PyArray_DATA(weight), &o, &p,
                                 False, <const float*>NULL)
        else:
            status = run_forward(<const double*>cnp.PyArray_DATA(x), <const double*>cnp.PyArray_DATA(weight), &o, &p,
                                 False, <const double*>NULL)
    if status < 0:
        raise MemoryError("winograd_forward: no memory for the transforms")


def winograd_backward_input(
    cnp.ndarray da,       # IN (N, OH, OW, F)
    cnp.ndarray weight,   # IN (F, R, R, C), R = 3 or 5
    cnp.ndarray dx,       # OUT (N, H, W, C)
    padding,
):
    """dx = the gradient to the input of `winograd_forward` with this padding."""
    cdef int typenum = check_convolution(dx, "dx", weight, "weight", da, "da", padding), status
    cdef int64_t edge = weight.shape[1] - 1
    cdef Plan p = array_plan(typenum, da, weight, dx, edge - padding[0], edge - padding[2])
    cdef Output o = output_to(cnp.PyArray_DATA(dx), NULL, 0, 0)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = run_forward(<const float*>cnp.PyArray_DATA(da), <const float*>cnp.PyArray_DATA(weight), &o, &p,
                                 True, <const float*>NULL)
        else:
            status = run_forward(<const double*>cnp.PyArray_DATA(da), <const double*>cnp.PyArray_DATA(weight), &o, &p,
                                 True, <const double*>NULL)
    if status < 0:
        raise MemoryError("winograd_backward_input: no memory for the transforms")


def winograd_backward_weight(
    cnp.ndarray x,        # IN (N, H, W, C)
    cnp.ndarray da,       # IN (N, OH, OW, F)
    cnp.ndarray dw,       # OUT (F, R, R, C), R = 3 or 5
    padding,
    bint accumulate=False,
):
    """dw = (or, with `accumulate`, +=) the gradient to the weights of `winograd_forward`."""
    cdef int typenum = check_convolution(x, "x", dw, "dw", da, "da", padding), status
    cdef Plan p = array_plan(typenum, x, dw, da, padding[0], padding[2])
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
