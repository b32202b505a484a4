"""Augmentations: what each does, counters of (seed, step, place), errors (the notes, S6.2)."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import augmentation as aug
from fastnn.errors import ShapeError

ALL = [
    aug.RandomShift(3), aug.RandomFlip(), aug.RandomFlip("both", 0.3), aug.RandomRotation(20, "reflect"),
    aug.RandomZoom((0.8, 1.3), "nearest"), aug.RandomCrop(12, 2), aug.Cutout(5), aug.RandomBrightness(),
    aug.RandomContrast(), aug.RandomAffine(10, 2.5, (0.9, 1.1), interpolation="nearest"),
    aug.Compose([aug.RandomFlip(), aug.Compose([aug.RandomShift(1), aug.Cutout(3)])]),
]  # fmt: skip
X = np.zeros((9, 12, 12, 3), np.float32)


def test_all_are_tested():
    public = {getattr(aug, name) for name in aug.__all__} - {aug.Augmentation}
    assert public == {type(augmentation) for augmentation in ALL}


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shape_dtype_input_and_counters(augmentation, dtype, images):
    x = images(dtype=dtype)
    before = x.copy()
    x.setflags(write=False)
    y = augmentation(x, seed=3, step=7)
    assert y.shape == x.shape and y.dtype == x.dtype and not np.array_equal(y, x)
    np.testing.assert_array_equal(x, before)
    assert augmentation(x, seed=3, step=7).tobytes() == y.tobytes()
    np.testing.assert_array_equal(augmentation(x[:4], seed=3, step=7), y[:4])  # by place
    assert len(augmentation(x[:0])) == 0
    many = images(200)
    first = augmentation(many, seed=3, step=7)
    for other in ((4, 7), (3, 8), (7, 3), (2**64 - 1, 2**64 - 1)):
        assert not np.array_equal(augmentation(many, *other), first)
    strided = augmentation(images(18, dtype=dtype)[::2], seed=3, step=7)
    np.testing.assert_array_equal(strided, augmentation(images(18, dtype=dtype)[::2].copy(), seed=3, step=7))


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_threads_and_twins(augmentation, images):
    x = images(130, (28, 28, 1)) if not isinstance(augmentation, aug.RandomCrop) else images(130)
    before, results = nn.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            nn.set_num_threads(n)
            results.append(augmentation(x, step=2))
        nn.use_kernels("reference")
        results.append(augmentation(x, step=2))
    finally:
        nn.use_kernels("compiled")
        nn.set_num_threads(before)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    np.testing.assert_allclose(results[3], results[0], rtol=0, atol=1e-6)


def test_the_changes_in_a_row_are_independent():
    x = np.arange(2.0).reshape(1, 1, 2, 1).repeat(4000, 0)
    once = aug.RandomFlip()(x)[:, 0, 0, 0]
    twice = aug.Compose([aug.RandomFlip(), aug.RandomFlip()])(x)[:, 0, 0, 0]
    for flips in (once, twice):  # five standard deviations of a fair coin
        assert abs(flips.mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)
    assert abs(np.corrcoef(once, twice)[0, 1]) < 5 / np.sqrt(4000)


def test_a_nested_compose_is_its_parts_in_a_row(images):
    parts = [aug.RandomShift(2), aug.RandomFlip("both"), aug.Cutout(4)]
    x = images(50)
    nested = aug.Compose([aug.Compose(parts[:2]), parts[2]])
    np.testing.assert_array_equal(nested(x, 1, 2), aug.Compose(parts)(x, 1, 2))
    assert repr(nested) == repr(aug.Compose(parts))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: aug.RandomShift(1.5), ValueError, r"RandomShift: pixels: expected an integer .*: 1.5"),
        (lambda: aug.RandomShift((1, 2, 3)), ValueError, r"or two \(rows, columns\). Received: \(1, 2, 3\)"),
        (lambda: aug.RandomShift(-1), ValueError, "from 0 to a million"),
        (lambda: aug.RandomFlip("up"), ValueError, "RandomFlip: mode: expected 'horizontal', "),
        (lambda: aug.RandomFlip(probability=1.1), ValueError, r"probability: .*in \[0, 1\]. Received: 1.1"),
        (lambda: aug.RandomRotation(-5), ValueError, r"degrees: expected a number in .0, inf.. Received: -5"),
        (lambda: aug.RandomRotation((5, -5)), ValueError, r"\(low, high\), low <= high. Received: \(5, -5\)"),
        (lambda: aug.RandomRotation(np.nan), ValueError, r"number in .0, inf.\. Received: nan"),
        (lambda: aug.RandomZoom((0, 1)), ValueError, r"RandomZoom: scale: expected numbers above 0"),
        (lambda: aug.RandomAffine(fill="wrap"), ValueError, "fill: expected 'constant', 'nearest' or"),
        (lambda: aug.RandomAffine(interpolation="cubic"), ValueError, "interpolation: expected 'bilinear'"),
        (lambda: aug.RandomCrop(0), ValueError, "RandomCrop: size: expected an integer from 1"),
        (lambda: aug.RandomCrop(9)(X[:, :4]), ShapeError, r"Received: size=\(9, 9\).* \(4, 12, 3\)"),
        (lambda: aug.Cutout(0), ValueError, "Cutout: size"),
        (lambda: aug.RandomContrast(2), ValueError, r"RandomContrast: factor: .*in \[0, 1\]"),
        (lambda: aug.RandomBrightness(0.1, (1, 0)), ValueError, "RandomBrightness: value_range"),
        (lambda: aug.Compose([]), TypeError, "expected a sequence of Augmentation objects"),
        (lambda: aug.Compose([aug.RandomFlip]), TypeError, "Compose: augmentations"),
        (lambda: aug.RandomFlip()(np.zeros((3, 784))), ShapeError, r"images \(N, H, W, C\).*\(3, 784\)"),
        (lambda: aug.RandomFlip()(np.zeros((3, 2, 2, 1), np.uint8)), TypeError, "RandomFlip: x: .*uint8"),
        (lambda: aug.RandomFlip()(X, -1), ValueError, "RandomFlip: seed: expected an integer from 0"),
        (lambda: aug.RandomFlip()(X, 0, 2**64), ValueError, "RandomFlip: step: expected an integer"),
        (lambda: aug.Augmentation()(X), NotImplementedError, "Augmentation.change is not written"),
    ],
)  # fmt: skip
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_the_6_and_the_9_are_in_the_docs():
    assert "a 6 turned by 180 degrees is a 9" in aug.__doc__
