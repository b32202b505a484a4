"""Line searches: identities on quadratics, guarantees, and what a Trainer gives them."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.errors import NonFiniteError
from fastnn.optimizers import ArmijoLineSearch, LineSearch
from fastnn.optimizers.line_search import loss_again

H = np.array([[3.0, 1.0], [1.0, 2.0]])


class Quadratic:
    """1/2 w.Hw with its gradient in a model, and the number of times its loss was asked for."""

    def __init__(self, optimizer, start=(2.0, -1.0)):
        self.model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(2,), dtype="float64")
        self.model.theta[:] = start
        self.optimizer, self.n_calls = optimizer.bind(self.model), 0

    def loss(self):
        self.n_calls += 1
        return 0.5 * self.model.theta @ H @ self.model.theta

    def step(self):
        g = self.model.grad[:] = H @ self.model.theta
        self.optimizer.step(self.loss)
        return g.copy()


def test_the_exact_step_of_a_quadratic_wins():
    """lr = g.g / g.Hg, and the next gradient is orthogonal to this one (S3.3)."""
    w = np.array([2.0, -1.0])
    g = H @ w
    exact = g @ g / (g @ H @ g)
    q = Quadratic(LineSearch([0.5 * exact, 0.9 * exact, exact, 1.1 * exact, 2 * exact]))
    q.step()
    assert q.optimizer.last_lr == exact == q.optimizer.current_lr()
    np.testing.assert_allclose(q.model.theta, w - exact * g, rtol=1e-15)
    assert abs(g @ (H @ q.model.theta)) < 1e-13


def test_the_best_of_a_list():
    q = Quadratic(LineSearch((0.0, 0.1, 0.4, 1.0)))
    w = q.model.theta.copy()
    for _ in range(10):
        g = H @ w
        points = [w - lr * g for lr in (0.0, 0.1, 0.4, 1.0)]
        losses = [0.5 * p @ H @ p for p in points]
        w = points[int(np.argmin(losses))]
        q.step()
        np.testing.assert_allclose(q.model.theta, w, rtol=1e-14, atol=1e-15)
    assert q.n_calls == 40 and q.optimizer.n_steps == 10


def test_with_zero_among_the_candidates_the_loss_never_rises():
    q = Quadratic(LineSearch((0.0, 5.0, 10.0)))
    before = q.model.theta.copy()
    q.step()
    assert q.optimizer.last_lr == 0 and (q.model.theta == before).all()
    q = Quadratic(LineSearch())
    losses = [q.loss()]
    for _ in range(50):
        q.step()
        losses.append(q.loss())
    assert (np.diff(losses) <= 0).all() and losses[-1] < 1e-6


def test_of_equal_losses_the_first_wins_and_infinite_ones_lose():
    model = Quadratic(LineSearch((0.3, 0.2, 0.1))).model
    for losses, expected in (
        ([1.0, 1.0, 1.0], 0.3), ([np.nan, 1.0, 1.0], 0.2), ([-np.inf, np.inf, 5.0], 0.1),
    ):  # fmt: skip
        optimizer = LineSearch((0.3, 0.2, 0.1)).bind(model)
        optimizer.step(iter(losses).__next__)
        assert optimizer.last_lr == expected


@pytest.mark.parametrize("lr", [0.01, 1.0, 100.0])
def test_armijos_inequality(lr):
    """L(w - lr g) <= L(w) - c1 lr g.g, and the rate before the last did not fulfil it."""
    q = Quadratic(ArmijoLineSearch(lr))
    for _ in range(20):
        w = q.model.theta.copy()
        loss = q.loss()
        g = q.step()
        rate = q.optimizer.last_lr
        assert q.loss() <= loss - 1e-4 * rate * (g @ g)
        assert rate == lr * 0.5 ** round(np.log2(lr / rate))
        if rate < lr:
            p = w - 2 * rate * g
            assert 0.5 * p @ H @ p > loss - 1e-4 * 2 * rate * (g @ g)


def test_backtracking_counts_its_trials():
    """Curvature 1, lr = 8: the loss falls by enough once lr < 2 - 2 c1, after 8, 4 and 2."""
    model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(1,), dtype="float64")
    model.theta[:] = model.grad[:] = 1.0
    optimizer, asked = ArmijoLineSearch(8.0).bind(model), []

    def loss():
        asked.append(float(model.theta[0]))
        return 0.5 * asked[-1] ** 2

    optimizer.step(loss)
    assert asked == [1.0, -7.0, -3.0, -1.0, 0.0]
    assert optimizer.last_lr == 1.0


def test_a_wrong_gradient_ends_the_search_where_it_began():
    q = Quadratic(ArmijoLineSearch(1.0, max_trials=5))
    before = q.model.theta.copy()
    q.model.grad[:] = -(H @ before)
    q.optimizer.step(q.loss)
    assert (q.model.theta == before).all()
    assert q.optimizer.last_lr == 0 and q.n_calls == 6


@pytest.mark.parametrize("optimizer", [LineSearch((0.1, 0.2)), ArmijoLineSearch()])
def test_without_a_finite_loss_nothing_moves(optimizer):
    q = Quadratic(optimizer)
    before = q.model.theta.copy()
    with pytest.raises(NonFiniteError, match=r"LineSearch: .*expected a finite loss.*Received"):
        optimizer.step(lambda: np.nan)
    assert (q.model.theta == before).all() and optimizer.n_steps == 0


def test_an_error_of_the_closure_puts_theta_back():
    def loss():
        raise KeyError("x")

    q = Quadratic(LineSearch((0.5,)))
    before = q.model.theta.copy()
    q.model.grad[:] = 1
    with pytest.raises(KeyError):
        q.optimizer.step(loss)
    assert (q.model.theta == before).all()


def test_a_schedule_is_the_first_rate():
    q = Quadratic(ArmijoLineSearch(lambda step: 0.01 / (1 + step)))
    for t in range(3):
        q.step()
        assert q.optimizer.last_lr == 0.01 / (1 + t)


@pytest.mark.parametrize(
    ("make", "tried"),
    [
        (lambda: LineSearch((0.1, 0.4, 1.0)), [0.025, 0.1, 0.25]),
        (lambda: ArmijoLineSearch(100.0), [0.0, *(25.0 * 0.5**k for k in range(7))]),
        (lambda: ArmijoLineSearch(lambda step: 100.0), [0.0, *(25.0 * 0.5**k for k in range(7))]),
    ],
)
def test_lr_scale_multiplies_what_is_tried(make, tried):
    q = Quadratic(make())
    w, points = q.model.theta.copy(), []
    g = q.model.grad[:] = H @ w
    q.optimizer.lr_scale = 0.25

    def loss():
        points.append(q.model.theta.copy())
        return q.loss()

    q.optimizer.step(loss)
    np.testing.assert_allclose(points, [w - lr * g for lr in tried], rtol=1e-14, atol=1e-14)
    assert q.optimizer.last_lr == q.optimizer.current_lr() in tried
    q.optimizer.lr_scale = 0.125
    assert q.optimizer.current_lr() == q.optimizer.last_lr / 2


def test_a_plateau_lowers_the_rates_of_a_search():
    """`min_lr` holds the rate of the last step, and so what comes."""
    model, (x, y) = network(), batch()
    optimizer = LineSearch((0.0, 0.01))
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), optimizer)
    plateau = nn.training.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=1e9, min_lr=2e-3)
    history = trainer.fit(x, y, epochs=6, batch_size=30, verbose=False, callbacks=[plateau])
    assert history["lr"] == pytest.approx([0.01, 0.01, 0.005, 0.0025, 0.002, 0.002], rel=1e-12)


def test_wrong_arguments_are_refused():
    for wrong in (0.1, (), "abc"):
        with pytest.raises(ValueError, match=r"LineSearch: candidates: expected .*Received: "):
            LineSearch(wrong)
    with pytest.raises(ValueError, match=r"LineSearch: candidates: expected a number in .*Received: -1"):
        LineSearch((0.1, -1))
    for name in ("c1", "shrink"):
        for wrong in (0, 1, -0.5, "a"):
            with pytest.raises(ValueError, match=rf"ArmijoLineSearch: {name}: expected .*Received: "):
                ArmijoLineSearch(**{name: wrong})
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match="ArmijoLineSearch: max_trials: expected an integer"):
            ArmijoLineSearch(max_trials=wrong)
    for optimizer in (LineSearch(), ArmijoLineSearch()):
        with pytest.raises(TypeError, match=r"closure: expected a function .*Received: None; a Trainer"):
            Quadratic(optimizer).optimizer.step()


# With a Trainer


def network(seed=0):
    return nn.Sequential(
        [nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.5), nn.Dense(3)],
        input_shape=(4,), seed=seed, dtype="float64",
    )  # fmt: skip


def batch(n=30):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), rng.integers(0, 3, n)


def test_the_closure_repeats_the_training_pass_without_traces():
    model, loss, (x, y) = network(), nn.SoftmaxCrossEntropy(), batch()
    first = loss.forward(model.forward(x, True), y)
    buffers = {name: array.copy() for name, array in model.buffers.items()}
    gradient, step = loss.backward().copy(), model.workspace.step
    again = loss_again(model, loss, x, y)
    assert again() == again() == first  # the same dropout masks
    assert model.workspace.step == step
    assert all((model.buffers[name] == array).all() for name, array in buffers.items())
    assert (loss.backward() == gradient).all()
    model.theta[:] += 0.1
    assert again() != first


@pytest.mark.parametrize("optimizer", [LineSearch(), ArmijoLineSearch()])
def test_training(optimizer):
    """The loss of the batch after each step is not above the one before, with the same dropout masks."""
    model, loss, (x, y) = network(), nn.SoftmaxCrossEntropy(), batch()
    trainer = nn.Trainer(model, loss, optimizer)
    losses = []
    for _ in range(30):
        losses.append(trainer.train_step(x, y))
        assert loss_again(model, loss, x, y)() <= losses[-1]
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    history = trainer.fit(x, y, epochs=2, verbose=False)
    assert history["lr"][-1] == optimizer.last_lr
