"""Exponentials and what is made of them (`_ext/vmath.h`): right to the last place but one or two."""

import numpy as np
import pytest

from fastnn._ext import activations as compiled
from fastnn.reference import activations as reference


def f(name, x, alpha=1.0):
    y = np.empty_like(x)
    compiled.activation_forward(x, y, name, alpha)
    return y


def ulps(received, exact):
    """Error in units of the last place of a number of that size."""
    unit = np.spacing(np.abs(exact).astype(received.dtype)).astype(exact.dtype)
    return np.max(np.abs(received - exact) / unit)


def sigmoid(x):
    return np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-abs(x)))


def expm1(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def phi(x):
    """The normal distribution in more digits than `x` itself has."""
    if x.dtype != np.longdouble:
        return reference.erfc(-x / np.sqrt(2)) / 2
    z, pi = abs(x), np.longdouble("3.14159265358979323846264338327950288")
    h = z.astype(np.float32).astype(x.dtype)  # its square is exact
    density = np.exp(-h * h / 2) * np.exp(-(z - h) * (z + h) / 2) / np.sqrt(2 * pi)
    near, term = np.zeros_like(z), np.where(z < 1.5, z, 0)
    far = np.maximum(z, 1.5)
    fraction = far
    for n in range(40):  # z + z^3 / 3 + z^5 / (3 5) + ...
        near = near + term
        term = term * (z * z / (2 * n + 3))
    for n in range(300, 0, -1):  # z + 1 / (z + 2 / (z + 3 / ...))
        fraction = far + n / fraction
    tail = np.where(z < 1.5, 0.5 - density * near, density / fraction)
    return np.where(x < 0, tail, 1 - tail)


# Each function as an activation shows it, exactly, and the bound. The project promises 2.
EXACT = {
    "exp": ("sigmoid", np.exp, 1.2),  # so far below 0 that 1 + e^x rounds to 1
    "expm1": ("elu", expm1, 1.5),
    "tanh": ("tanh", np.tanh, 1.7),
    "sigmoid": ("sigmoid", sigmoid, 1.9),
    "softplus": ("softplus", softplus, 2),
    "x phi": ("gelu", lambda x: x * phi(x), 2),  # phi does erf's work; its error and a product's add up
}


def check_last_place(name, x, one):
    """Compare with the function in the type of `one`, which has more digits."""
    activation, exact, bound = EXACT[name]
    if name == "exp":
        x = x[x < np.log(np.finfo(x.dtype).eps / 4)]
    with np.errstate(under="ignore", over="ignore"):
        assert ulps(f(activation, x), exact(x.astype(type(one)))) <= bound


@pytest.mark.parametrize("name", EXACT)
def test_last_place_float32(name):
    """Floats of every size, each 4099th bit pattern, and every float of some stretches."""
    stretches = np.array(
        [-103, -87.3, -60, -13.1, -8, -3.4, -1.85, -1.1, -0.75, -0.55, -0.001, 0.003, 0.5, 0.55, 0.69, 1, 4],
        np.float32,
    )
    following = np.arange(10000, dtype=np.uint32)
    patterns = [start + following for start in stretches.view(np.uint32)]
    x = np.concatenate([np.arange(0, 2**32, 4099, dtype=np.uint32), *patterns]).view(np.float32)
    check_last_place(name, np.ascontiguousarray(x[np.isfinite(x)]), np.float64(1))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="needs a longer type than float64")
@pytest.mark.parametrize("name", EXACT)
def test_last_place_float64(name):
    rng = np.random.default_rng(0)
    x = np.concatenate([
        rng.uniform(-40, 40, 20000), rng.uniform(-2, 0, 20000), rng.standard_normal(20000),
        rng.uniform(-760, 40, 20000), rng.choice([-1, 1], 9999) * np.exp(rng.uniform(-700, 5, 9999)),
    ])  # fmt: skip
    check_last_place(name, x, np.longdouble(1))


def test_normal_distribution():
    """Values computed with 40 digits, down to the smallest normal numbers of float32 and float64."""
    table = {
        -37.5: 4.605353009581955e-308,
        -30.25: 2.6086402857412604e-201,
        -20.0: 2.7536241186062337e-89,
        -12.875: 3.1119539989087363e-38,
        -8.5: 9.479534822203318e-18,
        -5.0: 2.866515718791939e-07,
        -3.0: 0.0013498980316300946,
        -1.875: 0.030396361765261375,
        -1.0: 0.15865525393145705,
        -0.625: 0.26598552904870054,
        -0.25: 0.4012936743170763,
        -9.5367431640625e-07: 0.49999961953899347,
        0.25: 0.5987063256829237,
        1.5: 0.9331927987311419,
        6.0: 0.9999999990134123,
    }
    x, exact = np.array(list(table)), np.array(list(table.values()))
    assert ulps(f("gelu", x) / x, exact) <= 3  # two more roundings
    if np.finfo(np.longdouble).nmant >= 60:
        assert ulps(phi(x.astype(np.longdouble)).astype(np.float64), exact) == 0
    x, exact = x[-x < 13].astype(np.float32), exact[-x < 13]
    assert ulps(f("gelu", x), x * exact) <= 2
