"""The autoencoder: counts, parts, tied weights, and that a linear one finds what PCA finds."""

import numpy as np
import pytest

import fastnn as nn


def test_counts_and_parts():
    model = nn.models.autoencoder((8, 5, 3), seed=0)
    assert model.n_parameters == 2 * (8 * 5 + 5 * 3) + 5 + 3 + 5 + 8
    assert [layer.name for layer in model] == ["encoder", "decoder"]
    assert [layer.units for layer in model["encoder"]] == [5, 3]
    assert [layer.units for layer in model["decoder"]] == [5, 8]
    assert [layer.activation for layer in model["encoder"]] == ["sigmoid", "sigmoid"]
    assert [layer.activation for layer in model["decoder"]] == ["sigmoid", None]
    tied = nn.models.autoencoder((8, 5, 3), "tanh", tied=True, output_activation="sigmoid", seed=0)
    assert tied.n_parameters == 8 * 5 + 5 * 3 + 5 + 3 + 5 + 8
    assert [layer.activation for layer in tied["decoder"]] == ["tanh", "sigmoid"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_code_between_the_parts(tmp_path, tied, dtype):
    model = nn.models.autoencoder((8, 5, 3), tied=tied, seed=0, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(601, 8)).astype(dtype)
    codes = model["encoder"].predict(x)
    assert codes.shape == (601, 3) and codes.dtype == dtype
    assert np.array_equal(model["decoder"].predict(codes), model.predict(x))
    model.save(tmp_path / "m")
    again = nn.load(tmp_path / "m")
    assert np.array_equal(again["encoder"].predict(x), codes)
    assert np.array_equal(again.predict(x), model.predict(x))


@pytest.mark.parametrize("tied", [False, True])
def test_gradients(tied):
    model = nn.models.autoencoder((6, 4, 2), "tanh", tied=tied, output_activation="sigmoid", seed=0)
    x = np.random.default_rng(0).random(size=(7, 6))
    report = nn.testing.check_gradients(model, x, nn.SquaredError(), x)
    assert max(report.largest.values()) < 1e-6


def test_noise_is_at_the_input_of_training_only():
    model = nn.models.autoencoder((4, 3), noise=nn.MaskingNoise(keep_prob=0.5), seed=0)
    plain = nn.models.autoencoder((4, 3), seed=0)
    assert [layer.name for layer in model] == ["maskingnoise1", "encoder", "decoder"]
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert np.array_equal(model.predict(x), plain.predict(x))
    assert not np.array_equal(model.forward(x, training=True), plain.forward(x, training=True))


@pytest.mark.parametrize("sizes", [(), (4,)])
def test_errors(sizes):
    with pytest.raises(ValueError, match=r"autoencoder: sizes: expected the input's and the code's at least"):
        nn.models.autoencoder(sizes)


# PCA


def data(n=300, mean=0.0, seed=0):
    """Samples (n, 6) with standard deviations from 3 to 0.3 along turned axes."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    x = rng.normal(size=(n, 6)) * [3, 2, 1, 0.7, 0.5, 0.3] @ axes
    return x - x.mean(0) + mean


def trained(model, x, epochs=2000):
    trainer = nn.Trainer(model, nn.SquaredError(), nn.Momentum(lr=0.01, momentum=0.9))
    trainer.fit(x, x, epochs=epochs, batch_size=None, shuffle=False, verbose=False)
    return trainer.evaluate(x, x)["loss"]


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_a_linear_one_reaches_pca(mean, tied, k):
    """The loss of the best subspace, and that subspace; biases learn to centre the data."""
    x = data(mean=mean)
    singular, components = np.linalg.svd(x - x.mean(0), full_matrices=False)[1:]
    optimum = (singular[k:] ** 2).sum() / len(x)
    model = nn.models.autoencoder((6, k), activation=None, tied=tied, seed=1, dtype="float64")
    assert trained(model, x, 6000) == pytest.approx(optimum, rel=1e-10)
    codes = model["encoder"].predict(x)
    back = model["decoder"].predict(np.vstack([np.zeros(k), np.eye(k)]))
    basis = np.linalg.qr((back[1:] - back[0]).T)[0]
    cosines = np.linalg.svd(components[:k] @ basis, compute_uv=False)  # of the principal angles
    assert np.allclose(cosines, 1, atol=1e-9)
    # The codes are a linear map of the principal scores: nothing is left when they are fitted by them.
    scores = (x - x.mean(0)) @ components[:k].T
    residual = np.linalg.lstsq(scores, codes - codes.mean(0), rcond=None)[1]
    assert residual.max(initial=0) < 1e-9


def test_only_the_subspace_is_that_of_pca():
    x = data()
    components = np.linalg.svd(x, full_matrices=False)[2]
    model = nn.models.autoencoder((6, 2), activation=None, seed=1, dtype="float64")
    trained(model, x)
    weight = model["encoder"].layers[0].weight.data
    rows = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    assert np.abs(rows @ components[:2].T).max() < 0.99  # none of the code's units is a component


def test_without_linear_units_it_is_not_pca():
    """Points on a curve: one component leaves much, one unit of a deep autoencoder follows the bend."""
    t = np.random.default_rng(0).uniform(-1, 1, 200)
    x = np.stack([t, t**2], 1)
    x -= x.mean(0)
    optimum = (np.linalg.svd(x, compute_uv=False)[1:] ** 2).sum() / len(x)
    model = nn.models.autoencoder((2, 8, 1), activation="tanh", seed=0, dtype="float64")
    trainer = nn.Trainer(model, nn.SquaredError(), nn.Adam(lr=0.02))
    trainer.fit(x, x, epochs=300, batch_size=None, shuffle=False, verbose=False)
    assert trainer.evaluate(x, x)["loss"] < 0.3 * optimum
