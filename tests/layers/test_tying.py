"""TiedDense: one slice of theta for two layers, and gradients of both uses that add up."""

import copy
import json

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_gradients, check_layer

X = np.random.default_rng(0).normal(size=(7, 6))


def autoencoder(dtype="float64", frozen=(), **options):
    """6 -> 4 -> 3 -> 4 -> 6, both weights used twice."""
    first, second = nn.Dense(4, activation="tanh"), nn.Dense(3, activation="sigmoid")
    layers = [
        first, second, nn.TiedDense(second, activation="tanh", **options), nn.TiedDense(first, **options)
    ]  # fmt: skip
    model = nn.Sequential(layers, seed=0, dtype=dtype)
    for name in frozen:
        model[name].trainable = False
    model.build_model((6,))
    model.theta[:] += 0.1 * np.random.default_rng(1).normal(size=model.theta.size)
    return model


def side_by_side():
    """Not transposed: two branches with one weight."""
    source = nn.Dense(4, activation="tanh")
    branches = [source, [nn.Dense(6, activation="relu"), nn.TiedDense(source, transpose=False)]]
    return nn.Sequential([nn.Concat(branches), nn.Dense(2)], input_shape=(6,), seed=0, dtype="float64")


def backward(model, x=X, dy=None):
    y = model.forward(x, training=True)
    model.zero_grad()
    model.backward(np.ones_like(y) if dy is None else dy)
    return {name: p.grad.copy() for name, p in model.parameters.items()}


def test_one_slice_of_theta():
    model = autoencoder()
    assert {name: p.shape for name, p in model.parameters.items()} == {
        "dense1.weight": (4, 6), "dense1.bias": (4,), "dense2.weight": (3, 4), "dense2.bias": (3,),
        "tied1.bias": (4,), "tied2.bias": (6,),
    }  # fmt: skip
    assert model.n_parameters == 24 + 4 + 12 + 3 + 4 + 6 == model.theta.size
    assert "53 parameters" in model.summary()
    assert model["tied2"].weight is model["dense1"].weight
    assert model["tied2"].multiply_adds() == 24


def test_values():
    model = autoencoder()
    w, v = model["dense1"].weight.data, model["dense2"].weight.data
    b, c, d, e = (
        model.parameters[f"{name}.bias"].data for name in ("dense1", "dense2", "tied1", "tied2")
    )  # fmt: skip
    code = 1 / (1 + np.exp(-(np.tanh(X @ w.T + b) @ v.T + c)))
    np.testing.assert_allclose(model.predict(X), np.tanh(code @ v + d) @ w + e, rtol=1e-13)


def test_it_passes_check_layer():
    for dtype in ("float32", "float64"):
        check_layer(autoencoder(), (6,), dtype=dtype, verbose=False)
        check_layer(autoencoder(use_bias=False), (6,), dtype=dtype, verbose=False)
        check_layer(side_by_side(), (6,), dtype=dtype, verbose=False)
    check_layer(autoencoder(frozen=["dense1", "tied1"]), (6,), verbose=False)


@pytest.mark.parametrize("build", [autoencoder, side_by_side])
def test_gradients(build):
    """Each weight's gradient is that of a difference, which moves both of its uses."""
    check_gradients(build(), X, training=True, n_checks=None)


def test_the_gradient_is_the_sum_of_both_uses():
    """As that of two free layers with the same numbers, one transposed."""
    model = autoencoder()
    layers = [
        nn.Dense(4, activation="tanh"), nn.Dense(3, activation="sigmoid"), nn.Dense(4, activation="tanh"),
        nn.Dense(6),
    ]  # fmt: skip
    free = nn.Sequential(layers, input_shape=(6,), dtype="float64")
    for own, name, transposed in (
        ("dense1", "dense1", False), ("dense2", "dense2", False), ("dense3", "tied1", True),
        ("dense4", "tied2", True),
    ):  # fmt: skip
        weight = model[name].weight.data
        free[own].weight.data[...] = weight.T if transposed else weight
        free[own].bias.data[...] = model[name].bias.data
    dy = np.random.default_rng(2).normal(size=(7, 6))
    tied, apart = backward(model, dy=dy), backward(free, dy=dy)
    sums = {
        "dense1.weight": apart["dense1.weight"] + apart["dense4.weight"].T,
        "dense2.weight": apart["dense2.weight"] + apart["dense3.weight"].T,
        "dense1.bias": apart["dense1.bias"], "dense2.bias": apart["dense2.bias"],
        "tied1.bias": apart["dense3.bias"], "tied2.bias": apart["dense4.bias"],
    }  # fmt: skip
    assert tied.keys() == sums.keys()
    for name, gradient in sums.items():
        np.testing.assert_allclose(tied[name], gradient, rtol=1e-12, err_msg=name)


def test_as_in_pytorch():
    torch = pytest.importorskip("torch")
    model = autoencoder("float32")
    w, v, b, c, d, e = (
        torch.tensor(model.parameters[name].data, requires_grad=True)
        for name in (
            "dense1.weight",
            "dense2.weight",
            "dense1.bias",
            "dense2.bias",
            "tied1.bias",
            "tied2.bias",
        )
    )
    linear, x = torch.nn.functional.linear, X.astype(np.float32)
    code = torch.sigmoid(linear(torch.tanh(linear(torch.tensor(x), w, b)), v, c))
    y = linear(torch.tanh(linear(code, v.t(), d)), w.t(), e)
    y.sum().backward()
    np.testing.assert_allclose(model.predict(x), y.detach().numpy(), rtol=2e-5, atol=2e-6)
    received = backward(model, x)
    for name, tensor in (
        ("dense1.weight", w), ("dense2.weight", v), ("dense1.bias", b), ("dense2.bias", c), ("tied1.bias", d),
        ("tied2.bias", e),
    ):  # fmt: skip
        np.testing.assert_allclose(received[name], tensor.grad.numpy(), rtol=2e-5, atol=1e-5, err_msg=name)


def test_two_backward_passes_add_up():
    model = autoencoder()
    once = backward(model)
    model.backward(np.ones((7, 6)))
    for name, parameter in model.parameters.items():
        np.testing.assert_allclose(parameter.grad, 2 * once[name], rtol=1e-13)


def test_training_moves_both():
    model = autoencoder("float32")
    trainer = nn.Trainer(model, nn.SquaredError(), nn.Adam(lr=0.02, weight_decay=0.01))
    x = X.astype(np.float32)
    losses = [trainer.train_step(x, x) for _ in range(300)]
    assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_array_equal(model["tied2"].weight.data, model["dense1"].weight.data)


def test_a_frozen_source():
    """The weight stays in both uses, and the other gradients are what they were; the bias is the layer's."""
    model, free = autoencoder(frozen=["dense1", "tied1"]), autoencoder()
    model.load_state_dict(free.state_dict())
    assert model.n_trainable == 12 + 3 + 6
    frozen, expected = backward(model), backward(free)
    for name, parameter in model.parameters.items():
        if parameter.trainable:
            np.testing.assert_array_equal(frozen[name], expected[name])
        else:
            assert name in ("dense1.weight", "dense1.bias", "tied1.bias")
            assert not frozen[name].any()


def test_a_weight_learns_by_its_second_use():
    """Below the tied layer nothing learns, but its weight does."""
    source = nn.Dense(4, use_bias=False)
    branch = [nn.ReLU(), nn.TiedDense(source, transpose=False, use_bias=False), nn.Dense(3)]
    model = nn.Sequential([nn.Concat([source, branch])], input_shape=(6,), seed=0, dtype="float64")
    model.forward(X, training=True)
    model.backward(np.ones((7, 7)), input_gradient=False)
    alone = model["concat1.dense1"].weight.grad.copy()
    np.testing.assert_array_equal(alone, backward(model)["concat1.dense1.weight"])


def test_files_and_copies(tmp_path):
    model = autoencoder("float32")
    x, path = X.astype(np.float32), tmp_path / "tied.safetensors"
    model.save(path)
    config = json.loads(json.dumps(nn.layers.to_config(model)))
    again = nn.layers.from_config(config)
    again.load_state_dict(model.state_dict())
    for other in (nn.load(path), copy.deepcopy(model), again):
        assert other["tied1"].weight is other["dense2"].weight
        assert other["tied1"].weight is not model["dense2"].weight
        assert other.predict(x).tobytes() == model.predict(x).tobytes()
    np.testing.assert_allclose(model.for_inference().predict(x), model.predict(x), rtol=1e-6)


def test_by_name_and_in_nested_models():
    encoder = nn.Sequential([nn.Dense(4, name="inner"), nn.Dense(3)], name="encoder")
    decoder = nn.Sequential([nn.TiedDense("encoder.dense1"), nn.TiedDense("inner")], name="decoder")
    model = nn.Sequential([encoder, decoder], input_shape=(6,), dtype="float64")
    assert model["decoder.tied2"].weight is model["encoder.inner"].weight
    assert model["decoder.tied2"].config()["source"] == "encoder.inner"
    again = nn.layers.from_config(nn.layers.to_config(model))
    assert again["decoder.tied2"].weight is again["encoder.inner"].weight
    check_gradients(model, X, n_checks=None)


def test_batchnorm_beside_a_shared_weight_is_not_folded():
    source = nn.Dense(4)
    layers = [
        source,
        nn.BatchNorm(),
        nn.ReLU(),
        nn.TiedDense(source),
        nn.BatchNorm(),
        nn.Dense(2),
        nn.BatchNorm(),
    ]
    model = nn.Sequential(layers, input_shape=(6,), seed=0)
    x = X.astype(np.float32)
    for _ in range(5):
        model.forward(x, training=True)
    folded = model.fold_batchnorm()
    assert [layer.kind for layer in folded.layers] == [
        "dense",
        "batchnorm",
        "relu",
        "tied",
        "batchnorm",
        "dense",
    ]
    np.testing.assert_allclose(folded.predict(x), model.predict(x), rtol=1e-5, atol=1e-6)


def test_errors():
    with pytest.raises(
        TypeError, match=r"TiedDense: source: expected a Dense layer or its path.* Received: 3"
    ):
        nn.TiedDense(3)
    with pytest.raises(TypeError, match=r"TiedDense: source: expected a Dense layer"):
        nn.TiedDense(nn.Conv2D(3, 3))
    alone, other = nn.Dense(4), nn.Dense(6)
    with pytest.raises(
        ValueError, match=r"tied1 \(TiedDense\): source: .* one of dense1\. Received: 'Dense'"
    ):
        nn.Sequential([nn.Dense(4), nn.TiedDense(alone)], input_shape=(6,))
    with pytest.raises(
        ValueError, match=r"before this layer in the same model, one of those it does not have"
    ):
        nn.Sequential([nn.TiedDense(other), other], input_shape=(6,))
    with pytest.raises(
        ValueError, match=r"Received: 'd', which is the end of 2 of them; give the whole path"
    ):
        nn.Sequential(
            [
                nn.Sequential([nn.Dense(4, name="d")]),
                nn.Sequential([nn.Dense(4, name="d")]),
                nn.TiedDense("d"),
            ],
            input_shape=(6,),
        )
    source = nn.Dense(4)
    with pytest.raises(
        nn.ShapeError, match=r"tied1.*expected \(4,\).*dense1, 4 x 6, fits transposed.*\(5,\)"
    ):
        nn.Sequential([source, nn.Dense(5), nn.TiedDense(source)], input_shape=(6,))
    with pytest.raises(ValueError, match=r"expected a layer with a name, or one in a model"):
        nn.TiedDense(nn.Dense(3)).config()
