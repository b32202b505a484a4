"""Label smoothing, class weights and NLL; `test_all.py` and `test_base.py` have the rest."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.errors import ShapeError
from fastnn.losses import NLL, SoftmaxCrossEntropy

RNG = np.random.default_rng(0)
Z, LABELS = RNG.normal(size=(6, 4)), np.array([0, 3, 1, 2, 3, 0])
LOG_P = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("eps", [0.1, 0.5])
def test_the_two_forms_of_smoothing_are_one(k, eps):
    """S6.4: eps_others = eps_uniform (K - 1) / K."""
    z, labels = RNG.normal(size=(9, k)), RNG.integers(0, k, 9)
    uniform, others = SoftmaxCrossEntropy(eps), SoftmaxCrossEntropy(eps * (k - 1) / k, "others")
    assert others.forward(z, labels) == pytest.approx(uniform.forward(z, labels), rel=1e-13)
    np.testing.assert_allclose(others.backward(), uniform.backward(), atol=1e-16)


@pytest.mark.parametrize("k", [2, 10])
@pytest.mark.parametrize("eps", [0.1, 0.3])
def test_the_best_logits_are_finite(k, eps):
    """S6.4: the loss of "others" is least at a gap of log((1 - eps)(K - 1) / eps)."""
    z, loss = np.zeros((1, k)), SoftmaxCrossEntropy(eps, "others")
    z[0, 1] = np.log((1 - eps) * (k - 1) / eps)
    best = loss.forward(z, np.array([1]))
    np.testing.assert_allclose(loss.backward(), 0, atol=1e-15)
    for step in (-0.01, 0.01):
        further = z.copy()
        further[0, 1] += step
        assert loss.forward(further, np.array([1])) > best
    z[0, 1] = np.log(((1 - eps) * k + eps) / eps)  # and of "uniform"
    loss = SoftmaxCrossEntropy(eps)
    loss.forward(z, np.array([1]))
    np.testing.assert_allclose(loss.backward(), 0, atol=1e-15)


def test_the_fused_gradient_is_the_chain_of_two():
    """dL/dy = -1 / y_t e_t, then back through softmax: y - e_t, whose numbers add up to 0 (S2.7)."""
    z, labels = 3 * np.random.default_rng(0).normal(size=(6, 4)), np.array([0, 3, 1, 2, 2, 0])
    softmax = nn.Sequential([nn.Softmax()], input_shape=(4,), dtype="float64")
    y, t = softmax.forward(z).copy(), np.eye(4)[labels]
    chained = softmax.backward(-t / y / 6)
    loss = SoftmaxCrossEntropy()
    assert loss.forward(z, labels) == pytest.approx(-np.log(y[t == 1]).mean(), rel=1e-14)
    np.testing.assert_allclose(loss.backward(), chained, rtol=0, atol=1e-15)
    np.testing.assert_allclose(loss.backward(), (y - t) / 6, rtol=0, atol=1e-15)
    np.testing.assert_allclose(loss.backward().sum(axis=1), 0, atol=1e-16)


def test_smoothing_is_the_expected_loss_of_flipped_labels():
    eps, plain = 0.3, SoftmaxCrossEntropy()
    flipped = [plain.evaluate(Z, (LABELS + shift) % 4) for shift in range(4)]
    expected = (1 - eps) * flipped[0] + eps / 3 * sum(flipped[1:])
    assert SoftmaxCrossEntropy(eps, "others").forward(Z, LABELS) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("eps", [-0.1, 1.0, float("nan"), "much", None])
def test_wrong_smoothing(eps):
    with pytest.raises(
        ValueError, match=r"SoftmaxCrossEntropy: label_smoothing: expected a number in \[0, 1\)"
    ):
        SoftmaxCrossEntropy(eps)


def test_wrong_form_of_smoothing():
    with pytest.raises(ValueError, match=r"smoothing: expected 'uniform' or 'others'. Received: 'all'"):
        SoftmaxCrossEntropy(0.1, "all")
    with pytest.raises(ShapeError, match=r"two classes or more for 'others'. .* use smoothing='uniform'"):
        SoftmaxCrossEntropy(0.1, "others").forward(np.zeros((2, 1)), np.zeros(2, int))
    with pytest.raises(ValueError, match=r"reduction: expected 'mean_samples' or 'sum'. Received: 'mean'"):
        SoftmaxCrossEntropy(reduction="mean")


# Class weights


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy, NLL])
def test_a_dict_names_some_classes(loss):
    a, b = loss(class_weights={3: 2.0, 0: 0.5}), loss(class_weights=[0.5, 1, 1, 2])
    for dtype in ("float64", "float32", "float64"):
        z = LOG_P.astype(dtype)
        assert a.forward(z, LABELS) == b.forward(z, LABELS)
    assert "class_weights={3: 2.0, 0: 0.5}" in repr(a)
    assert loss(class_weights={}).forward(LOG_P, LABELS) == loss().forward(LOG_P, LABELS)


@pytest.mark.parametrize(
    "weights",
    [[1, -1, 1, 1], [1, np.nan, 1, 1], [1, np.inf, 1, 1], [[1, 1, 1, 1]], [], "balanced", {-1: 2.0},
     {"a": 1.0}, {0: -1.0}, 2.0],
)  # fmt: skip
def test_wrong_class_weights(weights):
    with pytest.raises(
        ValueError, match=r"class_weights: expected finite numbers of at least 0, .* Received: "
    ):
        SoftmaxCrossEntropy(class_weights=weights)


@pytest.mark.parametrize("make", [SoftmaxCrossEntropy, NLL])
def test_class_weights_of_another_length(make):
    loss = make(class_weights=[1, 2, 3])
    with pytest.raises(
        ShapeError,
        match=rf"{make.__name__}: class_weights: expected 4 numbers, .* Received: 3; give 4, or a dict",
    ):
        loss.forward(LOG_P, LABELS)
    with pytest.raises(ValueError, match=r"classes from 0 to 3. Received: a weight for class 4; take it out"):
        make(class_weights={4: 1.0}).forward(LOG_P, LABELS)
    with pytest.raises(ValueError, match=r"expected a class that counts. Received: only zeros"):
        make(class_weights=np.zeros(4)).forward(LOG_P, LABELS)


def test_the_trainer_refuses_class_weights_of_another_length_at_once():
    model = nn.Sequential([nn.Dense(4)], input_shape=(3,))
    with pytest.raises(ShapeError, match=r"expected 4 numbers, one for each class. Received: 3"):
        nn.Trainer(model, SoftmaxCrossEntropy(class_weights=[1, 2, 3]), nn.SGD(lr=0.1))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("reduction", ["mean_samples", "sum"])
def test_evaluation_in_batches_is_that_of_all_samples(soft, reduction):
    """A weighted mean of batches, though each batch has another sum of weights."""
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(23, 3)), rng.integers(0, 4, 23)
    y = rng.dirichlet(np.ones(4), 23) if soft else labels
    weight = rng.random(23) + 0.1
    model = nn.Sequential([nn.Dense(4)], input_shape=(3,), seed=0, dtype="float64")
    loss = SoftmaxCrossEntropy(0.1, class_weights=[0.1, 5, 1, 2], reduction=reduction)
    trainer = nn.Trainer(model, loss, nn.SGD(lr=0.1))
    for given in (None, weight):
        expected = loss.evaluate(model.forward(x), y, given)
        for batch_size in (5, 23, 100):
            received = trainer.evaluate(x, y, given, batch_size=batch_size)["loss"]
            assert received == pytest.approx(expected, rel=1e-12)


def test_training_with_rare_classes():
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.05).astype(np.int64)
    x = (rng.normal(size=(400, 2)) + 1.5 * y[:, None]).astype(np.float32)
    found = []
    for weights in (None, {1: 19.0}):
        model = nn.Sequential([nn.Dense(2)], input_shape=(2,), seed=0)
        trainer = nn.Trainer(model, SoftmaxCrossEntropy(class_weights=weights), nn.Adam(lr=0.05))
        history = trainer.fit(x, y, epochs=20, batch_size=50, verbose=False)
        assert history["loss"][-1] < history["loss"][0]
        found.append((model.predict(x).argmax(1) == 1)[y == 1].mean())
    assert found[1] > found[0]


# Negative log-likelihood


def test_nll_refuses_logits_when_it_sees_them():
    for output, text in (
        (
            Z,
            r"NLL: output: expected log-probabilities, .* 1. Received: .* in row 0; for logits use Soft",
        ),
        (np.exp(LOG_P), "add up to 1. Received: .*; take their logarithm"),
    ):
        with pytest.raises(ValueError, match=text):
            NLL().forward(output, LABELS)
    loss = NLL()
    loss.forward(LOG_P.astype("float32"), LABELS)
    loss.forward(Z, LABELS)  # only the first batch is looked at
    diverged = LOG_P.copy()
    diverged[2] = np.nan
    assert np.isnan(NLL().forward(diverged, LABELS))


@pytest.mark.parametrize(
    ("last", "text"),
    [
        ([nn.Dense(4)], "ends in logits, of .*dense.*; use SoftmaxCrossEntropy, which takes logits"),
        ([nn.Dense(4), nn.Softmax()], "ends in probabilities, of .*softmax"),
        ([nn.Dense(4), nn.BatchNorm(), nn.Flatten()], "ends in logits, of .*batch"),
    ],
)
def test_nll_refuses_models_that_end_in_something_else(last, text):
    with pytest.raises(ValueError, match=rf"NLL expected a model that ends in log-probabilities. .* {text}"):
        NLL().check_model(nn.Sequential(last, input_shape=(3,)))


@pytest.mark.parametrize("target", [LABELS, np.eye(4)[LABELS]], ids=["labels", "probabilities"])
def test_nll_behind_log_softmax_is_cross_entropy(target):
    """The same losses and the same trajectory; the gradient at the logits is y - p in both."""
    trainers = []
    for loss, last in ((SoftmaxCrossEntropy(), []), (NLL(), [nn.LogSoftmax()])):
        layers = [nn.Dense(5, activation="tanh"), nn.Dense(4), *last]
        model = nn.Sequential(layers, input_shape=(3,), seed=0, dtype="float64")
        trainers.append(nn.Trainer(model, loss, nn.Momentum(lr=0.5, momentum=0.9)))
    x = np.random.default_rng(0).normal(size=(len(LABELS), 3))
    for _ in range(20):
        losses = [trainer.train_step(x, target) for trainer in trainers]
        assert losses[0] == pytest.approx(losses[1], rel=1e-11)
    np.testing.assert_allclose(trainers[0].model.theta, trainers[1].model.theta, rtol=1e-9, atol=1e-12)


def test_cross_entropy_refuses_log_softmax():
    model = nn.Sequential([nn.Dense(4), nn.LogSoftmax(), nn.Reshape((4,))], input_shape=(3,))
    for loss in (SoftmaxCrossEntropy(), nn.KLDivergence()):
        with pytest.raises(
            ValueError, match=r"ends in logits\. Received: .* log_softmax1 \(LogSoftmax\), .*remove it"
        ):
            loss.check_model(model)
    NLL().check_model(model)


def test_nll_takes_targets_as_cross_entropy_does():
    with pytest.raises(
        ValueError, match=r"labels from 0 to 3. Received: 4 at position 1; labels count from 0"
    ):
        NLL().forward(LOG_P, np.array([0, 4, 0, 0, 0, 0]))
    with pytest.raises(ShapeError, match=r"labels need no second axis"):
        NLL().forward(LOG_P, LABELS[:, None])
    assert NLL().forward(LOG_P, np.eye(4)[LABELS]) == pytest.approx(NLL().forward(LOG_P, LABELS), rel=1e-14)
