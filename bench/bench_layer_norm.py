"""Layer normalization: GB/s over all passes. Run: pytest bench/bench_layer_norm.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import layer_norm
from fastnn._ext.threads import get_num_threads, set_num_threads

SHAPES = [(128, 64), (128, 256), (2048, 512), (32, 16, 16, 128)]


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


def measure(benchmark, function, n_bytes):
    benchmark(function)
    if benchmark.stats:  # None with --benchmark-disable
        seconds = benchmark.stats.stats.median
        benchmark.extra_info.update(us=seconds * 1e6, GB_per_s=n_bytes / seconds / 1e9)


def arrays(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    rows = int(np.prod(shape[:-1]))
    return x, np.empty_like(x), np.ones(shape[-1], np.float32), np.zeros(rows, np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward(benchmark, shape):
    x, y, ones, rows = arrays(shape)
    measure(
        benchmark,
        lambda: layer_norm.layernorm_forward(x, ones, ones, y, rows, rows.copy(), 1e-5),
        2 * x.nbytes,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward(benchmark, shape):
    x, dx, ones, rows = arrays(shape)
    dgamma, dbeta = ones.copy(), ones.copy()
    measure(
        benchmark,
        lambda: layer_norm.layernorm_backward(x, x, ones, rows, rows + 1, dx, dgamma, dbeta),
        3 * x.nbytes,
    )
