"""Local response normalization: ns per element. Run: pytest bench/bench_lrn.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import lrn
from fastnn._ext.threads import get_num_threads, set_num_threads


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


def measure(benchmark, function, x):
    benchmark(function)
    if benchmark.stats:
        benchmark.extra_info.update(ns_per_element=benchmark.stats.stats.median / x.size * 1e9)


@pytest.mark.parametrize("beta", [0.75, 0.7])
@pytest.mark.parametrize("shape", [(4, 27, 27, 96), (4, 13, 13, 256)], ids=str)
def test_forward(benchmark, shape, beta):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y, scale = np.empty_like(x), np.empty_like(x)
    measure(benchmark, lambda: lrn.lrn_forward(x, y, scale, 5, 1e-4, beta, 2.0), x)


@pytest.mark.parametrize("shape", [(4, 27, 27, 96), (4, 13, 13, 256)], ids=str)
def test_backward(benchmark, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y, scale, dx = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    lrn.lrn_forward(x, y, scale, 5, 1e-4, 0.75, 2.0)
    measure(benchmark, lambda: lrn.lrn_backward(x, x, y, scale, dx, 5, 1e-4, 0.75, 2.0), x)
