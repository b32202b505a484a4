"""Batch normalization: GB/s over all passes. Run: pytest bench/bench_normalization.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import normalization
from fastnn._ext.threads import get_num_threads, set_num_threads

SHAPES = [(32, 64), (128, 256), (128, 28, 28, 6), (32, 16, 16, 128), (32, 32, 32, 64)]


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
    ones, zeros = np.ones(shape[-1], np.float32), np.zeros(shape[-1], np.float32)
    return x, np.empty_like(x), ones, zeros


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward(benchmark, shape, activation):
    x, y, ones, zeros = arrays(shape)
    mean, inv_std, running_mean, running_var = zeros.copy(), ones.copy(), zeros.copy(), ones.copy()
    measure(
        benchmark,
        lambda: normalization.batchnorm_forward(
            x, ones, zeros, y, mean, inv_std, running_mean, running_var, 0.1, 1e-5, activation
        ),
        3 * x.nbytes,  # read for the statistics, read and written to normalize
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_inference(benchmark, shape):
    x, y, ones, zeros = arrays(shape)
    measure(
        benchmark,
        lambda: normalization.batchnorm_inference(x, ones, zeros, zeros, ones, y, 1e-5),
        2 * x.nbytes,
    )


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward(benchmark, shape, activation):
    x, dx, ones, zeros = arrays(shape)
    dy, dgamma, dbeta = x.copy(), zeros.copy(), zeros.copy()
    y = None if activation == "linear" else np.maximum(x, 0)
    measure(
        benchmark,
        lambda: normalization.batchnorm_backward(dy, x, y, ones, zeros, ones, dx, dgamma, dbeta, activation),
        (5 if y is None else 7) * x.nbytes,  # x, dy and y twice, dx once
    )
