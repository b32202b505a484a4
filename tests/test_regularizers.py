"""Penalties: numbers, gradients, closed forms."""

import json

import numpy as np
import pytest

import fastnn as nn
from fastnn.regularizers import L1, L2, ElasticNet, MaxNorm, Regularizer

PENALTIES = [L2(0.3), L2(0.3, form="full"), L1(0.2), ElasticNet(l1=0.2, l2=0.3)]


def network(dtype="float64", frozen=(), **options):
    layers = [
        nn.Conv2D(3, 3), nn.BatchNorm(), nn.PReLU(), nn.Flatten(), nn.Dense(5, activation="tanh"), nn.Dense(2)
    ]  # fmt: skip
    model = nn.Sequential(layers, seed=0, dtype=dtype, **options)
    for name in frozen:
        model[name].trainable = False
    model.build_model((5, 5, 1))
    return model


def data(dtype="float64", n=12):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 5, 5, 1)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)


def line(n_in=2, dtype="float64", use_bias=False):
    """A linear model, for closed forms."""
    return nn.Sequential([nn.Dense(1, use_bias=use_bias)], input_shape=(n_in,), seed=0, dtype=dtype)


def weights_of(model):
    return {name: p.data for name, p in model.parameters.items() if name.endswith("weight")}


def test_values_and_gradients():
    """The forms of L2 differ by a factor of 2."""
    model = line()
    model.theta[:] = 3, -4
    for regularizer, value, gradient in (
        (L2(0.2), 2.5, [0.6, -0.8]),
        (L2(0.2, form="full"), 5.0, [1.2, -1.6]),
        (L1(0.5), 3.5, [0.5, -0.5]),
        (ElasticNet(l1=0.5, l2=0.2), 6.0, [1.1, -1.3]),
    ):
        model.zero_grad()
        model.grad[:] = 1
        assert regularizer.value(model.parameters) == pytest.approx(value, rel=1e-15)
        assert model.grad.tolist() == [1, 1]
        assert regularizer.add_grad(model.parameters) == regularizer.value(model.parameters)
        np.testing.assert_allclose(model.grad, np.add(gradient, 1), rtol=1e-15)


@pytest.mark.parametrize("regularizer", PENALTIES, ids=repr)
def test_gradient_of_the_objective(regularizer):
    """Loss and penalty together against differences, every parameter."""
    model, loss = network(), nn.SquaredError()
    x, y = data()

    def objective():
        return loss.evaluate(model.forward(x), y) + regularizer.value(model.parameters)

    loss.forward(model.forward(x), y)
    model.zero_grad()
    model.backward(loss.backward())
    regularizer.add_grad(model.parameters)
    gradient = model.grad.copy()
    for i in range(model.theta.size):
        before, sides = model.theta[i], []
        for h in (1e-6, -1e-6):
            model.theta[i] = before + h
            sides.append(objective())
        model.theta[i] = before
        assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(gradient[i], rel=1e-6, abs=1e-8)


def test_only_weights():
    """Not biases, not BatchNorm, not PReLU, nothing that is frozen."""
    model = network(frozen=["dense1"])
    model.theta[:] = 1
    model.zero_grad()
    assert L2(2.0).add_grad(model.parameters) == 27 + 10
    for name, parameter in model.parameters.items():
        expected = 2.0 if name in ("conv1.weight", "dense2.weight") else 0.0
        assert (parameter.grad == expected).all(), name


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("dense*", ["dense1.weight", "dense2.weight"]),
        ("dense1.weight", ["dense1.weight"]),
        (["conv1", "*2.weight"], ["conv1.weight", "dense2.weight"]),
        (None, ["conv1.weight", "dense1.weight", "dense2.weight"]),
    ],
)
def test_only_some_weights(only, names):
    model = network()
    regularizer = L2(1.0, only=only)
    regularizer.check(model.parameters)
    expected = sum((weight**2).sum() for name, weight in weights_of(model).items() if name in names) / 2
    assert regularizer.value(model.parameters) == pytest.approx(expected, rel=1e-13)


def test_a_layer_stands_for_all_inside():
    model = nn.Sequential([nn.Sequential([nn.Dense(2), nn.Dense(2)], name="encoder"), nn.Dense(1)], (3,))
    assert len(L2(1.0, only="encoder").chosen(model.parameters)) == 2
    assert len(L2(1.0, only="encoder.dense2").chosen(model.parameters)) == 1


def test_a_tied_weight_counts_once():
    source = nn.Dense(3)
    model = nn.Sequential([source, nn.TiedDense(source)], input_shape=(4,), seed=0, dtype="float64")
    expected = (source.weight.data**2).sum() / 2
    assert L2(1.0).value(model.parameters) == pytest.approx(expected, rel=1e-13)


def test_a_penalty_of_ones_own():
    class Quartic(Regularizer):
        def penalty(self, theta, grad):
            if grad is not None:
                grad += 4 * theta**3
            return float((theta**4).sum())

    model = line()
    model.theta[:] = 1, -2
    assert Quartic().add_grad(model.parameters) == 17
    assert model.grad.tolist() == [4, -32]


# Closed forms


def trained(model, regularizers, x, y, optimizer, steps):
    trainer = nn.Trainer(model, nn.SquaredError(half=True), optimizer, regularizers=regularizers)
    for _ in range(steps):
        trainer.train_step(x, y)
    return trainer


def test_the_optimum_in_the_eigenbasis():
    """S6.1: w = Q diag(lambda / (lambda + alpha)) Q^T w*; the flat direction shrinks most."""
    angle, alpha = 0.5, 0.4
    q = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    eigenvalues, best = np.array([0.3, 2.5]), np.array([-1.5, 0.8])
    # 1/(2N) ||x w - y||^2 with x^T x / N = H
    x = np.sqrt(2) * np.diag(np.sqrt(eigenvalues)) @ q.T
    model = line()
    trained(model, [L2(alpha)], x, x @ best[:, None], nn.SGD(lr=0.3), 1000)
    hessian = q @ np.diag(eigenvalues) @ q.T
    expected = np.linalg.solve(hessian + alpha * np.eye(2), hessian @ best)
    np.testing.assert_allclose(model.theta, expected, rtol=1e-12)
    factors = eigenvalues / (eigenvalues + alpha)
    np.testing.assert_allclose(q.T @ model.theta, factors * (q.T @ best), rtol=1e-12)
    assert factors == pytest.approx([0.428571, 0.862069], abs=1e-6)


def ridge(x, y, penalty):
    """The minimum of ||x w + b - y||^2 + penalty ||w||^2."""
    centred = x - x.mean(axis=0)
    w = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - y.mean()))
    return w[:, 0], (y - x @ w).mean()


@pytest.mark.parametrize("form", ["half", "full"])
def test_ridge_regression(form):
    """Next to 1/(2N) ||x w + b - y||^2, `alpha/2 w^2` is the ridge with N alpha; the bias is free."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 3)) + 1
    y = x @ np.array([[1.0], [-2.0], [0.5]]) + 3 + 0.1 * rng.normal(size=(30, 1))
    model, alpha = line(3, use_bias=True), 0.2 if form == "half" else 0.1
    trained(model, L2(alpha, form=form), x, y, nn.Momentum(lr=0.1, momentum=0.8), 3000)
    w, b = ridge(x, y, 30 * 0.2)
    np.testing.assert_allclose(model["dense1"].weight.data[0], w, rtol=1e-10)
    np.testing.assert_allclose(model["dense1"].bias.data[0], b, rtol=1e-10)


def test_as_in_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 4))
    y = x @ rng.normal(size=(4, 1)) + 2 + 0.1 * rng.normal(size=(40, 1))
    peer = linear_model.Ridge(alpha=40 * 0.3).fit(x, y[:, 0])
    model = line(4, use_bias=True)
    trained(model, [L2(0.3)], x, y, nn.Momentum(lr=0.1, momentum=0.8), 3000)
    np.testing.assert_allclose(model["dense1"].weight.data[0], peer.coef_, rtol=1e-9)
    # 1/(2N) ||.||^2 + alpha l1_ratio |w| + alpha (1 - l1_ratio) / 2 w^2
    peer = linear_model.ElasticNet(alpha=0.31, l1_ratio=0.01 / 0.31, tol=1e-12).fit(x, y[:, 0])
    assert (np.abs(peer.coef_) > 0.01).all()
    model = line(4, use_bias=True)
    trained(model, [ElasticNet(l1=0.01, l2=0.3)], x, y, nn.Momentum(lr=0.1, momentum=0.8), 3000)
    np.testing.assert_allclose(model["dense1"].weight.data[0], peer.coef_, rtol=1e-6)


def test_l1_makes_useless_weights_small():
    """Soft thresholding of an orthonormal problem: w = sign(w*) max(|w*| - alpha, 0)."""
    best = np.array([[2.0], [0.3], [-1.0], [-0.2]])
    x, model = 2 * np.eye(4), line(4)
    trained(model, [L1(0.5)], x, x @ best, nn.SGD(lr=0.001), 10_000)
    np.testing.assert_allclose(model.theta, [1.5, 0, -0.5, 0], atol=0.001 * 0.5)


def test_weight_decay_is_l2_for_sgd_and_not_for_adamw():
    x, y = data()
    thetas = {}
    for name, optimizer, regularizers in (
        ("sgd decay", nn.SGD(lr=0.05, weight_decay=0.1), []),
        ("sgd l2", nn.SGD(lr=0.05), [L2(0.1)]),
        ("nag decay", nn.NAG(lr=0.02, weight_decay=0.1), []),
        ("nag l2", nn.NAG(lr=0.02), [L2(0.1)]),
        ("adam decay", nn.Adam(lr=0.01, weight_decay=0.1), []),
        ("adam l2", nn.Adam(lr=0.01), [L2(0.1)]),
        ("adamw", nn.AdamW(lr=0.01, weight_decay=0.1), []),
    ):
        layers = [nn.Flatten(), nn.Dense(5, activation="tanh"), nn.Dense(2)]
        model = nn.Sequential(layers, input_shape=(5, 5, 1), seed=0, dtype="float64")
        trained(model, regularizers, x, y, optimizer, 20)
        thetas[name] = model.theta.copy()
    np.testing.assert_allclose(thetas["sgd l2"], thetas["sgd decay"], rtol=1e-12)
    np.testing.assert_allclose(thetas["nag l2"], thetas["nag decay"], rtol=1e-11)
    np.testing.assert_allclose(thetas["adam l2"], thetas["adam decay"], rtol=1e-9)  # coupled: the same thing
    assert abs(thetas["adam l2"] - thetas["adamw"]).max() > 0.01


def test_repr():
    for regularizer in [*PENALTIES, MaxNorm(3.0, axis=(1, 2)), L1(0.1, only=["conv*"])]:
        assert repr(eval(repr(regularizer))) == repr(regularizer)
    json.dumps([repr(regularizer) for regularizer in PENALTIES])


def trainer_with(regularizers):
    return nn.Trainer(network(), nn.SquaredError(), nn.SGD(lr=0.1), regularizers=regularizers)


VALUE_ERRORS = [
    (lambda: L2(-1), r"L2: alpha: expected a number in \[0, inf\)\. Received: -1"),
    (lambda: L1("a"), r"L1: alpha: expected a number in \[0, inf\)\. Received: 'a'"),
    (lambda: L2(1, form="double"), r"L2: form: expected 'half' or 'full'\. Received: 'double'"),
    (lambda: ElasticNet(l2=np.nan), r"ElasticNet: l2: expected a number in"),
    (lambda: MaxNorm(0), r"MaxNorm: limit: expected a number in \(0, inf\)\. Received: 0"),
    (lambda: MaxNorm(1, axis=(0, 2)), r"MaxNorm: axis: expected the number .* Received: \(0, 2\)"),
    (lambda: MaxNorm(1, axis=-1), r"MaxNorm: axis: expected the number of an axis"),
    (lambda: trainer_with(L2(1, only="dense3")), r"L2: only: .*dense2\.weight.* Received: 'dense3'"),
    (lambda: trainer_with(L2(1, only="dense1.bias")), r"Received: 'dense1\.bias', which none of them fits"),
    (lambda: trainer_with(MaxNorm(1, axis=(1, 2))), r"MaxNorm: axis: .* shape \(5, 27\)\. .*only="),
]
TYPE_ERRORS = [
    (lambda: L2(1, only=[3]), r"L2: only: expected patterns of names, as text\. Received: \[3\]"),
    (lambda: trainer_with(L2), r"regularizers: expected Regularizer objects\. .*; write L2\(\.\.\.\)"),
    (lambda: trainer_with([0.1]), r"regularizers: expected Regularizer objects\. Received: 0\.1"),
]


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [(ValueError, *case) for case in VALUE_ERRORS] + [(TypeError, *case) for case in TYPE_ERRORS],
)
def test_errors(error, make, message):
    with pytest.raises(error, match=message):
        make()
