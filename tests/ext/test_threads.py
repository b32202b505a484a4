"""The number of threads, and when one computes alone because others want the cores."""

import numpy as np

import fastnn as nn
from fastnn._ext import threads

MS = 10**6


def windows(losses, ms=10):
    """`(now, count)` at the ends of windows of so many milliseconds with these losses of a core."""
    return list(zip(range(ms * MS, (len(losses) + 1) * ms * MS, ms * MS), np.cumsum(losses).tolist()))


def test_a_quiet_system_never_pauses():
    assert not any(threads._watch(windows([0, 1, 0, 0, 1, 0] * 20)))


def test_losing_cores_pauses_and_longer_each_time_that_it_goes_on():
    """Each pause ends, a window begins anew, and the next look decides."""
    now, count, pauses, calls = 0, 0, [], []
    for _ in range(9):
        calls += [(now, count), (now + 10 * MS, count + 5)]
        until = threads._watch(calls)[-1]
        pauses.append((until - now - 10 * MS) // MS)
        now, count = until, count + 5
    assert pauses == [20, 40, 80, 160, 320, 640, 640, 640, 640]


def test_a_pause_is_short_again_after_a_quiet_time():
    until = threads._watch([(0, 0), (10 * MS, 5)])[-1]
    quiet = [(until, 5), (until + 30 * MS, 5), (until + 60 * MS, 5)]
    end = threads._watch([(0, 0), (10 * MS, 5), *quiet, (until + 70 * MS, 10)])[-1]
    assert end - (until + 70 * MS) == 20 * MS


def test_long_ago_says_nothing():
    assert threads._watch([(0, 0), (2000 * MS, 500)]) == [0, 0]


def test_the_number_is_kept():
    before = nn.get_num_threads()
    try:
        nn.set_num_threads(2)
        assert nn.get_num_threads() == (2 if threads.HAS_OPENMP else 1)
    finally:
        nn.set_num_threads(before)
