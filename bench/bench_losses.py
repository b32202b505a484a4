"""The losses: ns per element and rows per second. Run: pytest bench/bench_losses.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import losses
from fastnn._ext.threads import get_num_threads, set_num_threads


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


def measure(benchmark, function, shape, n_bytes):
    benchmark(function)
    if benchmark.stats:
        seconds = benchmark.stats.stats.median
        benchmark.extra_info.update(
            ns_per_element=seconds / np.prod(shape) * 1e9,
            rows_per_s=shape[0] / seconds,
            GB_per_s=n_bytes / seconds / 1e9,
        )


SHAPES = pytest.mark.parametrize("shape", [(16, 3), (128, 10), (128, 1000)], ids=str)


@SHAPES
@pytest.mark.parametrize("target", ["labels", "probabilities"])
def test_softmax_cross_entropy(benchmark, shape, target):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    t = rng.integers(0, shape[1], shape[0])
    if target == "probabilities":
        t = np.eye(shape[1], dtype=np.float32)[t]
    dx, out = np.empty_like(x), np.empty(shape[0], np.float32)
    measure(benchmark, lambda: losses.softmax_cross_entropy(x, t, None, dx, out), shape, 2 * x.nbytes)


@SHAPES
def test_squared_error(benchmark, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    t, dx, out = np.zeros_like(x), np.empty_like(x), np.empty(shape[0], np.float32)
    measure(benchmark, lambda: losses.squared_error(x, t, None, dx, out), shape, 3 * x.nbytes)
