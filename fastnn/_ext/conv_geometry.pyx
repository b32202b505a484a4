"""A convolution's arguments, checked against each other, as a Geometry."""

cimport numpy as cnp
from fastnn._ext.common cimport check, check_shape
from fastnn._ext.conv_plan cimport Geometry
from libc.stdint cimport int64_t

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


cdef int read_weight(
    Geometry* g, cnp.ndarray weight, str name, stride, padding, dilation, groups, int typenum
) except -1:
    """Check the filters and the window against the shape of the input, and find the size of the output."""
    check(weight, name, 4, typenum)
    g.f, g.kh, g.kw, g.groups = weight.shape[0], weight.shape[1], weight.shape[2], groups
    if g.groups < 1 or g.c % g.groups or g.f % g.groups:
        raise ValueError(
            f"groups: expected a divisor of the {g.c} channels and of the {g.f} filters. Received: {groups}")
    check_shape(weight, name, 3, g.c // g.groups)
    read_window(g, stride, padding, dilation)
    return 0


cdef int read_geometry(
    Geometry* g, cnp.ndarray x, str x_name, cnp.ndarray weight, str weight_name, cnp.ndarray y, str y_name,
    stride, padding, dilation, groups, int typenum, int64_t window=1,
) except -1:
    """Check the three arrays of a convolution against each other; y has one pixel for each window x window outputs."""
    check(x, x_name, 4, typenum)
    check(y, y_name, 4, typenum)
    g.n, g.h, g.w, g.c = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    read_weight(g, weight, weight_name, stride, padding, dilation, groups, typenum)
    check_shape(y, y_name, 0, g.n)
    check_shape(y, y_name, 1, g.oh // window)
    check_shape(y, y_name, 2, g.ow // window)
    check_shape(y, y_name, 3, g.f)
    return 0


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
