"""The dense layer, forward and backward. Run: pytest bench/bench_dense.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import dense
from fastnn._ext.threads import get_num_threads, set_num_threads

SHAPES = [(16, 4, 16), (32, 784, 512), (128, 784, 512), (128, 256, 10), (512, 784, 512)]


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


@pytest.fixture(params=SHAPES, ids="{0[0]}x{0[1]}-{0[2]}".format)
def arrays(request):
    n, n_in, n_out = request.param
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape, np.float32)  # noqa: E731
    return draw(n, n_in), draw(n_out, n_in), draw(n_out), draw(n, n_out)


def rate(benchmark, x, weight, products):
    if benchmark.stats:
        benchmark.extra_info["gflops"] = 2e-9 * products * len(x) * weight.size / benchmark.stats.stats.median


def test_forward(benchmark, arrays):
    x, weight, bias, y = arrays
    benchmark(dense.dense_forward, x, weight, bias, y, "relu")
    rate(benchmark, x, weight, 1)


def test_backward(benchmark, arrays):
    x, weight, bias, da = arrays
    benchmark(
        dense.dense_backward, x, weight, da, np.empty_like(x), np.empty_like(weight), np.empty_like(bias)
    )
    rate(benchmark, x, weight, 2)
