"""Every public optimizer against PyTorch, step by step, and against a stored path, without PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels

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
PATHS = [
    (nn.SGD(0.1), [0.7737809375, -1.1809800000000001, 0.23327999999999993]),
    (nn.SGD(0.1, weight_decay=0.1), [0.7339040224, -1.1168118898, 0.2144772897]),
    (nn.Momentum(0.1), [0.4171559374999999, 0.05831999999999993, -2.187]),
    (nn.Momentum(0.1, 0.8, "velocity"), [0.4879609374999999, -0.1921799999999998, -1.60992]),
    (nn.Momentum(0.1, 0.8, "ema"), [0.8871814419, -1.5594099776, 0.7183635456000005]),
    (nn.Momentum(0.1, 0.8, nesterov=True), [0.4147532970999999, -0.08599271039999973, -0.3955239935999999]),
    (nn.NAG(0.1), [0.4504436049687499, -0.16899823799999988, -0.6301825919999999]),
    (nn.NAG(0.1, 0.8, "shifted"), [0.4147532970999999, -0.08599271039999973, -0.3955239935999999]),
    (nn.AdaGrad(0.5), [0.050891308924910304, -0.6827902223612703, 1.5696397297021294]),
    (nn.AdaGrad(0.5, 0.1, "inside", 0.1), [0.1302254104246155, -0.6988759682311868, 1.570176111546843]),
    (nn.RMSProp(0.1), [0.19979518025155324, -1.0489273119323752, 2.006703816679517]),
    (
        nn.RMSProp(0.1, eps=0.1, eps_mode="inside", momentum=0.5),
        [0.21850727265252806, -0.5739405616057088, 1.3776276544141732],
    ),
    (nn.RMSProp(0.1, centered=True), [0.14637460608061736, -0.9336798982292145, 1.872768662020691]),
    (nn.AdaDelta(), [0.9773415384813521, -1.9772767735275605, 2.9772554616297793]),
    (nn.Adam(0.1), [0.5079636672529784, -1.502955782592986, 2.5017794557996105]),
    (
        nn.Adam(0.1, eps=0.1, eps_mode="inside", bias_correction=False),
        [0.8006204927228959, -1.2696613601573816, 0.9958628548780065],
    ),
    (nn.Adam(0.1, weight_decay=0.1), [0.5079636654777259, -1.5029557823569908, 2.5017794557891797]),
    (nn.AdamW(0.1), [0.5040800980657142, -1.4940456953567576, 2.487869309151897]),
    (nn.AMSGrad(0.1, (0.5, 0.5)), [0.5247253705627734, -1.5059705726473906, 2.501781140130702]),
    (nn.NAdam(0.1), [0.623662897534218, -1.6084596272785805, 2.6037987490896835]),
    (
        nn.NAdam(0.1, correction="current", momentum_decay=0),
        [0.35177585693694297, -1.3250407408685079, 2.318207024384713],
    ),
    (nn.AdaMax(0.1), [0.5515538090457205, -1.5257775475647144, 2.516963592661285]),
    (nn.AdaMax(0.1, (0.5, 0.5), 0.1, "in_max"), [0.5762696958541602, -1.513159665091711, 2.4953322733886507]),
    (nn.MaxProp(0.1), [0.5128251312153465, -1.5000000027951066, 2.500000000447572]),
    (nn.LineSearch((0.0, 0.1, 0.2, 0.4)), [0.36863999999999997, -0.20735999999999996, 0.07776]),
    (nn.ArmijoLineSearch(), [0.2373046875, -0.0625, -3.0]),
    (nn.SGD(0.1, clip_value=1.0), [0.7737809375, -1.4999999999999996, 2.4999999999999996]),
    (nn.Momentum(0.1, clip_global_norm=1.0), [0.941684757622569, -1.7693484342318384, 1.707448077420307]),
]


@pytest.mark.parametrize("which", ["compiled", "reference"])
@pytest.mark.parametrize(("optimizer", "expected"), PATHS)
def test_stored_paths(optimizer, expected, which):
    before = kernels.use_kernels(which)
    try:
        points = bowl(type(optimizer)(**optimizer.config()), 5)
    finally:
        kernels.use_kernels(before)
    np.testing.assert_allclose(points[-1], expected, rtol=1e-12)


@pytest.mark.parametrize(("optimizer", "expected"), PATHS)
def test_float32_is_close(optimizer, expected):
    """Twenty steps in float32 stay close to those in float64."""
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
