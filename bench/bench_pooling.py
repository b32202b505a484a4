"""Pooling: ns per output, GB/s read and written. Run: pytest bench/bench_pooling.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import pooling
from fastnn._ext.threads import get_num_threads, set_num_threads

CASES = [  # shape, window, stride, padding on each side
    ((128, 28, 28, 6), 2, 2, 0),  # LeNet
    ((128, 10, 10, 16), 2, 2, 0),
    ((32, 32, 32, 64), 2, 2, 0),  # VGG
    ((8, 56, 56, 64), 3, 2, 1),  # AlexNet, ResNet
    ((8, 28, 28, 192), 3, 1, 1),  # GoogLeNet
]


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


def measure(benchmark, function, n, n_bytes):
    benchmark(function)
    if benchmark.stats:  # None with --benchmark-disable
        seconds = benchmark.stats.stats.median
        benchmark.extra_info.update(ns_per_output=seconds / n * 1e9, GB_per_s=n_bytes / seconds / 1e9)


def arrays(case):
    shape, size, stride, pad = case
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    out = [(length + 2 * pad - size) // stride + 1 for length in shape[1:3]]
    y = np.empty((shape[0], *out, shape[3]), np.float32)
    return x, y, np.empty(y.shape, np.uint8), ((size, size), (stride, stride), (pad,) * 4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_max_forward(benchmark, case):
    x, y, index, geometry = arrays(case)
    n_bytes = x.nbytes + y.nbytes + index.nbytes
    measure(benchmark, lambda: pooling.max_pool2d_forward(x, y, index, *geometry), y.size, n_bytes)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_max_inference(benchmark, case):
    x, y, _, geometry = arrays(case)
    n_bytes = x.nbytes + y.nbytes
    measure(benchmark, lambda: pooling.max_pool2d_forward(x, y, None, *geometry), y.size, n_bytes)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_max_backward(benchmark, case):
    x, y, index, geometry = arrays(case)
    pooling.max_pool2d_forward(x, y, index, *geometry)
    n_bytes = x.nbytes + y.nbytes + index.nbytes
    measure(benchmark, lambda: pooling.max_pool2d_backward(y, index, x, *geometry), y.size, n_bytes)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_average_forward(benchmark, case):
    x, y, _, geometry = arrays(case)
    n_bytes = x.nbytes + y.nbytes
    measure(benchmark, lambda: pooling.avg_pool2d_forward(x, y, *geometry), y.size, n_bytes)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_average_backward(benchmark, case):
    x, y, _, geometry = arrays(case)
    n_bytes = x.nbytes + y.nbytes
    measure(benchmark, lambda: pooling.avg_pool2d_backward(y, x, *geometry), y.size, n_bytes)


@pytest.mark.parametrize("shape", [(32, 8, 8, 512), (32, 7, 7, 1024)], ids=str)
def test_global_average(benchmark, shape):
    x, y = np.ones(shape, np.float32), np.empty((shape[0], shape[3]), np.float32)
    measure(benchmark, lambda: pooling.global_avg_pool2d_forward(x, y), y.size, x.nbytes)
