"""Two kernel calls of a forward pass as one, for inference: what follows a convolution is done inside of it.

    conv2d_forward, then add_forward            conv2d_forward(..., add=other)
    conv2d_forward, then max_pool2d_forward     conv2d_forward(..., pool=True)

Every bit stays the same, but there is an image less to write and to read again.
"""

import inspect
from functools import partial

import numpy as np

from . import kernels


def fuse(calls, output):
    """`calls`, fewer of them where possible, with the same `output`.

    Parameters
    ----------
    calls : list of (kernel, arguments)
        In their order, as recorded. Arrays with the same memory are views of one another.
    output : ndarray
        What is read after the last call: it has to be written.
    """
    calls, j = list(calls), 0
    while j < len(calls):
        i, call = _with_convolution(calls, j, output)
        if call is None:
            j += 1
        else:
            calls[i] = call
            del calls[j]
    return calls


def title(kernel, arguments):
    """The name of a kernel, with what a convolution does besides."""
    name, values = named(kernel, arguments)
    if name != "conv2d_forward":
        return name
    return name + " + add" * (values["add"] is not None) + " + pool" * values["pool"]


def named(kernel, arguments):
    """The name of a kernel, and the arguments of a call by name, in the order of the signature."""
    keywords = {}
    if isinstance(kernel, partial):
        kernel, keywords = kernel.func, kernel.keywords
    bound = inspect.signature(kernel).bind(*arguments, **keywords)
    bound.apply_defaults()
    return kernel.__name__, bound.arguments


def memory_of(array):
    """Identity of the memory behind an array or a view."""
    return id(array if array.base is None else array.base)


def address_of(array):
    """Where the first number of an array is."""
    return array.__array_interface__["data"][0]


def _with_convolution(calls, j, output):
    """`(i, call)`: a convolution before call j and the one call that does both, or `(-1, None)`."""
    name, after = named(*calls[j])
    if name == "add_forward":
        operands = [(after["a"], after["b"]), (after["b"], after["a"])]
    elif name == "max_pool2d_forward" and _halves(after):
        operands = [(after["x"], None)]
    else:
        return -1, None
    users = _users(calls)
    if users[memory_of(after["y"])][0] < j:  # it is still needed for something else, or written in parts
        return -1, None
    for image, other in operands:
        i, *later = users[memory_of(image)]
        call = _merged(calls[i], image, other, after)
        if (
            call
            and later == [j]
            and memory_of(image) != memory_of(output)
            and _ready(other, image, users, i, j)
        ):
            return i, call
    return -1, None


def _merged(call, image, other, after):
    """A convolution to `image` with what call `after` does to it and `other`, or None."""
    name, values = named(*call)
    if name != "conv2d_forward" or values["pool"] or not _same(values["y"], image):
        return None
    if other is None:
        if values["algorithm"] != "winograd":
            return None
        values |= {"pool": True}
    else:
        if values["activation"] != "linear" or values["add"] is not None:
            return None
        values |= {"add": other, "activation": after["activation"], "alpha": after["alpha"]}
    values["y"] = after["y"]
    return kernels.conv2d_forward, tuple(values.values())


def _ready(other, image, users, i, j):
    """Whether what is added is there before call i: of two convolutions, before the later one only."""
    if other is None:
        return True
    return memory_of(other) != memory_of(image) and not any(i < k < j for k in users[memory_of(other)])


def _halves(pooling):
    """Whether a call of max_pool2d_forward is what a convolution with `pool` does."""
    geometry = *pooling["pool_size"], *pooling["stride"], *pooling["padding"]
    return pooling["index"] is None and geometry == (2, 2, 2, 2, 0, 0, 0, 0)


def _users(calls):
    """Memory -> the calls, by number, that read or write it."""
    users: dict[int, list[int]] = {}
    for i, (kernel, arguments) in enumerate(calls):
        values = [*arguments, *getattr(kernel, "keywords", {}).values()]
        for memory in {memory_of(a) for a in values if isinstance(a, np.ndarray)}:
            users.setdefault(memory, []).append(i)
    return users


def _same(a, b):
    """Whether two arrays are the same numbers in the same memory."""
    return (address_of(a), a.shape, a.dtype) == (address_of(b), b.shape, b.dtype)
