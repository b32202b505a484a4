"""AdaGrad, RMSProp and AdaDelta against formulas and exact numbers; test_parity.py has PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.optimizers import AdaDelta, AdaGrad, MaxProp, RMSProp


def vector(values, dtype="float64"):
    """A model that is nothing but a vector of parameters."""
    values = np.asarray(values, dtype)
    model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(values.size,), dtype=dtype)
    model.theta[:] = values
    return model


def path(optimizer, gradients, start):
    """The points visited under gradients, given as an array (n_steps, n), (n_steps + 1, n)."""
    model = vector(start)
    optimizer.bind(model)
    points = [model.theta.copy()]
    for g in gradients:
        model.grad[:] = g(model.theta) if callable(g) else g
        optimizer.step()
        points.append(model.theta.copy())
    return np.array(points)


RANDOM = np.random.default_rng(0).normal(size=(50, 4))


# AdaGrad


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_adagrads_steps_fall_with_the_root_of_time(size):
    """Under a constant gradient step t is lr / sqrt(t); T steps cover about 2 lr sqrt(T) (S3.5)."""
    points = path(AdaGrad(0.1, eps=0), np.full((1000, 1), size), [0.0])[:, 0]
    np.testing.assert_allclose(-np.diff(points), 0.1 / np.sqrt(np.arange(1, 1001)), rtol=1e-10)
    assert -points[-1] == pytest.approx(2 * 0.1 * np.sqrt(1000), rel=0.03)


def test_adagrad_by_the_formula():
    for mode in ("outside", "inside"):
        w, v = np.ones(4), np.full(4, 0.1)
        for g in RANDOM:
            v = v + g**2
            w = w - 0.1 * g / (np.sqrt(v) + 1e-2 if mode == "outside" else np.sqrt(v + 1e-2))
        points = path(AdaGrad(0.1, 1e-2, mode, initial_accumulator=0.1), RANDOM, np.ones(4))
        np.testing.assert_allclose(points[-1], w, rtol=1e-12)


@pytest.mark.parametrize("make", [lambda: AdaGrad(0.1, eps=0), lambda: RMSProp(0.1, eps=0)])
def test_the_size_of_the_gradients_does_not_matter(make):
    np.testing.assert_allclose(
        path(make(), 1024 * RANDOM, np.ones(4)), path(make(), RANDOM, np.ones(4)), rtol=1e-12
    )


@pytest.mark.parametrize("make", [AdaGrad, RMSProp, MaxProp])
def test_a_rare_feature_is_served_better(make):
    """y = x1 + x2, x2 in every 20th sample only: after equal steps its weight is closer (S3.4).

    Its gradient is not small but exactly 0 on all other samples.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    x[np.arange(400) % 20 != 0, 1] = 0
    gradients = [lambda w, s=s: s * (s @ (w - 1.0)) for s in x]
    assert all(gradients[i](np.zeros(2))[1] == 0 for i in range(400) if i % 20)
    adaptive = make(0.2 if make is AdaGrad else 0.05)
    plain, adapted = (path(o, gradients, [0.0, 0.0])[-1] for o in (nn.SGD(0.02), adaptive))
    assert abs(adapted[1] - 1) < 0.5 * abs(plain[1] - 1)


# RMSProp


@pytest.mark.parametrize("lr", [0.1, 0.01])
def test_rmsprop_ends_in_a_cycle_of_half_its_rate(lr):
    """On 1/2 w^2 it jumps between +lr/2 and -lr/2 for ever (S3.6), with eps between +-(lr/2 - eps)."""
    for eps in (0, 1e-4):
        points = path(RMSProp(lr, eps=eps), [lambda w: w] * 3000, [1.0])[-4:, 0]
        np.testing.assert_allclose(np.abs(points), lr / 2 - eps, rtol=1e-12)
        assert (points[:-1] * points[1:] < 0).all()


@pytest.mark.parametrize("start", [0.3, -1.0, 7.0])
def test_the_cycle_does_not_depend_on_where_it_began(start):
    """Only on the rate."""
    points = path(RMSProp(0.1, eps=0), [lambda w: w] * 3000, [start])[-2:, 0]
    np.testing.assert_allclose(np.sort(points), [-0.05, 0.05], rtol=1e-12)


def test_where_gradients_vanish_the_rate_rises():
    """To lr / eps, or lr / sqrt(eps) inside the root; it does not become constant."""
    gradients = [[1.0]] + [[0.0]] * 2000 + [[1e-9]]
    for mode, highest in (("outside", 0.1 / 1e-4), ("inside", 0.1 / 1e-2)):
        points = path(RMSProp(0.1, eps=1e-4, eps_mode=mode), gradients, [0.0])[:, 0]
        assert (points[-2] - points[-1]) / 1e-9 == pytest.approx(highest, rel=1e-4)


def test_a_falling_rate_ends_the_cycle():
    points = path(RMSProp(lambda t: 0.1 / (1 + 0.01 * t)), [lambda w: w] * 3000, [1.0])
    assert abs(points[-1, 0]) < 0.1 / 2 / 25


def test_rmsprop_unrolled():
    """v_t = (1 - rho) sum rho^(t - i) g_i^2."""
    optimizer = RMSProp(0.1, 0.8)
    path(optimizer, RANDOM, np.ones(4))
    v = optimizer.state_dict()["v.dense1.weight"].ravel()
    powers = 0.8 ** np.arange(49, -1, -1)
    np.testing.assert_allclose(v, 0.2 * powers @ RANDOM**2, rtol=1e-12)


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_under_a_constant_gradient_the_step_becomes_the_rate(size):
    steps = -np.diff(path(RMSProp(0.1, eps=0), np.full((300, 1), size), [0.0])[:, 0])
    np.testing.assert_allclose(steps[0], 0.1 / np.sqrt(0.1), rtol=1e-12)
    np.testing.assert_allclose(steps[-1], 0.1, rtol=1e-9)


def test_rmsprop_by_the_formula():
    for mode in ("outside", "inside"):
        w, v, mean, u = np.ones(4), np.zeros(4), np.zeros(4), np.zeros(4)
        for g in RANDOM:
            v, mean = 0.9 * v + 0.1 * g**2, 0.9 * mean + 0.1 * g
            variance = v - mean**2
            u = 0.5 * u + g / (np.sqrt(variance) + 0.1 if mode == "outside" else np.sqrt(variance + 0.1))
            w = w - 0.1 * u
        options = {"eps": 0.1, "eps_mode": mode, "momentum": 0.5, "centered": True}
        np.testing.assert_allclose(path(RMSProp(0.1, **options), RANDOM, np.ones(4))[-1], w, rtol=1e-11)


def test_the_states_of_rmsprop():
    names = {
        (centered, momentum): RMSProp(centered=centered, momentum=momentum).state_names
        for centered in (False, True)
        for momentum in (0, 0.5)
    }
    assert names == {
        (False, 0): ("v",), (False, 0.5): ("v", "velocity"), (True, 0): ("v", "mean"),
        (True, 0.5): ("v", "mean", "velocity"),
    }  # fmt: skip


def test_rmsprops_momentum_by_a_schedule():
    optimizer = RMSProp(0.1, momentum=lambda t: 0.5 if t < 25 else 0.9)
    whole = path(optimizer, RANDOM, np.ones(4))
    np.testing.assert_array_equal(whole[:26], path(RMSProp(0.1, momentum=0.5), RANDOM[:25], np.ones(4)))
    assert np.abs(whole[-1] - path(RMSProp(0.1, momentum=0.5), RANDOM, np.ones(4))[-1]).max() > 0.01


@pytest.mark.parametrize("make", [lambda m, e: AdaGrad(0.1, e, m), lambda m, e: RMSProp(0.1, 0.9, e, m)])
def test_where_eps_stands(make):
    """The same without eps; at v = 0 eps inside is like its root outside."""
    a, b = (path(make(mode, 0.0), RANDOM, np.ones(4)) for mode in ("outside", "inside"))
    assert a.tobytes() == b.tobytes()
    tiny = np.full((1, 1), 1e-12)
    a, b = (path(make(mode, eps), tiny, [0.0])[1] for mode, eps in (("outside", 1e-4), ("inside", 1e-8)))
    np.testing.assert_allclose(a, b, rtol=1e-6)


# AdaDelta


@pytest.mark.parametrize(("rho", "expected"), [(0.95, 0.004472), (0.9, 0.003162)])
def test_adadeltas_first_step(rho, expected):
    """sqrt(eps) / sqrt((1 - rho) g^2 + eps) |g|, about sqrt(eps / (1 - rho)) (S3.7)."""
    step = -path(AdaDelta(rho=rho), [[3.0]], [0.0])[1, 0]
    assert step == pytest.approx(3 * np.sqrt(1e-6) / np.sqrt((1 - rho) * 9 + 1e-6), rel=1e-12)
    assert round(step, 6) == expected


def test_without_eps_adadelta_never_moves():
    assert (path(AdaDelta(eps=0), RANDOM, np.ones(4)) == 1).all()


def test_adadelta_by_the_formula():
    w, v, u = np.ones(4), np.zeros(4), np.zeros(4)
    for g in RANDOM:
        v = 0.95 * v + 0.05 * g**2
        d = np.sqrt(u + 1e-6) / np.sqrt(v + 1e-6) * g
        u = 0.95 * u + 0.05 * d**2
        w = w - d
    np.testing.assert_allclose(path(AdaDelta(), RANDOM, np.ones(4))[-1], w, rtol=1e-12)


def test_adadelta_hardly_feels_the_scale_of_the_loss():
    a, b = (path(AdaDelta(), scale * RANDOM, np.ones(4)) for scale in (1e3, 1e6))
    np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("rho", [-0.1, 1.0, np.nan, "a"])
def test_wrong_rho_is_refused(rho):
    for cls in (RMSProp, AdaDelta):
        with pytest.raises(ValueError, match=rf"{cls.__name__}: rho: expected a number in \[0, 1\). Rec"):
            cls(rho=rho)


def test_wrong_options_are_refused():
    for cls in (AdaGrad, RMSProp):
        with pytest.raises(ValueError, match=rf"{cls.__name__}: eps_mode: expected 'outside' or"):
            cls(eps_mode="middle")
    for cls in (AdaGrad, RMSProp, AdaDelta):
        with pytest.raises(ValueError, match=rf"{cls.__name__}: eps: expected a number in \[0, inf\)"):
            cls(eps=-1)
    with pytest.raises(ValueError, match=r"AdaGrad: initial_accumulator: expected .*Received: -1"):
        AdaGrad(initial_accumulator=-1)
    with pytest.raises(ValueError, match=r"RMSProp: momentum: expected a number in \[0, 1\). Received: 1"):
        RMSProp(momentum=1)
