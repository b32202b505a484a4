"""Winograd beside the direct convolution. Run: pytest bench/bench_winograd.py --benchmark-only

`gflops` counts the operations of the direct convolution, 2 * KH * KW * C * F for each output, over the median
time; the filters are transformed in every call, as in training, except in test_prepared_forward. The batches
are those of 3x3 layers of a VGG or a ResNet on 32x32 images, and of 5x5 layers.
"""

import numpy as np
import pytest

from fastnn._ext import conv, winograd
from fastnn._ext.threads import get_num_threads, set_num_threads

ONE = (1, 1)
SHAPES = [  # N, H = W, C, F, KH = KW
    (8, 32, 64, 64, 3), (8, 16, 128, 128, 3), (16, 8, 256, 256, 3), (32, 4, 512, 512, 3),
    (8, 56, 64, 64, 3), (1, 14, 256, 256, 3),
    (32, 16, 64, 64, 5), (32, 28, 32, 32, 5), (16, 28, 192, 32, 5), (1, 16, 128, 128, 5),
]  # fmt: skip


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


@pytest.fixture(params=SHAPES, ids="{0[0]}x{0[1]}x{0[1]}x{0[2]}-{0[3]}-{0[4]}".format)
def arrays(request):
    n, h, c, f, k = request.param
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)  # noqa: E731
    return draw(n, h, h, c), draw(f, k, k, c), draw(f), draw(n, h, h, f)


def padding(weight):
    return (weight.shape[1] // 2,) * 4


def measure(benchmark, function, x, weight):
    benchmark(function)
    if benchmark.stats:
        n, h, w, _ = x.shape
        operations = 2.0 * weight.size * n * h * w
        benchmark.extra_info["gflops"] = operations / benchmark.stats.stats.median / 1e9


def test_forward(benchmark, arrays):
    x, weight, bias, y = arrays
    measure(
        benchmark, lambda: winograd.winograd_forward(x, weight, bias, y, padding(weight), "relu"), x, weight
    )


@pytest.mark.parametrize("algorithm", ["winograd", "direct"])
def test_prepared_forward(benchmark, arrays, algorithm):
    x, weight, bias, y = arrays
    geometry = ONE, padding(weight), ONE, 1
    _, prepared = conv.conv2d_prepare(weight, x.shape, *geometry, algorithm)

    def run():
        conv.conv2d_forward(x, weight, bias, y, *geometry, "relu", 0.0, algorithm, prepared)

    measure(benchmark, run, x, weight)


def test_backward_input(benchmark, arrays):
    x, weight, _, da = arrays
    dx = np.empty_like(x)
    measure(benchmark, lambda: winograd.winograd_backward_input(da, weight, dx, padding(weight)), x, weight)


def test_backward_weight(benchmark, arrays):
    x, weight, _, da = arrays
    dw = np.empty_like(weight)
    measure(benchmark, lambda: winograd.winograd_backward_weight(x, da, dw, padding(weight)), x, weight)


def test_direct_forward(benchmark, arrays):
    x, weight, bias, y = arrays

    def run():
        conv.conv2d_forward(x, weight, bias, y, ONE, padding(weight), ONE, 1, "relu", 0.0, "direct")

    measure(benchmark, run, x, weight)


def test_direct_backward_input(benchmark, arrays):
    x, weight, _, da = arrays
    dx = np.empty_like(x)

    def run():
        conv.conv2d_backward_input(da, weight, dx, ONE, padding(weight), ONE, 1, "direct")

    measure(benchmark, run, x, weight)


def test_direct_backward_weight(benchmark, arrays):
    x, weight, _, da = arrays
    dw = np.empty_like(weight)

    def run():
        conv.conv2d_backward_weight(x, da, dw, None, ONE, padding(weight), ONE, 1, False, "direct")

    measure(benchmark, run, x, weight)
