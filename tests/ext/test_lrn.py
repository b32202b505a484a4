"""Local response normalization kernels against their twins, loops and PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import lrn as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import lrn as reference

DTYPES = ["float32", "float64"]


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


def run(module, shape, dtype, size=5, alpha=0.1, beta=0.75, k=2.0, seed=0):
    rng = np.random.default_rng(seed)
    x, dy = ((3 * rng.standard_normal(shape)).astype(dtype) for _ in range(2))
    y, scale, dx = (np.full_like(x, np.nan) for _ in range(3))
    module.lrn_forward(x, y, scale, size, alpha, beta, k)
    module.lrn_backward(dy, x, y, scale, dx, size, alpha, beta, k)
    return y, scale, dx


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=2), st.integers(0, 40), st.sampled_from([1, 3, 5, 9]),
    st.sampled_from([0.75, 0.5, 1.0, 0.3]), st.sampled_from(DTYPES), st.integers(0, 99),
)  # fmt: skip
def test_equals_twin(rows, channels, size, beta, dtype, seed):
    options = dict(size=size, beta=beta, seed=seed)
    shape = (*rows, channels)
    eps = np.finfo(dtype).eps
    for received, expected in zip(
        run(compiled, shape, dtype, **options), run(reference, shape, dtype, **options)
    ):
        np.testing.assert_allclose(received, expected, rtol=64 * eps, atol=64 * eps)


@pytest.mark.parametrize("module", [compiled, reference])
def test_the_paper_s_formula(module):
    """Loops over channel and window, as the paper writes it."""
    x = np.random.default_rng(0).normal(0, 20, (3, 9))
    y, scale = np.empty_like(x), np.empty_like(x)
    module.lrn_forward(x, y, scale, 5, 1e-4, 0.75, 2.0)
    for n in range(3):
        for i in range(9):
            total = sum(x[n, j] ** 2 for j in range(max(0, i - 2), min(8, i + 2) + 1))
            assert y[n, i] == pytest.approx(x[n, i] / (2 + 1e-4 * total) ** 0.75, rel=1e-13)


def test_threads():
    results = []
    for n in (1, 2, 3):
        set_num_threads(n)
        results.append(b"".join(array.tobytes() for array in run(compiled, (5, 31, 17, 24), "float32")))
    assert results[0] == results[1] == results[2]


def test_in_place_and_nan():
    x, dy = np.random.default_rng(0).standard_normal((2, 50, 12))
    y, scale, dx = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    constants = 5, 0.1, 0.75, 2.0
    compiled.lrn_forward(x, y, scale, *constants)
    compiled.lrn_backward(dy, x, y, scale, dx, *constants)
    compiled.lrn_backward(dy, x, y, scale, dy, *constants)
    np.testing.assert_array_equal(dy, dx)
    x[3, 6] = np.nan
    compiled.lrn_forward(x, y, scale, *constants)
    assert np.isnan(y[3, 4:9]).all()
    assert np.isfinite(np.delete(y, 3, axis=0)).all()


@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_equals_torch(beta):
    """PyTorch divides alpha by the size."""
    torch = pytest.importorskip("torch")
    x, dy = np.random.default_rng(0).normal(0, 3, (2, 3, 4, 5, 11))
    tx = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    ty = torch.nn.functional.local_response_norm(tx, 5, alpha=5 * 0.1, beta=beta, k=2.0)
    ty.backward(torch.tensor(np.moveaxis(dy, -1, 1).copy()))
    y, scale, dx = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    compiled.lrn_forward(x, y, scale, 5, 0.1, beta, 2.0)
    compiled.lrn_backward(dy, x, y, scale, dx, 5, 0.1, beta, 2.0)
    np.testing.assert_allclose(y, np.moveaxis(ty.detach().numpy(), 1, -1), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dx, np.moveaxis(tx.grad.numpy(), 1, -1), rtol=1e-11, atol=1e-13)


def test_errors():
    x = np.zeros((4, 6), np.float32)
    with pytest.raises(ValueError, match=r"size: expected an odd number.*Received: 4"):
        compiled.lrn_forward(x, x, x, 4, 1e-4, 0.75, 2.0)
    with pytest.raises(ValueError, match=r"k, alpha, beta: expected k > 0"):
        compiled.lrn_forward(x, x, x, 5, 1e-4, 0.75, 0.0)
    with pytest.raises(ValueError, match="scale: expected the shape of x"):
        compiled.lrn_forward(x, x, x[:3], 5, 1e-4, 0.75, 2.0)
    with pytest.raises(TypeError, match="dx: expected dtype float32"):
        compiled.lrn_backward(x, x, x, x, x.astype(np.float64), 5, 1e-4, 0.75, 2.0)
    with pytest.raises(ValueError, match="1 axis or more"):
        compiled.lrn_forward(*[np.zeros((), np.float32)] * 3, 5, 1e-4, 0.75, 2.0)
