"""Penalties and max-norm: `pytest bench/bench_regularizers.py --benchmark-only`.

A penalty with its gradient reads theta once, and reads and writes the gradient: 12 bytes a parameter.
"""

import numpy as np
import pytest

from fastnn import kernels

SIZES = [100, 10_000, 10_000_000]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("with_gradient", [True, False])
def test_weight_penalty(benchmark, with_gradient, n):
    theta = np.random.default_rng(0).normal(size=n).astype(np.float32)
    benchmark(kernels.weight_penalty, theta, np.zeros_like(theta) if with_gradient else None, 1e-9, 1e-9)
    seconds = benchmark.stats.stats.median
    benchmark.extra_info["GB_per_s"] = (12 if with_gradient else 4) * n / seconds / 1e9


@pytest.mark.parametrize("shape", [(500, 784, 1), (512, 4608, 1), (1, 500, 784)], ids=str)
def test_max_norm(benchmark, shape):
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    benchmark(kernels.max_norm, weight, 3.0)
    benchmark.extra_info["GB_per_s"] = weight.nbytes / benchmark.stats.stats.median / 1e9
