"""Paths: each is what the formula says, for every kind of optimizer."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import optimizers
from fastnn.theory import descend, effective_rates, surfaces

VALLEY = surfaces.valley(20)


def test_plain_descent_on_a_quadratic():
    """w_t = (1 - lr eigenvalue)^t w_0 (S2.14)."""
    path = descend(nn.SGD(lr=0.04), VALLEY, (3, 1), steps=30)
    assert path.shape == (31, 2) and path.dtype == np.float64
    t = np.arange(31)[:, None]
    np.testing.assert_allclose(path, (1 - 0.04 * np.array([1, 20])) ** t * (3, 1), rtol=1e-13)


@pytest.mark.parametrize(("lr", "steps"), [(0.01, 698), (0.1, 76)])
def test_steps_to_leave_the_saddle(lr, steps):
    """log(1e6) / log(1 + 2 lr), rounded up (S4.5)."""
    path = descend(nn.SGD(lr=lr), surfaces.saddle(), steps=steps)
    assert abs(path[-2, 1]) < 1 <= abs(path[-1, 1])


def test_a_cyclical_rate_leaves_it_in_between():
    lr = nn.schedules.triangular(0.01, 0.1, half_period=20)
    path = descend(nn.SGD(lr=lr), surfaces.saddle(), steps=698)
    assert 76 < np.argmax(np.abs(path[:, 1]) >= 1) < 698


def momentum_by_hand(lr, beta, steps, lookahead):
    w, u, path = np.array([3.0, 1.0]), np.zeros(2), [[3.0, 1.0]]
    for _ in range(steps):
        u = VALLEY.gradient(w - lr * beta * u if lookahead else w) + beta * u
        w = w - lr * u
        path.append(w)
    return np.array(path)


def test_momentum_and_the_look_ahead():
    for optimizer, lookahead in ((nn.Momentum(lr=0.02), False), (nn.NAG(lr=0.02), True)):
        path, hand = descend(optimizer, VALLEY, (3, 1), steps=60), momentum_by_hand(0.02, 0.9, 60, lookahead)
        np.testing.assert_allclose(path, hand, rtol=1e-10, atol=1e-13)


def test_looking_ahead_swings_less():
    """NAG turns against the velocity before it overshoots (S3.2): less way across the valley."""
    across = [
        np.abs(np.diff(descend(make(lr=0.02), VALLEY, (3, 1), steps=100)[:, 1])).sum()
        for make in (nn.Momentum, nn.NAG)
    ]
    assert across[1] < 0.6 * across[0]


def test_line_searches_ask_for_the_loss_elsewhere():
    path = descend(nn.LineSearch(candidates=(0, 0.02, 0.05, 0.1)), VALLEY, (3, 1), steps=20)
    w = path[0]
    for point in path[1:]:
        tries = [w - lr * VALLEY.gradient(w) for lr in (0, 0.02, 0.05, 0.1)]
        w = min(tries, key=VALLEY)
        np.testing.assert_allclose(point, w, rtol=1e-12, atol=1e-15)
    losses = VALLEY(descend(nn.ArmijoLineSearch(), VALLEY, (3, 1), steps=50))
    assert (np.diff(losses) < 0).all()


def test_gathered_gradients_are_those_of_every_point():
    """Two calls make one step, with the mean of two gradients at the same place."""
    path = descend(nn.SGD(lr=0.04, accumulate_steps=2), VALLEY, (3, 1), steps=8)
    np.testing.assert_array_equal(path[::2], descend(nn.SGD(lr=0.04), VALLEY, (3, 1), steps=4))
    np.testing.assert_array_equal(path[1::2], path[:-1:2])


@pytest.mark.parametrize("name", sorted(set(optimizers.__all__) - {"Optimizer"}))
def test_every_optimizer_has_a_path_and_goes_down(name):
    optimizer = getattr(optimizers, name)(**({"lr": 0.01} if name in ("SGD", "Momentum", "NAG") else {}))
    first, second = (descend(optimizer, surfaces.bowl(), steps=200) for _ in range(2))
    np.testing.assert_array_equal(first, second)  # the optimizer given is left alone
    assert optimizer.model is None and optimizer.n_steps == 0
    losses = surfaces.bowl()(first)
    assert losses[-1] < losses[0]


def test_a_path_that_diverges_ends_in_nan():
    path = descend(nn.SGD(lr=0.01), surfaces.rosenbrock(), (-2, 3), steps=50)
    finite = np.isfinite(path).all(axis=1)
    assert finite[0] and not finite[-1] and (np.diff(finite.astype(int)) <= 0).all()
    descend(nn.ArmijoLineSearch(), surfaces.monkey_saddle(), steps=400)  # falls for ever


def test_no_step_is_the_start():
    np.testing.assert_array_equal(descend(nn.SGD(lr=1), surfaces.beale(), steps=0), [surfaces.beale().start])


def test_effective_rates():
    bowl = surfaces.bowl()
    path = descend(nn.AdaGrad(lr=0.5, eps=0), bowl, (2, 1), steps=12)
    v = np.cumsum(bowl.gradient(path[:-1]) ** 2, axis=0)
    np.testing.assert_allclose(effective_rates(path, bowl), 0.5 / np.sqrt(v), rtol=1e-9)
    assert (np.diff(effective_rates(path, bowl), axis=0) < 0).all()
    assert np.isnan(effective_rates([[1, 0], [0.5, 0]], bowl)[0, 1])


@pytest.mark.parametrize("steps", [-1, 1.5, True, None])
def test_wrong_steps(steps):
    with pytest.raises(ValueError, match=r"^descend: steps: expected an integer of at least 0\. Received: "):
        descend(nn.SGD(lr=1), surfaces.bowl(), steps=steps)


def test_a_bound_optimizer_is_refused():
    model = nn.Sequential([nn.Dense(1)], input_shape=(2,))
    with pytest.raises(ValueError, match="make an optimizer for each model"):
        descend(nn.SGD(lr=1).bind(model), surfaces.bowl())
