"""Convolution of channels-last images: checks of arguments and the choice of the algorithm.

    y[n, oh, ow, f] = act(bias[f] + sum over kh, kw, c of x[n, oh*sh - top + kh*dh, ow*sw - left + kw*dw, c]
                          * weight[f, kh, kw, c])

"direct" reads the image in place (conv_direct.pyx, conv_weight.pyx; conv_depthwise.pyx for one channel per
group, conv_planar.pyx and conv_thin.pyx for few output channels), "winograd" needs less than half the
multiplications for 3x3 kernels (winograd.pyx), "im2col" writes the windows out as a matrix and multiplies
(conv_im2col.pyx), the readable baseline. "auto" is "winograd" where that pays (winograd_pays), else "direct".
"""

cimport numpy as cnp
from libc.stdint cimport int64_t

from fastnn._ext.common cimport activation_code, check, check_shape, real, real_type
from fastnn._ext.conv_bias cimport bias_gradient
from fastnn._ext.conv_depthwise cimport (
    depthwise_backward_input, depthwise_backward_weight, depthwise_forward, is_depthwise
)
from fastnn._ext.conv_direct cimport direct_backward_input, direct_forward
from fastnn._ext.conv_im2col cimport (
    im2col_backward_input, im2col_backward_weight, im2col_forward, image_to_columns, columns_to_image
)
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.conv_planar cimport planar_backward_input, planar_forward
from fastnn._ext.conv_thin cimport is_thin, thin_backward_weight
from fastnn._ext.conv_weight cimport direct_backward_weight
from fastnn._ext.winograd cimport (
    backward_input as winograd_backward_input, backward_weight as winograd_backward_weight,
    forward as winograd_forward, winograd_pays
)

cnp.import_array()


cdef int64_t pair(value, str name, int64_t least, int64_t* second) except? -1:
    """Two numbers of a tuple: the first is returned, the second goes to `second`."""
    cdef int64_t first
    try:
        first, second[0] = value
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected two whole numbers (height, width). Received: {value!r}") from None
    if first < least or second[0] < least:
        raise ValueError(f"{name}: expected two numbers >= {least}. Received: {value!r}")
    return first


cdef int read_window(Geometry* g, stride, padding, dilation) except -1:
    """Stride, padding and dilation, and from them the size of the output."""
    g.sh = pair(stride, "stride", 1, &g.sw)
    g.dh = pair(dilation, "dilation", 1, &g.dw)
    try:
        g.top, g.bottom, g.left, g.right = padding
    except (TypeError, ValueError):
        raise ValueError(f"padding: expected (top, bottom, left, right). Received: {padding!r}") from None
    if g.top < 0 or g.bottom < 0 or g.left < 0 or g.right < 0:
        raise ValueError(f"padding: expected four numbers >= 0. Received: {padding!r}")
    cdef int64_t height = g.h + g.top + g.bottom - (g.kh - 1) * g.dh - 1
    cdef int64_t width = g.w + g.left + g.right - (g.kw - 1) * g.dw - 1
    if height < 0 or width < 0 or g.kh < 1 or g.kw < 1:
        raise ValueError(
            f"kernel_size: expected a window from (1, 1) to the padded image. Received: kernel ({g.kh}, {g.kw}) "
            f"with dilation {dilation} on ({g.h}, {g.w}) with padding {padding}"
        )
    g.oh, g.ow = height // g.sh + 1, width // g.sw + 1
    return 0


cdef int read_geometry(
    Geometry* g, cnp.ndarray x, str x_name, cnp.ndarray weight, str weight_name, cnp.ndarray y, str y_name,
    stride, padding, dilation, groups, int typenum,
) except -1:
    """Check the three arrays of a convolution against each other."""
    check(x, x_name, 4, typenum)
    check(weight, weight_name, 4, typenum)
    check(y, y_name, 4, typenum)
    g.n, g.h, g.w, g.c = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    g.f, g.kh, g.kw, g.groups = weight.shape[0], weight.shape[1], weight.shape[2], groups
    if g.groups < 1 or g.c % g.groups or g.f % g.groups:
        raise ValueError(
            f"groups: expected a divisor of the {g.c} channels and of the {g.f} filters. Received: {groups}")
    check_shape(weight, weight_name, 3, g.c // g.groups)
    read_window(g, stride, padding, dilation)
    check_shape(y, y_name, 0, g.n)
    check_shape(y, y_name, 1, g.oh)
    check_shape(y, y_name, 2, g.ow)
    check_shape(y, y_name, 3, g.f)
    return 0


cdef enum:
    DIRECT = 0
    IM2COL = 1
    DEPTHWISE = 2
    WINOGRAD = 3


cdef bint fits_winograd(const Geometry* g) noexcept nogil:
    return (g.kh == 3 and g.kw == 3 and g.sh == 1 and g.sw == 1 and g.dh == 1 and g.dw == 1 and g.groups == 1
            and max(max(g.top, g.bottom), max(g.left, g.right)) <= 2)


cdef int choose(const Geometry* g, str algorithm) except -1:
    """The algorithm of a convolution, by its shape if `algorithm` is "auto"."""
    if algorithm == "im2col":
        return IM2COL
    if algorithm == "winograd":
        if not fits_winograd(g):
            raise ValueError(
                f"algorithm: expected 'auto', 'direct' or 'im2col' for this convolution; 'winograd' is for 3x3 kernels "
                f"with stride 1, dilation 1, one group and padding up to 2. Received: kernel ({g.kh}, {g.kw}), stride "
                f"({g.sh}, {g.sw}), dilation ({g.dh}, {g.dw}), groups {g.groups}, padding "
                f"({g.top}, {g.bottom}, {g.left}, {g.right})"
            )
        return WINOGRAD
    if algorithm != "auto" and algorithm != "direct":
        raise ValueError(f"algorithm: expected 'auto', 'direct', 'winograd' or 'im2col'. Received: {algorithm!r}")
    if algorithm == "auto" and fits_winograd(g) and winograd_pays(g.n, g.oh, g.ow, g.c, g.f):
        return WINOGRAD
    return DEPTHWISE if is_depthwise(g) else DIRECT


cdef void* data(cnp.ndarray x):
    return NULL if x is None else cnp.PyArray_DATA(x)


cdef int no_memory(const Geometry* g) except -1:
    raise MemoryError(f"convolution: no working memory for x ({g.n}, {g.h}, {g.w}, {g.c}) and weight "
                      f"({g.f}, {g.kh}, {g.kw}, {g.c // g.groups})")


cdef int forward(
    int algorithm, const Geometry* g, const real* x, const real* weight, const real* bias, real* y,
    int activation, double alpha,
) noexcept nogil:
    if algorithm == IM2COL:
        return im2col_forward(g, x, weight, bias, y, activation, alpha)
    if algorithm == DEPTHWISE:
        return depthwise_forward(g, x, weight, bias, y, activation, alpha)
    if algorithm == WINOGRAD:
        return winograd_forward(x, weight, bias, y, g.n, g.h, g.w, g.c, g.f, g.top, g.left, g.oh, g.ow, activation,
                                alpha)
    cdef int status = planar_forward(g, x, weight, bias, y, activation, alpha)
    return direct_forward(g, x, weight, bias, y, activation, alpha) if status > 0 else status


cdef int backward_input(int algorithm, const Geometry* g, const real* da, const real* weight, real* dx) noexcept nogil:
    if algorithm == IM2COL:
        return im2col_backward_input(g, da, weight, dx)
    if algorithm == DEPTHWISE:
        return depthwise_backward_input(g, da, weight, dx)
    if algorithm == WINOGRAD:
        return winograd_backward_input(da, weight, dx, g.n, g.h, g.w, g.c, g.f, g.top, g.left, g.oh, g.ow)
    cdef int status = planar_backward_input(g, da, weight, dx)
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
        return winograd_backward_weight(x, da, dw, g.n, g.h, g.w, g.c, g.f, g.top, g.left, g.oh, g.ow, accumulate)
    if is_thin(g, x):
        return thin_backward_weight(g, x, da, dw, db, accumulate)
    return direct_backward_weight(g, x, da, dw, db, accumulate)


def conv2d_forward(
    cnp.ndarray x,        # IN  (N, H, W, C)
    cnp.ndarray weight,   # IN  (F, KH, KW, C // groups)
    cnp.ndarray bias,     # IN  (F,) or None
    cnp.ndarray y,        # OUT (N, OH, OW, F)
    stride, padding, dilation, groups=1, str activation="linear", double alpha=0.0, str algorithm="auto",
):
    """Convolution (cross-correlation) with bias and activation, into `y`.

    Parameters
    ----------
    stride, dilation : (int, int)
        Along height and width.
    padding : (int, int, int, int)
        Zeros at the top, bottom, left and right.
    algorithm : {"auto", "direct", "winograd", "im2col"}

    Raises
    ------
    ValueError, TypeError
        Shapes, dtypes or settings that do not fit together.
    """
    cdef Geometry g
    cdef int typenum = real_type(x, "x"), act = activation_code(activation), status
    read_geometry(&g, x, "x", weight, "weight", y, "y", stride, padding, dilation, groups, typenum)
    if bias is not None:
        check(bias, "bias", 1, typenum)
        check_shape(bias, "bias", 0, g.f)
    cdef int chosen = choose(&g, algorithm)
    cdef void* px = data(x)
    cdef void* pw = data(weight)
    cdef void* pb = data(bias)
    cdef void* py = data(y)
    if g.n == 0 or g.f == 0:
        return
    with nogil:
        if typenum == cnp.NPY_FLOAT32:
            status = forward[float](chosen, &g, <float*>px, <float*>pw, <float*>pb, <float*>py, act, alpha)
        else:
            status = forward[double](chosen, &g, <double*>px, <double*>pw, <double*>pb, <double*>py, act, alpha)
    if status:
        no_memory(&g)


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


cdef int read_columns(
    Geometry* g, cnp.ndarray x, cnp.ndarray cols, kernel_size, stride, padding, dilation, int typenum
) except -1:
    check(x, "x", 4, typenum)
    check(cols, "cols", 2, typenum)
    g.n, g.h, g.w, g.c = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    g.groups = 1
    g.kh = pair(kernel_size, "kernel_size", 1, &g.kw)
    read_window(g, stride, padding, dilation)
    check_shape(cols, "cols", 0, g.n * g.oh * g.ow)
    check_shape(cols, "cols", 1, g.kh * g.kw * g.c)
    return 0


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
