"""Convolution of channels-last images: the choice of the algorithm.

    y[n, oh, ow, f] = act(bias[f] + sum over kh, kw, c of x[n, oh*sh - top + kh*dh, ow*sw - left + kw*dw, c]
                          * weight[f, kh, kw, c])

"direct" reads the image in place (conv_direct.pyx, conv_weight.pyx; conv_depthwise.pyx for one channel per
group, conv_planar.pyx, conv_thin.pyx and conv_few.pyx for few output channels, conv_overlap.pyx for few input
channels), "winograd" needs less than half the multiplications for 3x3 and 5x5 kernels (winograd.pyx), "im2col" writes
the windows out as a matrix and multiplies (conv_im2col.pyx), the readable baseline. "auto" is "winograd" where that
pays (winograd_pays), else "direct". conv_geometry.pyx checks the arguments.
"""

import numpy as np
cimport numpy as cnp
from libc.stdint cimport int64_t

from fastnn._ext.activations cimport add_all
from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.conv_bias cimport bias_gradient
from fastnn._ext.conv_depthwise cimport (
    depthwise_backward_input, depthwise_backward_weight, depthwise_forward, is_depthwise
)
from fastnn._ext.conv_direct cimport direct_backward_input, direct_forward, direct_prepare, n_direct_prepared
from fastnn._ext.conv_few cimport few_backward_weight, is_few
from fastnn._ext.conv_geometry cimport read_columns, read_geometry, read_weight
from fastnn._ext.conv_im2col cimport (
    im2col_backward_input, im2col_backward_weight, im2col_forward, image_to_columns, columns_to_image
)
from fastnn._ext.conv_overlap cimport overlap_backward_input
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.conv_planar cimport planar_backward_input, planar_forward, planar_pays
from fastnn._ext.conv_thin cimport is_thin, thin_backward_weight
from fastnn._ext.conv_weight cimport direct_backward_weight
from fastnn._ext.moments cimport channel_moments, moments_data
from fastnn._ext.winograd cimport (
    backward_input as winograd_backward_input, backward_weight as winograd_backward_weight,
    forward as winograd_forward, n_prepared, prepare as winograd_prepare, prepared_pays, winograd_pays
)

cnp.import_array()


cdef enum:
    DIRECT = 0
    IM2COL = 1
    DEPTHWISE = 2
    WINOGRAD = 3


cdef bint fits_winograd(const Geometry* g) noexcept nogil:
    return ((g.kh == 3 or g.kh == 5) and g.kw == g.kh and g.sh == 1 and g.sw == 1 and g.dh == 1 and g.dw == 1
            and g.groups == 1 and max(max(g.top, g.bottom), max(g.left, g.right)) < g.kh)


cdef int choose(const Geometry* g, str algorithm, bint prepared=False) except -1:
    """The algorithm of a convolution, by its shape if `algorithm` is "auto", for filters `prepared` or not."""
    if algorithm == "im2col":
        return IM2COL
    if algorithm == "winograd":
        if not fits_winograd(g):
            raise ValueError(
                f"algorithm: expected 'auto', 'direct' or 'im2col' for this convolution; 'winograd' is for 3x3 and "
                f"5x5 kernels with stride 1, dilation 1, one group and padding smaller than the kernel. Received: "
                f"kernel ({g.kh}, {g.kw}), stride ({g.sh}, {g.sw}), dilation ({g.dh}, {g.dw}), groups {g.groups}, "
                f"padding ({g.top}, {g.bottom}, {g.left}, {g.right})"
            )
        return WINOGRAD
    if algorithm != "auto" and algorithm != "direct":
        raise ValueError(f"algorithm: expected 'auto', 'direct', 'winograd' or 'im2col'. Received: {algorithm!r}")
    if algorithm == "auto" and fits_winograd(g):
        if (prepared_pays if prepared else winograd_pays)(g.n, g.oh, g.ow, g.c, g.f, g.kh):
            return WINOGRAD
    return DEPTHWISE if is_depthwise(g) else DIRECT


cdef void* data(cnp.ndarray x):
    return NULL if x is None else cnp.PyArray_DATA(x)


cdef int no_memory(const Geometry* g) except -1:
    raise MemoryError(f"convolution: no working memory for x ({g.n}, {g.h}, {g.w}, {g.c}) and weight "
                      f"({g.f}, {g.kh}, {g.kw}, {g.c // g.groups})")


cdef int64_t prepared_size(int algorithm, const Geometry* g, int typenum) noexcept nogil:
    """Numbers that conv2d_prepare writes, 0 for the forms that read the weights in place."""
    cdef bint is_float = typenum == cnp.NPY_FLOAT32
    if algorithm == WINOGRAD:
        return n_prepared(g.c, g.f, g.kh, <float*>NULL) if is_float else n_prepared(g.c, g.f, g.kh, <double*>NULL)
    if algorithm == DIRECT:
        return n_direct_prepared(g, <float*>NULL) if is_float else n_direct_prepared(g, <double*>NULL)
    return 0


cdef int forward(
    int algorithm, const Geometry* g, const real* x, const real* weight, const real* prepared, const real* bias,
    const real* add, real* y, int activation, double alpha, bint pool, double* moments,
) noexcept nogil:
    cdef int act = activation if add == NULL else 0, status
    if algorithm == WINOGRAD:
        return winograd_forward(x, weight, bias, add, y, prepared, g.n, g.h, g.w, g.c, g.f, g.kh, g.top, g.left, g.oh,
                                g.ow, activation, alpha, pool, moments)
    if algorithm == IM2COL:
        status = im2col_forward(g, x, weight, bias, y, act, alpha)
    elif algorithm == DEPTHWISE:
        status = depthwise_forward(g, x, weight, bias, y, act, alpha)
    else:
        status = planar_forward(g, x, weight, bias, y, act, alpha)
        if status > 0:
            return direct_forward(g, x, weight, prepared, bias, add, y, activation, alpha, moments)
    if status == 0 and add != NULL:
        add_all(y, add, y, g.n * g.oh * g.ow * g.f, activation, <real>alpha)
    if status == 0 and moments != NULL:
        return channel_moments(y, g.n * g.oh * g.ow, g.f, moments)
    return status


cdef void prepare(int algorithm, const Geometry* g, const real* weight, real* prepared) noexcept nogil:
    if algorithm == WINOGRAD:
        winograd_prepare(weight, g.c, g.f, g.kh, prepared)
    else:
        direct_prepare(g, weight, prepared)


cdef int backward_input(int algorithm, const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil:
    if algorithm == IM2COL:
        return im2col_backward_input(g, da, weight, dx)
    if algorithm == DEPTHWISE:
        return depthwise_backward_input(g, da, weight, dx)
    if algorithm == WINOGRAD:
        return winograd_backward_input(da, weight, dx, g.n, g.h, g.w, g.c, g.f, g.kh, g.top, g.left, g.oh, g.ow)
    cdef int status = overlap_backward_input(g, da, weight, dx)
    if status > 0:
        status = planar_backward_input(g, da, weight, dx)
    return direct_backward_input(g, da, weight, dx) if status > 0 else status


cdef int backward_weight(
    int algorithm, const Geometry* g, const real* x, const real* da, real* dw, real* db, bint accumulate
) noexcept nogil:
    if algorithm == IM2COL:
        return im2col_backward_weight(g, x, da, dw, db, accumulate)
    if algorithm == DEPTHWISE:
        return depthwise_backward_weight(g, x, da, dw, db, accumulate)
    if algorithm == WINOGRAD:
        if db != NULL and bias_gradient(g, da, db, accumulate):
            return -1
        return winograd_backward_weight(x, da, dw, g.n, g.h, g.w, g.c, g.f, g.kh, g.top, g.left, g.oh, g.ow, accumulate)
    if is_few(g, dw):
        return few_backward_weight(g, x, da, dw, db, accumulate)
    if is_thin(g, x):
        return thin_backward_weight(g, x, da, dw, db, accumulate)
    return direct_backward_weight(g, x, da, dw, db, accumulate)


def conv2d_forward(
    cnp.ndarray x,        # IN  (N, H, W, C)
    cnp.ndarray weight,   # IN  (F, KH, KW, C // groups)
    cnp.ndarray bias,     # IN  (F,) or None
    cnp.ndarray y,        # OUT (N, OH, OW, F), or (N, OH // 2, OW // 2, F) with `pool`
    stride, padding, dilation, groups=1, str activation="linear", double alpha=0.0, str algorithm="auto",
    cnp.ndarray prepared=None,   # IN  (size,) from `conv2d_prepare`, or None
    cnp.ndarray add=None,        # IN  (N, OH, OW, F), other memory than y, or None
    bint pool=False,
    cnp.ndarray moments=None,    # OUT (2, F) float64, or None
):
    """`y = act(conv(x) + bias + add)` (a cross-correlation), or the maxima of its 2x2 windows, into `y`.

    Parameters
    ----------
    stride, dilation : (int, int)
        Along height and width.
    padding : (int, int, int, int)
        Zeros at the top, bottom, left and right.
    algorithm : {"auto", "direct", "winograd", "im2col"}
    prepared : array or None
        What `conv2d_prepare` returned together with this `algorithm`; it saves time and changes no bit of `y`.
    add : array or None
        The other branch of a residual block: the same bits as `add_forward` after the linear convolution.
    pool : bool
        The same bits as `max_pool2d_forward` with windows and strides of 2 afterwards; for "winograd" only.
    moments : array or None
        The mean of `y` over images and pixels, and the sum of squared deviations from it, for `batchnorm_forward`;
        not with `pool`. "direct" and "winograd" add up what they wrote while it is in the cache.

    Raises
    ------
    ValueError, TypeError
        Shapes, dtypes or settings that do not fit together.
    """
    cdef Geometry g
    cdef int typenum = real_type(x, "x"), act = activation_code(activation), status
    read_geometry(&g, x, "x", weight, "weight", y, "y", stride, padding, dilation, groups, typenum, 2 if pool else 1)
    if bias is not None:
        check(bias, "bias", 1, typenum)
        check_shape(bias, "bias", 0, g.f)
    if add is not None:
        check(add, "add", 4, typenum)
        check_shape(add, "add", 0, g.n)
        check_shape(add, "add", 1, g.oh)
        check_shape(add, "add", 2, g.ow)
        check_shape(add, "add", 3, g.f)
    cdef int chosen = choose(&g, algorithm)
    if pool and chosen != WINOGRAD:
        raise ValueError(
            f"pool: expected False for this algorithm: only 'winograd' takes the maxima itself. Received: True with "
            f"algorithm={algorithm!r}; call max_pool2d_forward afterwards or, where it applies, ask for 'winograd'")
    if pool and moments is not None:
        raise ValueError("moments: expected None with pool=True: they are those of the whole image. Received: an array")
    cdef double* into = moments_data(moments, g.f)
    if prepared is not None:
        check(prepared, "prepared", 1, typenum)
        if prepared.shape[0] != prepared_size(chosen, &g, typenum):
            raise ValueError(
                f"prepared: expected what conv2d_prepare returned for this convolution, "
                f"{prepared_size(chosen, &g, typenum)} numbers, together with its algorithm. Received: "
                f"shape={(<object>prepared).shape}, algorithm={algorithm!r}")
    cdef void* px = data(x)
    cdef void* pw = data(weight)
    cdef void* pp = data(prepared)
    cdef void* pb = data(bias)
    cdef void* pa = data(add)
    cdef void* py = data(y)
    if cnp.PyArray_SIZE(y) == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = forward[float](chosen, &g, <float*>px, <float*>pw, <float*>pp, <float*>pb, <float*>pa, <float*>py,
                                    act, alpha, pool, into)
        else:
            status = forward[double](chosen, &g, <double*>px, <double*>pw, <double*>pp, <double*>pb, <double*>pa,
                                     <double*>py, act, alpha, pool, into)
    if status:
        no_memory(&g)


def conv2d_prepare(
    cnp.ndarray weight,   # IN  (F, KH, KW, C // groups)
    input_shape, stride, padding, dilation, groups=1, str algorithm="auto",
):
    """What `conv2d_forward` would make of the weights in every call, made once, for inference.

    Parameters
    ----------
    input_shape : (int, int, int, int)
        (N, H, W, C) of the images to come; with `algorithm="auto"` it says which algorithm is the fastest.

    Returns
    -------
    algorithm : {"direct", "winograd", "im2col"}
    prepared : array (size,) or None
        The transformed filters of "winograd", the panels of "direct"; None where the weights are read in place.
        It is for calls with that `algorithm` and any batch and image size, in this process, until `weight` changes.
    """
    cdef Geometry g
    cdef int typenum = real_type(weight, "weight")
    try:
        g.n, g.h, g.w, g.c = input_shape
    except (TypeError, ValueError):
        raise ValueError(f"input_shape: expected four numbers (N, H, W, C). Received: {input_shape!r}") from None
    read_weight(&g, weight, "weight", stride, padding, dilation, groups, typenum)
    cdef int chosen = choose(&g, algorithm, True)
    cdef str name = {IM2COL: "im2col", WINOGRAD: "winograd"}.get(chosen, "direct")
    cdef bint in_place = chosen == IM2COL or chosen == DEPTHWISE
    if chosen == DIRECT:
        in_place = planar_pays(&g, <float*>NULL) if typenum == cnp.NPY_FLOAT32 else planar_pays(&g, <double*>NULL)
    if in_place:
        return name, None
    # A cache line begins a row of the panels, wherever the allocator puts the array; the gaps between are zeros.
    cdef int64_t size = prepared_size(chosen, &g, typenum), item = cnp.PyArray_ITEMSIZE(weight), skip
    cdef cnp.ndarray memory = np.zeros(size + 64 // item, weight.dtype)
    skip = (-<int64_t>cnp.PyArray_DATA(memory) & 63) // item
    cdef cnp.ndarray prepared = memory[skip:skip + size]
    cdef void* pw = data(weight)
    cdef void* pp = data(prepared)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            prepare[float](chosen, &g, <float*>pw, <float*>pp)
        else:
            prepare[double](chosen, &g, <double*>pw, <double*>pp)
    return name, prepared


def conv2d_backward_input(
    cnp.ndarray da,       # IN  (N, OH, OW, F)
    cnp.ndarray weight,   # IN  (F, KH, KW, C // groups)
    cnp.ndarray dx,       # OUT (N, H, W, C)
    stride, padding, dilation, groups=1, str algorithm="auto",
):
    """The gradient to the input of `conv2d_forward`, into `dx`."""
    cdef Geometry g
    cdef int typenum = real_type(da, "da"), status
    read_geometry(&g, dx, "dx", weight, "weight", da, "da", stride, padding, dilation, groups, typenum)
    cdef int chosen = choose(&g, algorithm)
    cdef void* pa = data(da)
    cdef void* pw = data(weight)
    cdef void* px = data(dx)
    if g.n == 0 or g.c == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = backward_input[float](chosen, &g, <float*>pa, <float*>pw, <float*>px)
        else:
            status = backward_input[double](chosen, &g, <double*>pa, <double*>pw, <double*>px)
    if status:
        no_memory(&g)


def conv2d_backward_weight(
    cnp.ndarray x,    # IN  (N, H, W, C)
    cnp.ndarray da,   # IN  (N, OH, OW, F)
    cnp.ndarray dw,   # OUT (F, KH, KW, C // groups)
    cnp.ndarray db,   # OUT (F,) or None
    stride, padding, dilation, groups=1, bint accumulate=False, str algorithm="auto",
):
    """The gradients to weight and bias of `conv2d_forward`: written, or added to what is there."""
    cdef Geometry g
    cdef int typenum = real_type(x, "x"), status
    read_geometry(&g, x, "x", dw, "dw", da, "da", stride, padding, dilation, groups, typenum)
    if db is not None:
        check(db, "db", 1, typenum)
        check_shape(db, "db", 0, g.f)
    cdef int chosen = choose(&g, algorithm)
    cdef void* px = data(x)
    cdef void* pa = data(da)
    cdef void* pw = data(dw)
    cdef void* pb = data(db)
    if g.f == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = backward_weight[float](
                chosen, &g, <float*>px, <float*>pa, <float*>pw, <float*>pb, accumulate)
        else:
            status = backward_weight[double](
                chosen, &g, <double*>px, <double*>pa, <double*>pw, <double*>pb, accumulate)
    if status:
        no_memory(&g)


def im2col(
    cnp.ndarray x,      # IN  (N, H, W, C)
    cnp.ndarray cols,   # OUT (N*OH*OW, KH*KW*C)
    kernel_size, stride, padding, dilation,
):
    """Write each window of `x` as a row of `cols`; outside of the image is zero."""
    cdef Geometry g
    cdef int typenum = real_type(x, "x")
    read_columns(&g, x, cols, kernel_size, stride, padding, dilation, typenum)
    cdef void* px = data(x)
    cdef void* pc = data(cols)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            image_to_columns[float](&g, 0, 0, g.n, <float*>px, <float*>pc)
        else:
            image_to_columns[double](&g, 0, 0, g.n, <double*>px, <double*>pc)


def col2im(
    cnp.ndarray cols,   # IN  (N*OH*OW, KH*KW*C)
    cnp.ndarray x,      # OUT (N, H, W, C)
    kernel_size, stride, padding, dilation,
):
    """The transpose of `im2col`: each pixel of `x` is the sum of its entries in `cols`."""
    cdef Geometry g
    cdef int typenum = real_type(cols, "cols"), status
    read_columns(&g, x, cols, kernel_size, stride, padding, dilation, typenum)
    g.f = 0
    cdef void* px = data(x)
    cdef void* pc = data(cols)
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = columns_to_image[float](&g, 0, 0, g.n, <float*>pc, <float*>px)
        else:
            status = columns_to_image[double](&g, 0, 0, g.n, <double*>pc, <double*>px)
    if status:
        no_memory(&g)
