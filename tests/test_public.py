"""Every public optimizer, schedule, activation, loss and layer has its gradient check, its twin and PyTorch.

The lists are those of the packages' `__all__`. What runs over a list is this file's own test, or a test of
another file whose parametrization is looked up here: a name that is not in it fails.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels, losses, optimizers, schedules
from fastnn.layers.activations import DEFAULT_ALPHA
from fastnn.testing import check_layer, copy_of, run


def module(path):
    """A test module, imported from its file."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "_")[:-3], Path(__file__).parent / path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def runs_over(test, cases):
    """Whether a test function is parametrized by this very list."""
    return any(mark.name == "parametrize" and mark.args[1] is cases for mark in test.pytestmark)


# Layers and activations


def first(x):
    return x.movedim(-1, 1)


def last(y):
    return y.movedim(1, -1)


def images(name, **options):
    """A layer of images without parameters: PyTorch's channels come first."""
    return lambda F, x: last(getattr(F, name)(first(x), **options))


def conv(F, x, w, b):
    return last(F.conv2d(first(x), first(w), b, stride=2, padding=1))


# layer, shape of a sample, PyTorch's functional module, the input and the parameters -> the output
LAYERS = [
    (nn.Activation("tanh"), (5,), lambda F, x: x.tanh()),
    (nn.AvgPool2D(2), (4, 6, 3), images("avg_pool2d", kernel_size=2)),
    (
        nn.BatchNorm(), (3, 4, 5),
        lambda F, x, g, b: last(F.batch_norm(first(x), None, None, g, b, training=True)),
    ),
    (
        nn.Concat([[nn.Dense(3)], [nn.Dense(2), nn.Tanh()]]), (4,),
        lambda F, x, w, b, v, c: F.pad(F.linear(x, w, b), (0, 2)) + F.pad(F.linear(x, v, c).tanh(), (3, 0)),
    ),
    (nn.Conv2D(4, 3, stride=2, padding=1), (7, 6, 3), conv),
    (nn.Dense(4, activation="sigmoid"), (5,), lambda F, x, w, b: F.linear(x, w, b).sigmoid()),
    (nn.ELU(0.7), (5,), lambda F, x: F.elu(x, 0.7)),
    (nn.Flatten(), (2, 3, 2), lambda F, x: x.flatten(1)),
    (nn.GELU(), (5,), lambda F, x: F.gelu(x)),
    (nn.GELU("tanh"), (5,), lambda F, x: F.gelu(x, approximate="tanh")),
    (nn.GELU("sigmoid"), (5,), lambda F, x: x * (1.702 * x).sigmoid()),
    (nn.GlobalAvgPool2D(), (4, 5, 3), lambda F, x: F.adaptive_avg_pool2d(first(x), 1)[:, :, 0, 0]),
    (nn.HardSigmoid(), (5,), lambda F, x: F.relu6(x + 3) / 6),  # theirs has a sixth in float32
    (nn.HardSwish(), (5,), lambda F, x: F.hardswish(x)),
    (nn.HardTanh(), (5,), lambda F, x: F.hardtanh(x)),
    # PyTorch divides alpha by the size.
    (nn.LRN(5, alpha=0.1), (3, 2, 8), images("local_response_norm", size=5, alpha=0.5, beta=0.75, k=2.0)),
    (nn.LayerNorm(1e-3), (12,), lambda F, x, g, b: F.layer_norm(x, (12,), g, b, 1e-3)),
    (nn.LayerNorm(), (5, 6, 4), lambda F, x, g, b: F.layer_norm(x, (4,), g, b)),
    (nn.LeakyReLU(0.05), (5,), lambda F, x: F.leaky_relu(x, 0.05)),
    (nn.Linear(), (5,), lambda F, x: 1 * x),
    (nn.LogSoftmax(), (3, 5), lambda F, x: x.log_softmax(-1)),
    (nn.MaxPool2D(3, stride=2), (5, 7, 3), images("max_pool2d", kernel_size=3, stride=2)),
    (nn.Maxout(4, pieces=3), (6,), lambda F, x, w, b: F.linear(x, w, b).reshape(-1, 3, 4).amax(1)),
    (nn.PReLU(), (3, 4, 3), lambda F, x, a: last(F.prelu(first(x), a))),
    (nn.PReLU(shared=False), (3, 4, 3), lambda F, x, a: last(F.prelu(first(x), a))),
    (nn.ReLU(), (5,), lambda F, x: x.relu()),
    (nn.ReLU(grad_at_zero=1.0), (5,), lambda F, x: x.relu()),
    (nn.Reshape((3, 4)), (2, 6), lambda F, x: x.reshape(-1, 3, 4)),
    (nn.Residual([nn.Dense(4)], activation="relu"), (4,), lambda F, x, w, b: (F.linear(x, w, b) + x).relu()),
    (nn.SELU(), (5,), lambda F, x: F.selu(x)),
    (
        nn.Sequential([nn.Dense(3, activation="tanh"), nn.Dense(2)]), (4,),
        lambda F, x, w, b, v, c: F.linear(F.linear(x, w, b).tanh(), v, c),
    ),
    (nn.SiLU(), (5,), lambda F, x: F.silu(x)),
    (nn.Sigmoid(), (5,), lambda F, x: x.sigmoid()),
    (nn.Softmax(), (3, 5), lambda F, x: x.softmax(-1)),
    (nn.Softplus(), (5,), lambda F, x: F.softplus(x)),
    (nn.Step(), (5,), lambda F, x: (x >= 0).to(x.dtype) + 0 * x),
    (nn.Swish(1.5), (5,), lambda F, x: x * (1.5 * x).sigmoid()),
    (nn.Swish(learnable=True), (5,), lambda F, x, beta: x * (beta * x).sigmoid()),
    (nn.Tanh(), (5,), lambda F, x: x.tanh()),
]  # fmt: skip
#: Layers that draw: PyTorch draws other numbers. The test whose identities take its place.
DRAWN = [
    (nn.AlphaDropout(0.3), "layers/test_noise.py", "test_alpha_dropout_keeps_mean_and_variance"),
    (
        nn.Dropout(0.3),
        "layers/test_dropout.py",
        "test_inference_is_the_mean_over_all_masks_of_a_linear_network",
    ),
    (nn.GaussianNoise(0.5), "layers/test_noise.py", "test_gaussian_noise"),
    (nn.MaskingNoise(0.7), "layers/test_noise.py", "test_masking_noise"),
    (nn.StochasticGate("logistic"), "layers/test_noise.py", "test_the_expectation_of_the_gates"),
]
#: Needs another layer beside it; the tests of a file of its own.
BESIDE = {
    "TiedDense": (
        "layers/test_tying.py",
        ["test_it_passes_check_layer", "test_gradients", "test_as_in_pytorch"],
    )
}
BASES = {"Layer", "Model", "WeightedLayer"}
CHECKED = [(layer, shape) for layer, shape, _ in LAYERS] + [(layer, (6,)) for layer, _, _ in DRAWN]


def named(cases):
    return {type(case[0]).__name__ for case in cases}


def label(value):
    return type(value).__name__ if isinstance(value, nn.Layer) else ""  # repr has a seed in it


def test_every_layer_and_activation_is_here():
    public = {name for name in nn.layers.__all__ if isinstance(getattr(nn.layers, name), type)} - BASES
    assert named(CHECKED) == named(LAYERS) | named(DRAWN) == public - set(BESIDE)
    assert not named(LAYERS) & named(DRAWN)
    assert set(nn.__all__) >= public
    functions = {layer.function for layer, _ in CHECKED if isinstance(layer, nn.Activation)}
    assert functions == set(DEFAULT_ALPHA)  # each name that `activation=` takes
    for _, path, test in DRAWN:
        assert callable(getattr(module(path), test))
    for path, tests in BESIDE.values():
        assert all(callable(getattr(module(path), test)) for test in tests)


@pytest.mark.parametrize(("layer", "shape"), CHECKED, ids=label)
def test_gradients_and_twin(layer, shape):
    check_layer(layer, shape, verbose=False)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-11)])
@pytest.mark.parametrize(("layer", "shape", "peer"), LAYERS, ids=label)
def test_equals_pytorch(layer, shape, peer, dtype, tolerance):
    """Output, gradient to the input and to every parameter, which have random values."""
    torch = pytest.importorskip("torch")
    model, rng = copy_of(layer, shape, dtype), np.random.default_rng(0)
    model.theta[:] = rng.normal(0.5, 0.5, model.theta.size)
    x = (2 * rng.normal(size=(4, *shape))).astype(dtype)
    parameters = [torch.tensor(p.data, requires_grad=True) for p in model.parameters.values()]
    tx = torch.tensor(x, requires_grad=True)
    ty = peer(torch.nn.functional, tx, *parameters)
    dy = rng.normal(size=ty.shape).astype(dtype)
    ty.backward(torch.tensor(dy))
    y, dx, gradients = run(model, x, dy)
    expected = [ty.detach(), tx.grad, *(parameter.grad for parameter in parameters)]
    largest = max(float(array.abs().max()) for array in expected)
    for ours, theirs in zip([y, dx, *gradients.values()], expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=tolerance, atol=tolerance * largest)


# Losses


def test_every_loss_is_checked():
    """By the tests of tests/losses/test_all.py: they run over `CASES`."""
    tests = module("losses/test_all.py")
    assert {type(case.make("sum")).__name__ for case in tests.CASES} == set(losses.__all__) - {"Loss"}
    assert set(nn.__all__) >= set(losses.__all__)
    checks = (
        tests.test_equals_pytorch, tests.test_gradient_is_that_of_the_value,
        tests.test_gradient_through_a_model, tests.test_twins_agree, tests.test_threads_give_the_same_bits,
    )  # fmt: skip
    for test in checks:
        assert runs_over(test, tests.CASES)


# Optimizers

#: PyTorch has no line search over one batch; their identities on quadratics take its place.
SEARCHES = {
    "LineSearch": "test_the_exact_step_of_a_quadratic_wins",
    "ArmijoLineSearch": "test_armijos_inequality",
}


def test_every_optimizer_is_checked():
    """By tests/optimizers/test_parity.py: PyTorch's steps, and stored paths with both forms of kernels."""
    tests = module("optimizers/test_parity.py")
    public = set(optimizers.__all__) - {"Optimizer"}
    assert named(tests.PYTORCH) == public - set(SEARCHES)
    assert named(tests.PATHS) == public
    assert runs_over(tests.test_equals_pytorch_step_by_step, tests.PYTORCH)
    assert runs_over(tests.test_stored_paths, tests.PATHS)
    both = ("which", ["compiled", "reference"])
    assert any(mark.args == both for mark in tests.test_stored_paths.pytestmark)
    searches = module("optimizers/test_line_search.py")
    assert all(callable(getattr(searches, name)) for name in SEARCHES.values())


def test_every_step_has_a_twin_that_is_compared():
    tests = module("ext/test_optimizers.py")
    steps = {name for names in kernels.FAMILIES.values() for name in names if name.endswith("_step")}
    assert {name for name, _, _ in tests.CASES} == steps
    assert runs_over(tests.test_equals_twin, tests.CASES)


# Schedules

# ours, PyTorch's name and options, which of its numbers
SCHEDULES = {
    "constant": (schedules.constant(0.3), "ConstantLR", {"factor": 1.0}, "lr"),
    "cosine": (
        schedules.cosine(0.3, 40, lr_min=0.1), "CosineAnnealingLR", {"T_max": 40, "eta_min": 0.1}, "lr",
    ),
    "cosine_restarts": (
        schedules.cosine_restarts(0.3, 7, t_mult=2), "CosineAnnealingWarmRestarts",
        {"T_0": 7, "T_mult": 2}, "lr",
    ),
    "exponential": (schedules.exponential(0.3, 0.1), "ExponentialLR", {"gamma": np.exp(-0.1)}, "lr"),
    "inverse_time": (
        schedules.inverse_time(0.3, 0.1), "LambdaLR", {"lr_lambda": lambda t: 1 / (1 + 0.1 * t)}, "lr",
    ),
    "noam": (
        schedules.noam(64, 10, scale=2.4), "LambdaLR",  # 2.4 / sqrt(64) is 0.3
        {"lr_lambda": lambda t: min((t + 1) ** -0.5, (t + 1) * 10**-1.5)}, "lr",
    ),
    "one_cycle": (schedules.one_cycle(0.3, 40), "OneCycleLR", {"max_lr": 0.3, "total_steps": 40}, "lr"),
    "one_cycle_momentum": (
        schedules.one_cycle_momentum(40), "OneCycleLR", {"max_lr": 0.3, "total_steps": 40}, "momentum",
    ),
    "piecewise": (
        schedules.piecewise([10, 25], [0.3, 0.03, 0.003]), "MultiStepLR",
        {"milestones": [10, 25], "gamma": 0.1}, "lr",
    ),
    "step_decay": (schedules.step_decay(0.3, 7), "StepLR", {"step_size": 7, "gamma": 0.5}, "lr"),
    "triangular": (
        schedules.triangular(0.1, 0.3, 6), "CyclicLR",
        {"base_lr": 0.1, "max_lr": 0.3, "step_size_up": 6, "cycle_momentum": False}, "lr",
    ),
    "warmup": (
        schedules.warmup(0.3, 8, start=0.03), "LinearLR", {"start_factor": 0.1, "total_iters": 8}, "lr",
    ),
}  # fmt: skip
#: PyTorch schedules no momentum of this form; the paper's formula takes its place.
FORMULAS = {"sutskever_momentum": "test_the_papers_formula"}


def test_every_schedule_is_here():
    assert set(SCHEDULES) | set(FORMULAS) == set(schedules.__all__)
    assert not set(SCHEDULES) & set(FORMULAS)
    assert all(callable(getattr(module("schedules/test_momentum.py"), name)) for name in FORMULAS.values())


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_equals_pytorch(name):
    torch = pytest.importorskip("torch")
    ours, theirs, options, key = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3, momentum=0.5)
    scheduler = getattr(torch.optim.lr_scheduler, theirs)(optimizer, **options)
    for step in range(40):
        assert ours(step) == pytest.approx(float(optimizer.param_groups[0][key]), rel=1e-10), step
        optimizer.step()
        if step < 39:
            scheduler.step()
