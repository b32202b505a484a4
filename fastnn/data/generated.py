"""Data sets that are computed, not loaded: the same seed gives the same samples."""

import numpy as np

SHAPES = ("circle", "square", "triangle", "cross", "ring")


def _balanced(n, classes, rng):
    """`n` labels, every class as often as the others (up to one), in random order."""
    if n < 1 or classes < 1:
        raise ValueError(f"n, classes: expected at least 1. Received: n={n}, classes={classes}")
    return rng.permutation(np.arange(n, dtype=np.int64) % classes)


def xor(n=200, noise=0.1, seed=0):
    """Four clouds at the corners of a square; opposite corners share a class.

    No line separates them (S1.1): the smallest problem that needs a hidden layer.

    Parameters
    ----------
    n : int
        Samples.
    noise : float
        Standard deviation round the corners (0, 0), (0, 1), (1, 0), (1, 1).
    seed : int or numpy.random.Generator

    Returns
    -------
    x : ndarray, (n, 2) float32
    y : ndarray, (n,) int64
        Exclusive or of the corner's coordinates.

    Examples
    --------
    >>> x, y = xor(4, noise=0, seed=0)
    >>> bool((y == (x[:, 0] != x[:, 1])).all())
    True
    """
    rng = np.random.default_rng(seed)
    corner = _balanced(n, 4, rng)
    bits = np.stack([corner >> 1, corner & 1], axis=1)
    x = bits + noise * rng.standard_normal((n, 2))
    return x.astype(np.float32), bits[:, 0] ^ bits[:, 1]


def moons(n=200, noise=0.1, seed=0):
    """Two half circles that reach into each other.

    Parameters
    ----------
    n, noise, seed
        As for `xor`; the half circles have radius 1.

    Returns
    -------
    x : ndarray, (n, 2) float32
    y : ndarray, (n,) int64
    """
    rng = np.random.default_rng(seed)
    y = _balanced(n, 2, rng)
    angle = rng.uniform(0, np.pi, n)
    sign = 1 - 2 * y  # the second moon is the first one turned by half a circle and moved
    x = np.stack([sign * np.cos(angle) + y, sign * np.sin(angle) + 0.5 * y], axis=1)
    return (x + noise * rng.standard_normal((n, 2))).astype(np.float32), y


def spirals(n=300, noise=0.02, seed=0, classes=3, turns=0.75):
    """Spirals that wind round each other, one for each class.

    Parameters
    ----------
    n, noise, seed
        As for `xor`; the spirals end at radius 1.
    classes : int
        Arms.
    turns : float
        Rotations of an arm from the centre to its end: the more, the harder.

    Returns
    -------
    x : ndarray, (n, 2) float32
    y : ndarray, (n,) int64
    """
    rng = np.random.default_rng(seed)
    y = _balanced(n, classes, rng)
    radius = np.sqrt(rng.uniform(0.01, 1, n))  # the root spreads the points evenly along the arm
    angle = 2 * np.pi * (turns * radius + y / classes)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (x + noise * rng.standard_normal((n, 2))).astype(np.float32), y


def noisy_sine(n=100, noise=0.2, seed=0):
    """A period of the sine with noise, for regression and for over- and underfitting (S5).

    Parameters
    ----------
    n, seed
        As for `xor`.
    noise : float
        Standard deviation of the noise on `y`.

    Returns
    -------
    x : ndarray, (n, 1) float32
        Uniform in [-1, 1].
    y : ndarray, (n, 1) float32
        `sin(pi x)` + noise.
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1. Received: n={n}")
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, 1))
    y = np.sin(np.pi * x) + noise * rng.standard_normal((n, 1))
    return x.astype(np.float32), y.astype(np.float32)


def sparse_feature_regression(n=1000, density=0.02, noise=0.1, seed=0, weights=(1.0, -2.0, 3.0)):
    """A linear regression whose last feature is there in few samples only (the notes, S3.4).

    `y = x . weights + noise`. The gradient of a weight is a sum of `error x`: for the last one exactly 0 in a
    batch without the feature, so with one learning rate for all it gets few updates.

    Parameters
    ----------
    n, seed
        As for `xor`.
    density : float
        Share of the samples in which the last feature is 1, in (0, 1]; in the others it is 0.
    noise : float
        Standard deviation of the noise on `y`.
    weights : sequence of float
        The true weights, at least one; all features but the last are standard normal.

    Returns
    -------
    x : ndarray, (n, len(weights)) float32
    y : ndarray, (n, 1) float32

    Examples
    --------
    >>> x, y = sparse_feature_regression(100, density=0.05, noise=0)
    >>> x.shape, int(x[:, 2].sum())
    ((100, 3), 5)
    """
    if n < 1:
        raise ValueError(f"n: expected at least 1. Received: n={n}")
    if not 0 < density <= 1:
        raise ValueError(f"density: expected a number in (0, 1]. Received: density={density}")
    if not len(weights):
        raise ValueError("weights: expected at least one. Received: none")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, len(weights)))
    x[:, -1] = 0
    x[rng.permutation(n)[: max(1, round(density * n))], -1] = 1
    y = x @ np.reshape(weights, (-1, 1)) + noise * rng.standard_normal((n, 1))
    return x.astype(np.float32), y.astype(np.float32)


def shapes(n=1000, size=32, seed=0, noise=0.03, classes=SHAPES):
    """Coloured images, each with one shape at a random place, size and angle.

    Only the form tells the class: colours of shape and background are random, at least 0.3 apart in each
    channel before the noise.

    Parameters
    ----------
    n : int
        Images.
    size : int
        Height and width in pixels, at least 8.
    seed : int or numpy.random.Generator
    noise : float
        Standard deviation of each pixel's noise.
    classes : sequence of str
        Which of circle, square, triangle, cross, ring; label `i` is `classes[i]`.

    Returns
    -------
    x : ndarray, (n, size, size, 3) float32 in [0, 1]
    y : ndarray, (n,) int64

    Examples
    --------
    >>> x, y = shapes(10, size=16)
    >>> x.shape, y.shape
    ((10, 16, 16, 3), (10,))
    """
    unknown = [name for name in classes if name not in SHAPES]
    if unknown or not classes:
        raise ValueError(f"classes: expected some of {SHAPES}. Received: classes={classes}")
    if size < 8:
        raise ValueError(f"size: expected at least 8 pixels. Received: size={size}")
    rng = np.random.default_rng(seed)
    y = _balanced(n, len(classes), rng)
    radius = rng.uniform(0.18, 0.38, n) * size
    centre = radius[:, None] + rng.random((n, 2)) * (size - 2 * radius[:, None])
    angle = rng.uniform(0, 2 * np.pi, n)
    back = rng.random((n, 1, 1, 3))
    front = (back + rng.uniform(0.3, 0.7, (n, 1, 1, 3))) % 1  # a way round the circle of values: never close
    x = rng.standard_normal((n, size, size, 3), dtype=np.float32)
    x *= noise
    form = np.array([SHAPES.index(name) for name in classes])[y]
    for start in range(0, n, 256):  # parts, because the distances of all pixels at once take much memory
        part = slice(start, start + 256)
        cover = _cover(form[part], size, radius[part], centre[part], angle[part])[..., None]
        x[part] += back[part] * (1 - cover) + front[part] * cover
    return np.clip(x, 0, 1, out=x), y


def _cover(form, size, radius, centre, angle):
    """How much of each pixel its shape covers, (n, size, size) in [0, 1]: the edges are smooth."""
    pixel = np.arange(size) + 0.5
    dx = pixel[None, None, :] - centre[:, 0, None, None]
    dy = pixel[None, :, None] - centre[:, 1, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    r = radius[:, None, None]
    u, v = (cos * dx + sin * dy) / r, (cos * dy - sin * dx) / r  # the shape's own axes, its radius is 1
    distance = np.hypot(u, v)
    au, av = np.abs(u), np.abs(v)
    edge = np.stack(  # signed distance to each shape's edge, positive outside
        [
            distance - 0.9,
            np.maximum(au, av) - 0.7,
            np.maximum(-v, 0.5 * v + np.sqrt(0.75) * au) - 0.5,
            np.minimum(np.maximum(au - 1, av - 0.28), np.maximum(av - 1, au - 0.28)),
            np.abs(distance - 0.72) - 0.2,
        ]
    )
    own = edge[form, np.arange(len(form))]
    return np.clip(0.5 - own * r, 0, 1)
