"""Adam and its family against formulas and exact numbers; test_parity.py has PyTorch."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.optimizers import SGD, Adam, AdaMax, AdamW, AMSGrad, MaxProp, NAdam, RMSProp


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


def test_without_correction_steps_may_be_shorter_too():
    """Longer or shorter is a matter of the betas: shorter if 1 - beta1 < sqrt(1 - beta2)."""
    for betas, ratio in (((0.9, 0.999), 3.162), ((0.9, 0.9), 0.316), ((0.99, 0.99), 0.1)):
        first = [
            path(Adam(0.1, betas, eps=0, bias_correction=correction), [[3.0]], [0.0])[1, 0]
            for correction in (False, True)
        ]
        assert round(first[0] / first[1], 3) == ratio
        assert (ratio < 1) == (1 - betas[0] < np.sqrt(1 - betas[1]))


@pytest.mark.parametrize("make", [Adam, AdamW, AMSGrad, NAdam])
def test_where_eps_stands(make):
    """The same without eps; where v is almost 0, eps inside is like its root outside."""
    gradients = np.random.default_rng(0).normal(size=(20, 4))
    a, b = (path(make(0.1, eps=0, eps_mode=mode), gradients, np.ones(4)) for mode in ("outside", "inside"))
    assert a.tobytes() == b.tobytes()
    cases = (("outside", 1e-4), ("inside", 1e-8))
    a, b = (path(make(0.1, eps=eps, eps_mode=mode), [[1e-12]], [0.0])[1] for mode, eps in cases)
    np.testing.assert_allclose(a, b, rtol=1e-7)
    assert a[0] < 0


def test_where_eps_stands_matters_for_tiny_gradients():
    """g = 1e-6, lr = 0.1: a step of .0990 outside the root, .0010 inside (S3.8)."""
    outside, inside = (
        -path(Adam(0.1, eps_mode=mode), [[1e-6]], [0.0])[1, 0] for mode in ("outside", "inside")
    )
    assert round(outside, 4) == 0.0990
    assert round(inside, 4) == 0.0010


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
    with pytest.raises(ValueError, match=r"eps: expected a number in \[0, inf\). Received: -1"):
        Adam(eps=-1)
    with pytest.raises(ValueError, match=r"eps_mode: expected 'outside' or 'inside'. Received: 'middle'"):
        Adam(eps_mode="middle")


def test_the_expected_moment_is_the_gradients_mean():
    """E[m^] = E[g] if that is constant (S3.8), and so is E[m] after the correction: by Monte Carlo."""
    optimizer = Adam(0.0)
    path(optimizer, np.random.default_rng(0).normal(2.0, 1.0, size=(5, 20_000)), np.zeros(20_000))
    m_hat = optimizer.state_dict()["m.dense1.weight"] / (1 - 0.9**5)
    assert m_hat.mean() == pytest.approx(2.0, abs=0.02)


def test_the_expected_moment_of_a_gradient_that_changes_is_not_its_mean():
    """Corrected, it is the mean with the weights beta1^(t - i), so nearer to what came last."""
    optimizer = Adam(0.0)
    path(optimizer, [[1.0], [2.0], [3.0]], [0.0])
    m_hat = optimizer.state_dict()["m.dense1.weight"].item() / (1 - 0.9**3)
    assert m_hat == pytest.approx((0.81 + 2 * 0.9 + 3) / (0.81 + 0.9 + 1), rel=1e-14)
    assert m_hat > 2


GRADIENTS = np.random.default_rng(5).normal(size=(50, 4))


def test_the_classes_are_options_of_adam():
    for ours, adam in (
        (AdamW(0.1), Adam(0.1, weight_decay=0.01, decoupled=True)),
        (AMSGrad(0.1), Adam(0.1, amsgrad=True)),
    ):
        a, b = (path(o, GRADIENTS, np.ones(4)) for o in (ours, adam))
        assert a.tobytes() == b.tobytes()


# AMSGrad


def test_the_largest_v_never_falls():
    optimizer, model = AMSGrad(), vector(np.ones(4))
    optimizer.bind(model)
    before = np.zeros((1, 4))
    for g in GRADIENTS:
        model.grad[:] = g
        optimizer.step()
        state = optimizer.state_dict()
        largest, v = (state[f"{name}.dense1.weight"] for name in ("v_max", "v"))
        assert (largest == np.maximum(before, v)).all()
        before = largest
    assert (largest > v).any()


def test_where_adam_walks_to_the_worst_point():
    """Reddi et al.: gradient 4 in every third step, -1 otherwise, w in [-1, 1]; the best w is -1 (S4.3)."""
    ends = []
    for amsgrad in (False, True):
        options = {"betas": (0.0, 1 / 17), "bias_correction": False, "eps": 0, "amsgrad": amsgrad}
        model = vector([0.0])
        optimizer = Adam(lambda t: 0.5 / np.sqrt(t + 1), **options).bind(model)
        for t in range(60_000):
            model.grad[:] = 4.0 if t % 3 == 0 else -1.0
            optimizer.step()
            np.clip(model.theta, -1, 1, out=model.theta)
        ends.append(float(model.theta[0]))
    assert ends[0] == pytest.approx(1.0, abs=1e-3)
    assert ends[1] == pytest.approx(-0.999, abs=1e-3)


# NAdam


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"correction": "current", "momentum_decay": 0}, 1.9),
        ({"correction": "next", "momentum_decay": 0}, 1.4737),
        ({}, 1.0565),
    ],
)
def test_nadams_first_step(options, expected):
    """In units of lr (S3.11)."""
    step = -path(NAdam(0.1, eps=0, **options), [[7.0]], [0.0])[1, 0] / 0.1
    assert round(step, 4) == expected


def test_nadam_in_the_notes_form():
    """w <- w - lr / (sqrt(v^) + eps) (beta1 m^ + (1 - beta1) g / (1 - beta1^t)) (S3.11)."""
    w, m, v = np.ones(4), np.zeros(4), np.zeros(4)
    for t, g in enumerate(GRADIENTS, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.99 * v + 0.01 * g**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.99**t)
        w = w - 0.1 * (0.9 * m_hat + 0.1 * g / (1 - 0.9**t)) / np.sqrt(v_hat + 1e-8)
    ours = NAdam(0.1, (0.9, 0.99), eps_mode="inside", correction="current", momentum_decay=0)
    np.testing.assert_allclose(path(ours, GRADIENTS, np.ones(4))[-1], w, rtol=1e-11)


def test_nadam_in_dozats_form():
    mu = [0.9 * (1 - 0.5 * 0.96 ** (0.1 * t)) for t in range(52)]
    w, m, v = np.ones(4), np.zeros(4), np.zeros(4)
    for t, g in enumerate(GRADIENTS, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        done, following = np.prod(mu[1 : t + 1]), np.prod(mu[1 : t + 2])
        m_hat = mu[t + 1] * m / (1 - following) + (1 - mu[t]) * g / (1 - done)
        w = w - 0.1 * m_hat / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(path(NAdam(0.1, momentum_decay=0.1), GRADIENTS, np.ones(4))[-1], w, rtol=1e-11)


def test_the_corrections_of_nadam_meet():
    """With a constant momentum, 1 - beta1^t and 1 - beta1^(t + 1) are soon the same."""
    gradients = np.random.default_rng(0).normal(size=(400, 3))
    steps = [
        np.diff(path(NAdam(0.1, correction=c, momentum_decay=0), gradients, np.ones(3)), axis=0)
        for c in ("current", "next")
    ]
    assert np.abs(steps[0][0] / steps[1][0] - 1).min() > 0.2
    np.testing.assert_allclose(steps[0][350:], steps[1][350:], rtol=1e-9, atol=1e-12)


def test_nadams_product_is_made_again_for_a_loaded_state():
    """It is a number of the step alone, so it is not saved; earlier and later steps, the same bits."""
    optimizer = NAdam(momentum_decay=0.1)
    in_order = [optimizer._shares(t) for t in range(1, 30)]
    assert [optimizer._shares(t) for t in (7, 3, 29, 1)] == [in_order[t - 1] for t in (7, 3, 29, 1)]


# AdaMax and MaxProp


def test_adamax_needs_no_correction():
    """u_1 = |g_1| exactly, and the first step is lr long (S3.10)."""
    optimizer = AdaMax(0.1, eps=0)
    step = path(optimizer, [[3.0, -1e-5, 1e5, 0.1]], np.zeros(4))[1]
    np.testing.assert_allclose(step, [-0.1, 0.1, -0.1, -0.1], rtol=1e-14)
    assert optimizer.state_dict()["u.dense1.weight"].tolist() == [[3.0, 1e-5, 1e5, 0.1]]


def test_adamax_by_the_formula():
    for mode in ("denominator", "in_max"):
        w, m, u = np.ones(4), np.zeros(4), np.zeros(4)
        for t, g in enumerate(GRADIENTS, 1):
            m = 0.9 * m + 0.1 * g
            u = np.maximum(0.9 * u, np.abs(g) + (0.1 if mode == "in_max" else 0))
            w = w - 0.1 * m / (1 - 0.9**t) / (u + (0.1 if mode == "denominator" else 0))
        ours = AdaMax(0.1, (0.9, 0.9), 0.1, mode)
        np.testing.assert_allclose(path(ours, GRADIENTS, np.ones(4))[-1], w, rtol=1e-12)


def test_where_adamaxs_eps_stands_is_of_the_order_of_eps():
    a, b = (path(AdaMax(0.01, eps_mode=mode), GRADIENTS, np.ones(4)) for mode in ("denominator", "in_max"))
    assert 0 < np.abs(a - b).max() < 1e-6
    a, b = (path(AdaMax(0.01, eps=0, eps_mode=m), GRADIENTS, np.ones(4)) for m in ("denominator", "in_max"))
    assert a.tobytes() == b.tobytes()


def test_maxprop_is_adamax_without_beta1():
    a, b = (path(o, GRADIENTS, np.ones(4)) for o in (MaxProp(0.1, 0.8), AdaMax(0.1, (0, 0.8))))
    np.testing.assert_allclose(a, b, rtol=1e-15)


def test_no_step_of_maxprop_is_longer_than_lr():
    assert np.abs(np.diff(path(MaxProp(0.1), GRADIENTS, np.ones(4)), axis=0)).max() <= 0.1 * (1 + 1e-12)


@pytest.mark.parametrize(("k", "rmsprop"), [(5, 2.02), (10, 2.55), (50, 3.15)])
def test_maxprop_does_not_feel_how_rare_a_feature_is(k, rmsprop):
    """Seen in every k-th batch: steps of lr; RMSProp's are lr sqrt((1 - beta^k) / (1 - beta)) (S3.9)."""
    gradients = np.zeros((40 * k, 1))
    gradients[k - 1 :: k] = 3.0
    steps = [-np.diff(path(o, gradients, [0.0])[:, 0])[-1] for o in (MaxProp(0.1), RMSProp(0.1))]
    assert steps[0] == pytest.approx(0.1, rel=1e-8)
    assert steps[1] == pytest.approx(0.1 * np.sqrt((1 - 0.9**k) / (1 - 0.9)), rel=1e-7)
    assert round(steps[1] / 0.1, 2) == rmsprop


def test_a_batch_without_gradient_raises_the_rates():
    """By 1 / beta = 1.111 for MaxProp, by 1 / sqrt(beta) = 1.054 for RMSProp."""
    for make, expected in ((MaxProp, 1.111), (RMSProp, 1.054)):
        steady, after = (
            -np.diff(path(make(0.1), g, [0.0])[:, 0])[-1] / g[-1][0]
            for g in ([[2.0]] * 300 + [[1e-3]], [[2.0]] * 300 + [[0.0], [1e-3]])
        )
        assert round(after / steady, 3) == expected


@pytest.mark.parametrize("cls", [AdamW, AMSGrad, NAdam, AdaMax])
def test_wrong_numbers_of_the_family_are_refused(cls):
    for wrong in ((1.0, 0.9), (0.9, -0.1)):
        with pytest.raises(ValueError, match=rf"{cls.__name__}: betas: expected a number in \[0, 1\). Rec"):
            cls(betas=wrong)
    with pytest.raises(ValueError, match=rf"{cls.__name__}: betas: expected two numbers"):
        cls(betas=0.9)
    with pytest.raises(ValueError, match=rf"{cls.__name__}: eps: expected a number in \[0, inf\)"):
        cls(eps=-1)
    with pytest.raises(ValueError, match=rf"{cls.__name__}: eps_mode: expected '"):
        cls(eps_mode="middle")


def test_wrong_options_of_nadam_and_maxprop_are_refused():
    with pytest.raises(ValueError, match=r"NAdam: correction: expected 'next' or 'current'. Received"):
        NAdam(correction="previous")
    with pytest.raises(ValueError, match=r"NAdam: momentum_decay: expected a number in \[0, inf\)"):
        NAdam(momentum_decay=-1)
    with pytest.raises(ValueError, match=r"MaxProp: beta: expected a number in \[0, 1\). Received: 1"):
        MaxProp(beta=1)
