"""Optimizer steps, as memory traffic: `pytest bench/bench_optimizers.py --benchmark-only`.

A step of many parameters takes the time of moving them: `test_beside_a_copy` takes turns with a copy of as
many bytes, by as many threads; the ratio should be at most 1.3. `test_beside_pytorch` takes turns with
PyTorch's fused optimizers, whose time over ours should be at least 1.2.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels, optimizers

MANY = 10_000_000
LR = 1e-9
# Those that ask for more than a rate.
SEARCHES = {"LineSearch": lambda: nn.LineSearch((LR,)), "ArmijoLineSearch": lambda: nn.ArmijoLineSearch(LR)}
NAMES = [name for name in optimizers.__all__ if name != "Optimizer"]
# Numbers moved for each parameter, where it is not the gradient, and theta and each state read and written:
# NAG looks ahead (keep theta, add u), a search keeps theta and goes from there to each trial and to the end.
MOVED = {"NAG": 10, "LineSearch": 12, "ArmijoLineSearch": 15}
# ours -> PyTorch's name and options
PYTORCH = {
    "SGD": ("SGD", {}),
    "Momentum": ("SGD", {"momentum": 0.9}),
    "Adam": ("Adam", {}),
    "AdamW": ("AdamW", {}),
    "AMSGrad": ("Adam", {"amsgrad": True}),
    "AdaGrad": ("Adagrad", {}),
}


def gradient(n):
    return np.random.default_rng(0).normal(size=n).astype(np.float32)


def step_of(name, n):
    """`(a step of the optimizer on n parameters, how many bytes it moves)`"""
    model = nn.Sequential([nn.Dense(1, use_bias=False, weight_init="ones")], input_shape=(n,))
    model.grad[:] = gradient(n)
    optimizer = (SEARCHES[name]() if name in SEARCHES else getattr(nn, name)(lr=LR)).bind(model)

    def step():
        if name == "NAG":
            optimizer.pre_step()
        optimizer.step(lambda: 0.0)

    return step, 4 * n * MOVED.get(name, 3 + 2 * len(optimizer.state_names))


def copy_of(size):
    """A copy that moves that many bytes, half of them read and half written, by all threads."""
    source, target = np.ones(size // 8, np.float32), np.zeros(size // 8, np.float32)
    threads = nn.get_num_threads()
    pairs = list(zip(np.array_split(target, threads), np.array_split(source, threads)))
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda pair: np.copyto(*pair), pairs))


def in_turns(benchmark, first, second):
    """Time two calls in turns, and put their medians and ratio beside the benchmark."""
    samples = [], []

    def turn():
        for call, seconds in zip((first, second), samples):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)

    benchmark.pedantic(turn, rounds=15, warmup_rounds=2)
    if benchmark.stats:  # not with --benchmark-disable
        one, two = (1e6 * statistics.median(seconds[2:]) for seconds in samples)
        benchmark.extra_info.update(first_us=one, second_us=two, ratio=two / one)


@pytest.mark.parametrize("name", NAMES)
def test_beside_a_copy(benchmark, name):
    """How much longer a step takes than a copy of what it moves."""
    step, size = step_of(name, MANY)
    in_turns(benchmark, copy_of(size), step)


@pytest.mark.parametrize("name", PYTORCH)
def test_beside_pytorch(benchmark, name):
    """How much longer PyTorch's fused step takes."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(nn.get_num_threads())
    theirs, options = PYTORCH[name]
    parameter = torch.nn.Parameter(torch.ones(MANY))
    parameter.grad = torch.tensor(gradient(MANY))
    optimizer = getattr(torch.optim, theirs)([parameter], LR, fused=True, **options)
    step, _ = step_of(name, MANY)
    in_turns(benchmark, step, optimizer.step)


@pytest.mark.parametrize("n", [100, 10_000])
@pytest.mark.parametrize("name", NAMES)
def test_step(benchmark, name, n):
    step, size = step_of(name, n)
    benchmark(step)
    benchmark.extra_info["GB_per_s"] = size / benchmark.stats.stats.median / 1e9


@pytest.mark.parametrize("n", [100, 10_000, MANY])
def test_sum_of_squares(benchmark, n):
    benchmark(kernels.sum_of_squares, gradient(n))
    benchmark.extra_info["GB_per_s"] = 4 * n / benchmark.stats.stats.median / 1e9
