"""Convolution. Run: pytest bench/bench_conv.py --benchmark-only

`gflops` counts 2 * KH * KW * C operations for each output over the median time; taps in the padding count,
although the direct algorithm skips them. Weights are packed in every call, as in training.
"""

import numpy as np
import pytest

from fastnn._ext import conv
from fastnn._ext.threads import get_num_threads, set_num_threads

SHAPES = [  # N, H = W, C, F, kernel, stride, padding, groups
    (8, 32, 64, 64, 3, 1, 1, 1), (8, 16, 128, 128, 3, 1, 1, 1), (8, 8, 256, 256, 3, 1, 1, 1),
    (32, 4, 512, 512, 3, 1, 1, 1), (8, 32, 64, 128, 3, 2, 1, 1), (8, 32, 64, 256, 1, 1, 0, 1),
    (8, 32, 256, 64, 1, 1, 0, 1), (8, 32, 3, 64, 3, 1, 1, 1),
    (64, 28, 1, 6, 5, 1, 2, 1), (64, 14, 6, 16, 5, 1, 0, 1), (8, 32, 128, 128, 3, 1, 1, 128),
]  # fmt: skip


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


@pytest.fixture(params=["direct", "im2col"])
def algorithm(request):
    return request.param


class Case:
    def __init__(self, n, h, c, f, kernel, stride, padding, groups):
        rng = np.random.default_rng(0)
        out = (h + 2 * padding - kernel) // stride + 1
        self.x = rng.standard_normal((n, h, h, c), np.float32)
        self.weight = rng.standard_normal((f, kernel, kernel, c // groups), np.float32)
        self.bias = rng.standard_normal(f, np.float32)
        self.da = rng.standard_normal((n, out, out, f), np.float32)
        self.y, self.dx, self.dw = (np.empty_like(a) for a in (self.da, self.x, self.weight))
        self.db = np.empty_like(self.bias)
        self.geometry = ((stride, stride), (padding,) * 4, (1, 1), groups)
        self.operations = 2.0 * self.weight.size * n * out * out


@pytest.fixture(params=SHAPES, ids="{0[0]}x{0[1]}x{0[1]}x{0[2]}-{0[3]}-{0[4]}/{0[5]}-groups{0[7]}".format)
def case(request):
    return Case(*request.param)


def measure(benchmark, case, function):
    benchmark(function)
    if benchmark.stats:
        benchmark.extra_info["gflops"] = case.operations / benchmark.stats.stats.median / 1e9


def test_forward(benchmark, case, algorithm):
    arrays = case.x, case.weight, case.bias, case.y
    measure(
        benchmark, case, lambda: conv.conv2d_forward(*arrays, *case.geometry, "relu", algorithm=algorithm)
    )


def test_backward_input(benchmark, case, algorithm):
    arrays = case.da, case.weight, case.dx
    measure(benchmark, case, lambda: conv.conv2d_backward_input(*arrays, *case.geometry, algorithm=algorithm))


def test_backward_weight(benchmark, case, algorithm):
    arrays = case.x, case.da, case.dw, case.db
    measure(
        benchmark, case, lambda: conv.conv2d_backward_weight(*arrays, *case.geometry, algorithm=algorithm)
    )
