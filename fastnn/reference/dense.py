"""The dense layer in NumPy (the notes, S2.2 and S2.9 to S2.11)."""

from .activations import activation_forward


def dense_prepare(weight):
    """What `dense_forward` takes as `prepared`: the compiled kernel packs the weight; nothing to do here."""


def dense_forward(x, weight, bias, y, activation="linear", alpha=0.0, prepared=None):
    """`y = activation(x W^T + b)`; x (N, in), weight (out, in), bias (out,) or None, y (N, out)."""
    a = x @ weight.T
    if bias is not None:
        a += bias
    activation_forward(a, y, activation, alpha)


def dense_backward(x, weight, da, dx, dw, db, accumulate=False):
    """`dx = da W`, `dW = da^T x`, `db = sum of da over the batch`; dx, dw and db may be None."""
    if dw is not None:
        dw[...] = da.T @ x + (dw if accumulate else 0)
    if db is not None:
        db[...] = da.sum(axis=0) + (db if accumulate else 0)
    if dx is not None:
        dx[...] = da @ weight
