"""The number of threads, and when one computes alone because others want the cores."""

import os
import threading

import numpy as np
import pytest

import fastnn as nn
from fastnn._ext import threads
from fastnn._ext.noise import gaussian_noise_forward

MS = 10**6


def looks(waits, ms=20):
    """`(now, waited)` every so many milliseconds; `waits` are the milliseconds waited in between."""
    return [(i * ms * MS, int(total * MS)) for i, total in enumerate(np.cumsum(waits), start=1)]


def test_a_quiet_system_never_pauses():
    assert not any(threads._watch(looks([0, 1, 0.5, 0, 1.9, 0] * 20)))


def test_waiting_for_cores_pauses_and_longer_each_time_that_it_goes_on():
    """After each pause a window begins anew, and the next look decides."""
    now, waited, pauses, calls = 0, 0, [], []
    for _ in range(9):
        calls += [(now, waited), (now + 20 * MS, waited + 10 * MS)]
        until = threads._watch(calls)[-1]
        pauses.append((until - now - 20 * MS) // MS)
        now, waited = until, waited + 10 * MS
    assert pauses == [20, 40, 80, 160, 320, 640, 640, 640, 640]


def test_a_pause_is_short_again_after_a_quiet_time():
    begin = [(0, 0), (20 * MS, 10 * MS)]
    until = threads._watch(begin)[-1]
    quiet = [(until + i * 20 * MS, 10 * MS) for i in range(5)]
    end = threads._watch([*begin, *quiet, (until + 100 * MS, 20 * MS)])[-1]
    assert end == until + 100 * MS + 20 * MS


def test_long_ago_and_unknown_say_nothing():
    assert threads._watch([(0, 0), (2000 * MS, 1500 * MS)]) == [0, 0]
    assert threads._watch([(20 * MS, -1), (40 * MS, -1)]) == [0, 0]


def test_the_number_is_kept():
    before = nn.get_num_threads()
    try:
        nn.set_num_threads(2)
        assert nn.get_num_threads() == (2 if threads.HAS_OPENMP else 1)
    finally:
        nn.set_num_threads(before)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="only Linux lists a process's threads")
@pytest.mark.skipif(not threads.HAS_OPENMP, reason="without OpenMP there are no teams")
def test_a_thread_that_computes_alone_has_no_team():
    def started(alone):
        """Threads that kernels brought, on a new Python thread."""
        found = []

        def work():
            if alone:
                threads.compute_alone()
            x = np.zeros(1 << 20, np.float32)
            before = set(os.listdir("/proc/self/task"))
            for _ in range(200):  # where others want the cores too, some calls have no team
                gaussian_noise_forward(x, x, 1.0, 0)
                found.append(len(set(os.listdir("/proc/self/task")) - before))
                if found[-1]:
                    break

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return max(found)

    before = nn.get_num_threads()
    nn.set_num_threads(3)
    try:
        assert started(alone=False) == 2
        assert started(alone=True) == 0
    finally:
        nn.set_num_threads(before)
