"""Sequential, Residual and Concat: shapes, values, gradients, names, and errors that show the layers."""

import copy

import numpy as np
import pytest

import fastnn as nn
from fastnn.testing import check_gradients, check_layer


def random(*shape, dtype="float32"):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


def small_network(**options):
    return nn.Sequential(
        [
            nn.Conv2D(3, 3, padding="same", activation="relu"),
            nn.MaxPool2D(2),
            nn.Residual([nn.Conv2D(3, 3, padding="same"), nn.BatchNorm()], activation="relu"),
            nn.Concat(
                [nn.Conv2D(2, 1), [nn.Conv2D(2, 1), nn.Conv2D(4, 3, padding="same", activation="elu")]]
            ),
            nn.GlobalAvgPool2D(),
            nn.Dropout(0.2),
            nn.Dense(3),
        ],
        **{"input_shape": (6, 6, 2), "seed": 0} | options,
    )


# All containers


@pytest.mark.parametrize(
    ("layer", "input_shape"),
    [
        (nn.Sequential([nn.Dense(4, activation="tanh"), nn.Dense(3)]), (5,)),
        (nn.Sequential([nn.ReLU(), nn.Flatten()]), (2, 3)),
        (nn.Sequential([nn.Sequential([nn.Sequential([nn.Dense(2)])])]), (3,)),
        (nn.Residual([nn.Dense(4, activation="relu"), nn.Dense(5)]), (5,)),
        (nn.Residual(nn.Dense(5), activation="relu"), (5,)),
        (nn.Residual([nn.Dense(4)], shortcut=nn.Dense(4, use_bias=False), activation="gelu"), (5,)),
        (nn.Residual([nn.Dense(4)], shortcut=[nn.Dense(4)], activation=nn.LeakyReLU(0.3)), (2,)),
        (nn.Residual([]), (4,)),
        (nn.Residual([nn.Residual([nn.Dense(3)]), nn.Dropout(0.4)]), (3,)),
        (nn.Residual([nn.Conv2D(3, 3, padding="same")], shortcut=nn.Conv2D(3, 1)), (4, 5, 2)),
        (nn.Concat([nn.Dense(2), nn.Dense(3, activation="silu")]), (4,)),
        (nn.Concat([[], [nn.Dense(3)], nn.ReLU()]), (4,)),
        (nn.Concat([nn.Dense(2)]), (4,)),
        (nn.Concat([nn.Conv2D(2, 1), nn.Conv2D(3, 3, padding="same")]), (3, 4, 2)),
        (nn.Concat([nn.Concat([nn.Dense(1), nn.Dense(2)]), [nn.Residual([nn.Dense(3)])]]), (3,)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer(layer, input_shape, dtype):
    check_layer(layer, input_shape, dtype=dtype, verbose=False)


def test_a_model_without_layers_is_the_identity():
    model = nn.Sequential([], input_shape=(3,))
    x = random(2, 3)
    assert model.n_parameters == model.theta.size == model.grad.size == 0
    assert model.forward(x) is x
    assert model.backward(x) is x
    assert (model.predict(x) == x).all()


def test_gradients_of_all_together():
    report = check_gradients(small_network(), random(4, 6, 6, 2), training=True, n_checks=30)
    assert max(report.largest.values()) < 1e-6
    assert len(report.largest) == len(small_network().parameters) + 1


# Values


def test_sequential_is_one_after_the_other():
    model = nn.Sequential(
        [nn.Dense(4, activation="tanh"), nn.Dense(3)], input_shape=(5,), seed=0, dtype="float64"
    )
    first, second = model.layers
    x, dy = random(6, 5, dtype="float64"), random(6, 3, dtype="float64")
    h = np.tanh(x @ first.weight.data.T + first.bias.data)
    np.testing.assert_allclose(model.forward(x), h @ second.weight.data.T + second.bias.data, rtol=1e-12)
    dh = dy @ second.weight.data * (1 - h**2)
    np.testing.assert_allclose(model.backward(dy), dh @ first.weight.data, rtol=1e-12)
    np.testing.assert_allclose(second.weight.grad, dy.T @ h, rtol=1e-12)
    np.testing.assert_allclose(first.weight.grad, dh.T @ x, rtol=1e-12)


def test_residual_adds_its_input():
    model = nn.Residual([nn.Dense(5)], activation="relu", input_shape=(5,), seed=0, dtype="float64")
    dense = model["body.dense1"]
    x, dy = random(6, 5, dtype="float64"), random(6, 5, dtype="float64")
    a = x @ dense.weight.data.T + dense.bias.data + x
    np.testing.assert_allclose(model.forward(x), np.maximum(a, 0), rtol=1e-12)
    da = dy * (a > 0)
    np.testing.assert_allclose(model.backward(dy), da @ dense.weight.data + da, rtol=1e-12)


def test_residual_with_a_zero_body_is_the_identity():
    model = nn.Residual([nn.Dense(5)], input_shape=(5,), seed=0)
    model.theta[:] = 0
    x, dy = random(6, 5), random(6, 5)
    assert (model.forward(x) == x).all()
    assert (model.backward(dy) == dy).all()


def test_concat_joins_the_last_axis():
    model = nn.Concat([nn.Dense(2), nn.Tanh()], input_shape=(3,), seed=0, dtype="float64")
    dense = model["dense1"]
    x, dy = random(6, 3, dtype="float64"), random(6, 5, dtype="float64")
    y = model.forward(x)
    assert model.output_shape == (5,)
    np.testing.assert_allclose(y[:, :2], x @ dense.weight.data.T + dense.bias.data, rtol=1e-12)
    np.testing.assert_allclose(y[:, 2:], np.tanh(x), rtol=1e-12)
    dx = dy[:, :2] @ dense.weight.data + dy[:, 2:] * (1 - np.tanh(x) ** 2)
    np.testing.assert_allclose(model.backward(dy), dx, rtol=1e-12)


def test_a_bottleneck_as_in_pytorch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    model = nn.Residual(
        [nn.Conv2D(4, 1, activation="relu"), nn.Conv2D(6, 3, stride=2, padding=1)],
        shortcut=nn.Conv2D(6, 1, stride=2), activation="relu", input_shape=(7, 8, 3), seed=0,
    )  # fmt: skip
    x = random(2, 7, 8, 3)
    dy = random(2, *model.output_shape)
    t = {name: torch.tensor(p.data, requires_grad=True) for name, p in model.parameters.items()}
    tx = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)

    def conv(x, name, **options):
        return f.conv2d(x, t[f"{name}.weight"].permute(0, 3, 1, 2), t[f"{name}.bias"], **options)

    h = conv(f.relu(conv(tx, "body.conv1")), "body.conv2", stride=2, padding=1)
    ty = f.relu(h + conv(tx, "shortcut", stride=2))
    ty.backward(torch.tensor(dy.transpose(0, 3, 1, 2).copy()))
    y, dx = model.forward(x), model.backward(dy)
    np.testing.assert_allclose(y.transpose(0, 3, 1, 2), ty.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dx.transpose(0, 3, 1, 2), tx.grad.numpy(), rtol=1e-5, atol=1e-5)
    for name, parameter in model.parameters.items():
        np.testing.assert_allclose(parameter.grad, t[name].grad.numpy(), rtol=1e-4, atol=1e-4)


def test_layers_before_the_first_parameters_are_left_out():
    """Nobody needs the gradient of the input of the first layer with parameters."""
    model = nn.Sequential([nn.Flatten(), nn.Tanh(), nn.Dense(2)], input_shape=(2, 2), seed=0)
    x, dy = random(3, 2, 2), random(3, 2)
    model.forward(x)
    assert model.backward(dy, input_gradient=False) is None
    gradient = model.grad.copy()
    model.zero_grad()
    assert model.backward(dy).shape == x.shape
    assert (model.grad == gradient).all()


@pytest.mark.parametrize(
    "build",
    [
        small_network,
        lambda: nn.Residual([nn.Dense(2)], input_shape=(2,), seed=0),
        lambda: nn.Concat([nn.Dense(2), []], input_shape=(2,), seed=0),
    ],
)
def test_gradients_do_not_depend_on_the_input_gradient(build):
    model = build()
    x = random(3, *model.input_shape)
    dy = random(3, *model.output_shape)
    gradients = []
    for input_gradient in (True, False):
        model.zero_grad()
        model.workspace.step = 0
        model.forward(x, training=True)
        model.backward(dy, input_gradient)
        gradients.append(model.grad.copy())
    assert (gradients[0] == gradients[1]).all()


# Names


def test_names():
    names = list(small_network().parameters)
    assert names == [
        "conv1.weight", "conv1.bias",
        "residual1.body.conv1.weight", "residual1.body.conv1.bias",
        "residual1.body.batchnorm1.gamma", "residual1.body.batchnorm1.beta",
        "concat1.conv1.weight", "concat1.conv1.bias",
        "concat1.sequential1.conv1.weight", "concat1.sequential1.conv1.bias",
        "concat1.sequential1.conv2.weight", "concat1.sequential1.conv2.bias",
        "dense1.weight", "dense1.bias",
    ]  # fmt: skip


def test_names_are_counted_by_kind_and_given_names_are_kept():
    model = nn.Sequential(
        [nn.Dense(2), nn.ReLU(), nn.Dense(2, name="dense2"), nn.Dense(2), nn.Dense(2, name="out")]
    )
    assert [layer.name for layer in model] == ["dense1", "relu1", "dense2", "dense3", "out"]
    with pytest.raises(ValueError, match=r"layer names: expected different names\. Received: 'a' twice"):
        nn.Sequential([nn.Dense(2, name="a"), nn.Dense(3, name="a")])


def test_layers_by_name_and_position():
    model = small_network()
    assert model["dense1"] is model[6] is model[-1] is list(model)[-1]
    assert model["residual1.body.conv1"] is model["residual1"]["body.conv1"]
    assert len(model) == 7
    with pytest.raises(KeyError, match=r"layer: expected one of conv1, maxpool1.*Received: 'conv9'"):
        model["conv9"]


# Errors


def test_a_layer_that_does_not_fit_is_marked_in_a_table():
    with pytest.raises(nn.ShapeError) as caught:
        nn.Sequential(
            [nn.Conv2D(6, 5, padding="same"), nn.MaxPool2D(2), nn.Dense(10), nn.ReLU()],
            input_shape=(28, 28, 1),
        )
    message, *table = str(caught.value).splitlines()
    assert message.startswith("dense1 (Dense): expected one axis per sample, (features,). Received: ")
    assert "put Flatten() or GlobalAvgPool2D() before it" in message
    assert [" ".join(line.split()) for line in table] == [
        "input (28, 28, 1)",
        "1 conv1 (Conv2D) (28, 28, 6)",
        "2 maxpool1 (MaxPool2D) (14, 14, 6)",
        "--> 3 dense1 (Dense) does not fit (14, 14, 6)",
    ]


def test_the_table_of_a_nested_layer():
    with pytest.raises(nn.ShapeError) as caught:
        nn.Sequential([nn.Dense(4), nn.Residual([nn.Dense(4), nn.Dense(3)])], input_shape=(2,))
    lines = str(caught.value).splitlines()
    assert "residual1 (Residual): expected body and shortcut to end in the same shape" in lines[0]
    assert (
        "body (3,), shortcut (4,); give a shortcut that ends in the body's shape, e.g. Conv2D(filters, 1"
        in lines[0]
    )
    assert lines[-1].split() == ["-->", "2", "residual1", "(Residual)", "does", "not", "fit", "(4,)"]


def test_shapes_that_do_not_join():
    with pytest.raises(nn.ShapeError, match=r"make both end in the same shape"):
        nn.Residual([nn.Dense(3)], shortcut=[nn.Dense(4)], input_shape=(2,))
    with pytest.raises(nn.ShapeError, match=r"differ only in the last axis.*\(3, 3, 1\).*padding='same'"):
        nn.Concat([nn.Conv2D(1, 1), nn.Conv2D(1, 3)], input_shape=(5, 5, 1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Sequential([nn.Dense]), r"Sequential: expected layers\..*; write Dense\(10\), not Dense"),
        (lambda: nn.Sequential([nn.Dense(2), "relu"]), r"Sequential: expected layers\. Received: 'relu'"),
        (lambda: nn.Sequential(nn.Dense(2)), r"layers: expected a list of layers\. Received: Dense\("),
        (
            lambda: nn.Sequential([nn.Dense(2)], input_shape=784),
            r"input_shape: expected a tuple.*write \(784,\)",
        ),
        (lambda: nn.Sequential([nn.Dense(2)], input_shape="ab"), "input_shape: expected a tuple"),
        (lambda: nn.Sequential([], dtype="float16"), r"dtype: expected 'float32' or 'float64'.*float16"),
        (lambda: nn.Residual("relu"), "body: expected a layer or a list of layers. Received: 'relu'"),
        (lambda: nn.Residual([], shortcut=3), "shortcut: expected a layer or a list of layers. Received: 3"),
        (lambda: nn.Concat([3]), "branch: expected a layer or a list of layers. Received: 3"),
    ],
)
def test_wrong_types(build, message):
    with pytest.raises(TypeError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Concat([]), "Concat: branches: expected at least one"),
        (
            lambda: nn.Sequential([nn.Dense(2)], input_shape=(0,)),
            "input_shape: expected an integer of at least 1",
        ),
        (lambda: nn.Sequential([nn.Dense(2)], input_shape=(None, 3)), "input_shape: expected an integer"),
        (lambda: nn.Sequential([], seed=-1), "seed: expected None, an integer of at least 0 or a Generator"),
        (lambda: nn.Sequential([], seed=0.5), "seed: expected None, an integer"),
    ],
)
def test_wrong_values(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_layer_belongs_to_one_model():
    inner, dense = nn.Sequential([nn.Dense(2)]), nn.Dense(3)
    nn.Sequential([inner, dense], input_shape=(2,), seed=0)
    for layer in (inner, dense):
        with pytest.raises(ValueError, match="is already part of another model; build a new one"):
            nn.Sequential([layer])
    with pytest.raises(nn.NotBuiltError, match=r"sequential1 \(Sequential\) is part of a larger model"):
        inner.theta  # noqa: B018


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ["relu", None, "tanh", "gelu"])
@pytest.mark.parametrize(
    "shortcut", [None, [nn.Conv2D(6, 1, use_bias=False), nn.BatchNorm()]], ids=["x", "conv"]
)
def test_a_body_that_ends_in_batchnorm_adds_the_shortcut_itself(activation, training, shortcut):
    """Fused or not, the outputs and gradients have the same bits."""
    x, results = random(3, 5, 5, 6), []
    for fuse in (True, False):
        model = nn.Residual(
            [nn.Conv2D(6, 3, padding=1), nn.BatchNorm(activation="relu"), nn.Conv2D(6, 1), nn.BatchNorm()],
            shortcut=copy.deepcopy(shortcut), activation=activation, input_shape=(5, 5, 6), seed=0,
        )  # fmt: skip
        model.workspace.fuse = fuse
        for _, layer in model.walk():
            layer.normalizer = None  # statistics by a pass of their own: other sums
        assert model.fused == (fuse and activation in ("relu", None))
        y = model.forward(x, training).copy()
        results.append([y, model.backward(random(*y.shape)).copy(), model.grad.copy(), model.predict(x)])
    for fused, plain in zip(*results):
        np.testing.assert_array_equal(fused, plain)


def test_a_body_of_another_kind_is_not_fused():
    class Doubled(nn.Sequential):
        def pass_forward(self, x, training):
            return 2 * super().pass_forward(x, training)

    model = nn.Residual(Doubled([nn.BatchNorm()]), input_shape=(3,), seed=0)
    assert not model.fused
    x = random(4, 3)
    np.testing.assert_allclose(model.forward(x), 3 * x, rtol=1e-4)


def test_the_trainers_backward_pass_lets_go_of_what_was_kept():
    model = nn.Sequential(
        [nn.Residual([nn.Dense(4), nn.BatchNorm()]), nn.Concat([nn.Dense(2), nn.Tanh()])],
        input_shape=(4,),
        seed=0,
    )
    x, dy = random(3, 4), random(3, 6)
    model.forward(x, True)
    expected = model.backward(dy).copy(), model.grad.copy()
    model.zero_grad()
    model.forward(x, True)
    model.workspace.once = True
    assert (model.backward(dy) == expected[0]).all()
    assert (model.grad == expected[1]).all()
    assert all(layer.saved is None for path, layer in model.walk() if path)
