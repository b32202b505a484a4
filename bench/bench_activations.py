"""Activations and softmax: ns per element, GB/s. Run: pytest bench/bench_activations.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import activations
from fastnn._ext.common import ACTIVATION_CODES
from fastnn._ext.threads import get_num_threads, set_num_threads


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
        benchmark.extra_info.update(ns_per_element=seconds / n * 1e9, GB_per_s=n_bytes / seconds / 1e9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_forward(benchmark, name, dtype, n=1 << 16):
    x = np.random.default_rng(0).standard_normal(n).astype(dtype)
    y = np.empty_like(x)
    measure(benchmark, lambda: activations.activation_forward(x, y, name, 0.1), n, 2 * x.nbytes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_backward(benchmark, name, dtype, n=1 << 16):
    x = np.random.default_rng(0).standard_normal(n).astype(dtype)
    dy, da = np.ones_like(x), np.empty_like(x)
    measure(benchmark, lambda: activations.activation_backward(dy, x, da, name, 0.1), n, 3 * x.nbytes)


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_add(benchmark, name, n=1 << 16):
    a = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    y = np.empty_like(a)
    measure(benchmark, lambda: activations.add_forward(a, a, y, name), n, 3 * a.nbytes)


@pytest.mark.parametrize("name", ["softmax_forward", "log_softmax_forward"])
@pytest.mark.parametrize("shape", [(128, 10), (128, 1000)], ids=str)
def test_softmax(benchmark, shape, name):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y, kernel = np.empty_like(x), getattr(activations, name)
    measure(benchmark, lambda: kernel(x, y), x.size, 2 * x.nbytes)


def test_tanh_numpy(benchmark, n=1 << 16):
    """The same in NumPy, for comparison."""
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    y = np.empty_like(x)
    measure(benchmark, lambda: np.tanh(x, out=y), n, 2 * x.nbytes)
