"""LeNet-5: the counts of the notes (S8.7), its forms, and that it learns."""

import numpy as np
import pytest

import fastnn as nn


@pytest.fixture(autouse=True)
def one_thread():
    before = nn.get_num_threads()
    nn.set_num_threads(1)
    yield
    nn.set_num_threads(before)


@pytest.mark.parametrize("input_shape", [(28, 28, 1), (32, 32, 1)])
@pytest.mark.parametrize("pool", ["max", "avg"])
def test_counts_of_the_notes(input_shape, pool):
    model = nn.models.lenet5(input_shape, pool=pool, seed=0)
    sizes = {name: parameter.size for name, parameter in model.parameters.items()}
    weights = {name: n for name, n in sizes.items() if name.endswith("weight")}
    assert weights == {
        "conv1.weight": 150, "conv2.weight": 2400,
        "dense1.weight": 48_000, "dense2.weight": 10_080, "dense3.weight": 840,
    }  # fmt: skip
    assert sum(weights.values()) == 61_470
    assert sum(sizes.values()) - sum(weights.values()) == 236
    assert model.n_parameters == 61_706
    shapes = [layer.output_shape for layer in model]
    assert shapes == [
        (28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (400,), (120,), (84,), (10,),
    ]  # fmt: skip


def test_options():
    model = nn.models.lenet5(
        (32, 32, 3), num_classes=5, pool="avg", activation="tanh", dropout=0.25, dtype="float64"
    )
    assert model["conv1"].weight.shape == (6, 5, 5, 3)
    assert model.output_shape == (5,)
    assert isinstance(model["avgpool1"], nn.AvgPool2D)
    kinds = [type(layer).__name__ for layer in model]
    assert kinds[-5:] == ["Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert {layer.rate for layer in model if isinstance(layer, nn.Dropout)} == {0.25}
    assert model.theta.dtype == np.float64
    with pytest.raises(ValueError, match=r"lenet5: pool: expected 'max' or 'avg'\. Received: 'mean'"):
        nn.models.lenet5(pool="mean")


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_gradients(pool):
    x, y = np.random.default_rng(0).random((2, 28, 28, 1)), np.array([3, 7])
    model = nn.models.lenet5(pool=pool, seed=0)
    report = nn.testing.check_gradients(model, x, nn.SoftmaxCrossEntropy(), y, n_checks=8)
    assert max(report.largest.values()) < 1e-6


def test_as_in_pytorch():
    """Loss and all gradients of one step."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    model, loss = nn.models.lenet5(seed=0), nn.SoftmaxCrossEntropy()
    (x, y), _ = nn.datasets.fashion_mnist_sample()
    x, y = x[:16], y[:16]
    t = {name: torch.tensor(p.data, requires_grad=True) for name, p in model.parameters.items()}

    def conv(x, name, **options):
        return f.relu(f.conv2d(x, t[f"{name}.weight"].permute(0, 3, 1, 2), t[f"{name}.bias"], **options))

    h = f.max_pool2d(conv(torch.tensor(x).permute(0, 3, 1, 2), "conv1", padding=2), 2)
    h = f.max_pool2d(conv(h, "conv2"), 2).permute(0, 2, 3, 1).flatten(1)
    for name in ("dense1", "dense2"):
        h = f.relu(f.linear(h, t[f"{name}.weight"], t[f"{name}.bias"]))
    expected = f.cross_entropy(f.linear(h, t["dense3.weight"], t["dense3.bias"]), torch.tensor(y))
    expected.backward()
    assert loss.forward(model.forward(x, training=True), y) == pytest.approx(expected.item(), rel=1e-5)
    model.backward(loss.backward())
    for name, parameter in model.parameters.items():
        gradient = t[name].grad.numpy()
        assert np.abs(parameter.grad - gradient).max() <= 1e-5 * np.abs(gradient).max(), name


def test_it_learns():
    (x, y), (x_test, y_test) = nn.datasets.fashion_mnist_sample()
    trainer = nn.Trainer(
        nn.models.lenet5(seed=0), nn.SoftmaxCrossEntropy(), nn.Adam(lr=2e-3), metrics=["accuracy"]
    )
    trainer.fit(x[:2000], y[:2000], epochs=3, batch_size=50, verbose=False)
    assert trainer.evaluate(x_test, y_test)["accuracy"] > 0.65
