"""Dropout against its twin, bit for bit, and how random the mask is (the notes, S6.8)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import dropout as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import dropout as reference

KEYS = st.integers(0, 2**64 - 1)


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def mask(n, rate, key):
    y = np.empty(n, np.float32)
    compiled.dropout_forward(np.ones(n, np.float32), y, rate, key)
    return y != 0


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 30), max_size=3), st.floats(0, 1, exclude_max=True), KEYS,
    st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_equals_twin_bit_for_bit(shape, rate, key, dtype):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape), dtype)
    y, expected = np.full_like(x, 7), np.full_like(x, 7)
    for name in ("dropout_forward", "dropout_backward"):
        with np.errstate(over="ignore"):
            getattr(compiled, name)(x, y, rate, key)
            getattr(reference, name)(x, expected, rate, key)
        np.testing.assert_array_equal(y, expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.floats(0, 0.99), KEYS, st.sampled_from(["float32", "float64"]))
def test_scale_shift_and_fill_equal_twin(n, rate, key, dtype):
    x = np.random.default_rng(0).standard_normal(n).astype(dtype)
    y, expected = np.full_like(x, 7), np.full_like(x, 7)
    with np.errstate(over="ignore"):
        compiled.dropout_forward(x, y, rate, key, 0.9, 0.25, -1.5)
        reference.dropout_forward(x, expected, rate, key, 0.9, 0.25, -1.5)
        np.testing.assert_allclose(y, expected, rtol=4 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(y == -1.5, expected == -1.5)
        compiled.dropout_backward(x, y, rate, key, 1.0)
        reference.dropout_backward(x, expected, rate, key, 1.0)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(y[y != 0], x[y != 0])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=3), st.floats(0, 0.99), KEYS,
    st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_the_same_mask_for_all_rows(shape, rate, key, dtype):
    """As the twin, and each row as if it were alone."""
    x = np.asarray(np.random.default_rng(0).standard_normal(shape), dtype)
    y, expected, alone = (np.full_like(x, 7) for _ in range(3))
    for name in ("dropout_forward", "dropout_backward"):
        getattr(compiled, name)(x, y, rate, key, same_mask=True)
        getattr(reference, name)(x, expected, rate, key, same_mask=True)
        for i in range(len(x)):
            getattr(compiled, name)(x[i : i + 1], alone[i : i + 1], rate, key)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(y, alone)


def test_the_same_mask_with_threads():
    x = np.random.default_rng(0).standard_normal((7, 50_003)).astype(np.float32)
    results = []
    for n in (1, 2, 3):
        set_num_threads(n)
        y = np.empty_like(x)
        compiled.dropout_forward(x, y, 0.3, 99, same_mask=True)
        results.append(y.tobytes())
    assert len(set(results)) == 1
    assert ((y != 0) == mask(50_003, 0.3, 99)).all()


def test_threads_place_and_dtype():
    """Any number of threads, in place, float32 and float64: the same mask and factor."""
    x = np.random.default_rng(0).standard_normal(100_003).astype(np.float32)
    y, again = np.empty_like(x), np.empty_like(x)
    set_num_threads(1)
    compiled.dropout_forward(x, y, 0.3, 99)
    set_num_threads(3)
    compiled.dropout_backward(x, again, 0.3, 99)
    np.testing.assert_array_equal(again, y)
    again[...] = x
    compiled.dropout_forward(again, again, 0.3, 99)
    np.testing.assert_array_equal(again, y)
    wide = np.empty(x.shape)
    compiled.dropout_forward(x.astype(np.float64), wide, 0.3, 99)
    np.testing.assert_array_equal(wide != 0, y != 0)
    np.testing.assert_array_equal(y[y != 0], x[y != 0] * np.float32(1 / (1 - 0.3)))


def test_rate_0_and_special_values():
    x = np.array([1.5, np.inf, -np.inf, np.nan, -0.0] * 200)
    y = np.empty_like(x)
    compiled.dropout_forward(x, y, 0.0, 3)
    np.testing.assert_array_equal(y, x)
    compiled.dropout_forward(x, y, 0.5, 3)
    dropped = ~mask(1000, 0.5, 3)
    assert (y[dropped] == 0).all()  # 0 even where x is infinite or NaN
    assert np.isnan(y[3::5][~dropped[3::5]]).all()


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9])
def test_kept_fraction(rate):
    """Within five standard deviations of the binomial law, for each of 50 keys, and the chi-square of all."""
    n = 200_000
    z = np.array(
        [(mask(n, rate, key).sum() - n * (1 - rate)) / np.sqrt(n * rate * (1 - rate)) for key in range(50)]
    )
    assert abs(z).max() < 5
    assert 20 < z @ z < 95  # chi-square with 50 degrees of freedom: 50 +- 4.5 * 10


def correlation(a, b):
    """In standard deviations, for independent masks of rate 1/2."""
    return ((2.0 * a - 1) @ (2.0 * b - 1)) / np.sqrt(len(a))


def test_no_correlation_between_neighbours():
    kept = mask(1_000_003, 0.5, 12345)
    for lag in [*range(1, 65), 100, 128, 256, 1000, 1024, 4096, 8192, 65536]:
        assert abs(correlation(kept[lag:], kept[:-lag])) < 5, lag


def test_no_correlation_between_keys():
    """Successive keys, keys that differ in one bit, and neighbours of them."""
    first = mask(300_000, 0.5, 1000)
    others = [1001, 1002, 999, 2000, 0] + [1000 ^ (1 << bit) for bit in range(64)]
    for key in others:
        other = mask(300_000, 0.5, key)
        assert abs(correlation(first, other)) < 5, key
        assert abs(correlation(first[1:], other[:-1])) < 5, key
        assert abs(correlation(first[:-1], other[1:])) < 5, key


def test_bits_are_uniform():
    """Every bit of the hash, and the 65,536 cells of its upper and lower half."""
    bits = reference.random_bits(7, 2**20)
    for bit in range(32):
        assert abs(int(((bits >> bit) & 1).sum()) - 2**19) < 5 * 2**9, bit
    for half in (bits >> 16, bits & 0xFFFF):
        chi_square = ((np.bincount(half, minlength=65536) - 16.0) ** 2 / 16).sum()
        assert abs(chi_square - 65535) < 5 * np.sqrt(2 * 65535)


def test_runs_have_geometric_lengths():
    kept = mask(1_000_000, 0.5, 5)
    lengths = np.diff(np.flatnonzero(np.diff(kept)))
    counts = np.bincount(lengths, minlength=16)[1:16]
    expected = len(lengths) * 0.5 ** np.arange(1, 16)
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_mean_is_kept():
    """Scaling in training: the expectation of y is x (S6.8)."""
    x = np.full(1000, 2.0)
    total, y = np.zeros(1000), np.empty(1000)
    for key in range(2000):
        compiled.dropout_forward(x, y, 0.2, key)
        total += y
    standard = 2 * np.sqrt(0.2 / 0.8 / 2000)
    assert abs(total / 2000 - 2).max() < 5 * standard


def test_errors():
    x = np.zeros(5, np.float32)
    for rate in (1.0, -0.1, np.nan):
        with pytest.raises(ValueError, match="rate: expected 0 <= rate < 1"):
            compiled.dropout_forward(x, x, rate, 0)
    with pytest.raises(OverflowError):
        compiled.dropout_forward(x, x, 0.5, -1)
    with pytest.raises(ValueError, match="y: expected the shape of x"):
        compiled.dropout_forward(x, x[:4], 0.5, 0)
    with pytest.raises(TypeError, match=r"y: expected dtype float32"):
        compiled.dropout_forward(x, x.astype(np.float64), 0.5, 0)
    with pytest.raises(ValueError, match="x: expected a C-contiguous array"):
        compiled.dropout_forward(np.zeros(10, np.float32)[::2], x, 0.5, 0)
    with pytest.raises(ValueError, match=r"x: expected a first axis, .* Received: shape=\(\)"):
        compiled.dropout_forward(np.zeros(()), np.zeros(()), 0.5, 0, same_mask=True)
    with pytest.raises(TypeError, match="Received: None"):
        compiled.dropout_backward(x, None, 0.5, 0)
