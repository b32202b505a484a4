"""gemm against its twin: all transpositions, odd sizes, fusions, threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import gemm as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import gemm as reference

SIZES = st.integers(0, 70)


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def operands(M, N, K, trans_a, trans_b, dtype, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((K, M) if trans_a else (M, K)).astype(dtype)
    b = rng.standard_normal((N, K) if trans_b else (K, N)).astype(dtype)
    return a, b, rng.standard_normal(N).astype(dtype), rng.standard_normal((M, N)).astype(dtype)


def assert_close(received, expected, K):
    """Rounding of a sum of K products of about 1: sqrt(K) unit roundoffs of their magnitudes."""
    roundoff = np.finfo(received.dtype).eps / 2
    np.testing.assert_allclose(received, expected, rtol=0, atol=roundoff * (K + 16) ** 1.5)


@settings(max_examples=150, deadline=None)
@given(
    SIZES, SIZES, SIZES, st.booleans(), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from(["linear", "relu", "leaky_relu", "tanh", "gelu"]), st.sampled_from(["float32", "float64"])
)  # fmt: skip
def test_equals_twin(M, N, K, trans_a, trans_b, with_bias, accumulate, activation, dtype):
    a, b, bias, out = operands(M, N, K, trans_a, trans_b, dtype)
    arguments = (bias if with_bias else None, trans_a, trans_b, activation, 0.1, accumulate)
    expected = out.astype("float64")
    reference.gemm(a.astype("float64"), b.astype("float64"), expected,
                   bias.astype("float64") if with_bias else None, *arguments[1:])  # fmt: skip
    compiled.gemm(a, b, out, *arguments)
    assert_close(out, expected, K)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(1, 512, 784), (33, 129, 1030), (130, 65, 515), (257, 300, 64), (64, 10, 1500)]
)
@pytest.mark.parametrize("trans", [(False, False), (False, True), (True, False), (True, True)])
def test_blocks_and_threads(shape, trans, dtype):
    """Sizes beyond one block; the bits do not depend on the number of threads."""
    M, N, K = shape
    a, b, bias, out = operands(M, N, K, *trans, dtype)
    expected = (a.T if trans[0] else a).astype("float64") @ (b.T if trans[1] else b) + bias
    results = []
    for n in (1, 2, 3, 4):
        set_num_threads(n)
        received = out.copy()
        compiled.gemm(a, b, received, bias, *trans)
        results.append(received)
    assert_close(results[0], expected, K)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_rows_do_not_depend_on_the_batch():
    a, b, bias, out = operands(37, 29, 600, False, True, "float32")
    compiled.gemm(a, b, out, bias, trans_b=True)
    for i in (0, 17, 36):
        single = np.empty((1, 29), "float32")
        compiled.gemm(a[i : i + 1], b, single, bias, trans_b=True)
        np.testing.assert_array_equal(single[0], out[i])


def test_strided_input():
    a, b, _, out = operands(20, 30, 40, False, False, "float64")
    wide, tall = np.zeros((20, 80)), np.zeros((120, 30))
    wide[:, ::2], tall[::3] = a, b
    compiled.gemm(wide[:, ::2], tall[::3], out)
    assert_close(out, a @ b, 40)


def test_blas_is_the_same_product():
    a, b, bias, out = operands(20, 30, 40, True, True, "float32")
    other = out.copy()
    compiled.gemm(a, b, out, bias, True, True, "relu", 0.0, True)
    compiled.gemm(a, b, other, bias, True, True, "relu", 0.0, True, "blas")
    assert_close(out, other, 40)


def test_nan_stays_visible():
    a, b, _, out = operands(9, 17, 12, False, False, "float32")
    a[3, 5] = np.nan
    compiled.gemm(a, b, out, activation="relu")
    assert np.isnan(out[3]).all()
    assert np.isfinite(np.delete(out, 3, axis=0)).all()


def test_errors():
    a, b, bias, out = operands(4, 5, 6, False, False, "float32")
    with pytest.raises(TypeError, match="a: expected float32 or float64"):
        compiled.gemm(a.astype(int), b, out)
    with pytest.raises(TypeError, match="out: expected dtype float32"):
        compiled.gemm(a, b, out.astype("float64"))
    with pytest.raises(ValueError, match="b: expected length 6 along axis 0"):
        compiled.gemm(a, b[:5], out)
    with pytest.raises(ValueError, match="out: expected a C-contiguous array"):
        compiled.gemm(a, b, np.asfortranarray(out))
    with pytest.raises(ValueError, match="bias: expected length 5"):
        compiled.gemm(a, b, out, bias[:4])
    with pytest.raises(ValueError, match="activation: expected one of"):
        compiled.gemm(a, b, out, activation="rleu")
    with pytest.raises(ValueError, match="algorithm: expected 'tile' or 'blas'"):
        compiled.gemm(a, b, out, algorithm="mkl")
