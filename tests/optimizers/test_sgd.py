"""SGD and its momentum against formulas and PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.optimizers import NAG, SGD, Momentum


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


@pytest.mark.parametrize(("share", "ends"), [(0.99, "at 0"), (1.0, "where it began"), (1.01, "far away")])
def test_descent_diverges_above_two_over_the_curvature(share, ends):
    """w_t = (1 - lr lambda)^t w_0 with lr = share * 2 / lambda (S2.14)."""
    points = minimise(SGD(share * 2 / 5.0), lambda w: 5.0 * w, [1.0], 1000)[:, 0]
    np.testing.assert_allclose(points, (1 - 2 * share) ** np.arange(1001.0), rtol=1e-9)
    size = abs(points[-1])
    assert {"at 0": size < 1e-8, "where it began": size == 1, "far away": size > 1e8}[ends]


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
    with pytest.raises(ValueError, match=r"form: expected 'grad_sum', .* Received: 'sum'"):
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


# Theory of momentum on a parabola


@pytest.mark.parametrize(("lr", "beta"), [(0.1, 0.9), (0.5, 0.5), (0.02, 0.99)])
def test_momentum_on_a_parabola_is_a_power_of_a_matrix(lr, beta):
    """(w, u) <- (w - lr (beta u + lambda w), beta u + lambda w); complex roots are sqrt(beta) long (S3.1)."""
    points = minimise(Momentum(lr, beta), bowl, START, 40)
    for curvature, start, w in zip(CURVATURES, START, points[-1]):
        matrix = np.array([[1 - lr * curvature, -lr * beta], [curvature, beta]])
        expected = np.linalg.matrix_power(matrix, 40) @ [start, 0.0]
        assert w == pytest.approx(expected[0], rel=1e-9, abs=1e-12)
        roots = np.linalg.eigvals(matrix)
        if np.iscomplex(roots).all():
            np.testing.assert_allclose(np.abs(roots), np.sqrt(beta), rtol=1e-12)


# Schedules of the momentum


@pytest.mark.parametrize("form", ["grad_sum", "velocity", "ema"])
def test_momentum_by_a_schedule(form):
    """beta_t = 1 - 1 / (2 (t / 2 + 1)): 0.5, 0.5, 0.75, 0.75, ... as in Sutskever et al. 2013, period 2."""

    def schedule(t):
        return 1 - 1 / (2 * (t // 2 + 1))

    optimizer = Momentum(0.05, schedule, form)
    points = minimise(optimizer, bowl, START, 10)
    w, u = START.copy(), np.zeros(5)
    for t in range(10):
        beta, g = schedule(t), bowl(w)
        u = beta * u + {"grad_sum": 1, "velocity": 0.05, "ema": 1 - beta}[form] * g
        w = w - (1 if form == "velocity" else 0.05) * u
    np.testing.assert_allclose(points[-1], w, rtol=1e-12)
    assert optimizer.current_momentum() == schedule(10)
    assert "momentum" not in optimizer.config()


@pytest.mark.parametrize("cls", [SGD, Momentum, NAG])
def test_a_wrong_momentum_of_a_schedule_is_refused(cls):
    model = vector([1.0])
    optimizer = cls(0.1, lambda t: 1.0).bind(model)
    model.grad[:] = 1
    with pytest.raises(ValueError, match=r"momentum: expected a number in \[0, 1\) from the schedule"):
        optimizer.step()
    assert model.theta[0] == 1 and optimizer.n_steps == 0


# NAG


def looking_ahead(optimizer, gradient, start, n_steps):
    """The points after each step, and the look-ahead points at which the gradient was asked for."""
    model = vector(start)
    optimizer.bind(model)
    points, ahead = [], []
    for _ in range(n_steps):
        points.append(model.theta.copy())
        optimizer.pre_step()
        ahead.append(model.theta.copy())
        model.grad[:] = gradient(model.theta)
        optimizer.step()
    return np.array(points), np.array(ahead)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_look_ahead_is_nesterovs_formula(decay):
    """w' = w - lr beta u, u <- beta u + g(w'), w <- w - lr u (S3.2)."""
    points, ahead = looking_ahead(NAG(0.1, weight_decay=decay), bowl, START, 30)
    w, u = START.copy(), np.zeros(5)
    for t in range(30):
        np.testing.assert_allclose(points[t], w, rtol=1e-10, atol=1e-13)
        there = w - 0.1 * 0.9 * u
        np.testing.assert_allclose(ahead[t], there, rtol=1e-10, atol=1e-13)
        u = 0.9 * u + bowl(there) + decay * there
        w = w - 0.1 * u


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_look_ahead_points_are_the_shifted_form(decay):
    """Both forms ask for the gradient at the same points."""
    _, ahead = looking_ahead(NAG(0.1, 0.9, weight_decay=decay), bowl, START, 31)
    shifted = minimise(NAG(0.1, 0.9, "shifted", weight_decay=decay), bowl, START, 30)
    np.testing.assert_allclose(ahead, shifted, rtol=1e-10, atol=1e-13)
    nesterov = minimise(Momentum(0.1, 0.9, nesterov=True, weight_decay=decay), bowl, START, 30)
    assert shifted.tobytes() == nesterov.tobytes()


def test_look_ahead_is_exact_when_rates_change():
    def rate(t):
        return 0.1 / (1 + t)

    def beta(t):
        return 0.9 - 0.5 / (1 + t)

    points, _ = looking_ahead(NAG(rate, beta), bowl, START, 20)
    w, u = START.copy(), np.zeros(5)
    for t in range(20):
        np.testing.assert_allclose(points[t], w, rtol=1e-10, atol=1e-13)
        u = beta(t) * u + bowl(w - rate(t) * beta(t) * u)
        w = w - rate(t) * u


@pytest.mark.parametrize("curvature", [2.05, 2.2, 5.0])
def test_look_ahead_converges_at_any_curvature(curvature):
    """Looking ahead by beta u, without lr, diverges above 1 + 1 / beta = 2.11, however small lr is."""
    points, _ = looking_ahead(NAG(0.01), lambda w: curvature * w, [1.0], 1500)
    assert abs(points[-1, 0]) < 1e-4
    w, u = 1.0, 0.0
    for _ in range(1500):
        u = 0.9 * u + curvature * (w - 0.9 * u)
        w = w - 0.01 * u
        if abs(w) > 1e3:
            break
    assert (abs(w) > 1e3) == (curvature > 1 + 1 / 0.9)


def test_pre_step_can_be_undone_and_repeated():
    model = vector(START)
    optimizer = NAG(0.1).bind(model)
    for _ in range(3):
        optimizer.pre_step()
        model.grad[:] = bowl(model.theta)
        optimizer.step()
    before = model.theta.copy()
    optimizer.pre_step()
    ahead = model.theta.copy()
    assert (ahead != before).all()
    optimizer.pre_step()  # not twice as far
    assert model.theta.tobytes() == ahead.tobytes()
    optimizer.undo_pre_step()
    assert model.theta.tobytes() == before.tobytes()
    optimizer.undo_pre_step()
    assert model.theta.tobytes() == before.tobytes()


def test_a_step_without_look_ahead_is_refused():
    model = vector(START)
    optimizer = NAG(0.1)
    with pytest.raises(RuntimeError, match=r"NAG: expected a model. Call bind"):
        optimizer.pre_step()
    optimizer.bind(model)
    model.grad[:] = bowl(model.theta)
    optimizer.step()  # the first velocity is 0: w is its own look-ahead point
    before = model.theta.copy()
    with pytest.raises(RuntimeError, match=r"NAG: step: expected .*Received: no pre_step\(\).*'shifted'"):
        optimizer.step()
    assert (model.theta == before).all()


def test_wrong_arguments_of_nag_are_refused():
    with pytest.raises(ValueError, match=r"NAG: momentum: expected a number in \[0, 1\). Received: 1"):
        NAG(0.1, 1)
    with pytest.raises(ValueError, match=r"NAG: form: expected 'lookahead' or 'shifted'. Received: 'x'"):
        NAG(0.1, form="x")


def classification():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4))
    return x, (x[:, 0] > 0).astype(np.int64)


@pytest.mark.parametrize("input_shape", [(4,), None])
def test_a_trainer_looks_ahead(input_shape):
    """Gradients are those of the look-ahead points; between steps theta is w."""
    x, y = classification()
    layers = [nn.Dense(6, activation="tanh"), nn.Dense(2)]
    model = nn.Sequential(layers, input_shape=input_shape, seed=0, dtype="float64")
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), NAG(0.5))
    other = nn.Sequential(
        [nn.Dense(6, activation="tanh"), nn.Dense(2)], input_shape=(4,), seed=0, dtype="float64"
    )
    loss, w, u = nn.SoftmaxCrossEntropy(), other.theta.copy(), 0.0
    for _ in range(10):
        received = trainer.train_step(x, y)
        other.theta[:] = w - 0.5 * 0.9 * u
        expected = loss.forward(other.forward(x, True), y)
        other.zero_grad()
        other.backward(loss.backward())
        u = 0.9 * u + other.grad
        w = w - 0.5 * u
        assert received == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(model.theta, w, rtol=1e-8, atol=1e-10)


def test_a_step_that_fails_puts_theta_back():
    """Bit for bit, whether the loss is not finite or the data do not fit."""
    x, y = classification()
    model = nn.Sequential([nn.Dense(2)], input_shape=(4,), seed=0, dtype="float64")
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), NAG(0.5))
    for _ in range(3):
        trainer.train_step(x, y)
    before = model.theta.copy()
    for wrong, error in ((np.full_like(x, np.nan), nn.NonFiniteError), (x[:, :3], nn.ShapeError)):
        with pytest.raises(error):
            trainer.train_step(wrong, y)
        assert model.theta.tobytes() == before.tobytes()
    trainer.train_step(x, y)
    assert trainer.optimizer.n_steps == 4
