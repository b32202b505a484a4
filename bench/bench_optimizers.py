"""Optimizer steps, as memory traffic: `pytest bench/bench_optimizers.py --benchmark-only`.

`test_copy` copies as many bytes as a step moves, for comparison in the same run.
"""

import numpy as np
import pytest

from fastnn import kernels

SIZES = [100, 10_000, 10_000_000]
# The arguments after theta, grad and the state; the number of state vectors; PyTorch's name and options.
STEPS = {
    "sgd": ("sgd_step", (1e-6,), 0, "SGD", {}),
    "momentum": ("momentum_step", (1e-6, 0.9), 1, "SGD", {"momentum": 0.9}),
    "adagrad": ("adagrad_step", (1e-6, 1e-8), 1, "Adagrad", {}),
    "rmsprop": ("rmsprop_step", (None, None, 1e-6, 0.9, 1e-8), 1, "RMSprop", {}),
    "adadelta": ("adadelta_step", (1e-6, 0.95, 1e-6), 2, "Adadelta", {}),
    "adam": ("adam_step", (10, 1e-6, 0.9, 0.999, 1e-8), 2, "Adam", {}),
    "fused adam": ("adam_step", (10, 1e-6, 0.9, 0.999, 1e-8), 2, "Adam", {"fused": True}),
    "nadam": ("nadam_step", (10, 1e-6, 0.9, 0.999, 1e-8, 1.4, 0.6), 2, "NAdam", {}),
    "adamax": ("adamax_step", (10, 1e-6, 0.9, 0.999, 1e-8), 2, "Adamax", {}),
}
OURS = [name for name in STEPS if name != "fused adam"]  # a variant of PyTorch's alone


def vectors(n):
    rng = np.random.default_rng(0)
    return [np.abs(rng.normal(size=n)).astype(np.float32) for _ in range(5)]


def note(benchmark, n, name):
    """Theta and state are read and written, the gradient is read."""
    seconds = benchmark.stats.stats.median
    benchmark.extra_info["GB_per_s"] = 4 * numbers(name) * n / seconds / 1e9
    benchmark.extra_info["ns per parameter"] = seconds / n * 1e9


def numbers(name):
    return 3 + 2 * STEPS[name][2]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", OURS)
def test_step(benchmark, name, n):
    kernel, arguments, n_states, _, _ = STEPS[name]
    benchmark(getattr(kernels, kernel), *vectors(n)[: 2 + n_states], *arguments)
    note(benchmark, n, name)


@pytest.mark.parametrize("n", SIZES)
def test_amsgrad(benchmark, n):
    *arrays, v_max = vectors(n)
    benchmark(kernels.adam_step, *arrays, 10, 1e-6, 0.9, 0.999, 1e-8, v_max=v_max)
    benchmark.extra_info["GB_per_s"] = 4 * 9 * n / benchmark.stats.stats.median / 1e9


@pytest.mark.parametrize("n", SIZES)
def test_sum_of_squares(benchmark, n):
    benchmark(kernels.sum_of_squares, vectors(n)[1])
    benchmark.extra_info["GB_per_s"] = 4 * n / benchmark.stats.stats.median / 1e9


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_copy(benchmark, name, n):
    source = np.ones(n * numbers(name) // 2, np.float32)
    benchmark(np.copyto, np.empty_like(source), source)
    note(benchmark, n, name)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("n", SIZES)
def test_pytorch(benchmark, name, n):
    torch = pytest.importorskip("torch")
    theta, grad, *_ = vectors(n)
    parameter = torch.nn.Parameter(torch.tensor(theta))
    parameter.grad = torch.tensor(grad)
    optimizer = getattr(torch.optim, STEPS[name][3])([parameter], 1e-6, **STEPS[name][4])
    benchmark(optimizer.step)
    note(benchmark, n, name)
