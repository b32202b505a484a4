"""PReLU, Swish, Maxout: ns per element. Run: pytest bench/bench_parametric.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import parametric
from fastnn._ext.threads import get_num_threads, set_num_threads

SHAPES = [(128, 256), (32, 28, 28, 6), (32, 16, 16, 128)]


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


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_prelu(benchmark, shape, shared):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y, alpha = np.empty_like(x), np.full(1 if shared else shape[-1], 0.25, np.float32)
    measure(benchmark, lambda: parametric.prelu_forward(x, alpha, y), x)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_prelu_backward(benchmark, shape, shared):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    dx, alpha = np.empty_like(x), np.full(1 if shared else shape[-1], 0.25, np.float32)
    dalpha = np.empty_like(alpha)
    measure(benchmark, lambda: parametric.prelu_backward(x, x, alpha, dx, dalpha), x)


def test_swish_backward(benchmark, n=1 << 16):
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    dx, dbeta = np.empty_like(x), np.empty(1, np.float32)
    measure(benchmark, lambda: parametric.swish_backward(x, x, 1.5, dx, dbeta), x)


def test_maxout(benchmark, shape=(128, 2, 256)):
    a = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y, index = np.empty((shape[0], shape[2]), np.float32), np.empty((shape[0], shape[2]), np.uint8)
    measure(benchmark, lambda: parametric.maxout_forward(a, y, index), a)
