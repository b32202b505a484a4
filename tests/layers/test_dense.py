"""Dense: shapes, values against NumPy and PyTorch, gradients, errors."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fastnn as nn
from fastnn.testing import check_layer


def assert_close(received, expected, rtol=1e-5, magnitude=None):
    """A difference below rtol of the expected array's largest element, or of the given `magnitude`.

    A float32 sum is as exact as its summands are large, however small the sum itself turns out.
    """
    assert received.shape == expected.shape
    if expected.size:
        magnitude = np.abs(expected).max() if magnitude is None else magnitude
        assert np.abs(received - expected).max() <= rtol * max(magnitude, 1e-30)


def test_shapes_and_counts():
    model = nn.Sequential([nn.Dense(10)], input_shape=(84,), seed=0)
    assert model.output_shape == (10,)
    assert {name: p.shape for name, p in model.parameters.items()} == {
        "dense1.weight": (10, 84), "dense1.bias": (10,),
    }  # fmt: skip
    assert model.n_parameters == 850
    assert model["dense1"].multiply_adds() == 840
    without = nn.Sequential([nn.Dense(10, use_bias=False)], input_shape=(84,), seed=0)
    assert list(without.parameters) == ["dense1.weight"]
    assert without["dense1"].bias is None


@pytest.mark.parametrize(
    ("layer", "n"),
    [
        (nn.Dense(4), 3),
        (nn.Dense(1, use_bias=False), 1),
        (nn.Dense(17, activation="relu"), 5),
        (nn.Dense(3, activation="gelu"), 33),
        (nn.Dense(6, activation=nn.ELU(0.5)), 4),
        (nn.Dense(5, activation="softplus", use_bias=False), 6),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(layer, n, dtype):
    check_layer(layer, (n,), dtype=dtype, verbose=False)


sizes = st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 70))


@given(sizes, st.booleans(), st.integers(0, 2**32 - 1))
@example((1, 1, 1), False, 865)
@settings(max_examples=30, deadline=None)
def test_values(size, use_bias, seed):
    """`y = tanh(x W^T + b)` and its gradients, in NumPy and float64."""
    n, n_in, n_out = size
    rng = np.random.default_rng(seed)
    model = nn.Sequential([nn.Dense(n_out, "tanh", use_bias)], input_shape=(n_in,), seed=seed)
    model.theta[:] = rng.normal(size=model.theta.size) / np.sqrt(n_in)
    x, dy = (rng.normal(size=(n, k)).astype(np.float32) for k in (n_in, n_out))
    w = model["dense1"].weight.data.astype(np.float64)
    b = model["dense1"].bias.data if use_bias else 0.0
    y = np.tanh(x @ w.T + b)
    da = dy * (1 - y**2)
    assert_close(model.forward(x), y)
    # 1 - y^2 is as exact as y, which is about 1 where the unit is saturated.
    ax, aw, ady = abs(x), abs(w), abs(dy)
    assert_close(model.backward(dy), da @ w, 2e-5, (ady @ aw).max())
    assert_close(model["dense1"].weight.grad, da.T @ x.astype(np.float64), 2e-5, (ady.T @ ax).max())
    if use_bias:
        assert_close(model["dense1"].bias.grad, da.sum(axis=0), 2e-5, ady.sum(axis=0).max())


@given(sizes, st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_as_in_pytorch(size, seed):
    torch = pytest.importorskip("torch")
    n, n_in, n_out = size
    rng = np.random.default_rng(seed)
    model = nn.Sequential([nn.Dense(n_out)], input_shape=(n_in,), seed=seed)
    x, dy = (rng.normal(size=(n, k)).astype(np.float32) for k in (n_in, n_out))
    tx, tw, tb = (
        torch.tensor(a, requires_grad=True)
        for a in (x, model["dense1"].weight.data, model["dense1"].bias.data)
    )
    ty = torch.nn.functional.linear(tx, tw, tb)
    ty.backward(torch.tensor(dy))
    ax, aw, ady = abs(x), abs(model["dense1"].weight.data), abs(dy)
    assert_close(model.forward(x), ty.detach().numpy(), 2e-6, (ax @ aw.T).max())
    assert_close(model.backward(dy), tx.grad.numpy(), 2e-6, (ady @ aw).max())
    assert_close(model["dense1"].weight.grad, tw.grad.numpy(), 2e-6, (ady.T @ ax).max())
    assert_close(model["dense1"].bias.grad, tb.grad.numpy(), 2e-6, ady.sum(axis=0).max())


def test_the_first_layer_may_skip_its_input_gradient():
    model = nn.Sequential([nn.Dense(3)], input_shape=(2,), seed=0)
    x, dy = np.ones((4, 2), np.float32), np.ones((4, 3), np.float32)
    model.forward(x)
    assert model.backward(dy, input_gradient=False) is None
    gradient = model.grad.copy()
    model.zero_grad()
    assert model.backward(dy).shape == x.shape
    assert (model.grad == gradient).all()


def test_images_need_a_flatten():
    with pytest.raises(
        nn.ShapeError, match=r"dense1 \(Dense\): expected one axis.*\(5, 5, 16\).*Flatten\(\)"
    ):
        nn.Sequential([nn.Dense(10)], input_shape=(5, 5, 16))
