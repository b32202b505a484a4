"""Checks of arguments shared by the kernels, and the numbers of the activations (vec.h has the same list)."""

cimport numpy as cnp
from libc.stdint cimport int64_t

cnp.import_array()

ACTIVATION_CODES = {
    name: code
    for code, name in enumerate([
        "linear", "relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus",
        "gelu", "gelu_tanh", "gelu_sigmoid", "silu", "swish",
        "hard_sigmoid", "hard_tanh", "hard_swish", "step", "relu_right",
    ])
}
cdef dict codes = ACTIVATION_CODES


cdef int activation_code(str name) except -1:
    code = codes.get(name)
    if code is None:
        raise ValueError(f"activation: expected one of {', '.join(codes)}. Received: {name!r}")
    return code


cdef int real_type(cnp.ndarray x, str name) except -1:
    """The type number of a float32 or float64 array."""
    if x is None:
        raise TypeError(f"{name}: expected an array. Received: None")
    cdef int typenum = cnp.PyArray_TYPE(x)
    if typenum != cnp.NPY_FLOAT32 and typenum != cnp.NPY_FLOAT64:
        raise TypeError(f"{name}: expected float32 or float64. Received: dtype={x.dtype}")
    return typenum


cdef int check(cnp.ndarray x, str name, int ndim, int typenum) except -1:
    """Raise unless `x` is C-contiguous with that type and, if `ndim` >= 0, that number of axes."""
    if x is None:
        raise TypeError(f"{name}: expected an array. Received: None")
    if cnp.PyArray_TYPE(x) != typenum:
        expected = cnp.PyArray_DescrFromType(typenum)
        raise TypeError(f"{name}: expected dtype {expected}, as the other arrays. Received: dtype={x.dtype}")
    if ndim >= 0 and cnp.PyArray_NDIM(x) != ndim:
        raise ValueError(f"{name}: expected {ndim} axes. Received: shape={(<object>x).shape}")
    if not cnp.PyArray_IS_C_CONTIGUOUS(x):
        raise ValueError(
            f"{name}: expected a C-contiguous array. Received: strides={(<object>x).strides} for shape="
            f"{(<object>x).shape}; pass numpy.ascontiguousarray({name})"
        )
    return 0


cdef int check_shape(cnp.ndarray x, str name, int axis, int64_t expected) except -1:
    if x.shape[axis] != expected:
        raise ValueError(
            f"{name}: expected length {expected} along axis {axis}. Received: shape={(<object>x).shape}"
        )
    return 0
