"""Medians and minima by a clock that the test turns; the measures of the machine are only looked at."""

import pytest

import fastnn as nn
from fastnn import machine


@pytest.fixture
def clock(monkeypatch):
    """`clock[0]` is the time."""
    now = [0.0]
    monkeypatch.setattr(machine, "perf_counter", lambda: now[0])
    return now


def calls_of(clock, durations):
    """A function whose calls take those seconds, the last one for ever."""
    made = []

    def call():
        clock[0] += durations[min(len(made), len(durations) - 1)]
        made.append(0)

    return call, made


def test_the_median_of_several_calls(clock):
    call, made = calls_of(clock, [5.0, 1.0, 2.0, 1.0, 3.0])
    assert machine.median_seconds(call, 12.0) == 2.0
    assert len(made) == 5


def test_at_least_three_calls_or_one_long_one(clock):
    call, made = calls_of(clock, [2.0])
    assert machine.median_seconds(call, 2.5) == 2.0
    assert len(made) == 3
    call, made = calls_of(clock, [3.0])
    assert machine.median_seconds(call, 2.5) == 3.0
    assert len(made) == 1


def test_the_shortest_of_several_calls(clock):
    call, made = calls_of(clock, [0.5, 3.0, 2.0, 4.0, 5.0, 6.0, 7.0])
    assert machine.shortest_seconds(call, 1.0) == 2.0  # the first does not count
    assert len(made) == 6
    call, made = calls_of(clock, [1.0])
    assert machine.shortest_seconds(call, 10.0) == 1.0
    assert len(made) == 11


def test_rates():
    assert machine.giga(3e9, 1.5) == 2.0
    assert machine.giga(0, 1.0) == 0.0
    assert machine.giga(5, 0.0) == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_peak(dtype):
    before = nn.get_num_threads()
    assert machine.multiply_add_peak(1, dtype, seconds=0) > 0
    assert nn.get_num_threads() == before


@pytest.mark.parametrize(("n_threads", "megabytes"), [(None, 1), (2, 3)])
def test_the_bandwidth(n_threads, megabytes):
    assert machine.copy_bandwidth(n_threads, megabytes, seconds=0) > 0


def test_the_bandwidth_counts_reads_and_writes(monkeypatch):
    monkeypatch.setattr(machine, "shortest_seconds", lambda call, seconds: 0.5)
    assert machine.copy_bandwidth(1, 64) == pytest.approx(2 * 64 * 2**20 / 0.5 / 1e9)
    assert machine.copy_bandwidth(1, 4) == pytest.approx(16 * 2 * 4 * 2**20 / 0.5 / 1e9)  # sixteen times
