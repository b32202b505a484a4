"""The matrix product with everything that is fused into it, in NumPy."""

import numpy as np

from .activations import activation_forward


def gemm(
    a, b, out, bias=None, trans_a=False, trans_b=False, activation="linear", alpha=0.0, accumulate=False,
    algorithm="tile",
):  # fmt: skip
    """`out = activation(op(a) @ op(b) + bias)`; with `accumulate`, `out` is added before the activation."""
    product = (a.T if trans_a else a) @ (b.T if trans_b else b)
    if accumulate:
        product += out
    if bias is not None:
        product = product + bias
    activation_forward(np.ascontiguousarray(product), out, activation, alpha)
