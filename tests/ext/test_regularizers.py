"""weight_penalty and max_norm: compiled against twins, and their formulas."""

import numpy as np
import pytest

from fastnn._ext import regularizers as compiled
from fastnn._ext import threads
from fastnn.reference import regularizers as reference

SIZES = [0, 1, 2, 15, 16, 17, 100, 8191, 8192, 8193, 20_001]
STRENGTHS = [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7)]
SHAPES = [
    (0, 3, 1), (3, 0, 1), (1, 1, 1), (5, 17, 1), (64, 100, 1), (2, 9000, 1), (1, 7, 5), (1, 40, 33),
    (3, 5, 16), (4, 9, 17), (2, 1, 40),
]  # fmt: skip
RTOL = {"float32": 1e-6, "float64": 1e-13}


@pytest.fixture
def any_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def arrays(n, dtype, seed=0):
    theta, grad = np.random.default_rng(seed).normal(size=(2, n)).astype(dtype)
    theta[::5] = 0
    return theta, grad


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("l1", "l2"), STRENGTHS)
def test_penalty_equals_twin(l1, l2, dtype):
    for n in SIZES:
        theta, grad = arrays(n, dtype)
        got, expected = grad.copy(), grad.copy()
        before = theta.copy()
        values = [
            compiled.weight_penalty(theta, got, l1, l2),
            reference.weight_penalty(theta, expected, l1, l2),
            compiled.weight_penalty(theta, None, l1, l2),
        ]
        assert values[0] == values[2]
        assert values[0] == pytest.approx(values[1], rel=1e-13, abs=0)
        np.testing.assert_allclose(got, expected, rtol=RTOL[dtype], atol=RTOL[dtype])
        assert got.dtype == expected.dtype == dtype
        assert (theta == before).all()


@pytest.mark.parametrize("module", [compiled, reference])
def test_numbers(module):
    theta, grad = np.array([3.0, -4.0, 0.0]), np.array([1.0, 1.0, 1.0])
    assert module.weight_penalty(theta, grad, 0.5, 2.0) == 0.5 * 7 + 25
    assert grad.tolist() == [1 + 0.5 + 6, 1 - 0.5 - 8, 1]


def test_sums_are_in_double():
    """A float32 sum of that many equal numbers would be wrong in the third digit."""
    theta = np.full(3_000_000, 0.1, np.float32)
    exact = 3_000_000 * float(np.float32(0.1)) ** 2
    assert compiled.weight_penalty(theta, None, 0.0, 2.0) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits(dtype, any_threads):
    results = []
    for n_threads in (1, 2, 3, 4):
        threads.set_num_threads(n_threads)
        theta, grad = arrays(300_001, dtype)
        value = compiled.weight_penalty(theta, grad, 0.3, 0.7)
        rows, columns = (
            theta[:300_000].reshape(300, 1000, 1).copy(),
            theta[:300_000].reshape(2, 500, 300).copy(),
        )
        compiled.max_norm(rows, 10.0)
        compiled.max_norm(columns, 10.0)
        results.append((value, grad.tobytes(), rows.tobytes(), columns.tobytes()))
    assert len(set(results)) == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_max_norm_equals_twin(shape, dtype):
    weight = np.random.default_rng(0).normal(size=shape).astype(dtype)
    limit = 0.9 * np.sqrt(max(shape[1], 1))  # some are longer, some are not
    got, expected = weight.copy(), weight.copy()
    compiled.max_norm(got, limit)
    reference.max_norm(expected, limit)
    np.testing.assert_allclose(got, expected, rtol=RTOL[dtype])
    norms = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=1))
    after = np.sqrt(np.square(got, dtype=np.float64).sum(axis=1))
    np.testing.assert_allclose(after, np.minimum(norms, limit), rtol=RTOL[dtype])
    short = np.broadcast_to((norms <= limit)[:, None], shape)
    assert (got[short] == weight[short]).all()


def test_not_a_number_stays_visible():
    theta, grad = arrays(100, "float32")
    theta[3] = np.nan
    assert np.isnan(compiled.weight_penalty(theta, grad, 0.1, 0.1))
    assert np.isnan(grad[3])
    assert np.isfinite(np.delete(grad, 3)).all()
    weight = theta.reshape(10, 10, 1).copy()
    compiled.max_norm(weight, 0.1)
    assert np.isnan(weight).any()


def test_errors():
    theta, grad = arrays(10, "float32")
    with pytest.raises(
        ValueError, match=r"grad: expected as many elements as theta, 10\. Received: shape=\(9,\)"
    ):
        compiled.weight_penalty(theta, grad[:9].copy(), 0.1, 0.1)
    with pytest.raises(TypeError, match="grad: expected dtype float32"):
        compiled.weight_penalty(theta, grad.astype(np.float64), 0.1, 0.1)
    with pytest.raises(ValueError, match="theta: expected a C-contiguous array"):
        compiled.weight_penalty(theta[::2], None, 0.1, 0.1)
    with pytest.raises(TypeError, match=r"theta: expected float32 or float64\. Received: dtype=int64"):
        compiled.weight_penalty(np.arange(3), None, 0.1, 0.1)
    with pytest.raises(ValueError, match=r"weight: expected 3 axes\. Received: shape=\(10,\)"):
        compiled.max_norm(theta, 1.0)
    for module in (compiled, reference):
        with pytest.raises(ValueError, match=r"limit: expected a number above 0\. Received: 0\.0"):
            module.max_norm(theta.reshape(1, 10, 1), 0.0)
