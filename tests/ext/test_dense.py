"""dense_forward and dense_backward against their twins."""

import numpy as np
import pytest

from fastnn._ext import dense as compiled
from fastnn._ext.threads import get_num_threads, set_num_threads
from fastnn.reference import dense as reference


@pytest.fixture(autouse=True)
def threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


SHAPES = [(16, 4, 16), (1, 7, 5), (33, 50, 17), (0, 3, 4), (5, 1, 1), (130, 784, 65)]


def arrays(shape, dtype):
    n, n_in, n_out = shape
    rng = np.random.default_rng(1)
    draw = lambda *s: rng.standard_normal(s).astype(dtype)  # noqa: E731
    return draw(n, n_in), draw(n_out, n_in), draw(n_out), draw(n, n_out)


def tolerance(dtype, shape):
    """Rounding of sums of that many products of about 1, as in test_gemm."""
    return dict(rtol=0, atol=np.finfo(dtype).eps / 2 * (max(shape) + 16) ** 1.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid"])
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_equals_twin(shape, activation, dtype):
    x, w, b, y = arrays(shape, dtype)
    expected = np.empty_like(y)
    for bias in (b, None):
        compiled.dense_forward(x, w, bias, y, activation)
        reference.dense_forward(x, w, bias, expected, activation)
        np.testing.assert_allclose(y, expected, **tolerance(dtype, shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_backward_equals_twin(shape, accumulate, dtype):
    x, w, b, da = arrays(shape, dtype)
    results = []
    for module in (compiled, reference):
        dx, dw, db = np.full_like(x, 9), np.full_like(w, 2), np.full_like(b, 3)
        module.dense_backward(x, w, da, dx, dw, db, accumulate)
        results.append((dx, dw, db))
    for received, expected in zip(*results):
        np.testing.assert_allclose(received, expected, **tolerance(dtype, shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, (8, 801, 40), (200, 30, 70)])
def test_prepared_weights_give_the_same_bits(shape, dtype):
    """Without prepared weights up to twelve rows with long sums are added in another order (gemm_rows)."""
    x, w, b, y = arrays(shape, dtype)
    few = x.shape[0] <= 12 and x.shape[1] >= 64
    expected, prepared = np.full_like(y, 9), compiled.dense_prepare(w)
    for threads in (1, 2, 3):
        set_num_threads(threads)
        for activation in ("relu", "tanh"):
            compiled.dense_forward(x, w, b, expected, activation)
            compiled.dense_forward(x, w, b, y, activation, 0.0, prepared)
            np.testing.assert_allclose(y, expected, **(tolerance(dtype, shape) if few else {"rtol": 0}))
    wrong = np.zeros(prepared.size + 1, dtype)
    with pytest.raises(ValueError, match=f"prepared: expected length {prepared.size}"):
        compiled.dense_forward(x, w, b, y, "relu", 0.0, wrong)


def test_optional_outputs():
    x, w, _, da = arrays((6, 5, 4), "float64")
    dw = np.empty_like(w)
    compiled.dense_backward(x, w, da, None, dw, None)
    np.testing.assert_allclose(dw, da.T @ x, rtol=1e-12)


def test_equals_torch():
    torch = pytest.importorskip("torch")
    x, w, b, da = arrays((33, 50, 17), "float32")
    tx, tw, tb = (torch.tensor(v, requires_grad=True) for v in (x, w, b))
    ty = torch.nn.functional.linear(tx, tw, tb)
    ty.backward(torch.tensor(da))
    y, dx, dw, db = np.empty_like(da), np.empty_like(x), np.empty_like(w), np.empty_like(b)
    compiled.dense_forward(x, w, b, y)
    compiled.dense_backward(x, w, da, dx, dw, db)
    for received, expected in ((y, ty), (dx, tx.grad), (dw, tw.grad), (db, tb.grad)):
        expected = expected.detach().numpy()
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_errors():
    x, w, b, da = arrays((6, 5, 4), "float32")
    with pytest.raises(ValueError, match="weight: expected length 5 along axis 1"):
        compiled.dense_forward(x, w[:, :4].copy(), b, da)
    with pytest.raises(ValueError, match="x: expected a C-contiguous array"):
        compiled.dense_forward(np.asfortranarray(x), w, b, da)
    with pytest.raises(TypeError, match="y: expected dtype float32"):
        compiled.dense_forward(x, w, b, da.astype("float64"))
    with pytest.raises(ValueError, match="db: expected length 4"):
        compiled.dense_backward(x, w, da, None, w, b[:3].copy())
