"""The matrix product. Run: pytest bench/bench_gemm.py --benchmark-only

Shapes of a dense layer 784-512 with batches of 1 to 512, forward (x W^T), gradient to the weights (da^T x)
and to the input (da W), and a large square; each against NumPy's BLAS, which takes its threads from
OPENBLAS_NUM_THREADS.
"""

import numpy as np
import pytest

from fastnn._ext import gemm
from fastnn._ext.threads import get_num_threads, set_num_threads

BATCHES = [1, 8, 32, 128, 512]
SHAPES = [("forward", n, 512, 784, False, True) for n in BATCHES]
SHAPES += [("weight", 512, 784, n, True, False) for n in BATCHES]
SHAPES += [("input", n, 784, 512, False, False) for n in BATCHES]
SHAPES += [("square", 1024, 1024, 1024, False, False)]


@pytest.fixture(params=[1, 2], ids="{}threads".format)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


@pytest.mark.parametrize("algorithm", ["tile", "blas"])
@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}-{0[1]}x{0[2]}x{0[3]}".format)
def test_gemm(benchmark, shape, algorithm, threads):
    _, M, N, K, trans_a, trans_b = shape
    rng = np.random.default_rng(0)
    a = rng.standard_normal((K, M) if trans_a else (M, K), np.float32)
    b = rng.standard_normal((N, K) if trans_b else (K, N), np.float32)
    out = np.empty((M, N), np.float32)
    benchmark(gemm.gemm, a, b, out, None, trans_a, trans_b, algorithm=algorithm)
    if benchmark.stats:
        benchmark.extra_info["gflops"] = 2e-9 * M * N * K / benchmark.stats.stats.median
