"""Ensembles: the formulas of the three ways to combine, what they are good for, files, and errors."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import files
from fastnn.training.ensemble import expected_squared_error

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = RNG.integers(3, size=60)


def models(k=5, units=3, dtype="float32", last=(), **options):
    return [
        nn.Sequential(
            [nn.Dense(6, activation="tanh"), nn.Dense(units, **options), *(layer() for layer in last)],
            input_shape=(4,),
            seed=seed,
            dtype=dtype,
        )
        for seed in range(k)
    ]


def softmax(a):
    e = np.exp(a - a.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def constant(*rows):
    """Models that answer the same probabilities everywhere: softmax of a bias."""
    made = []
    for row in rows:
        model = nn.Sequential([nn.Dense(len(row)), nn.Softmax()], (1,), seed=0, dtype="float64")
        with np.errstate(divide="ignore"):
            model["dense1"].weight.data[...], model["dense1"].bias.data[...] = 0, np.log(row)
        made.append(model)
    return made


ONE = np.zeros((1, 1))


# What the combination does to errors


@pytest.mark.parametrize(("covariance", "expected"), [(0.0, 0.1), (0.3, 0.37), (1.0, 1.0)])
def test_the_error_of_a_mean_is_as_the_formula_says(covariance, expected):
    """Member i answers error i of k that are drawn with variance 1 and this covariance."""
    k, n = 10, 200_000
    members = [nn.Sequential([nn.Dense(1, use_bias=False)], (k,), dtype="float64") for _ in range(k)]
    for i, member in enumerate(members):
        member["dense1"].weight.data[...] = np.arange(k) == i
    rng = np.random.default_rng(1)
    errors = np.sqrt(covariance) * rng.normal(size=(n, 1)) + np.sqrt(1 - covariance) * rng.normal(size=(n, k))
    squared = nn.Ensemble(members, activation="linear").predict(errors) ** 2
    assert expected_squared_error(k, 1.0, covariance) == pytest.approx(expected, abs=1e-15)
    assert abs(squared.mean() - expected) < 4 * squared.std() / np.sqrt(n)


def test_formula_at_its_borders():
    assert expected_squared_error(1, 2.0, 0.5) == 2.0
    assert expected_squared_error(4, 3.0, 3.0) == 3.0
    assert expected_squared_error(4, 3.0, -1.0) == 0.0  # errors that cancel
    for arguments in ((0, 1.0, 0.0), (4, -1.0, 0.0), (4, 3.0, 3.1), (4, 3.0, -1.1)):
        with pytest.raises(ValueError, match=r"expected_squared_error: .*expected"):
            expected_squared_error(*arguments)


@pytest.mark.parametrize("combine", ["mean", "geometric"])
@pytest.mark.parametrize("seed", range(5))
def test_cross_entropy_is_never_above_the_average_members(combine, seed):
    """Jensen: -log is convex; for the geometric mean, the sum Z of the products is at most 1."""
    rng = np.random.default_rng(seed)
    members = models(4, dtype="float64")
    for member in members:
        member.theta[...] = rng.normal(scale=3, size=member.theta.shape)
    x, y = rng.normal(size=(50, 4)), rng.integers(3, size=50)
    loss = nn.SoftmaxCrossEntropy()
    each = np.array([loss.evaluate(member.predict(x), y) for member in members])
    ensemble = nn.Ensemble(members, combine, activation="softmax")
    together = ensemble.evaluate(x, y, loss=loss)["loss"]
    assert together < each.mean()
    p = ensemble.predict(x)
    assert together == pytest.approx(-np.log(p[np.arange(50), y]).mean(), rel=1e-12)


def test_equal_members_are_no_better_than_one():
    (member,) = models(1)
    p = softmax(member.predict(X).astype(np.float64))
    for combine in ("mean", "geometric"):
        got = nn.Ensemble([member] * 7, combine, "softmax").predict(X)
        assert np.allclose(got, p, rtol=2e-7, atol=0)
        assert np.array_equal(got, nn.Ensemble([member], combine, "softmax").predict(X))


# The three ways


def test_mean_and_geometric_mean_of_probabilities():
    members = models(4, dtype="float64")
    x = X.astype(np.float64)
    p = np.stack([softmax(m.predict(x)) for m in members])
    geometric = p.prod(0) ** 0.25
    cases = [(members, "softmax")]
    cases += [(models(4, dtype="float64", last=[last]), "auto") for last in (nn.Softmax, nn.LogSoftmax)]
    for members_too, activation in cases:
        assert np.allclose(nn.Ensemble(members_too, "mean", activation).predict(x), p.mean(0), rtol=1e-13)
        got = nn.Ensemble(members_too, "geometric", activation).predict(x)
        assert np.allclose(got, geometric / geometric.sum(1, keepdims=True), rtol=1e-12)
        assert np.allclose(got.sum(1), 1, atol=1e-15)


def test_a_class_that_one_member_excludes():
    members = constant([0.5, 0.5, 0.0], [0.0, 0.2, 0.8])
    assert np.allclose(nn.Ensemble(members, "mean").predict(ONE), [0.25, 0.35, 0.4])
    assert np.allclose(nn.Ensemble(members, "geometric").predict(ONE), [0, 1, 0], atol=1e-100)


@pytest.mark.parametrize(
    ("rows", "shares", "winner"),
    [
        (([0.6, 0.4, 0.0], [0.1, 0.2, 0.7], [0.2, 0.3, 0.5]), [1 / 3, 0, 2 / 3], 2),
        (([0.6, 0.4, 0.0], [0.1, 0.2, 0.7]), [0.5, 0, 0.5], 0),  # a tied vote: the lowest class
        (([0.2, 0.4, 0.4], [0.1, 0.2, 0.7]), [0, 0.5, 0.5], 1),  # a tied member, then a tied vote
    ],
)
def test_votes(rows, shares, winner):
    ensemble = nn.Ensemble(constant(*rows), "vote")
    p = ensemble.predict(ONE)
    assert np.array_equal(p, np.array([shares]))
    assert ensemble.evaluate(ONE, np.array([winner])) == {"accuracy": 1.0}


def test_a_vote_and_a_mean_may_disagree():
    members = constant([0.51, 0.49], [0.51, 0.49], [0.0, 1.0])
    assert nn.Ensemble(members, "vote").predict(ONE).argmax() == 0
    assert nn.Ensemble(members, "mean").predict(ONE).argmax() == 1


def test_binary_outputs():
    x = X.astype(np.float64)
    logits = np.stack([m.predict(x) for m in models(3, units=2, dtype="float64")])
    p = 1 / (1 + np.exp(-logits))
    geometric = p.prod(0) ** (1 / 3)
    geometric /= geometric + (1 - p).prod(0) ** (1 / 3)
    wanted = {"mean": p.mean(0), "vote": (logits > 0).mean(0), "geometric": geometric}
    members = models(3, units=2, dtype="float64")
    for last, activation in (((), "sigmoid"), ((nn.Sigmoid,), "auto")):
        members = models(3, units=2, dtype="float64", last=last)
        for combine, expected in wanted.items():
            assert np.allclose(nn.Ensemble(members, combine, activation).predict(x), expected, rtol=1e-12)
    y = (RNG.random((60, 2)) > 0.5).astype(np.float64)
    got = nn.Ensemble(models(3, units=2, dtype="float64"), activation="sigmoid").evaluate(
        x, y, ["binary_accuracy"], nn.BinaryCrossEntropy()
    )
    p = wanted["mean"]
    assert got["binary_accuracy"] == ((p > 0.5) == y).mean()
    losses = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert got["loss"] == pytest.approx(nn.BinaryCrossEntropy().evaluate(np.log(p / (1 - p)), y), rel=1e-12)
    assert got["loss"] in (
        pytest.approx(losses.mean(), rel=1e-12),
        pytest.approx(losses.sum(1).mean(), rel=1e-12),
    )


def test_values_are_averaged_as_they_are():
    members = models(3, units=2)
    ensemble = nn.Ensemble(members, activation="linear")
    mean = np.mean([m.predict(X).astype(np.float64) for m in members], 0)
    assert np.array_equal(ensemble.predict(X), mean.astype(np.float32))
    y = X[:, :2].copy()
    got = ensemble.evaluate(X, y, "mean_absolute_error", nn.SquaredError())
    assert got["loss"] == pytest.approx(((mean - y) ** 2).sum(1).mean(), rel=1e-5)
    assert got["mean_absolute_error"] == pytest.approx(np.abs(mean - y).mean(), rel=1e-5)
    votes = np.stack([m.predict(X).argmax(1) for m in members])  # scores, of a hinge loss for instance
    assert np.array_equal(
        nn.Ensemble(members, "vote", "linear").predict(X)[:, 1], (votes == 1).mean(0, np.float32)
    )


def test_sizes_and_batches():
    ensemble = nn.Ensemble(models(3), activation="softmax")
    assert ensemble.predict(X[:0]).shape == (0, 3) and ensemble.predict(X[:1]).shape == (1, 3)
    assert nn.Ensemble(models(3), "vote", "softmax").predict(X[:0]).shape == (0, 3)
    assert np.allclose(ensemble.predict(X, batch_size=7), ensemble.predict(X), rtol=1e-6)
    assert np.array_equal(ensemble.predict(X[::2]), ensemble.predict(X[::2].copy()))
    assert ensemble.predict(X).dtype == np.float32 and len(ensemble) == 3
    assert ensemble.evaluate(X, Y)["accuracy"] == (ensemble.predict(X).argmax(1) == Y).mean()


def test_different_architectures():
    small = nn.Sequential([nn.Dense(3)], input_shape=(4,), seed=0)
    members = [small, *models(1)]
    p = [softmax(m.predict(X).astype(np.float64)) for m in members]
    assert np.allclose(nn.Ensemble(members, activation="softmax").predict(X), np.mean(p, 0), rtol=1e-6)


# Files


@pytest.mark.parametrize("combine", ["mean", "vote", "geometric"])
def test_a_saved_ensemble_is_the_same(tmp_path, combine):
    path = tmp_path / "ensemble.safetensors"
    members = [nn.Sequential([nn.BatchNorm(), nn.Dense(3)], (4,), seed=7), *models(11)]
    members[0].forward(X, training=True)
    ensemble = nn.Ensemble(members, combine, "softmax")
    ensemble.save(path)
    again = nn.Ensemble.load(path)
    assert repr(again) == repr(ensemble) == f"Ensemble(12 models, combine={combine!r}, activation='softmax')"
    assert [np.array_equal(a.theta, b.theta) for a, b in zip(members, again.models)] == [True] * 12
    assert np.array_equal(again.predict(X), ensemble.predict(X))


def test_files_of_another_kind(tmp_path):
    model, path = models(1)[0], tmp_path / "file"
    model.save(path)
    with pytest.raises(nn.FileFormatError, match=r"expected the file of an ensemble.*fastnn\.load\(path\)"):
        nn.Ensemble.load(path)
    nn.Ensemble([model], activation="softmax").save(path)
    with pytest.raises(nn.FileFormatError, match=r"expected the file of one model.*Ensemble\.load\(path\)"):
        nn.load(path)
    tensors, _ = files.read(path)
    del tensors["0/dense2.bias"]
    config = {"class": "Ensemble", "config": {"models": [files.to_config(model)], "combine": "mean"}}
    files.write(path, tensors, {"model": files.dump_json(config, "")})
    with pytest.raises(nn.FileFormatError, match=r"dense2\.bias: the configuration says"):
        nn.Ensemble.load(path)
    files.write(path, tensors, {"model": files.dump_json({"class": "Ensemble", "config": {}}, "")})
    with pytest.raises(nn.FileFormatError, match="expected the configuration of an ensemble"):
        nn.Ensemble.load(path)


# Errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ([],), TypeError, "models: expected a list of at least one model"),
        (lambda: (models(1)[0],), TypeError, "models: expected a list"),
        (lambda: ([*models(1), "no"],), TypeError, "models: expected a list"),
        (lambda: ([nn.Sequential([nn.Dense(3)])],), nn.NotBuiltError, r"models\[0\].*input_shape="),
        (lambda: ([*models(1), *models(1, 4)],), nn.ShapeError, r"models\[1\]: expected input, output"),
        (lambda: ([*models(1), *models(1, dtype="float64")],), nn.ShapeError, r"models\[1\].*float64"),
        (lambda: (models(2),), ValueError, "activation: expected 'softmax' or 'sigmoid' for models that end"),
        (lambda: (models(2), "mean", "relu"), ValueError, "activation: expected.*Received: 'relu'"),
        (lambda: (models(2), "median", "softmax"), ValueError, "combine: expected 'mean', 'vote'"),
        (lambda: (models(2, last=[nn.Softmax]), "mean", "softmax"), ValueError, "expected 'linear', since"),
        (lambda: (models(2, 1), "mean", "softmax"), nn.ShapeError, "is for 'sigmoid'"),
        (lambda: (models(2, 1), "vote", "linear"), ValueError, "combine: expected 'mean'"),
        (lambda: (models(2), "geometric", "linear"), ValueError, "combine: expected 'mean'.*say so"),
        (lambda: ([*models(1), *models(1, last=[nn.Softmax])],), ValueError, "expected all to end alike"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=r"Ensemble: .*" + message):
        nn.Ensemble(*make())
