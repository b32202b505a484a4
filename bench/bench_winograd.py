"""Winograd beside the direct convolution. Run: pytest bench/bench_winograd.py --benchmark-only

`gflops` counts the operations of the direct convolution, 2 * 9 * C * F for each output, over the median time;
the filters are transformed in every call, as in training. The batches are those of a 3x3 layer of a VGG or a
ResNet on 32x32 images.
"""

import numpy as np
import pytest

from fastnn._ext import conv, winograd
from fastnn._ext.threads import get_num_threads, set_num_threads

PADDING, ONE = (1, 1, 1, 1), (1, 1)
SHAPES = [  # N, H = W, C, F
    (8, 32, 64, 64), (8, 16, 128, 128), (16, 8, 256, 256), (32, 4, 512, 512),
    (8, 56, 64, 64), (1, 14, 256, 256),
]  # fmt: skip


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


@pytest.fixture(params=SHAPES, ids="{0[0]}x{0[1]}x{0[1]}x{0[2]}-{0[3]}".format)
def arrays(request):
    n, h, c, f = request.param
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)  # noqa: E731
    return draw(n, h, h, c), draw(f, 3, 3, c), draw(f), draw(n, h, h, f)


def measure(benchmark, function, x, weight):
    benchmark(function)
    if benchmark.stats:
        n, h, w, _ = x.shape
        operations = 2.0 * weight.size * n * h * w
        benchmark.extra_info["gflops"] = operations / benchmark.stats.stats.median / 1e9


def test_forward(benchmark, arrays):
    x, weight, bias, y = arrays
    measure(benchmark, lambda: winograd.winograd_forward(x, weight, bias, y, PADDING, "relu"), x, weight)


def test_backward_input(benchmark, arrays):
    x, weight, _, da = arrays
    dx = np.empty_like(x)
    measure(benchmark, lambda: winograd.winograd_backward_input(da, weight, dx, PADDING), x, weight)


def test_backward_weight(benchmark, arrays):
    x, weight, _, da = arrays
    dw = np.empty_like(weight)
    measure(benchmark, lambda: winograd.winograd_backward_weight(x, da, dw, PADDING), x, weight)


def test_direct_forward(benchmark, arrays):
    x, weight, bias, y = arrays

    def run():
        conv.conv2d_forward(x, weight, bias, y, ONE, PADDING, ONE, 1, "relu", 0.0, "direct")

    measure(benchmark, run, x, weight)


def test_direct_backward_input(benchmark, arrays):
    x, weight, _, da = arrays
    dx = np.empty_like(x)

    def run():
        conv.conv2d_backward_input(da, weight, dx, ONE, PADDING, ONE, 1, "direct")

    measure(benchmark, run, x, weight)


def test_direct_backward_weight(benchmark, arrays):
    x, weight, _, da = arrays
    dw = np.empty_like(weight)

    def run():
        conv.conv2d_backward_weight(x, da, dw, None, ONE, PADDING, ONE, 1, False, "direct")

    measure(benchmark, run, x, weight)
