"""Critical points: signs of the eigenvalues (S4.5)."""

import numpy as np
import pytest

from fastnn.theory import classify, hessian, surfaces
from fastnn.theory.critical import gradient

HIMMELBLAU = {
    "minimum": surfaces.himmelblau().minima,
    "maximum": [(-0.270845, -0.923039)],
    "saddle": [(0.086678, 2.884255), (3.385154, 0.073852), (-3.073026, -0.081353), (-0.127961, -1.953715)],
}


@pytest.mark.parametrize("kind", HIMMELBLAU)
def test_the_nine_critical_points_of_himmelblau(kind):
    for point in HIMMELBLAU[kind]:
        assert classify(surfaces.himmelblau(), point) == kind


@pytest.mark.parametrize(
    ("f", "x", "kind"),
    [
        (surfaces.bowl(), (0, 0), "minimum"),
        (lambda p: -surfaces.valley()(p), (0, 0), "maximum"),
        (surfaces.saddle(), (0, 0), "saddle"),
        (surfaces.monkey_saddle(), (0, 0), "undecided"),  # the second derivatives are 0
        (lambda p: p[0] ** 2 + p[1] ** 4, (0, 0), "undecided"),
        (surfaces.sigmoid_neuron(), surfaces.sigmoid_neuron().minima[0], "minimum"),
        (lambda p: p[0] ** 2 + p[1] ** 2 - p[2] ** 2, (0, 0, 0), "saddle"),
        (lambda p: p @ p, (0, 0, 0, 0), "minimum"),
        (lambda p: -(p[0] ** 2), (0,), "maximum"),
    ],
)
def test_kinds(f, x, kind):
    assert classify(f, x) == kind


def test_numbers_by_hand():
    np.testing.assert_allclose(gradient(lambda p: p[0] ** 3 * p[1], (2, 5)), [60, 8], rtol=1e-8)
    np.testing.assert_allclose(hessian(lambda p: p[0] ** 3 * p[1], (2, 5)), [[60, 12], [12, 0]], atol=1e-4)


def test_only_where_the_gradient_is_zero():
    message = r"^classify: x: expected a point where the gradient is 0\. Received: \(1\.0, 0\.0\), where"
    with pytest.raises(ValueError, match=message):
        classify(surfaces.saddle(), (1, 0))
