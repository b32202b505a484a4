"""SGD and its momentum against formulas and PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.optimizers import SGD, Momentum


def vector(values, dtype="float64"):
    """A model that is nothing but a vector of parameters."""
    values = np.asarray(values, dtype)
    model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(values.size,), dtype=dtype)
    model.theta[:] = values
    return model


def minimise(optimizer, gradient, start, n_steps, dtype="float64"):
    """The points that the optimizer visits, (n_steps + 1, n)."""
    model = vector(start, dtype)
    optimizer.bind(model)
    points = [model.theta.copy()]
    for _ in range(n_steps):
        model.grad[:] = gradient(model.theta)
        optimizer.step()
        points.append(model.theta.copy())
    return np.array(points)


CURVATURES = np.array([0.05, 0.3, 1.0, 2.5, 5.0])


def bowl(w):
    """Gradient of 1/2 sum lambda w^2."""
    return CURVATURES * w


START = np.array([1.0, -2.0, 3.0, -4.0, 5.0])


def test_plain_descent_is_a_power():
    points = minimise(SGD(0.1), bowl, START, 50)
    np.testing.assert_allclose(points[-1], (1 - 0.1 * CURVATURES) ** 50 * START, rtol=1e-12)


def test_momentum_unrolled():
    """w_t+1 = w_t - lr sum_i beta^(t - i) g_i (the notes, S3.1)."""
    gradients = np.random.default_rng(0).normal(size=(20, 5))
    model = vector(np.zeros(5))
    optimizer = Momentum(0.1, 0.8).bind(model)
    for t in range(20):
        before = model.theta.copy()
        model.grad[:] = gradients[t]
        optimizer.step()
        step = sum(0.8 ** (t - i) * gradients[i] for i in range(t + 1))
        np.testing.assert_allclose(model.theta, before - 0.1 * step, rtol=1e-12, atol=1e-14)


def test_constant_gradient_ends_in_ten_times_the_step():
    points = minimise(Momentum(0.01, 0.9), np.ones_like, [0.0], 300)
    np.testing.assert_allclose(points[-1] - points[-2], -0.01 / (1 - 0.9), rtol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_forms_agree_for_constant_lr(nesterov):
    paths = [
        minimise(Momentum(lr, 0.9, form, nesterov), bowl, START, 100)
        for form, lr in (("grad_sum", 0.05), ("velocity", 0.05), ("ema", 0.05 / (1 - 0.9)))
    ]
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(paths[2], paths[0], rtol=1e-9, atol=1e-12)


def test_the_forms_differ_when_lr_changes():
    def halves(step):
        return 0.05 if step < 5 else 0.025

    forms = ("grad_sum", "velocity")
    sums, velocities = (minimise(Momentum(halves, 0.9, form), bowl, START, 10) for form in forms)
    np.testing.assert_allclose(sums[:6], velocities[:6], rtol=1e-12)
    assert np.abs(sums[10] - velocities[10]).max() > 0.01


def test_nesterov_visits_the_look_ahead_points():
    """u_t = beta u_t-1 + g(w_t - lr beta u_t-1), w_t+1 = w_t - lr u_t; theta looks ahead (S3.2)."""
    lr, beta = 0.1, 0.9
    w, u, expected = START.copy(), np.zeros(5), []
    for _ in range(31):
        expected.append(w - lr * beta * u)
        u = beta * u + bowl(w - lr * beta * u)
        w = w - lr * u
    points = minimise(Momentum(lr, beta, nesterov=True), bowl, START, 30)
    np.testing.assert_allclose(points, expected, rtol=1e-10, atol=1e-13)


def test_nesterov_oscillates_less():
    steep = minimise(Momentum(0.1, 0.9), bowl, START, 60)[:, 4]
    braked = minimise(Momentum(0.1, 0.9, nesterov=True), bowl, START, 60)[:, 4]
    assert np.abs(braked[20:]).max() < 0.5 * np.abs(steep[20:]).max()


def test_nesterov_converges_where_its_form_without_lr_does_not():
    """Looking ahead by beta u instead of lr beta u blows up for lambda > 1 + 1 / beta (S3.2)."""
    points = minimise(Momentum(0.01, 0.9, nesterov=True), lambda w: 5.0 * w, [1.0], 2000)
    assert abs(points[-1, 0]) < 1e-6


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 1.5, np.nan, "x"])
def test_wrong_momentum_is_refused(momentum):
    with pytest.raises(ValueError, match=r"momentum: expected a number in \[0, 1\). Received"):
        SGD(0.1, momentum)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"form: expected one of 'grad_sum', .* Received: 'sum'"):
        SGD(0.1, 0.9, form="sum")
    with pytest.raises(ValueError, match="nesterov=True: expected momentum above 0"):
        SGD(0.1, nesterov=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.01}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True},
     {"momentum": 0.5, "weight_decay": 0.1}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.02}],
)  # fmt: skip
def test_equals_pytorch(options, dtype):
    torch = pytest.importorskip("torch")
    gradients = np.random.default_rng(1).normal(size=(200, 50)).astype(dtype)
    start = np.random.default_rng(2).normal(size=50).astype(dtype)
    model = vector(start, dtype)
    ours = SGD(0.05, **options).bind(model)
    theirs_w = torch.nn.Parameter(torch.tensor(start))
    theirs = torch.optim.SGD([theirs_w], 0.05, **options)
    for g in gradients:
        model.grad[:] = g
        ours.step()
        theirs_w.grad = torch.tensor(g)
        theirs.step()
    tolerance = {"float32": 2e-6, "float64": 1e-12}[dtype] * np.abs(start).max()
    np.testing.assert_allclose(model.theta, theirs_w.detach().numpy(), rtol=tolerance, atol=tolerance)
