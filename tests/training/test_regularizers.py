"""Regularizers in training: loss and penalty apart, accumulation, clipping, line searches, max-norm."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.regularizers import L1, L2, MaxNorm


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


def test_the_loss_stays_that_of_the_data():
    x, y = data()
    model, regularizer = network(), L2(0.5)
    trainer = nn.Trainer(model, nn.SquaredError(), nn.SGD(lr=0.02), regularizers=[regularizer, L1(0.01)])
    penalties, losses = [], []

    class Watch(nn.Callback):
        def on_batch_end(self, trainer):
            losses.append(trainer.last_loss)
            penalties.append(trainer.last_penalty)

    before = regularizer.value(model.parameters) + L1(0.01).value(model.parameters)
    history = trainer.fit(
        x, y, epochs=2, batch_size=4, validation_data=(x, y), callbacks=[Watch()], verbose=False
    )
    assert history.names == ["loss", "penalty", "val_loss", "lr", "time"]
    assert penalties[0] == pytest.approx(before, rel=1e-13)
    assert history["penalty"] == pytest.approx([np.mean(penalties[:3]), np.mean(penalties[3:])], rel=1e-14)
    assert history["loss"] == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])], rel=1e-14)
    assert history["penalty"][1] < history["penalty"][0]
    assert trainer.evaluate(x, y)["loss"] == nn.SquaredError().evaluate(model.predict(x), y)
    assert trainer.evaluate(x, y).keys() == {"loss"}


def test_no_column_without_regularizers():
    x, y = data()
    trainer = nn.Trainer(network(), nn.SquaredError(), nn.SGD(lr=0.02))
    assert trainer.fit(x, y, epochs=1, verbose=False).names == ["loss", "lr", "time"]
    assert trainer.last_penalty is None


def test_accumulation_is_one_large_batch():
    """The mean gradient of four batches and the penalty's, once."""
    x, y = data()
    thetas = []
    for steps, size in ((1, 12), (4, 3)):
        model = nn.Sequential(
            [nn.Flatten(), nn.Dense(3, activation="tanh"), nn.Dense(2)], (5, 5, 1), seed=0, dtype="float64"
        )
        trainer = nn.Trainer(
            model,
            nn.SquaredError(),
            nn.Momentum(lr=0.05, accumulate_steps=steps),
            regularizers=[L2(0.3), MaxNorm(0.9)],
        )
        for _ in range(3):
            for start in range(0, 12, size):
                trainer.train_step(x[start : start + size], y[start : start + size])
        assert trainer.optimizer.n_steps == 3
        thetas.append(model.theta)
    np.testing.assert_allclose(thetas[0], thetas[1], rtol=1e-12)


def test_clipping_sees_the_penalty():
    model = line()
    model.theta[:] = 30, 40
    trainer = nn.Trainer(
        model, nn.SquaredError(), nn.SGD(lr=1.0, clip_global_norm=5.0), regularizers=[L2(1.0)]
    )
    trainer.train_step(np.zeros((1, 2)), np.zeros((1, 1)))
    np.testing.assert_allclose(model.theta, [27, 36], rtol=1e-15)
    np.testing.assert_allclose(model.grad, [30, 40], rtol=1e-15)


@pytest.mark.parametrize("search", [nn.ArmijoLineSearch(), nn.LineSearch()], ids=repr)
def test_a_line_search_compares_sums(search):
    """Data and penalty balance: the sum never rises, the loss of the data does."""
    optimizer = type(search)(**search.config())
    x, y = data()
    model, regularizer = network(), L2(0.5)
    trainer = nn.Trainer(model, nn.SquaredError(), optimizer, regularizers=[regularizer])
    sums, losses = [], []
    for _ in range(40):
        losses.append(trainer.train_step(x, y))
        sums.append(losses[-1] + trainer.last_penalty)
    assert (np.diff(sums) <= 0).all()
    assert sums[-1] < 0.5 * sums[0]
    assert (np.diff(losses) > 0).any()


def test_exact_step_of_a_quadratic_with_a_penalty():
    """lr = g.g / g.(H + alpha I)g, among the candidates."""
    x, best, alpha = np.sqrt(2) * np.diag([1.0, 2.0]), np.array([[1.0], [1.0]]), 0.5
    model = line()
    model.theta[:] = 2, -1
    hessian = np.diag([1.0, 4.0]) + alpha * np.eye(2)
    g = np.diag([1.0, 4.0]) @ (model.theta - best[:, 0]) + alpha * model.theta
    exact = g @ g / (g @ hessian @ g)
    optimizer = nn.LineSearch(candidates=[0, 0.8 * exact, exact, 1.2 * exact])
    trainer = nn.Trainer(model, nn.SquaredError(half=True), optimizer, regularizers=[L2(alpha)])
    trainer.train_step(x, x @ best)
    assert optimizer.last_lr == exact


def test_training_resumes_bit_for_bit(tmp_path):
    x, y = data("float32")

    def trainer():
        regularizers = [L2(0.1), L1(0.01, only="dense*"), MaxNorm(1.0)]
        return nn.Trainer(network("float32"), nn.SquaredError(), nn.Adam(lr=0.01), regularizers=regularizers)

    path, whole = tmp_path / "half.safetensors", trainer()
    complete = whole.fit(x, y, epochs=4, batch_size=4, verbose=False)
    stopped = trainer()

    class Stop(nn.Callback):
        def on_batch_end(self, trainer):
            if (trainer.epoch, trainer.batch) == (2, 1):
                trainer.save(path)
                trainer.stop_training = True

    stopped.fit(x, y, epochs=4, batch_size=4, callbacks=[Stop()], verbose=False)
    resumed = trainer()
    history = resumed.fit(x, y, epochs=4, batch_size=4, resume_from=path, verbose=False)
    assert resumed.model.theta.tobytes() == whole.model.theta.tobytes()
    assert history["penalty"] == complete["penalty"]
    assert history["loss"] == complete["loss"]
    other = nn.Trainer(network("float32"), nn.SquaredError(), nn.Adam(lr=0.01), regularizers=[L2(0.2)])
    with pytest.raises(ValueError, match=r"regularizers: saved 3 .*L2\(alpha=0\.1, form='half'\).*, now 1"):
        other.fit(x, y, epochs=4, batch_size=4, resume_from=path, verbose=False)


def test_a_search_for_a_rate_has_the_penalty_too():
    """A step multiplies w by 1 - lr (curvature + alpha): 0.1 is best for 2 + 8, 0.5 for 2 alone."""
    x, best = np.full((20, 1), np.sqrt(2)), []
    for regularizers in ([], [L2(8.0)]):
        trainer = nn.Trainer(line(1), nn.SquaredError(half=True), nn.SGD(lr=1.0), regularizers=regularizers)
        best.append(nn.log_search(trainer, (x, 0 * x), [0.1, 0.5], refine=False, batch_size=None).best_lr)
    assert best == [0.5, 0.1]


# Max-norm


def norms(weight, axes):
    return np.sqrt((weight.astype(np.float64) ** 2).sum(axis=axes))


def test_max_norm_holds_after_each_update():
    x, y = data()
    model, limit = network(), 0.4
    trainer = nn.Trainer(model, nn.SquaredError(), nn.SGD(lr=0.5), regularizers=[MaxNorm(limit)])
    for _ in range(5):
        trainer.train_step(x, y)
        for weight in weights_of(model).values():
            assert norms(weight, tuple(range(1, weight.ndim))).max() <= limit * (1 + 1e-15)
    assert trainer.last_penalty == 0
    assert abs(model.parameters["dense2.bias"].data).max() > 0


def test_max_norm_projects_to_the_nearest_point():
    model = network()
    before = {name: weight.copy() for name, weight in weights_of(model).items()}
    MaxNorm(0.5).project(model.parameters)
    for name, weight in weights_of(model).items():
        axes = tuple(range(1, weight.ndim))
        length = norms(before[name], axes).reshape(-1, *[1] * len(axes))
        assert (length > 0.5).any()
        np.testing.assert_allclose(weight, before[name] * np.minimum(1, 0.5 / length), rtol=1e-14)


@pytest.mark.parametrize("axis", [0, 1, 3, (1, 2), (0, 1), (1, 2, 3), (0, 1, 2, 3)])
def test_max_norm_along_other_axes(axis):
    model = nn.Sequential([nn.Conv2D(4, 3)], input_shape=(5, 5, 2), seed=0, dtype="float64")
    weight = model["conv1"].weight.data
    weight *= 10
    constraint = MaxNorm(1.5, axis=axis)
    constraint.check(model.parameters)
    constraint.project(model.parameters)
    assert norms(weight, axis).max() == pytest.approx(1.5, rel=1e-14)


def test_the_pair_of_srivastava():
    """Dropout and max-norm together train where the rate is large."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 10)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    layers = [nn.Dense(64, activation="relu"), nn.Dropout(0.2), nn.Dense(2)]
    model = nn.Sequential(layers, input_shape=(10,), seed=0)
    trainer = nn.Trainer(
        model, nn.SoftmaxCrossEntropy(), nn.Momentum(lr=0.2, momentum=0.9), ["accuracy"],
        regularizers=[MaxNorm(3.0)],
    )  # fmt: skip
    history = trainer.fit(x, y, epochs=30, batch_size=20, verbose=False)
    assert trainer.evaluate(x, y)["accuracy"] > 0.9
    assert set(history["penalty"]) == {0.0}
    assert all(norms(w, 1).max() <= 3.0 * (1 + 1e-6) for w in weights_of(model).values())
