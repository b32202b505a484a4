"""Batch normalization kernels against their twins and PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn._ext import normalization as compiled
from fastnn._ext import threads
from fastnn._ext.activations import add_forward
from fastnn.reference import normalization as reference

SHAPES = [
    (32, 64),
    (5, 3),
    (2, 1),
    (1, 4),
    (7, 300),
    (3, 9, 8, 6),
    (2, 5, 5, 16),
    (4, 12, 12, 65),
    (700, 513),
]
DTYPES = ["float32", "float64"]
EPS = 1e-5


def arrays(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    c = shape[-1]
    draw = lambda *s: rng.standard_normal(s).astype(dtype)  # noqa: E731
    x = draw(*shape) * (1 + rng.random(c)).astype(dtype) + 3 * draw(c)
    return x.astype(dtype), draw(*shape), draw(c), draw(c), draw(c), rng.random(c).astype(dtype) + 0.5


def close(actual, expected, dtype, scale=1.0):
    tolerance = (1e-12 if dtype == "float64" else 1e-5) * scale
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def run(module, shape, dtype, activation="linear", alpha=0.0, seed=0):
    """All outputs of the three kernels."""
    x, dy, gamma, beta, running_mean, running_var = arrays(shape, dtype, seed)
    y, mean, inv_std = np.full_like(x, np.nan), np.full_like(gamma, np.nan), np.full_like(gamma, np.nan)
    module.batchnorm_forward(
        x, gamma, beta, y, mean, inv_std, running_mean, running_var, 0.1, EPS, activation, alpha
    )
    inferred = np.full_like(x, np.nan)
    module.batchnorm_inference(x, gamma, beta, running_mean, running_var, inferred, EPS, activation, alpha)
    dx, dgamma, dbeta = np.full_like(x, np.nan), np.full_like(gamma, np.nan), np.full_like(gamma, np.nan)
    module.batchnorm_backward(dy, x, y, gamma, mean, inv_std, dx, dgamma, dbeta, activation, alpha)
    return dict(y=y, mean=mean, inv_std=inv_std, running_mean=running_mean, running_var=running_var,
                inferred=inferred, dx=dx, dgamma=dgamma, dbeta=dbeta)  # fmt: skip


def compare(shape, dtype, activation="linear", alpha=0.0, seed=0):
    actual = run(compiled, shape, dtype, activation, alpha, seed)
    expected = run(reference, shape, dtype, activation, alpha, seed)
    for name, value in expected.items():
        close(actual[name], value, dtype, max(1.0, float(np.abs(value).max(initial=0))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation, alpha", [("linear", 0.0), ("relu", 0.0), ("leaky_relu", 0.1)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_twin(shape, activation, alpha, dtype):
    compare(shape, dtype, activation, alpha)


# With two rows the deviation may be tiny and 1 / deviation amplifies rounding: at least three rows here.
@settings(max_examples=60, deadline=None)
@given(st.integers(3, 400), st.integers(1, 90), st.integers(0, 50), st.sampled_from(["linear", "relu"]))
def test_equals_twin_on_any_shape(rows, channels, seed, activation):
    compare((rows, channels), "float64", activation, seed=seed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_other_activations(activation, dtype):
    x, _, gamma, beta, mean, var = arrays((3, 7, 5), dtype)
    y, y2 = np.empty_like(x), np.empty_like(x)
    for module, out in ((compiled, y), (reference, y2)):
        module.batchnorm_inference(x, gamma, beta, mean, var, out, EPS, activation)
    close(y, y2, dtype)
    with pytest.raises(ValueError, match="activation_backward"):
        compiled.batchnorm_backward(x, x, y, gamma, mean, var, None, gamma, beta, activation)


@pytest.mark.parametrize("module", [compiled, reference])
def test_by_hand(module):
    x = np.array([[1.0, 5], [3, 5]])
    gamma, beta = np.array([2.0, 2]), np.array([1.0, 7])
    y, mean, inv_std = np.empty_like(x), np.empty(2), np.empty(2)
    running_mean, running_var = np.zeros(2), np.ones(2)
    module.batchnorm_forward(x, gamma, beta, y, mean, inv_std, running_mean, running_var, 0.25, 0.0625)
    assert mean.tolist() == [2, 5]
    np.testing.assert_allclose(inv_std, [1 / np.sqrt(1.0625), 4])
    np.testing.assert_allclose(y, [[1 - 2 / np.sqrt(1.0625), 7], [1 + 2 / np.sqrt(1.0625), 7]])
    assert running_mean.tolist() == [0.5, 1.25]
    assert running_var.tolist() == [1.25, 0.75]  # 0.75 * 1 + 0.25 * (2, 0): unbiased


@pytest.mark.parametrize("module", [compiled, reference])
def test_one_row_and_no_rows(module):
    gamma, beta, mean, inv_std = np.ones(3), np.arange(3.0), np.empty(3), np.empty(3)
    running_mean, running_var = np.zeros(3), np.ones(3)
    x = np.array([[1.0, 2, 3]])
    y = np.empty_like(x)
    module.batchnorm_forward(x, gamma, beta, y, mean, inv_std, running_mean, running_var, 0.1, EPS)
    np.testing.assert_array_equal(y, [beta])
    np.testing.assert_array_equal(running_var, 1)  # one row says nothing about the variance
    empty = np.empty((0, 3))
    module.batchnorm_forward(empty, gamma, beta, empty, mean, inv_std, running_mean, running_var, 0.1, EPS)
    module.batchnorm_inference(empty, gamma, beta, running_mean, running_var, empty, EPS)
    dgamma, dbeta = np.full(3, np.nan), np.full(3, np.nan)
    module.batchnorm_backward(empty, empty, None, gamma, mean, inv_std, empty, dgamma, dbeta)
    assert not dgamma.any()
    assert not dbeta.any()


def test_accumulate_and_no_input_gradient():
    x, dy, gamma, _, mean, inv_std = arrays((40, 7), "float64")
    dgamma, dbeta, dgamma2, dbeta2 = np.empty(7), np.empty(7), np.full(7, 2.0), np.full(7, 3.0)
    compiled.batchnorm_backward(dy, x, None, gamma, mean, inv_std, None, dgamma, dbeta)
    compiled.batchnorm_backward(dy, x, None, gamma, mean, inv_std, None, dgamma2, dbeta2, accumulate=True)
    np.testing.assert_allclose(dgamma2, dgamma + 2)
    np.testing.assert_allclose(dbeta2, dbeta + 3)


@pytest.mark.parametrize("offset", [1e3, -1e4])
def test_a_large_mean_does_not_cancel(offset):
    x = (np.random.default_rng(0).standard_normal((20000, 5)) + offset).astype(np.float32)
    gamma, beta, y = np.ones(5, np.float32), np.zeros(5, np.float32), np.empty_like(x)
    mean, inv_std = np.empty(5, np.float32), np.empty(5, np.float32)
    compiled.batchnorm_forward(x, gamma, beta, y, mean, inv_std, None, None, 0.1, 0.0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(inv_std, 1 / exact.std(0), rtol=2e-6)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=2e-7)


def test_nan_stays_visible():
    x = np.ones((30, 4), np.float32)
    x[20, 2] = np.nan
    gamma, beta, y = np.ones(4, np.float32), np.zeros(4, np.float32), np.empty_like(x)
    compiled.batchnorm_forward(x, gamma, beta, y, gamma.copy(), gamma.copy(), None, None, 0.1, EPS, "relu")
    assert np.isnan(y[:, 2]).all()
    assert np.isfinite(np.delete(y, 2, axis=1)).all()


@pytest.mark.parametrize("shape", [(3000, 64), (40, 14, 14, 6), (70, 513)], ids=str)
def test_bits_do_not_depend_on_threads(shape):
    before, results = threads.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            results.append({k: v.tobytes() for k, v in run(compiled, shape, "float32", "relu").items()})
    finally:
        threads.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("shape", [(64, 33), (4, 9, 9, 6), (8, 6, 6, 64)], ids=str)
def test_equals_torch(shape):
    torch = pytest.importorskip("torch")
    x, dy, gamma, beta, running_mean, running_var = arrays(shape, "float64")
    first = lambda a: torch.from_numpy(np.moveaxis(a, -1, 1).copy())  # noqa: E731
    tx, tgamma, tbeta = (t.requires_grad_() for t in (first(x), torch.tensor(gamma), torch.tensor(beta)))
    tmean, tvar = torch.tensor(running_mean), torch.tensor(running_var)
    ty = torch.relu(torch.nn.functional.batch_norm(tx, tmean, tvar, tgamma, tbeta, True, 0.1, EPS))
    ty.backward(first(dy))
    actual = run(compiled, shape, "float64", "relu")
    close(actual["y"], np.moveaxis(ty.detach().numpy(), 1, -1), "float64", 10)
    close(actual["dx"], np.moveaxis(tx.grad.numpy(), 1, -1), "float64", 10)
    close(actual["dgamma"], tgamma.grad.numpy(), "float64", 100)
    close(actual["dbeta"], tbeta.grad.numpy(), "float64", 100)
    close(actual["running_mean"], tmean.numpy(), "float64", 10)
    close(actual["running_var"], tvar.numpy(), "float64", 10)


def test_errors():
    x = np.zeros((4, 3), np.float32)
    c = np.ones(3, np.float32)
    with pytest.raises(TypeError, match="x: expected float32 or float64"):
        compiled.batchnorm_inference(x.astype(int), c, c, c, c, x, EPS)
    with pytest.raises(TypeError, match="gamma: expected dtype float32"):
        compiled.batchnorm_inference(x, np.ones(3), c, c, c, x, EPS)
    with pytest.raises(ValueError, match="beta: expected length 3 along axis 0"):
        compiled.batchnorm_inference(x, c, c[:2].copy(), c, c, x, EPS)
    with pytest.raises(ValueError, match="y: expected length 4 along axis 0"):
        compiled.batchnorm_inference(x, c, c, c, c, x[:2].copy(), EPS)
    with pytest.raises(ValueError, match="contiguous"):
        compiled.batchnorm_inference(np.zeros((3, 4), np.float32).T, c, c, c, c, x, EPS)
    with pytest.raises(ValueError, match="2 axes or more"):
        compiled.batchnorm_inference(c, c, c, c, c, c, EPS)
    with pytest.raises(TypeError, match="running_var: expected an array"):
        compiled.batchnorm_forward(x, c, c, x, c, c, c, None, 0.1, EPS)
    with pytest.raises(ValueError, match="activation: expected one of"):
        compiled.batchnorm_inference(x, c, c, c, c, x, EPS, "rectify")
    with pytest.raises(TypeError, match="y: expected an array"):
        compiled.batchnorm_backward(x, x, None, c, c, c, None, c, c, "relu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "activation, alpha", [("linear", 0.0), ("relu", 0.0), ("leaky_relu", 0.1), ("tanh", 0.0)]
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_add(shape, activation, alpha, dtype):
    """With `add` the bits are those of the sum taken afterwards, and the twin agrees."""
    x, other, gamma, beta, running_mean, running_var = arrays(shape, dtype)
    results = []
    for module in (compiled, reference):
        statistics = [np.empty_like(gamma), np.empty_like(gamma), running_mean.copy(), running_var.copy()]
        y, inferred = np.full_like(x, np.nan), np.full_like(x, np.nan)
        module.batchnorm_forward(x, gamma, beta, y, *statistics, 0.1, EPS, activation, alpha, other)
        module.batchnorm_inference(
            x, gamma, beta, running_mean, running_var, inferred, EPS, activation, alpha, add=other
        )
        results.append((y, inferred))
    for received, expected in zip(*results):
        close(received, expected, dtype, max(1.0, float(np.abs(expected).max())))
    plain = np.empty_like(x)
    compiled.batchnorm_inference(x, gamma, beta, running_mean, running_var, plain, EPS)
    add_forward(plain, other, plain, activation, alpha)
    np.testing.assert_array_equal(results[0][1], plain)


@pytest.mark.parametrize("module", [compiled, reference])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation, alpha", [("linear", 0.0), ("relu", 0.0), ("leaky_relu", 0.1)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward_from_beta_instead_of_y(shape, activation, alpha, dtype, module):
    """The sign of y is computed again, bit for bit."""
    x, dy, gamma, beta, _, _ = arrays(shape, dtype)
    y, mean, inv_std = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
    module.batchnorm_forward(x, gamma, beta, y, mean, inv_std, None, None, 0.1, EPS, activation, alpha)
    results = []
    for kept, instead in ((y, None), (None, beta)):
        dx, dgamma, dbeta = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
        module.batchnorm_backward(
            dy, x, kept, gamma, mean, inv_std, dx, dgamma, dbeta, activation, alpha, beta=instead
        )
        results.append((dx, dgamma, dbeta))
    for received, expected in zip(*results):
        np.testing.assert_array_equal(received, expected)


def test_add_and_beta_of_other_shapes():
    x, dy, gamma, beta, mean, var = arrays((6, 4), "float32")
    with pytest.raises(ValueError, match="add: expected length 4"):
        compiled.batchnorm_inference(x, gamma, beta, mean, var, dy, EPS, add=np.empty((6, 3), np.float32))
    with pytest.raises(TypeError, match="add: expected dtype float32"):
        compiled.batchnorm_inference(x, gamma, beta, mean, var, dy, EPS, add=np.empty((6, 4)))
    with pytest.raises(TypeError, match="y: expected an array, or beta, for relu"):
        compiled.batchnorm_backward(dy, x, None, gamma, mean, var, None, gamma, beta, "relu")
    with pytest.raises(ValueError, match="beta: expected length 4"):
        compiled.batchnorm_backward(
            dy, x, None, gamma, mean, var, None, gamma, beta, "relu", beta=np.empty(3, np.float32)
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_moments_take_the_place_of_a_pass_over_the_input(shape, dtype):
    x, _, gamma, beta, *running = arrays(shape, dtype)
    rows = x.reshape(-1, shape[-1]).astype("f8")
    moments = np.stack([rows.mean(0), rows.var(0) * len(rows)]) if len(rows) else np.zeros((2, shape[-1]))
    results = []
    for module, known in ((compiled, None), (compiled, moments), (reference, moments)):
        out = [
            np.full_like(x, np.nan),
            *(np.full_like(gamma, np.nan) for _ in "ab"),
            *(r.copy() for r in running),
        ]
        module.batchnorm_forward(x, gamma, beta, *out, 0.1, EPS, moments=known)
        results.append(out)
    for by_pass, by_moments, twin in zip(*results):
        scale = max(1.0, float(np.abs(twin).max(initial=0)))
        close(by_moments, by_pass, dtype, scale)
        close(by_moments, twin, dtype, scale)


def test_other_moments_are_used_as_they_are():
    x, gamma, beta, y, mean, inv_std = (
        np.array([[1.0], [3.0]]),
        *(np.array([v]) for v in (1.0, 0.0, 0.0, 0.0, 0.0)),
    )
    y = np.empty_like(x)
    compiled.batchnorm_forward(
        x, gamma, beta, y, mean, inv_std, None, None, 0.1, 0.0, moments=np.array([[2.0], [8.0]])
    )
    assert (mean[0], inv_std[0]) == (2.0, 0.5)
    np.testing.assert_array_equal(y, [[-0.5], [0.5]])
    with pytest.raises(ValueError, match="moments: expected length 1 along axis 1"):
        compiled.batchnorm_forward(
            x, gamma, beta, y, mean, inv_std, None, None, 0.1, 0.0, moments=np.zeros((2, 2))
        )
