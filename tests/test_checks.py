"""Checks of numbers and names: what they let through, and what they say."""

import math

import numpy as np
import pytest

import fastnn as nn
from fastnn.checks import choice, integer, number


@pytest.mark.parametrize(
    ("value", "interval"),
    [
        (-0.1, "[0, inf)"), (math.inf, "[0, inf)"), (math.nan, "[0, inf)"), (0, "(0, 1]"), (1.1, "(0, 1]"),
        (1, "[0, 1)"), ("x", "[0, 1)"), (None, "[0, 1)"), ([0.1, 0.2], "[0, 1)"),
    ],
)  # fmt: skip
def test_numbers_outside(value, interval):
    with pytest.raises(ValueError) as caught:
        number("here", "k", value, interval)
    assert str(caught.value) == f"here: k: expected a number in {interval}. Received: {value!r}"


def test_numbers_inside():
    assert number("here", "k", np.float32(0.5)) == 0.5
    assert [number("here", "k", end, "[0, 1]") for end in (0, 1)] == [0.0, 1.0]
    assert number("here", "k", math.inf, "[0, inf]") == math.inf


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, None, "3", math.nan, [2]])
def test_wrong_integers(value):
    with pytest.raises(ValueError, match=r"^here: n: expected an integer of at least 1\. Received: "):
        integer("here", "n", value)
    with pytest.raises(ValueError, match=r"Dense: units: expected an integer of at least 1\. Received: "):
        nn.Dense(value)


def test_integers():
    assert [integer("here", "n", n) for n in (1, np.int32(3))] == [1, 3]
    assert type(integer("here", "n", np.int64(3))) is int


def test_choices():
    assert choice("here", "mode", "b", ("a", "b", "c")) == "b"
    with pytest.raises(ValueError) as caught:
        choice("here", "mode", "d", ("a", "b", "c"))
    assert str(caught.value) == "here: mode: expected 'a', 'b' or 'c'. Received: 'd'"
