"""Critical points: the signs of the Hessian's eigenvalues tell minima, maxima and saddles (S4.5)."""

import math

import numpy as np

#: Step of the differences: rounding and the fourth derivative disturb a Hessian by about 1e-8 with it.
EPS = 1e-4
#: Eigenvalues of less than this share of the largest (or of 1) count as 0; a gradient of more is none.
ZERO, GRADIENT = 1e-5, 1e-3


def gradient(f, x, eps=EPS):
    """Gradient of a function by central differences, `(f(x + eps e_i) - f(x - eps e_i)) / 2 eps`.

    Parameters
    ----------
    f : callable
        ndarray (n,) -> number.
    x : sequence of n numbers
    eps : float

    Returns
    -------
    ndarray (n,)

    Examples
    --------
    >>> gradient(lambda p: p[0] ** 2 + 3 * p[1], (1, 2)).round(6)
    array([2., 3.])
    """
    x = np.asarray(x, float)
    steps = eps * np.eye(len(x))
    return np.array([(f(x + d) - f(x - d)) / (2 * eps) for d in steps])


def hessian(f, x, eps=EPS):
    """Matrix of the second derivatives of a function, by central differences of central differences.

    Parameters
    ----------
    f : callable
        ndarray (n,) -> number.
    x : sequence of n numbers
    eps : float

    Returns
    -------
    ndarray (n, n)
        Symmetric.

    Examples
    --------
    >>> hessian(lambda p: p[0] ** 2 * p[1], (1, 2)).round(4)
    array([[4., 2.],
           [2., 0.]])
    """
    x = np.asarray(x, float)
    steps = eps * np.eye(len(x))
    return np.array(
        [[(f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)) / (4 * eps**2) for b in steps]
         for a in steps]
    )  # fmt: skip


def classify(f, x):
    """What kind of critical point `x` is, from the signs of the Hessian's eigenvalues (the notes, S4.5).

    All positive: a minimum. All negative: a maximum. Of both signs: a saddle, where the gradient is 0 though
    there is a way down. With an eigenvalue of 0 and the others of one sign, the second derivatives do not
    decide.

    Parameters
    ----------
    f : callable
        ndarray (n,) -> number; a `Surface` too.
    x : sequence of n numbers

    Returns
    -------
    {"minimum", "maximum", "saddle", "undecided"}

    Raises
    ------
    ValueError
        The gradient at `x` is not 0.

    Examples
    --------
    >>> classify(lambda p: p[0] ** 2 - p[1] ** 2, (0, 0))
    'saddle'
    """
    values = np.linalg.eigvalsh(hessian(f, x))
    scale = max(1.0, float(np.abs(values).max()))
    slope = math.hypot(*gradient(f, x))
    if not slope <= GRADIENT * scale:
        raise ValueError(
            f"classify: x: expected a point where the gradient is 0. Received: {tuple(map(float, x))}, "
            f"where its norm is {slope:.3g}"
        )
    up, down = (values > ZERO * scale).any(), (values < -ZERO * scale).any()
    if up and down:
        return "saddle"
    if (np.abs(values) <= ZERO * scale).any():
        return "undecided"
    return "minimum" if up else "maximum"
