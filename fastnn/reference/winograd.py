"""Winograd's F(4x4, 3x3) and F(2x2, 5x5) in NumPy (Lavin and Gray 2016): the same sums with fewer products.

A tile of MxM outputs, M = 4 for 3x3 kernels and 2 for 5x5, reads 6x6 inputs. Polynomials are multiplied by
evaluating them at six points, here 0, a, -a, b, -b and infinity, multiplying the values and interpolating,
and a convolution is such a product:

    y = A^T [ (G g G^T) * (B^T d B) ] A       36 products instead of 9 * 16 = 144 or 25 * 4 = 100

`A` and `G` evaluate (row p: 1, p, p^2, ...; infinity takes the last coefficient), `B` interpolates (row p of
B^T: the coefficients of the product of (x - q) over the other points q). G is divided by the products of
p - q, so that A and B are exact in binary.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .activations import activation_forward

a, b = 5 / 8, 3 / 2  # they round less than the usual 1 and 2: half the error
n0, na, nb = a**2 * b**2, 2 * a**2 * (a**2 - b**2), 2 * b**2 * (b**2 - a**2)
B = np.array([
    [a**2 * b**2, 0, -(a**2) - b**2, 0, 1, 0],
    [0, -a * b**2, -(b**2), a, 1, 0],
    [0, a * b**2, -(b**2), -a, 1, 0],
    [0, -(a**2) * b, -(a**2), b, 1, 0],
    [0, a**2 * b, -(a**2), -b, 1, 0],
    [0, a**2 * b**2, 0, -(a**2) - b**2, 0, 1],
]).T  # fmt: skip


def evaluate(size):
    """(6, size): the values of 1, p, p^2, ... at the six points."""
    return np.vstack([np.vander([0, a, -a, b, -b], size, increasing=True), np.eye(size)[-1]])


def matrices(weight):
    """The tile's size M, A (6, M) and G (6, R) for weights (F, R, R, C)."""
    r = weight.shape[1]
    return 7 - r, evaluate(7 - r), evaluate(r) / np.array([[n0, na, na, nb, nb, 1]]).T


def cut_tiles(x, size, step, rows, cols, top=0, left=0):
    """Windows of size x size at every step-th pixel: (N, rows, cols, C, size, size)."""
    n, h, w, c = x.shape
    padded = np.zeros((n, step * (rows - 1) + size, step * (cols - 1) + size, c), x.dtype)
    padded[:, top : top + h, left : left + w] = x
    return sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::step, ::step]


def winograd_forward(x, weight, bias, y, padding, activation="linear", alpha=0.0):
    """`y = activation(x * weight + bias)`; padding (top, bottom, left, right); bias (F,) or None."""
    n, oh, ow, f = y.shape
    m, A, G = matrices(weight)
    rows, cols = -(-oh // m), -(-ow // m)
    if y.size == 0:
        return
    d = B.T @ cut_tiles(x, 6, m, rows, cols, padding[0], padding[2]) @ B  # (N, rows, cols, C, 6, 6)
    u = G @ weight.transpose(0, 3, 1, 2) @ G.T  # (F, C, 6, 6)
    products = np.einsum("nrscij,fcij->nrsfij", d, u)
    tiles = A.T @ products @ A  # (N, rows, cols, F, M, M)
    pre = tiles.transpose(0, 1, 4, 2, 5, 3).reshape(n, m * rows, m * cols, f)[:, :oh, :ow]
    activation_forward(pre if bias is None else pre + bias, y, activation, alpha)


def winograd_backward_input(da, weight, dx, padding):
    """The forward pass of da with the filters rotated by 180 degrees and F and C exchanged."""
    rotated = weight[:, ::-1, ::-1].transpose(3, 1, 2, 0)  # (C, R, R, F)
    winograd_forward(da, rotated, None, dx, tuple(weight.shape[1] - 1 - p for p in padding))


def winograd_backward_weight(x, da, dw, padding, accumulate=False):
    """`dg = G^T [ sum over tiles of (A da A^T) * (B^T d B) ] G`, the transpose of the forward pass."""
    m, A, G = matrices(dw)
    rows, cols = -(-da.shape[1] // m), -(-da.shape[2] // m)
    if not accumulate:
        dw[...] = 0
    if da.size == 0 or x.size == 0:
        return
    d = B.T @ cut_tiles(x, 6, m, rows, cols, padding[0], padding[2]) @ B  # (N, rows, cols, C, 6, 6)
    e = A @ cut_tiles(da, m, m, rows, cols) @ A.T  # (N, rows, cols, F, 6, 6)
    du = np.einsum("nrsfij,nrscij->fcij", e, d)
    dw += (G.T @ du @ G).transpose(0, 2, 3, 1)
