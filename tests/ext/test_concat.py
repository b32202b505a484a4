"""Joining along the last axis against the twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import concat as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import concat as reference


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 9), max_size=3), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5),
    st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_equals_twin(shape, before, width, after, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*shape, width)).astype(dtype)
    y = rng.standard_normal((*shape, before + width + after)).astype(dtype)
    expected = y.copy()
    compiled.concat_forward(x, y, before)
    reference.concat_forward(x, expected, before)
    np.testing.assert_array_equal(y, expected)
    back = np.full_like(x, 7)
    compiled.concat_backward(y, back, before)
    np.testing.assert_array_equal(back, x)


def test_several_threads():
    rng = np.random.default_rng(0)
    x, threads = rng.standard_normal((1031, 33)), get_num_threads()
    try:
        for n in (1, 2, 3):
            set_num_threads(n)
            y, back = np.zeros((1031, 40)), np.zeros_like(x)
            compiled.concat_forward(x, y, 5)
            compiled.concat_backward(y, back, 5)
            np.testing.assert_array_equal(y[:, 5:38], x)
            assert not y[:, :5].any() and not y[:, 38:].any()
            np.testing.assert_array_equal(back, x)
    finally:
        set_num_threads(threads)


@pytest.mark.parametrize(
    ("x", "y", "start", "error", "match"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), 2, ValueError, "start: expected a place for 3 columns in 4"),
        (np.zeros((2, 3)), np.zeros((2, 4)), -1, ValueError, "start"),
        (np.zeros((2, 3)), np.zeros((3, 4)), 0, ValueError, "x: expected the axes of y"),
        (np.zeros((2, 3)), np.zeros((2, 1, 4)), 0, ValueError, "as many axes"),
        (np.zeros(()), np.zeros(()), 0, ValueError, "at least one"),
        (np.zeros((2, 3)), np.zeros((2, 4), "f"), 0, TypeError, "y: expected dtype float64"),
        (np.zeros((3, 2)).T, np.zeros((2, 4)), 0, ValueError, "x: expected a C-contiguous"),
    ],
)
def test_errors(x, y, start, error, match):
    with pytest.raises(error, match=match):
        compiled.concat_forward(x, y, start)
