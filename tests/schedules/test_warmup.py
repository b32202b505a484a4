"""Warm-up: its ends and the joint with what comes after, and the Transformer's schedule."""

import math

import pytest

from fastnn.schedules import cosine, exponential, noam, one_cycle, warmup

AFTER = {
    "number": 0.2,
    "exponential": exponential(0.2, 0.01),
    "cosine": cosine(0.2, 100),
    "one_cycle": one_cycle(0.2, 100),
}


@pytest.mark.parametrize("shape", ["linear", "exponential"])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("start", [0.001, 0.0])
def test_ends_and_joint(shape, after, start):
    if shape == "exponential" and start == 0:
        start = 1e-6
    after = AFTER[after]
    lr = warmup(after, 10, start, shape)
    then = after if callable(after) else lambda step: after
    assert lr(0) == start and lr(10) == then(0)
    assert [lr(10 + step) for step in range(120)] == [then(step) for step in range(120)]
    rising = [lr(step) for step in range(11)]
    if shape == "linear":
        expected = [start + (then(0) - start) * step / 10 for step in range(11)]
    else:
        expected = [start * (then(0) / start) ** (step / 10) for step in range(11)]
    assert rising == pytest.approx(expected, rel=1e-14)
    assert rising == sorted(rising)


def test_exponential_shape_multiplies_by_the_same_number():
    lr = warmup(1.0, 4, start=0.0016, shape="exponential")
    assert [lr(step) for step in range(6)] == pytest.approx([0.0016, 0.008, 0.04, 0.2, 1.0, 1.0], rel=1e-12)


def test_in_epochs():
    by_epoch = warmup(cosine(0.1, 10, steps_per_epoch=20), 1.5, steps_per_epoch=20)
    by_step = warmup(cosine(0.1, 200), 30)
    assert [by_epoch(step) for step in range(240)] == [by_step(step) for step in range(240)]


def test_noam():
    lr = noam(512, 4000)
    values = [lr(step) for step in range(12000)]
    assert max(values) == lr(3999) == pytest.approx(6.987712429686843e-4, rel=1e-14)
    assert f"{max(values):.2e}" == "6.99e-04"
    assert lr(0) == pytest.approx(max(values) / 4000, rel=1e-12)
    assert lr(1999) == pytest.approx(max(values) / 2, rel=1e-12)  # a line
    assert lr(15999) == pytest.approx(max(values) / 2, rel=1e-12)  # the root of the time
    assert noam(512, 4000, scale=2)(77) == 2 * lr(77)
    assert noam(64, 1)(0) == 0.125


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: warmup(-0.1, 5), "warmup: after: expected a number"),
        (lambda: warmup(0.1, 0), "warmup: steps: expected a whole number of updates"),
        (lambda: warmup(0.1, 5, start=0.2), r"warmup: start: expected a number in \[0, 0\.1\]\. Received: 0"),
        (lambda: warmup(0.1, 5, start=-1), "warmup: start"),
        (lambda: warmup(0.1, 5, shape="exponential"), r"warmup: start: expected a number in \(0, 0\.1\]"),
        (lambda: warmup(0.1, 5, shape="cosine"), "warmup: shape: expected 'linear' or 'exponential'"),
        (lambda: warmup(lambda step: math.nan, 5), r"warmup: after\(0\): expected a number"),
        (lambda: warmup(0.1, 5, steps_per_epoch=-1), "warmup: steps_per_epoch"),
        (lambda: noam(0, 10), "noam: d_model: expected an integer"),
        (lambda: noam(8, 0), "noam: warmup: expected a whole number"),
        (lambda: noam(8, 10, scale=-1), "noam: scale"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
