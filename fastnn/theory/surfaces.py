"""Error surfaces of two parameters, to watch optimizers on: value, gradient and Hessian by formula.

The gradient is orthogonal to the contour, and neighbouring contours whose levels differ by `dz` are about
`dz / ||gradient||` apart: close rings are steep. That is the slope, not the curvature (the notes, S2.15).

Examples
--------
>>> surface = rosenbrock()
>>> float(surface((1, 1))), surface.gradient((0, 0)), surface.minima
(0.0, array([-2.,  0.]), ((1.0, 1.0),))
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..reference.activations import sigmoid


@dataclass(frozen=True)
class Surface:
    """A function of two parameters with its derivatives. Points are arrays `(..., 2)`.

    `surface(points)` is its value `(...)`, `surface.gradient(points)` `(..., 2)` and
    `surface.hessian(points)` `(..., 2, 2)`.

    Attributes
    ----------
    name : str
    formula : str
    value, slope, curvature : callable
        Of two arrays x, y: f; (df/dx, df/dy); (d2f/dx2, d2f/dxdy, d2f/dy2).
    start : (float, float)
        Where paths usually begin.
    minima : tuple of (float, float)
        Empty where it falls for ever.
    box : (float, float, float, float)
        What is worth drawing: left, right, bottom, top.
    log : bool
        Whether contours are better spaced by factors than by differences.
    """

    name: str
    formula: str
    value: Callable
    slope: Callable
    curvature: Callable
    start: tuple
    minima: tuple
    box: tuple
    log: bool = False

    def __call__(self, points):
        return self.value(*_columns(points))

    def gradient(self, points):
        """Gradient `(..., 2)` at points `(..., 2)`."""
        x, y = _columns(points)
        return np.stack(np.broadcast_arrays(*self.slope(x, y), x)[:2], axis=-1)

    def hessian(self, points):
        """Matrix of second derivatives `(..., 2, 2)` at points `(..., 2)`."""
        x, y = _columns(points)
        xx, xy, yy, _ = np.broadcast_arrays(*self.curvature(x, y), x)
        return np.stack([np.stack([xx, xy], axis=-1), np.stack([xy, yy], axis=-1)], axis=-2)


def _columns(points):
    points = np.asarray(points, float)
    if points.ndim < 1 or points.shape[-1] != 2:
        raise ValueError(f"surface: points: expected an array (..., 2). Received: shape={points.shape}")
    return points[..., 0], points[..., 1]


def _term(factor, power):
    return power if factor == 1 else f"{factor:g} {power}"


def quadratic(hessian, name="quadratic", start=(-4.0, 2.0), box=(-5.0, 5.0, -4.0, 4.0)):
    """`f = (p, H p) / 2`, the shape of every smooth function near a minimum.

    Gradient descent multiplies the distance along each eigenvector of H by `1 - lr eigenvalue` at each step:
    it converges for `lr < 2 / largest eigenvalue` (S2.14).

    Parameters
    ----------
    hessian : matrix (2, 2)
        Symmetric, positive definite.
    name, start, box
        As in `Surface`.

    Returns
    -------
    Surface

    Examples
    --------
    >>> float(quadratic([[2, 1], [1, 2]])((1, 1)))
    3.0
    """
    h = np.asarray(hessian, float)
    if h.shape != (2, 2) or h[0, 1] != h[1, 0] or not (np.linalg.eigvalsh(h) > 0).all():
        raise ValueError(
            "quadratic: hessian: expected a symmetric matrix (2, 2) with eigenvalues above 0. "
            f"Received: {hessian!r}"
        )
    (a, b), (_, c) = h.tolist()
    return Surface(
        name,
        f"({_term(a, 'x^2')} + {_term(2 * b, 'x y')} + {_term(c, 'y^2')}) / 2".replace(" + 0 x y", ""),
        lambda x, y: (a * x**2 + 2 * b * x * y + c * y**2) / 2,
        lambda x, y: (a * x + b * y, b * x + c * y),
        lambda x, y: (a, b, c),
        start,
        ((0.0, 0.0),),
        box,
    )


def bowl():
    """`(x^2 + y^2) / 2`: the gradient points to the minimum."""
    return quadratic([[1, 0], [0, 1]], "quadratic bowl", (-3.0, 2.0), (-4.0, 4.0, -3.0, 3.0))


def valley(condition=20.0):
    """`(x^2 + condition y^2) / 2`: steep across, gentle along; plain descent goes to and fro.

    Parameters
    ----------
    condition : float
        Ratio of the curvatures, at least 1.
    """
    if not condition >= 1:
        raise ValueError(f"valley: condition: expected a number of at least 1. Received: {condition!r}")
    return quadratic([[1, 0], [0, condition]], "narrow valley", (-4.0, 1.0), (-5.0, 5.0, -2.0, 2.0))


def rosenbrock(a=1.0, b=100.0):
    """`(a - x)^2 + b (y - x^2)^2`: a curved valley, easy to enter and slow to follow (Rosenbrock 1960)."""
    return Surface(
        "Rosenbrock",
        f"({a:g} - x)^2 + {b:g} (y - x^2)^2",
        lambda x, y: (a - x) ** 2 + b * (y - x**2) ** 2,
        lambda x, y: (-2 * (a - x) - 4 * b * x * (y - x**2), 2 * b * (y - x**2)),
        lambda x, y: (2 - 4 * b * (y - 3 * x**2), -4 * b * x, 2 * b),
        (-1.2, 1.0),
        ((float(a), float(a) ** 2),),
        (-2.0, 2.0, -1.0, 3.0),
        log=True,
    )


def beale():
    """`sum over i of (c_i - x (1 - y^i))^2`, c = 1.5, 2.25, 2.625: flat, with steep corners (Beale 1958)."""
    terms = ((1, 1.5), (2, 2.25), (3, 2.625))

    def value(x, y):
        return sum((c - x * (1 - y**i)) ** 2 for i, c in terms)

    def slope(x, y):
        t = [(i, 2 * (c - x * (1 - y**i))) for i, c in terms]
        return sum(r * (y**i - 1) for i, r in t), sum(r * x * i * y ** (i - 1) for i, r in t)

    def curvature(x, y):
        t = [(i, c - x * (1 - y**i), y**i - 1, i * y ** (i - 1)) for i, c in terms]
        xx = sum(2 * u**2 for _, _, u, _ in t)
        xy = sum(2 * v * (u * x + r) for _, r, u, v in t)
        yy = sum(2 * (x * v) ** 2 + 2 * r * x * i * (i - 1) * y ** max(0, i - 2) for i, r, _, v in t)
        return xx, xy, yy

    return Surface(
        "Beale", "sum over i = 1, 2, 3 of (c_i - x (1 - y^i))^2", value, slope, curvature,
        (1.0, 1.5), ((3.0, 0.5),), (-1.0, 4.5, -1.5, 2.0), log=True,
    )  # fmt: skip


def himmelblau():
    """`(x^2 + y - 11)^2 + (x + y^2 - 7)^2`: four minima, four saddles, one maximum (Himmelblau 1972)."""

    def slope(x, y):
        p, q = x**2 + y - 11, x + y**2 - 7
        return 4 * x * p + 2 * q, 2 * p + 4 * y * q

    return Surface(
        "Himmelblau",
        "(x^2 + y - 11)^2 + (x + y^2 - 7)^2",
        lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
        slope,
        lambda x, y: (12 * x**2 + 4 * y - 42, 4 * (x + y), 12 * y**2 + 4 * x - 26),
        (-0.5, -0.5),
        (
            (3.0, 2.0),
            (-2.805118086952745, 3.131312518250573),
            (-3.779310253377747, -3.283185991286170),
            (3.584428340330492, -1.848126526964404),
        ),
        (-5.0, 5.0, -5.0, 5.0),
        log=True,
    )


def saddle():
    """`x^2 - y^2`: at (0, 0) the gradient is 0, and down is only along y.

    From (1, 1e-6) gradient descent reaches `|y| = 1` after `log(1e6) / log(1 + 2 lr)` steps: 698 with a rate
    of 0.01, 76 with 0.1 (S4.5).
    """
    return Surface(
        "saddle",
        "x^2 - y^2",
        lambda x, y: x**2 - y**2,
        lambda x, y: (2 * x, -2 * y),
        lambda x, y: (2.0, 0.0, -2.0),
        (1.0, 1e-6),
        (),
        (-1.5, 1.5, -1.5, 1.5),
    )


def monkey_saddle():
    """`x^3 - 3 x y^2`: three ways down from (0, 0), where the second derivatives are 0 too."""
    return Surface(
        "monkey saddle",
        "x^3 - 3 x y^2",
        lambda x, y: x**3 - 3 * x * y**2,
        lambda x, y: (3 * x**2 - 3 * y**2, -6 * x * y),
        lambda x, y: (6 * x, -6 * y, -6 * x),
        (1.0, 1e-3),
        (),
        (-1.5, 1.5, -1.5, 1.5),
    )


def sigmoid_neuron(x=(0.5, 2.5), target=(0.2, 0.9), start=(-2.0, -2.0)):
    """`L(w, b) = sum of (sigmoid(w x + b) - target)^2 / 2`: steep slopes between flat plains (S2.15).

    Parameters
    ----------
    x, target : sequence of numbers
        The data, targets in (0, 1).
    start : (float, float)
        w and b to begin with.

    Returns
    -------
    Surface
        With two different x the minimum is 0, where the neuron goes through both points.
    """
    x, target = np.asarray(x, float), np.asarray(target, float)
    if x.ndim != 1 or x.shape != target.shape or not ((target > 0) & (target < 1)).all():
        raise ValueError(
            "sigmoid_neuron: x, target: expected two lists of the same length, targets in (0, 1). "
            f"Received: {x.tolist()}, {target.tolist()}"
        )

    def neuron(w, b):
        """Outputs and slopes for all of the data, in a last axis."""
        s = sigmoid(np.multiply.outer(w, x) + np.asarray(b)[..., None])
        return s, s * (1 - s)

    def slope(w, b):
        s, ds = neuron(w, b)
        return ((s - target) * ds * x).sum(-1), ((s - target) * ds).sum(-1)

    def curvature(w, b):
        s, ds = neuron(w, b)
        c = ds**2 + (s - target) * ds * (1 - 2 * s)
        return (c * x**2).sum(-1), (c * x).sum(-1), c.sum(-1)

    minima: tuple = ()
    if len(x) == 2 and x[0] != x[1]:
        logit = np.log(target / (1 - target))
        w = (logit[1] - logit[0]) / (x[1] - x[0])
        minima = ((float(w), float(logit[0] - w * x[0])),)
    return Surface(
        "sigmoid neuron",
        "sum of (sigmoid(w x + b) - target)^2 / 2",
        lambda w, b: ((neuron(w, b)[0] - target) ** 2).sum(-1) / 2,
        slope,
        curvature,
        tuple(map(float, start)),
        minima,
        (-6.0, 6.0, -6.0, 6.0),
    )


#: All of them, as functions that make one.
SURFACES = (bowl, valley, rosenbrock, beale, himmelblau, saddle, monkey_saddle, sigmoid_neuron)
