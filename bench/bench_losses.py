"""The losses: ns per element and rows per second. Run: pytest bench/bench_losses.py --benchmark-only"""

import numpy as np
import pytest

from fastnn._ext import classification, divergence, margin, regression
from fastnn._ext.threads import get_num_threads, set_num_threads


@pytest.fixture(params=[1, 2], ids="{}threads".format, autouse=True)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield
    set_num_threads(before)


def measure(benchmark, function, shape, n_bytes):
    benchmark(function)
    if benchmark.stats:
        seconds = benchmark.stats.stats.median
        benchmark.extra_info.update(
            ns_per_element=seconds / np.prod(shape) * 1e9,
            rows_per_s=shape[0] / seconds,
            GB_per_s=n_bytes / seconds / 1e9,
        )


SHAPES = pytest.mark.parametrize("shape", [(16, 3), (128, 10), (128, 1000)], ids=str)


@SHAPES
@pytest.mark.parametrize("target", ["labels", "probabilities"])
def test_softmax_cross_entropy(benchmark, shape, target):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    t = rng.integers(0, shape[1], shape[0])
    if target == "probabilities":
        t = np.eye(shape[1], dtype=np.float32)[t]
    dx, out = np.empty_like(x), np.empty(shape[0], np.float32)
    measure(benchmark, lambda: classification.softmax_cross_entropy(x, t, None, dx, out), shape, 2 * x.nbytes)


@SHAPES
def test_squared_error(benchmark, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    t, dx, out = np.zeros_like(x), np.empty_like(x), np.empty(shape[0], np.float32)
    measure(benchmark, lambda: regression.squared_error(x, t, None, dx, out), shape, 3 * x.nbytes)


@SHAPES
@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"class_weight": True}], ids=["smoothing", "weights"]
)
def test_cross_entropy_options(benchmark, shape, options):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal(shape).astype(np.float32), rng.integers(0, shape[1], shape[0])
    if "class_weight" in options:
        options = {"class_weight": np.ones(shape[1], np.float32)}
    dx, out = np.empty_like(x), np.empty(shape[0], np.float32)
    call = classification.softmax_cross_entropy
    measure(benchmark, lambda: call(x, t, None, dx, out, **options), shape, 2 * x.nbytes)


KERNELS = {
    "huber": regression.huber, "binary_cross_entropy": margin.binary_cross_entropy, "hinge": margin.hinge,
    "crammer_singer": margin.hinge, "nll": classification.nll, "kl_divergence": divergence.kl_divergence,
}  # fmt: skip


@pytest.mark.parametrize("shape", [(128, 1), (16, 3), (128, 10), (128, 1000)], ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_others(benchmark, name, shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    t = np.ones_like(x)
    if name in ("nll", "crammer_singer"):
        t = rng.integers(0, shape[1], shape[0])
    if name == "kl_divergence":
        t /= shape[1]
    if name == "crammer_singer" and shape[1] == 1:
        pytest.skip("needs two classes")
    dx, out = np.empty_like(x), np.empty(shape[0], np.float32)
    measure(benchmark, lambda: KERNELS[name](x, t, None, dx, out), shape, 3 * x.nbytes)
