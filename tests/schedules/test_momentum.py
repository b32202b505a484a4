"""The momentum schedule of Sutskever et al.: its values, its closed form, its errors."""

import math

import pytest

from fastnn.schedules import sutskever_momentum


def test_values():
    beta = sutskever_momentum()
    steps = (0, 249, 250, 499, 500, 1000, 2250, 12250, 124750, 10**7)
    expected = (0.5, 0.5, 0.75, 0.75, 0.8333333333333334, 0.9, 0.95, 0.99, 0.999, 0.999)
    assert [beta(step) for step in steps] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("period", [250, 1, 37])
def test_the_papers_formula(period):
    beta = sutskever_momentum(0.995, period)
    for step in range(0, 60 * period, 13):
        paper = min(1 - 2 ** (-1 - math.log2(step // period + 1)), 0.995)
        assert beta(step) == pytest.approx(paper, rel=1e-14)


@pytest.mark.parametrize("highest", [0, 0.9, 0.99, 0.995])
def test_highest(highest):
    beta = sutskever_momentum(highest)
    assert beta(10**6) == highest and all(beta(step) <= highest for step in range(0, 10**5, 999))


def test_errors():
    with pytest.raises(ValueError, match=r"^sutskever_momentum: beta_max: expected a number in \[0, 1\)"):
        sutskever_momentum(1)
    with pytest.raises(ValueError, match=r"^sutskever_momentum: period: expected a whole number"):
        sutskever_momentum(period=0)
