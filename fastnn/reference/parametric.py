"""Activations with parameters of their own in NumPy (the notes, S7.5, S7.7, S7.11): PReLU, Swish, Maxout."""

import numpy as np

from .activations import sigmoid, swish_slope


def prelu_forward(x, alpha, y):
    """`y = x` where x > 0, `alpha x` elsewhere; alpha (C,), or (1,) for all; y may be x."""
    y[...] = np.where(x > 0, x, alpha * x)


def prelu_backward(dy, x, alpha, dx, dalpha, accumulate=False):
    """`dx = dy` where x > 0, `alpha dy` elsewhere; `dalpha = sum dy min(0, x)`; dx may be dy."""
    products = (np.where(x > 0, 0, x) * dy).reshape(-1, alpha.size if x.size else 1)
    total = products.sum(axis=0, dtype=np.float64)
    dalpha[...] = total + dalpha if accumulate else total
    dx[...] = np.where(x > 0, dy, alpha * dy)


def swish_backward(dy, x, beta, dx, dbeta, accumulate=False):
    """`dx = dy (s + beta x s')`, `dbeta = sum dy x^2 s'`, with `s = sigma(beta x)`; dx may be dy."""
    slope = sigmoid(beta * x) * sigmoid(-beta * x)
    v = np.where(slope == 0, 0, x)
    total = (dy * v * (v * slope)).sum(dtype=np.float64)
    dbeta[...] = total + dbeta if accumulate else total
    dx[...] = dy * swish_slope(x, beta)


def maxout_forward(a, y, index):
    """`y = max` of a (N, pieces, units) over the pieces; index: which one, the first of equals, or None."""
    winner = a.argmax(axis=1)
    y[...] = np.take_along_axis(a, winner[:, None], axis=1)[:, 0]
    if index is not None:
        index[...] = winner


def maxout_backward(dy, index, da):
    """`da = dy` for the piece that was the largest, 0 for the others."""
    pieces = np.arange(da.shape[1])[:, None]
    da[...] = np.where(index[:, None] == pieces, dy[:, None], 0)
