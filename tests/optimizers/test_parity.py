"""Every public optimizer against PyTorch, step by step, and against a stored path, without PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels, optimizers

START = [1.0, -2.0, 3.0]
CURVATURES = np.array([0.5, 1.0, 4.0])


def vector(values, dtype="float64"):
    """A model that is nothing but a vector of parameters."""
    values = np.asarray(values, dtype)
    model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(values.size,), dtype=dtype)
    model.theta[:] = values
    return model


def bowl(optimizer, n_steps):
    """The points visited on 1/2 sum lambda w^2, without the first."""
    model, points = vector(START), []
    optimizer.bind(model)

    def loss():
        return 0.5 * CURVATURES @ model.theta**2

    for _ in range(n_steps):
        if hasattr(optimizer, "pre_step"):
            optimizer.pre_step()
        model.grad[:] = CURVATURES * model.theta
        optimizer.step(loss)
        points.append(model.theta.copy())
    return np.array(points)


# ours, theirs: the class's name, its arguments
PYTORCH = [
    (nn.SGD(0.05), "SGD", {"lr": 0.05}),
    (nn.SGD(0.05, weight_decay=0.1), "SGD", {"lr": 0.05, "weight_decay": 0.1}),
    (nn.Momentum(0.05), "SGD", {"lr": 0.05, "momentum": 0.9}),
    (
        nn.Momentum(0.05, 0.5, nesterov=True, weight_decay=0.1),
        "SGD",
        {"lr": 0.05, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
    ),
    (nn.NAG(0.05, form="shifted"), "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (
        nn.NAG(0.05, weight_decay=0.1),
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    (nn.AdaGrad(0.05), "Adagrad", {"lr": 0.05, "eps": 1e-8}),
    (
        nn.AdaGrad(0.05, eps=1e-3, initial_accumulator=0.1, weight_decay=0.1),
        "Adagrad",
        {"lr": 0.05, "eps": 1e-3, "initial_accumulator_value": 0.1, "weight_decay": 0.1},
    ),
    (nn.RMSProp(0.01), "RMSprop", {"lr": 0.01, "alpha": 0.9}),
    (
        nn.RMSProp(0.01, momentum=0.8, weight_decay=0.1),
        "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.8, "weight_decay": 0.1},
    ),
    (
        nn.RMSProp(0.01, 0.99, eps=1e-3, momentum=0.8, centered=True),
        "RMSprop",
        {"lr": 0.01, "alpha": 0.99, "eps": 1e-3, "momentum": 0.8, "centered": True},
    ),
    (nn.AdaDelta(), "Adadelta", {"lr": 1.0, "rho": 0.95}),
    (
        nn.AdaDelta(0.5, 0.9, 1e-4, weight_decay=0.1),
        "Adadelta",
        {"lr": 0.5, "rho": 0.9, "eps": 1e-4, "weight_decay": 0.1},
    ),
    (nn.Adam(), "Adam", {}),
    (
        nn.Adam(0.01, (0.5, 0.9), 1e-3, weight_decay=0.1),
        "Adam",
        {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ),
    (nn.AdamW(), "AdamW", {}),
    (
        nn.AdamW(0.01, amsgrad=True, weight_decay=0.2),
        "AdamW",
        {"lr": 0.01, "amsgrad": True, "weight_decay": 0.2},
    ),
    (nn.AMSGrad(0.01, (0.9, 0.9)), "Adam", {"lr": 0.01, "betas": (0.9, 0.9), "amsgrad": True}),
    (nn.NAdam(), "NAdam", {}),
    (
        nn.NAdam(0.01, (0.8, 0.99), weight_decay=0.1, momentum_decay=0.05),
        "NAdam",
        {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1, "momentum_decay": 0.05},
    ),
    (
        nn.NAdam(weight_decay=0.1, decoupled=True),
        "NAdam",
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    (nn.NAdam(momentum_decay=0), "NAdam", {"momentum_decay": 1e9}),  # 0.96^1e9 is 0
    (nn.AdaMax(eps_mode="in_max"), "Adamax", {}),
    (
        nn.AdaMax(0.01, (0.5, 0.9), 1e-3, "in_max", weight_decay=0.1),
        "Adamax",
        {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1},
    ),
    (nn.MaxProp(0.01, 0.9, eps=0), "Adamax", {"lr": 0.01, "betas": (0.0, 0.9), "eps": 0.0}),
]  # fmt: skip


@pytest.fixture
def torch():
    """PyTorch, with float64 for the products that its NAdam keeps; in float32 they are right to 1e-7 only."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.parametrize(("dtype", "n_steps", "tolerance"), [("float64", 200, 1e-10), ("float32", 100, 1e-5)])
@pytest.mark.parametrize(("ours", "name", "options"), PYTORCH)
def test_equals_pytorch_step_by_step(torch, ours, name, options, dtype, n_steps, tolerance):
    gradients = np.random.default_rng(1).normal(size=(n_steps, 50)).astype(dtype)
    start = np.random.default_rng(2).normal(size=50).astype(dtype)
    model = vector(start, dtype)
    optimizer = type(ours)(**ours.config()).bind(model)
    w = torch.nn.Parameter(torch.tensor(start))
    theirs = getattr(torch.optim, name)([w], **options)
    for t, g in enumerate(gradients):
        if hasattr(optimizer, "pre_step"):
            optimizer.pre_step()  # PyTorch's w is the look-ahead point
            distance = np.abs(model.theta - w.detach().numpy()).max()
            assert distance <= tolerance * np.abs(model.theta).max(), t
        model.grad[:] = g
        optimizer.step()
        w.grad = torch.tensor(g)
        theirs.step()
        if getattr(ours, "form", "") != "lookahead":
            distance = np.abs(model.theta - w.detach().numpy()).max()
            assert distance <= tolerance * np.abs(model.theta).max(), t


# Five steps on the bowl from START, computed once by the NumPy twins in float64: where each optimizer ends.
PATHS = {}


@pytest.mark.parametrize("which", ["compiled", "reference"])
@pytest.mark.parametrize("key", PATHS)
def test_stored_paths(key, which):
    optimizer, expected = PATHS[key]
    before = kernels.use_kernels(which)
    try:
        points = bowl(type(optimizer)(**optimizer.config()), 5)
    finally:
        kernels.use_kernels(before)
    np.testing.assert_allclose(points[-1], expected, rtol=1e-12)


@pytest.mark.parametrize("key", PATHS)
def test_float32_is_close(key):
    """Twenty steps in float32 stay close to those in float64."""
    optimizer = PATHS[key][0]
    thetas = []
    for dtype in ("float32", "float64"):
        model = vector(START, dtype)
        o = type(optimizer)(**optimizer.config()).bind(model)
        for _ in range(20):
            if hasattr(o, "pre_step"):
                o.pre_step()
            model.grad[:] = CURVATURES.astype(dtype) * model.theta
            o.step(lambda model=model: 0.5 * CURVATURES @ model.theta.astype(np.float64) ** 2)
        thetas.append(model.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-4, atol=1e-5)


def test_no_public_optimizer_is_missing():
    """A line search has no counterpart in PyTorch: test_line_search.py has its identities."""
    public = {getattr(optimizers, name) for name in optimizers.__all__} - {optimizers.Optimizer}
    assert {type(optimizer) for optimizer, _ in PATHS.values()} == public
    searches = {nn.LineSearch, nn.ArmijoLineSearch}
    assert {type(ours) for ours, _, _ in PYTORCH} == public - searches
