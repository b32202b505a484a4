"""Noise: ns per element and GB/s. Run: pytest bench/bench_noise.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import noise
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
        seconds = benchmark.stats.stats.median
        benchmark.extra_info.update(
            ns_per_element=seconds / x.size * 1e9, GB_per_s=2 * x.nbytes / seconds / 1e9
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaussian(benchmark, dtype, n=1 << 16):
    x = np.random.default_rng(0).standard_normal(n).astype(dtype)
    y = np.empty_like(x)
    measure(benchmark, lambda: noise.gaussian_noise_forward(x, y, 0.1, 7), x)


@pytest.mark.parametrize("phi", ["gaussian_cdf", "logistic"])
def test_gate(benchmark, phi, n=1 << 16):
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    y = np.empty_like(x)
    measure(benchmark, lambda: noise.stochastic_gate_forward(x, y, phi, 7), x)


def test_gaussian_numpy(benchmark, n=1 << 16):
    """NumPy's generator, for comparison."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(n, np.float32)
    measure(benchmark, lambda: x + np.float32(0.1) * rng.standard_normal(n, np.float32), x)
