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


FEW = 12  # gemm_rows.pyx: so many rows are summed along the lanes of vectors, more in ascending order


def test_rows_do_not_depend_on_the_batch():
    """Neither among batches of more than a few samples nor among smaller ones."""
    a, b, bias, out = operands(37, 29, 600, False, True, "float32")
    compiled.gemm(a, b, out, bias, trans_b=True)
    few = np.empty((FEW, 29), "float32")
    compiled.gemm(a[:FEW], b, few, bias, trans_b=True)
    assert_close(few, out[:FEW], 600)
    for n, expected in ((1, few), (2, few), (3, few), (5, few), (FEW + 1, out), (20, out)):
        part = np.empty((n, 29), "float32")
        compiled.gemm(a[:n], b, part, bias, trans_b=True)
        np.testing.assert_array_equal(part, expected[:n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize(
    "M, N, K", [(1, 1, 64), (1, 7, 65), (3, 48, 129), (4, 49, 200), (FEW, 100, 333), (5, 6, 64)]
)
def test_few_rows(M, N, K, activation, dtype):
    """Rows times rows: ragged tiles, lanes and items, rows that are apart, one thread and several."""
    a, b, bias, out = operands(M, N, K, False, True, dtype)
    wide = np.zeros((M, 2 * K), dtype)
    wide[:, :K] = a
    expected = np.empty_like(out)
    reference.gemm(a, b, expected, bias, trans_b=True, activation=activation)
    for n_threads in (1, 3):
        set_num_threads(n_threads)
        for left in (a, wide[:, :K]):
            out[:] = np.nan
            compiled.gemm(left, b, out, bias, trans_b=True, activation=activation)
            assert_close(out, expected, K)


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
