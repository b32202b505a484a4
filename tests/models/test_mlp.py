"""The multi-layer perceptron: counts, shapes, options, and that it learns what one layer cannot."""

import numpy as np
import pytest

import fastnn as nn


def test_counts():
    model = nn.models.mlp(seed=0)
    assert model.n_parameters == 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10 == 535_818
    assert [layer.name for layer in model] == ["flatten1", "dense1", "dense2", "dense3"]
    assert model.output_shape == (10,)


def test_options():
    model = nn.models.mlp(
        (7,), units=(4, 3), num_classes=2, activation="tanh", dropout=0.5, seed=0, dtype="float64"
    )
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == ["Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert [layer.activation for layer in model if isinstance(layer, nn.Dense)] == ["tanh", "tanh", None]
    assert model.n_parameters == 7 * 4 + 4 + 4 * 3 + 3 + 3 * 2 + 2
    assert model.theta.dtype == np.float64
    assert nn.models.mlp((7,), units=(), num_classes=3, seed=0).n_parameters == 24


def test_gradients():
    model = nn.models.mlp((2, 3, 1), units=(5, 4), num_classes=3, activation="gelu", seed=0)
    x = np.random.default_rng(0).normal(size=(6, 2, 3, 1))
    report = nn.testing.check_gradients(model, x, nn.SoftmaxCrossEntropy(), np.arange(6) % 3)
    assert max(report.largest.values()) < 1e-6


@pytest.mark.parametrize(("units", "learns"), [((16,), True), ((), False)])
def test_xor_needs_a_hidden_layer(units, learns):
    x, y = nn.datasets.xor(200, noise=0.1, seed=0)
    model = nn.models.mlp((2,), units=units, num_classes=2, seed=0)
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=0.02), metrics=["accuracy"])
    trainer.fit(x, y, epochs=60, batch_size=50, verbose=False)
    assert (trainer.evaluate(x, y)["accuracy"] > 0.95) is learns
