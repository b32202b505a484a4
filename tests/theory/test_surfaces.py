"""Surfaces: formulas against differences and against the values that are known of them."""

import numpy as np
import pytest

from fastnn.theory import surfaces
from fastnn.theory.critical import gradient, hessian
from fastnn.theory.surfaces import SURFACES

ALL = [*(make() for make in SURFACES), surfaces.quadratic([[3, 1], [1, 2]]),
       surfaces.sigmoid_neuron((-1, 0.3, 2), (0.1, 0.8, 0.6))]  # fmt: skip


def points(surface, n=25):
    left, right, bottom, top = surface.box
    return np.random.default_rng(0).uniform((left, bottom), (right, top), (n, 2))


@pytest.mark.parametrize("surface", ALL, ids=lambda s: s.name)
def test_derivatives_are_those_of_differences(surface):
    p = points(surface)
    expected = np.array([gradient(surface, q, 1e-6) for q in p])
    np.testing.assert_allclose(surface.gradient(p), expected, rtol=1e-7, atol=1e-8 * np.abs(expected).max())
    expected = np.array([hessian(surface, q) for q in p])
    np.testing.assert_allclose(surface.hessian(p), expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("surface", ALL, ids=lambda s: s.name)
def test_points_of_any_shape(surface):
    p = points(surface, 12).reshape(3, 4, 2)
    assert surface(p).shape == (3, 4)
    assert surface.gradient(p).shape == (3, 4, 2) and surface.hessian(p).shape == (3, 4, 2, 2)
    np.testing.assert_array_equal(surface.gradient(p)[1, 2], surface.gradient(p[1, 2]))
    np.testing.assert_array_equal(surface.hessian(p)[1, 2], surface.hessian(p[1, 2]))
    assert float(surface(p[2, 0])) == surface(p)[2, 0]


@pytest.mark.parametrize("surface", ALL, ids=lambda s: s.name)
def test_minima_and_starts(surface):
    left, right, bottom, top = surface.box
    for x, y in (surface.start, *surface.minima):
        assert left < x < right and bottom < y < top
    for minimum in surface.minima:
        assert abs(float(surface(minimum))) < 1e-25
        np.testing.assert_allclose(surface.gradient(minimum), 0, atol=1e-12)
        assert (np.linalg.eigvalsh(surface.hessian(minimum)) > 0).all()


def test_known_values():
    assert float(surfaces.rosenbrock()((-1.2, 1))) == pytest.approx(24.2)
    assert float(surfaces.beale()((0, 0))) == 1.5**2 + 2.25**2 + 2.625**2
    assert float(surfaces.himmelblau()((0, 0))) == 170
    np.testing.assert_allclose(surfaces.valley(20).hessian((1, 2)), [[1, 0], [0, 20]])
    assert float(surfaces.monkey_saddle()((1, 2))) == 1 - 12
    # logit(0.9) - logit(0.2) over the distance of the two x, and what is left
    w = (np.log(9) + np.log(4)) / 2
    assert surfaces.sigmoid_neuron().minima == (pytest.approx((w, -np.log(4) - 0.5 * w)),)


def test_the_neuron_is_flat_and_finite_far_away():
    neuron = surfaces.sigmoid_neuron()
    far = np.array([[1e6, 1e6], [-1e6, -1e6]])
    np.testing.assert_allclose(neuron(far), [(0.8**2 + 0.1**2) / 2, (0.2**2 + 0.9**2) / 2])
    np.testing.assert_array_equal(neuron.gradient(far), 0)


@pytest.mark.parametrize("surface", ALL, ids=lambda s: s.name)
def test_close_rings_are_steep(surface):
    """A step of dz / ||gradient|| along the gradient leads to the ring whose level is dz higher (S2.15)."""
    p = points(surface)
    g = surface.gradient(p)
    norm = np.linalg.norm(g, axis=1)
    p, g, norm = p[norm > 1e-3], g[norm > 1e-3], norm[norm > 1e-3]
    dz = 1e-5 * norm
    rise = surface(p + (dz / norm**2)[:, None] * g) - surface(p)
    curved = np.abs(surface.hessian(p)).max(axis=(1, 2)) * 2e-10  # the next term of the series
    assert (np.abs(rise - dz) <= curved + 1e-14 * np.abs(surface(p)) + 1e-15).all()
    along = np.stack([-g[:, 1], g[:, 0]], axis=1) / norm[:, None]
    level = surface(p + 1e-5 * along) - surface(p)  # the tangent of the ring: no rise
    assert (np.abs(level) <= curved + 1e-14 * np.abs(surface(p)) + 1e-15).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: surfaces.quadratic([[1, 0], [1, 1]]), "quadratic: hessian: expected a symmetric matrix"),
        (lambda: surfaces.quadratic([[1, 0], [0, -1]]), "quadratic: hessian: expected a symmetric matrix"),
        (lambda: surfaces.quadratic([1, 2]), "quadratic: hessian: expected a symmetric matrix"),
        (
            lambda: surfaces.valley(0.5),
            r"valley: condition: expected a number of at least 1\. Received: 0\.5",
        ),
        (lambda: surfaces.sigmoid_neuron((1, 2), (0.5,)), "sigmoid_neuron: x, target: expected two lists"),
        (lambda: surfaces.sigmoid_neuron((1, 2), (0, 1)), "sigmoid_neuron: x, target: expected two lists"),
        (
            lambda: surfaces.bowl()((1, 2, 3)),
            r"surface: points: expected an array \(\.\.\., 2\)\. Received: ",
        ),
        (lambda: surfaces.bowl().gradient(3.0), r"surface: points: expected an array"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
