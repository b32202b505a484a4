"""Optimizer steps, as memory traffic: `pytest bench/bench_optimizers.py --benchmark-only`.

`test_copy` copies as many bytes as a step moves, for comparison in the same run.
"""

import numpy as np
import pytest

from fastnn import kernels

SIZES = [100, 10_000, 10_000_000]
# Numbers read and written for each parameter.
STEPS = {"sgd": 3, "momentum": 5, "adam": 7}


def vectors(n):
    rng = np.random.default_rng(0)
    return [np.abs(rng.normal(size=n)).astype(np.float32) for _ in range(4)]


def note(benchmark, n, numbers):
    seconds = benchmark.stats.stats.median
    benchmark.extra_info["GB_per_s"] = 4 * numbers * n / seconds / 1e9
    benchmark.extra_info["ns per parameter"] = seconds / n * 1e9


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", STEPS)
def test_step(benchmark, name, n):
    theta, grad, m, v = vectors(n)
    if name == "sgd":
        benchmark(kernels.sgd_step, theta, grad, 1e-6)
    elif name == "momentum":
        benchmark(kernels.momentum_step, theta, grad, m, 1e-6, 0.9)
    else:
        benchmark(kernels.adam_step, theta, grad, m, v, 10, 1e-6, 0.9, 0.999, 1e-8)
    note(benchmark, n, STEPS[name])


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", STEPS)
def test_copy(benchmark, name, n):
    source = np.ones(n * STEPS[name] // 2, np.float32)
    benchmark(np.copyto, np.empty_like(source), source)
    note(benchmark, n, STEPS[name])


@pytest.mark.parametrize("name", ["SGD", "Adam", "fused Adam"])
@pytest.mark.parametrize("n", SIZES)
def test_pytorch(benchmark, name, n):
    torch = pytest.importorskip("torch")
    theta, grad, _, _ = vectors(n)
    parameter = torch.nn.Parameter(torch.tensor(theta))
    parameter.grad = torch.tensor(grad)
    optimizer = {
        "SGD": lambda: torch.optim.SGD([parameter], 1e-6),
        "Adam": lambda: torch.optim.Adam([parameter], 1e-6),
        "fused Adam": lambda: torch.optim.Adam([parameter], 1e-6, fused=True),
    }[name]()
    benchmark(optimizer.step)
    note(benchmark, n, STEPS[name.split()[-1].lower()])
