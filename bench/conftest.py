"""Beside the times: GFLOP/s and GB/s, and what part they are of this machine's measured best.

The peak of the multiply-add units and the bandwidth of a copy beyond the caches are measured once in the run.
A rate above the copy's comes from data in the caches.
"""

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the benchmarks import each other by name

from fastnn import get_num_threads
from fastnn.machine import copy_bandwidth, multiply_add_peak

ROWS = []


@cache
def peak(threads):
    return multiply_add_peak(threads)


@cache
def copy(threads):
    return copy_bandwidth(threads)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Adds `of_peak` and `of_copy` to a benchmark's extra information, while its threads are set."""
    yield
    benchmark = item.funcargs.get("benchmark")
    if benchmark is None or not benchmark.stats:
        return
    info, threads = benchmark.extra_info, get_num_threads()
    if "gflops" in info:
        info["of_peak"] = info["gflops"] / peak(threads)
    if "GB_per_s" in info:
        info["of_copy"] = info["GB_per_s"] / copy(threads)
    ROWS.append((item.name, benchmark.stats.stats.median, dict(info)))


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    terminalreporter.section("rates")
    for n in (1, 2):
        terminalreporter.line(
            f"{n} threads: multiply-add peak {peak(n):.0f} GFLOP/s, copy {copy(n):.1f} GB/s"
        )
    for name, median, info in ROWS:
        parts = [f"{median * 1e6:12.1f} us"]
        if "gflops" in info:
            parts.append(f"{info['gflops']:8.1f} GFLOP/s {info['of_peak']:6.1%} of peak")
        if "GB_per_s" in info:
            parts.append(f"{info['GB_per_s']:8.1f} GB/s {info['of_copy']:6.1%} of copy")
        if "ratio" in info:
            parts.append(f"{info['first_us']:9.1f} us and {info['second_us']:9.1f} us: {info['ratio']:.2f}")
        terminalreporter.line(f"{name:70s} {'  '.join(parts)}")
