"""Races run every way to compute a layer, and leave everything as it was."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels
from fastnn.racing import blas_backward, blas_forward, race


def x_of(*shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_dense_layer(dtype, capsys):
    layer = nn.Dense(8, activation="relu")
    rows = race(layer, x_of(16, 10, dtype=dtype), seconds=0.001)
    names = [(row["kernels"], row["algorithm"]) for row in rows]
    assert names == [("reference", ""), ("compiled", "tile"), ("compiled", "blas")]
    for row in rows:
        assert row["forward_ms"] > 0
        assert row["backward_ms"] > 0
        assert row["forward_gflops"] == pytest.approx(2 * 16 * 8 * 10 / row["forward_ms"] / 1e6)
        assert row["backward_gflops"] == pytest.approx(4 * 16 * 8 * 10 / row["backward_ms"] / 1e6)
    assert rows[0]["difference"] == 0
    assert max(row["difference"] for row in rows) < (1e-5 if dtype == "float32" else 1e-12)
    table = capsys.readouterr().out
    assert "Dense(" in table
    assert len(table.splitlines()) == 5
    assert layer.workspace is None
    assert kernels.kernels_in_use() == "compiled"


def test_algorithms_that_do_not_apply_say_why(capsys):
    rows = race(nn.Conv2D(4, 3, stride=2), x_of(2, 9, 9, 3), seconds=0.001)
    assert [row["algorithm"] for row in rows] == ["", "auto", "direct", "im2col", "winograd"]
    refused = sum("error" in row for row in rows)
    assert capsys.readouterr().out.count("does not apply: ") == refused
    for row in rows:
        if "error" not in row:
            assert row["difference"] < 1e-5


SOURCE = nn.Dense(4)
LAYERS = {
    "conv": (nn.Conv2D(4, 3, activation="tanh"), (7, 7, 3)),
    "conv, stride and dilation": (nn.Conv2D(4, 3, stride=2, dilation=2, padding="same"), (9, 8, 2)),
    "conv, groups": (nn.Conv2D(4, 3, groups=2, use_bias=False), (7, 7, 6)),
    "conv, depthwise": (nn.Conv2D(6, 3, groups=6), (7, 7, 6)),
    "dense": (nn.Dense(5, use_bias=False), (6,)),
    "maxpool": (nn.MaxPool2D(3, 2, padding=1), (7, 7, 3)),
    "avgpool": (nn.AvgPool2D(2), (6, 6, 3)),
    "globalavgpool": (nn.GlobalAvgPool2D(), (6, 6, 3)),
    "batchnorm": (nn.BatchNorm(activation="relu"), (5, 5, 3)),
    "activation": (nn.Activation("gelu_tanh"), (9,)),
    **{
        kind.__name__: (kind(), (9,))
        for kind in (nn.ELU, nn.GELU, nn.SELU, nn.LeakyReLU, nn.Linear, nn.ReLU, nn.Sigmoid, nn.SiLU,
                     nn.Softmax, nn.LogSoftmax, nn.Softplus, nn.Tanh, nn.HardSigmoid, nn.HardTanh,
                     nn.HardSwish, nn.Step, nn.Swish)
    },
    "prelu": (nn.PReLU(shared=False), (3, 4)),
    "swish, learned": (nn.Swish(1.5, learnable=True), (9,)),
    "maxout": (nn.Maxout(5, pieces=3), (6,)),
    # x and dy are the same numbers: with a small eps dx would be zero but for rounding.
    "layernorm": (nn.LayerNorm(eps=0.5), (5, 6)),
    "lrn": (nn.LRN(alpha=0.1), (3, 3, 8)),
    "gaussiannoise": (nn.GaussianNoise(0.3), (50,)),
    "maskingnoise": (nn.MaskingNoise(0.7), (50,)),
    "alphadropout": (nn.AlphaDropout(0.3), (50,)),
    "gate": (nn.StochasticGate("logistic"), (50,)),
    "dropout": (nn.Dropout(0.3), (50,)),
    "tied": (nn.Sequential([SOURCE, nn.TiedDense(SOURCE)]), (6,)),
    "flatten": (nn.Flatten(), (3, 3, 2)),
    "reshape": (nn.Reshape((9, 2)), (3, 3, 2)),
    "sequential": (nn.Sequential([nn.Conv2D(3, 3), nn.Flatten(), nn.Dense(4)]), (5, 5, 2)),
    "residual": (nn.Residual([nn.Dense(6)], activation="relu"), (6,)),
    "concat": (nn.Concat([nn.Conv2D(2, 1), nn.MaxPool2D(3, 1, padding=1)]), (5, 5, 2)),
}  # fmt: skip


def test_every_public_layer_is_raced():
    public = {kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, nn.Layer)}
    raced = {type(inner) for layer, _ in LAYERS.values() for _, inner in layer.walk()}
    assert raced == public - {nn.Layer, nn.Model}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, dtype, capsys):
    layer, shape = LAYERS[name]
    rows = race(layer, x_of(3, *shape, dtype=dtype), seconds=0)
    kinds = {type(inner) for _, inner in layer.walk()}
    algorithms = [""]
    if nn.Conv2D in kinds:
        algorithms = ["auto", "direct", "im2col", "winograd"]
    elif nn.Dense in kinds:
        algorithms = ["tile", "blas"]
    assert [row["algorithm"] for row in rows] == ["", *algorithms]
    for row in rows:
        if row["algorithm"] != "winograd":
            assert row["difference"] < (2e-5 if dtype == "float32" else 1e-12), row
    assert capsys.readouterr().out


def test_rates_are_missing_where_there_are_no_multiply_adds(capsys):
    race(nn.ReLU(), x_of(4, 5), seconds=0)
    table = capsys.readouterr().out.splitlines()
    assert table[1].startswith("kernels")
    assert table[1].endswith("difference")
    assert table[2].split()[2] == table[3].split()[4] == "-"


def test_a_model_is_named_by_its_size(capsys):
    race(nn.models.lenet5(seed=0), x_of(2, 28, 28, 1), ["auto"], seconds=0)
    assert capsys.readouterr().out.startswith("Sequential of 8 layers on (2, 28, 28, 1) float32\n")


def test_one_algorithm_by_its_name():
    assert [row["algorithm"] for row in race(nn.Dense(3), x_of(4, 5), "blas", seconds=0)] == ["", "blas"]


def test_blas_adds_to_gradients_too():
    rng = np.random.default_rng(0)
    x, weight, da = rng.normal(size=(4, 5)), rng.normal(size=(3, 5)), rng.normal(size=(4, 3))
    dx, dw, db = np.empty((4, 5)), np.ones((3, 5)), np.ones(3)
    blas_backward(x, weight, da, dx, dw, db, accumulate=True)
    np.testing.assert_allclose(dw, 1 + da.T @ x, rtol=1e-12)
    np.testing.assert_allclose(db, 1 + da.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(dx, da @ weight, rtol=1e-12)
    blas_backward(x, weight, da, None, dw, None)
    np.testing.assert_allclose(dw, da.T @ x, rtol=1e-12)


@pytest.mark.parametrize("build", [False, True])
def test_the_layer_is_left_alone(build):
    layer = nn.Conv2D(3, 3, algorithm="im2col")
    model = nn.Sequential([layer, nn.BatchNorm()], input_shape=(6, 6, 2) if build else None, seed=0)
    before = model.state_dict() if build else None
    race(model, x_of(2, 6, 6, 2), seconds=0)
    assert layer.algorithm == "im2col"
    assert (model.workspace is None) == (not build)
    if build:
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, before[name])


def test_all_algorithms_of_a_convolution_agree():
    algorithms = ["direct", "im2col", "winograd"]
    rows = race(nn.Conv2D(8, 3, padding="same"), x_of(2, 8, 8, 8), algorithms, seconds=0.001)
    assert len(rows) == 4
    for row in rows:
        assert "error" not in row, row["error"]
        assert row["difference"] < 1e-4  # Winograd's transforms round more


def test_a_difference_is_seen():
    class Different(nn.Dense):
        def forward(self, x, training=False):
            y = super().forward(x)
            return y * np.float32(1.25 if kernels.kernels_in_use() == "compiled" else 1.0)

    rows = race(Different(3), x_of(4, 5), seconds=0.001)
    assert 0.2 < rows[1]["difference"] < 0.3


def test_kernels_are_put_back_after_a_failure():
    class Fails(nn.Dense):
        def forward(self, x, training=False):
            if kernels.kernels_in_use() == "reference":
                raise RuntimeError("on purpose")
            return super().forward(x)

    with pytest.raises(RuntimeError, match="on purpose"):
        race(Fails(3), x_of(4, 5), seconds=0.001)
    assert kernels.kernels_in_use() == "compiled"


def test_kernels_are_put_back_after_a_failure_with_blas():
    class Fails(nn.Dense):
        def backward(self, dy, input_gradient=True):
            if kernels.dense_forward is blas_forward:
                raise ValueError("on purpose")
            return super().backward(dy, input_gradient)

    before = kernels.dense_forward, kernels.dense_backward
    with pytest.raises(ValueError, match="on purpose"):
        race(Fails(3), x_of(4, 5), seconds=0)
    assert (kernels.dense_forward, kernels.dense_backward) == before


def test_dropout_races_with_one_mask():
    rows = race(nn.Dropout(0.5), x_of(8, 20), seconds=0.001)
    assert rows[1]["difference"] < 1e-6


@pytest.mark.parametrize("x", [np.zeros((2, 3), int), [[1.0]]])
def test_wrong_inputs_are_refused(x):
    with pytest.raises(TypeError, match=r"x: expected a float32 or float64 array. Received"):
        race(nn.Dense(2), x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            x_of(4, 7),
            r"x: expected shape \(N, 5\), as dense1 \(Dense\) was built for. Received: shape=\(4, 7\)",
        ),
        (x_of(5), r"x: expected a batch \(N, ...\) of at least one sample. Received: shape=\(5,\)"),
        (x_of(0, 5), r"x: expected a batch \(N, ...\) of at least one sample. Received: shape=\(0, 5\)"),
    ],
)
def test_wrong_shapes_are_refused(x, message):
    model = nn.Sequential([nn.Dense(2)], input_shape=(5,), seed=0)
    with pytest.raises(nn.ShapeError, match=message):
        race(model["dense1"], x)


def test_a_shape_that_the_layer_does_not_take():
    with pytest.raises(nn.ShapeError, match=r"put Flatten\(\) or GlobalAvgPool2D\(\) before it"):
        race(nn.Dense(2), x_of(2, 4, 4, 1))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Dense, r"layer: expected a Layer or a Model. Received: <class .*Dense'>; write Dense\(...\)"),
        ("dense", "layer: expected a Layer or a Model. Received: 'dense'"),
    ],
)
def test_other_things_than_layers_are_refused(layer, message):
    with pytest.raises(TypeError, match=message):
        race(layer, x_of(2, 3))


@pytest.mark.parametrize(
    ("layer", "algorithms", "message"),
    [
        (nn.Dense(2), ["winograd"], "algorithms: expected some of tile, blas. Received: 'winograd'"),
        (
            nn.ReLU(),
            ["fast"],
            "algorithms: expected None, since there is only one way to compute it. Received: 'f",
        ),
    ],
)
def test_unknown_algorithms_are_refused(layer, algorithms, message):
    with pytest.raises(ValueError, match=message):
        race(layer, x_of(2, 3), algorithms)


def test_the_module_does_not_hide_the_function():
    import fastnn.racing

    assert nn.race is fastnn.racing.race
    with pytest.raises(ModuleNotFoundError):
        import fastnn.race
