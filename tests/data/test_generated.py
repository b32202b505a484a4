"""Generated data sets: shapes, determinism, balance, and what makes each what it is."""

import numpy as np
import pytest

from fastnn.data import generated
from fastnn.data.generated import (
    SHAPES,
    moons,
    noisy_sine,
    shapes,
    sparse_feature_regression,
    spirals,
    xor,
)

REGRESSION = [noisy_sine, sparse_feature_regression]
ALL = [xor, moons, spirals, shapes, *REGRESSION]


@pytest.mark.parametrize("make", ALL)
def test_same_seed_same_bits(make):
    first, second, other = make(50, seed=3), make(50, seed=3), make(50, seed=4)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("make", ALL)
def test_accepts_a_generator(make):
    np.testing.assert_array_equal(make(20, seed=np.random.default_rng(5))[0], make(20, seed=5)[0])


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("n", [1, 7, 300])
def test_shapes_and_types(make, n):
    x, y = make(n)
    assert len(x) == len(y) == n
    assert x.dtype == np.float32 and x.flags.c_contiguous
    assert np.isfinite(x).all()
    if make in REGRESSION:
        assert x.shape[1:] == (1 if make is noisy_sine else 3,)
        assert y.shape == (n, 1) and y.dtype == np.float32
    else:
        assert y.shape == (n,) and y.dtype == np.int64


@pytest.mark.parametrize("make", ALL)
def test_refuses_no_samples(make):
    with pytest.raises(ValueError, match="at least 1"):
        make(0)


@pytest.mark.parametrize(("make", "classes"), [(xor, 2), (moons, 2), (spirals, 3), (shapes, 5)])
def test_classes_are_balanced_and_mixed(make, classes):
    y = make(60 * classes)[1]
    np.testing.assert_array_equal(np.bincount(y), [60] * classes)
    assert (np.diff(y) != 0).sum() > classes  # not sorted


def test_xor_is_the_boolean_function():
    x, y = xor(100, noise=0)
    assert set(np.unique(x)) == {0, 1}
    np.testing.assert_array_equal(y, x[:, 0] != x[:, 1])


def test_moons_lie_on_their_half_circles():
    x, y = moons(200, noise=0)
    centre = np.stack([y, 0.5 * y], axis=1)
    np.testing.assert_allclose(np.hypot(*(x - centre).T), 1, rtol=1e-5)
    assert (x[y == 0, 1] >= 0).all() and (x[y == 1, 1] <= 0.5).all()


def test_spirals_are_one_arm_turned():
    x, y = spirals(400, noise=0, classes=4, turns=0.75)
    radius, angle = np.hypot(*x.T), np.arctan2(x[:, 1], x[:, 0])
    turned = angle - 2 * np.pi * (0.75 * radius + y / 4)
    np.testing.assert_allclose(np.cos(turned), 1, atol=1e-5)
    assert set(y) == {0, 1, 2, 3}


def test_noise_is_the_standard_deviation():
    x, y = noisy_sine(4000, noise=0.3, seed=1)
    assert np.std(y - np.sin(np.pi * x)) == pytest.approx(0.3, rel=0.05)
    x, y = noisy_sine(100, noise=0)
    np.testing.assert_allclose(y, np.sin(np.pi * x), atol=1e-6)


def test_images_are_in_range_and_of_the_size():
    x, _ = shapes(20, size=17)
    assert x.shape == (20, 17, 17, 3)
    assert x.min() >= 0 and x.max() <= 1


def test_images_do_not_depend_on_the_parts_they_are_drawn_in():
    x, _ = shapes(300, size=8, noise=0)
    assert all(np.ptp(image) >= 0.25 for image in x)  # also those of the last part show something


def test_shape_and_background_differ():
    x, _ = shapes(100, size=32, noise=0)
    corner = np.stack([x[:, i, j] for i in (0, -1) for j in (0, -1)], 1)
    back = np.median(corner, axis=1)  # a shape can reach a corner, not two
    apart = np.abs(x - back[:, None, None]).max(axis=(1, 2))
    assert (apart >= 0.28).all()


@pytest.mark.parametrize("name", SHAPES)
def test_area_of_each_form(name):
    """The covered area, in units of radius squared, is that of the form."""
    area = {
        "circle": np.pi * 0.9**2,
        "square": 1.4**2,
        "triangle": 0.75 * np.sqrt(3),  # circumscribed circle of radius 1
        "cross": 2 * 2 * 0.56 - 0.56**2,
        "ring": np.pi * (0.92**2 - 0.52**2),
    }[name]
    radius = np.full(8, 40.0)
    angle = np.linspace(0, 2, 8)
    form = np.full(8, SHAPES.index(name))
    cover = generated._cover(form, 128, radius, np.full((8, 2), 64.3), angle)
    np.testing.assert_allclose(cover.sum(axis=(1, 2)) / 40**2, area, rtol=0.01)


def test_shapes_stay_inside():
    form = np.arange(5)
    radius = np.full(5, 10.0)
    cover = generated._cover(form, 20, radius, np.full((5, 2), 10.0), np.full(5, 0.4))
    assert cover[:, [0, -1], :].max(axis=(1, 2))[0] == 0  # the circle has radius 9
    assert cover.max() == 1


def test_choice_of_classes():
    _, y = shapes(20, size=16, classes=("ring", "circle"), noise=0, seed=2)
    assert set(y) == {0, 1}
    with pytest.raises(ValueError, match=r"classes: expected some of .* Received: classes=\('star',\)"):
        shapes(3, classes=("star",))
    with pytest.raises(ValueError, match="size: expected at least 8"):
        shapes(3, size=4)


@pytest.mark.parametrize(("density", "present"), [(0.02, 20), (1.0, 1000), (1e-9, 1)])
def test_the_last_feature_is_rare(density, present):
    x, y = sparse_feature_regression(1000, density, noise=0, weights=(0.5, -1.5))
    assert x.shape == (1000, 2) and set(np.unique(x[:, 1])) <= {0, 1} and x[:, 1].sum() == present
    assert abs(x[:, 0].mean()) < 0.1 and abs(x[:, 0].std() - 1) < 0.1
    np.testing.assert_allclose(y[:, 0], 0.5 * x[:, 0] - 1.5 * x[:, 1], atol=1e-6)


def test_the_noise_of_the_sparse_regression():
    x, y = sparse_feature_regression(5000, noise=0.3)
    assert np.std(y[:, 0] - x @ (1, -2, 3)) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0}, r"density: expected a number in \(0, 1\]\. Received: density=0"),
        ({"density": 1.5}, r"density: expected a number in \(0, 1\]"),
        ({"weights": ()}, r"weights: expected at least one\. Received: none"),
    ],
)
def test_wrong_options_of_the_sparse_regression(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        sparse_feature_regression(**options)
