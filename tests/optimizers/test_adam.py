"""Adam and AdamW against formulas, exact numbers and PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.optimizers import SGD, Adam


def vector(values, dtype="float64"):
    """A model that is nothing but a vector of parameters."""
    values = np.asarray(values, dtype)
    model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(values.size,), dtype=dtype)
    model.theta[:] = values
    return model


def path(optimizer, gradients, start, dtype="float64"):
    """The points visited under the given gradients, (n_steps + 1, n)."""
    model = vector(start, dtype)
    optimizer.bind(model)
    points = [model.theta.copy()]
    for g in gradients:
        model.grad[:] = g
        optimizer.step()
        points.append(model.theta.copy())
    return np.array(points)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_the_first_step_is_lr_long(size):
    points = path(Adam(0.1, eps=1e-12), [[size, -size]], [0.0, 0.0])
    np.testing.assert_allclose(points[1], [-0.1, 0.1], rtol=1e-5)


def test_without_correction_the_first_steps_are_longer():
    """(1 - beta1^t) / sqrt(1 - beta2^t) times: 3.16 at t = 1, at most 6.57 at t = 12 (the notes, S3.8)."""
    ones = np.ones((30, 1))
    steps = [
        np.diff(path(Adam(1e-3, eps=0, bias_correction=correction), ones, [0.0])[:, 0])
        for correction in (False, True)
    ]
    ratio = steps[0] / steps[1]
    t = np.arange(1, 31)
    np.testing.assert_allclose(ratio, (1 - 0.9**t) / np.sqrt(1 - 0.999**t), rtol=1e-9)
    assert ratio.argmax() == 11
    assert round(ratio[0], 2) == 3.16
    assert round(ratio[11], 2) == 6.57


def test_where_eps_stands_matters_for_tiny_gradients():
    """g = 1e-6, lr = 0.1: a step of .0990 outside the root, .0010 inside (S3.8)."""
    outside, inside = (
        -path(Adam(0.1, eps_mode=mode), [[1e-6]], [0.0])[1, 0] for mode in ("outside", "inside")
    )
    assert round(outside, 4) == 0.0990
    assert round(inside, 4) == 0.0010


def test_without_eps_both_modes_are_the_same():
    gradients = np.random.default_rng(0).normal(size=(20, 4))
    a, b = (path(Adam(eps=0, eps_mode=mode), gradients, np.ones(4)) for mode in ("outside", "inside"))
    assert a.tobytes() == b.tobytes()


def test_the_papers_algorithm():
    """Algorithm 1 of Kingma & Ba, line by line."""
    gradients = np.random.default_rng(3).normal(size=(50, 6))
    w, m, v = np.ones(6), np.zeros(6), np.zeros(6)
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + (1 - 0.9) * g
        v = 0.999 * v + (1 - 0.999) * g**2
        w = w - 1e-2 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(path(Adam(1e-2), gradients, np.ones(6))[-1], w, rtol=1e-12)


def test_decoupled_decay_is_a_power():
    """Without a gradient w_t = (1 - lr weight_decay)^t w_0 (S4.4)."""
    points = path(Adam(0.1, weight_decay=0.2, decoupled=True), np.zeros((40, 3)), [1.0, -2.0, 3.0])
    np.testing.assert_allclose(points[-1], 0.98**40 * np.array([1.0, -2.0, 3.0]), rtol=1e-12)


def test_l2_and_decoupled_decay_differ():
    """For plain SGD they are the same; Adam divides the L2 term by sqrt(v^) too."""
    gradients = np.random.default_rng(0).normal(size=(30, 3))
    l2 = path(SGD(0.1, weight_decay=0.1), gradients, np.ones(3))[-1]
    w = np.ones(3)
    for g in gradients:
        w = (1 - 0.1 * 0.1) * w - 0.1 * g
    np.testing.assert_allclose(l2, w, rtol=1e-12)
    adams = [path(Adam(0.1, weight_decay=0.1, decoupled=d), gradients, np.ones(3))[-1] for d in (False, True)]
    assert np.abs(adams[0] - adams[1]).max() > 0.01


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (np.nan, 0.9), ("a", 0.9)])
def test_wrong_betas_are_refused(betas):
    with pytest.raises(ValueError, match=r"Adam: betas: expected a number in \[0, 1\). Received"):
        Adam(betas=betas)


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999)])
def test_betas_are_two(betas):
    with pytest.raises(ValueError, match="Adam: betas: expected two numbers"):
        Adam(betas=betas)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"eps: expected a finite number of at least 0. Received: -1"):
        Adam(eps=-1)
    with pytest.raises(ValueError, match=r"eps_mode: expected .*, 'inside'. Received: 'middle'"):
        Adam(eps_mode="middle")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("Adam", {}, {}),
        ("Adam", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
        ("Adam", {"betas": (0.5, 0.9), "eps": 1e-3}, {"betas": (0.5, 0.9), "eps": 1e-3}),
        ("AdamW", {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True}),
    ],
)
def test_equals_pytorch(name, theirs, ours, dtype):
    torch = pytest.importorskip("torch")
    gradients = np.random.default_rng(1).normal(size=(200, 50)).astype(dtype)
    start = np.random.default_rng(2).normal(size=50).astype(dtype)
    points = path(Adam(0.01, **ours), gradients, start, dtype)
    w = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, name)([w], 0.01, **theirs)
    for g in gradients:
        w.grad = torch.tensor(g)
        optimizer.step()
    tolerance = {"float32": 2e-6, "float64": 1e-12}[dtype] * np.abs(start).max()
    np.testing.assert_allclose(points[-1], w.detach().numpy(), rtol=tolerance, atol=tolerance)
