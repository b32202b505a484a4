"""Models prepared for prediction: folded, packed, recorded; the same outputs."""

import threading

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels
from fastnn.inference import InferenceModel, _share


def conv_block(filters, stride=1, activation="relu"):
    return [
        nn.Conv2D(filters, 3, stride=stride, padding="same", use_bias=False),
        nn.BatchNorm(activation=activation),
    ]


def mlp(dtype="float32"):
    layers = [nn.Dense(33, activation="relu"), nn.BatchNorm(), nn.Dense(19, activation="tanh"), nn.Dense(5)]
    return nn.Sequential(layers, input_shape=(7,), seed=1, dtype=dtype)


def lenet(dtype="float32"):
    return nn.Sequential(
        [
            nn.Conv2D(6, 5, padding="same", activation="relu"), nn.MaxPool2D(2), nn.Conv2D(16, 5), nn.ReLU(),
            nn.AvgPool2D(2), nn.Flatten(), nn.Dropout(0.3), nn.Dense(20, activation="relu"), nn.Dense(10),
        ],
        input_shape=(16, 16, 1), seed=2, dtype=dtype,
    )  # fmt: skip


def resnet(dtype="float32"):
    layers = [
        *conv_block(8),
        nn.Residual([*conv_block(8), *conv_block(8, activation=None)], activation="relu"),
        nn.Residual(
            [*conv_block(16, 2), *conv_block(16, activation=None)],
            [nn.Conv2D(16, 1, stride=2), nn.BatchNorm()], activation="relu",
        ),
        nn.Concat([nn.Conv2D(4, 1, activation="gelu"), conv_block(5), nn.MaxPool2D(3, stride=1, padding=1)]),
        nn.GlobalAvgPool2D(), nn.Dense(3),
    ]  # fmt: skip
    return nn.Sequential(layers, input_shape=(9, 9, 3), seed=3, dtype=dtype)


def trained(make, dtype="float32"):
    """A model whose running statistics are not trivial."""
    model, rng = make(dtype), np.random.default_rng(0)
    for _ in range(3):
        model.forward(rng.standard_normal((8, *model.input_shape)).astype(dtype) * 2 + 1, training=True)
    for name, parameter in model.parameters.items():
        if name.endswith(("gamma", "beta", "bias")):
            parameter.data[...] += rng.uniform(-0.5, 0.5, parameter.shape)
    return model


def inputs(model, n, seed=5):
    shape = (n, *model.input_shape)
    return np.random.default_rng(seed).standard_normal(shape).astype(model.model_dtype)


def names(ready):
    """The kernels of a plan, without the shapes."""
    return [line.split("(")[0].strip() for line in ready.steps()]


MODELS = [mlp, lenet, resnet]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-13)])
def test_predicts_as_the_model_does(make, dtype, tolerance):
    model = trained(make, dtype)
    ready = model.for_inference(4)
    for n in (4, 1, 3, 11):  # planned, smaller, and cut into 4 + 4 + 3
        x = inputs(model, n)
        expected, y = model.predict(x), ready.predict(x)
        assert y.shape == expected.shape and y.dtype == expected.dtype
        assert abs(y - expected).max() <= tolerance * abs(expected).max()
    assert all(plan.steps for plan in ready._plans.values()), "every one is a recording"


@pytest.mark.parametrize("make", MODELS)
def test_fold_batchnorm(make):
    model = trained(make, "float64")
    before, x = model.state_dict(), inputs(model, 6)
    expected = model.predict(x)
    folded = model.fold_batchnorm()
    y = folded.predict(x)
    assert abs(y - expected).max() <= 1e-13 * abs(expected).max()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    norms = [layer for _, layer in folded.walk() if isinstance(layer, nn.BatchNorm)]
    assert len(norms) == (1 if make is mlp else 0)  # behind a ReLU it has to stay
    assert folded.summary()
    folded.forward(x, training=True)  # an ordinary model: it can be trained on
    folded.backward(np.ones_like(y))
    assert np.isfinite(folded.grad).all() and folded.grad.any()


def test_folded_layer_takes_the_activation_over():
    model = nn.Sequential([nn.Dense(4), nn.BatchNorm(activation=nn.LeakyReLU(0.3))], input_shape=(3,), seed=0)
    folded = model.fold_batchnorm()
    assert [type(layer) for layer in folded] == [nn.Dense] and folded[0].alpha == 0.3
    x = inputs(model, 5)
    np.testing.assert_allclose(folded.predict(x), model.predict(x), rtol=1e-5, atol=1e-7)


def test_the_weights_are_a_copy():
    model = trained(mlp)
    x = inputs(model, 3)
    ready = model.for_inference()
    expected = ready.predict(x)
    model.theta[:] = 0
    np.testing.assert_array_equal(ready.predict(x), expected)


def test_the_result_belongs_to_the_caller():
    ready = trained(mlp).for_inference(2)
    x = inputs(ready._model, 2)
    first = ready.predict(x)
    kept = first.copy()
    ready.predict(x + 1)
    np.testing.assert_array_equal(first, kept)


def test_buffers_share_memory():
    model = nn.Sequential([nn.Dense(100, activation="relu") for _ in range(9)], input_shape=(100,), seed=0)
    ready = model.for_inference(64)
    assert len(ready._plan(64).memory) <= 2 * 64 * 100 * 4 + 64
    assert ready._model.workspace.n_bytes == 0, "what the recording needed is given back"
    start = _share({1: 0, 2: 1, 3: 2}, {1: 1, 2: 2, 3: 9}, {1: 100, 2: 60, 3: 100})
    assert start[1] == start[3] == 0 and start[2] == 128


def residuals(dtype="float32"):
    """Identity and other shortcuts, with filters enough for Winograd's algorithm."""
    layers = [
        nn.Residual([*conv_block(32), *conv_block(32, activation=None)], activation="relu"),
        nn.Residual(
            [*conv_block(48, 2), *conv_block(48, activation=None)],
            [nn.Conv2D(48, 1, stride=2), nn.BatchNorm()], activation="relu",
        ),
        nn.Residual(conv_block(48, activation=None), [nn.MaxPool2D(3, stride=1, padding=1)], "gelu"),
        nn.Residual(conv_block(48), activation="relu"),
        nn.Residual([nn.AvgPool2D(3, stride=1, padding=1)], conv_block(48, activation=None), "tanh"),
        nn.GlobalAvgPool2D(), nn.Dense(3),
    ]  # fmt: skip
    return nn.Sequential(layers, input_shape=(17, 16, 32), seed=3, dtype=dtype)


RESIDUALS = [
    "conv2d_forward", "conv2d_forward + add",
    "conv2d_forward", "conv2d_forward", "conv2d_forward + add",  # the shortcut is recorded after the body
    "conv2d_forward", "max_pool2d_forward", "add_forward",  # the pooled image comes after the convolution
    "conv2d_forward", "add_forward",  # the activation comes before the sum
    "avg_pool2d_forward", "conv2d_forward + add",
    "global_avg_pool2d_forward", "dense_forward",
]  # fmt: skip


def vgg(dtype="float32"):
    layers = []
    for filters in (32, 48):
        layers += [*conv_block(filters), *conv_block(filters, activation="elu"), nn.MaxPool2D(2)]
    layers += [nn.Conv2D(32, 5, padding="same", activation="relu"), nn.MaxPool2D(2), nn.MaxPool2D(2)]
    layers += [nn.Residual([nn.Conv2D(32, 1), nn.Conv2D(32, 3, padding="same", algorithm="winograd")])]
    layers += [nn.MaxPool2D(2), nn.Flatten(), nn.Dense(4)]
    return nn.Sequential(layers, input_shape=(67, 66, 32), seed=4, dtype=dtype)


VGG = [
    "conv2d_forward", "conv2d_forward + pool", "conv2d_forward", "conv2d_forward + pool",
    "conv2d_forward + pool", "max_pool2d_forward", "conv2d_forward", "conv2d_forward + add + pool",
    "dense_forward",
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("make", "expected", "part"), [(residuals, RESIDUALS, 1), (vgg, VGG, 0.7)])
def test_convolutions_take_over_what_follows(make, expected, part, dtype, monkeypatch):
    model = trained(make, dtype)
    ready, x = model.for_inference(3), inputs(model, 3)
    assert names(ready) == expected
    y = ready.predict(x)
    np.testing.assert_array_equal(y, ready._model.predict(x))
    monkeypatch.setattr(nn.inference, "fuse", lambda calls, output: calls)
    plain = model.for_inference(3)
    assert len(plain.steps()) > len(expected)
    np.testing.assert_array_equal(y, plain.predict(x))
    assert len(ready._plan(3).memory) <= part * len(plain._plan(3).memory)


@pytest.mark.parametrize("later", [False, True])
def test_a_convolution_whose_output_is_read_twice_keeps_it(later):
    class Twice(nn.Residual):
        """a + a for a = body(x), or a + (a + x)."""

        def pass_forward(self, x, training):
            a = self.body.forward(x, training)
            y, z = self.buffer(a.shape), self.buffer(a.shape)
            if later:
                kernels.add_forward(a, x, y)
            kernels.add_forward(a, y if later else a, z)
            return z

    layers = [Twice([nn.Conv2D(8, 3, padding="same")]), nn.Conv2D(4, 1)]
    model = nn.Sequential(layers, input_shape=(8, 8, 8), seed=0)
    ready, x = model.for_inference(2), inputs(model, 2)
    assert names(ready) == ["conv2d_forward", *["add_forward"] * (1 + later), "conv2d_forward"]
    np.testing.assert_array_equal(ready.predict(x), ready._model.predict(x))


def test_a_layer_that_computes_by_itself():
    class Cube(nn.Layer):
        def forward(self, x, training=False):
            return x**3

    model = nn.Sequential([nn.Dense(4), Cube(), nn.Dense(2)], input_shape=(3,), seed=0)
    ready, x = InferenceModel(model, 5), inputs(model, 5)
    assert not ready._plan(5).steps
    np.testing.assert_array_equal(ready.predict(x), model.predict(x))


@pytest.mark.parametrize("layers", [[nn.Flatten()], [nn.Dropout(0.5)], [nn.Flatten(), nn.Dense(3)]])
def test_layers_without_kernels(layers):
    model = nn.Sequential(layers, input_shape=(2, 3, 1), seed=0)
    x = inputs(model, 4)
    np.testing.assert_array_equal(model.for_inference(4).predict(x), model.predict(x))


@pytest.mark.parametrize("make", [lenet, residuals, vgg])
def test_the_twins_too(make):
    model = trained(make)
    x = inputs(model, 3)
    expected, before = model.predict(x), nn.use_kernels("reference")
    try:
        ready = model.for_inference(3)
        y = ready.predict(x)
        assert ready._plan(3).steps
        assert names(ready).count("conv2d_forward + add") == {lenet: 0, residuals: 3, vgg: 0}[make]
        assert names(ready).count("conv2d_forward + add + pool") == (make is vgg)
    finally:
        nn.use_kernels(before)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_same_bits_for_any_number_of_threads(make):
    model, results, before = trained(make), [], nn.get_num_threads()
    x = inputs(model, 40)
    try:
        for threads in (1, 2, 3):
            nn.set_num_threads(threads)
            results.append(model.for_inference(40).predict(x))
    finally:
        nn.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_used_by_several_threads_at_once():
    ready = trained(lenet).for_inference(2)
    xs = [inputs(ready._model, 2, seed) for seed in range(4)]
    expected, wrong = [ready.predict(x) for x in xs], []

    def work(i):
        same = [np.array_equal(ready.predict(xs[i]), expected[i]) for _ in range(30)]
        wrong.extend([i] * same.count(False))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_plans_do_not_pile_up():
    ready = trained(mlp).for_inference()
    for n in range(1, 30):
        ready.predict(inputs(ready._model, n))
    assert len(ready._plans) <= 8


def test_empty_and_non_contiguous_input():
    ready = trained(mlp).for_inference(4)
    x = inputs(ready._model, 8)
    assert ready.predict(x[:0]).shape == (0, 5)
    np.testing.assert_array_equal(ready.predict(x[::2]), ready.predict(x[::2].copy()))


def test_errors():
    ready = trained(mlp).for_inference(4)
    with pytest.raises(nn.ShapeError, match=r"x: expected shape \(N, 7\)"):
        ready.predict(np.zeros((4, 8), np.float32))
    with pytest.raises(TypeError, match="expected dtype float32"):
        ready.predict(np.zeros((4, 7)))
    with pytest.raises(ValueError, match="batch_size: expected an integer of at least 1"):
        mlp().for_inference(0)
    with pytest.raises(TypeError, match="expected a model"):
        InferenceModel("model")
    with pytest.raises(nn.NotBuiltError):
        nn.Sequential([nn.Dense(3)]).for_inference()


def test_steps_are_readable():
    lines = trained(lenet).for_inference(2).steps()
    assert [line.split()[0] for line in lines][:2] == ["conv2d_forward", "max_pool2d_forward"]
    assert "(2, 16, 16, 6)" in lines[0]
    assert "InferenceModel((16, 16, 1) -> (10,), batch_size=2)" in repr(trained(lenet).for_inference(2))
