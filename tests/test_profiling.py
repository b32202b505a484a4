"""Profiles count what one counts by hand, time by the clock, and leave the model as it was."""

import copy

import numpy as np
import pytest

import fastnn as nn
from fastnn import profiling


def x_of(*shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def rows_of(model, x, *args):
    return {row["layer"]: row for row in model.profile(x, *args, seconds=0).rows}


def residual_net(**options):
    return nn.Sequential(
        [
            nn.Conv2D(4, 3, padding="same"),
            nn.BatchNorm(activation="relu"),
            nn.Residual([nn.Conv2D(4, 3, padding="same")], activation="relu"),
            nn.Concat([nn.Conv2D(2, 1), [nn.MaxPool2D(3, 1, "same"), nn.Conv2D(3, 1)]]),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Dense(3),
        ],
        input_shape=(6, 6, 2), seed=0, **options,
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("float64", 8)])
def test_operations_and_bytes_of_lenet(dtype, width):
    n = 3
    rows = rows_of(nn.models.lenet5(seed=0, dtype=dtype), x_of(n, 28, 28, 1, dtype=dtype))
    conv1, pool, conv2 = rows["conv1 (Conv2D)"], rows["maxpool1 (MaxPool2D)"], rows["conv2 (Conv2D)"]
    assert conv1["forward_operations"] == 2 * n * 117_600
    assert conv1["backward_operations"] == 2 * n * 117_600  # no gradient to the input of the first layer
    assert conv2["forward_operations"] == 2 * n * 240_000
    assert conv2["backward_operations"] == 2 * n * 480_000
    x, y1, y2, y3 = (n * size * width for size in (784, 28 * 28 * 6, 14 * 14 * 6, 10 * 10 * 16))
    index = n * 14 * 14 * 6
    assert conv1["forward_bytes"] == x + y1 + 156 * width
    assert conv1["backward_bytes"] == y1 + x + 156 * width  # dy, x; dw and db: the pool reads y
    assert pool["forward_bytes"] == y1 + y2
    assert pool["backward_bytes"] == 2 * y2 + index + y1  # dy and y
    assert conv2["backward_bytes"] == y3 + 2 * y2 + 2 * 2416 * width  # dx, and the weights for it
    assert pool["forward_operations"] == pool["forward_gflops"] == 0
    flatten = rows["flatten1 (Flatten)"]
    assert flatten["forward_bytes"] == flatten["backward_bytes"] == 0


def test_the_output_of_a_linear_layer_is_not_read_again():
    rows = rows_of(nn.Sequential([nn.Dense(5)], input_shape=(7,), seed=0), x_of(2, 7))
    assert rows["dense1 (Dense)"]["backward_bytes"] == 4 * (2 * 5 + 2 * 7 + 40)


def test_rates_are_amounts_over_times():
    report = nn.models.lenet5(seed=0).profile(x_of(4, 28, 28, 1), seconds=0)
    for row in report.rows:
        for name in ("forward", "backward"):
            ms = row[f"{name}_ms"]
            assert ms > 0
            assert row[f"{name}_gflops"] == pytest.approx(row[f"{name}_operations"] / ms / 1e6)
            assert row[f"{name}_gb_s"] == pytest.approx(row[f"{name}_bytes"] / ms / 1e6)
        assert row["share"] == pytest.approx((row["forward_ms"] + row["backward_ms"]) / report.whole_ms)
    assert report.n_samples == 4
    assert report.n_steps == 3
    assert report.whole_ms == pytest.approx(report.layers_ms + report.outside_ms + report.noise_ms)


def test_containers_have_a_row_for_their_own_work():
    rows = rows_of(residual_net(), x_of(2, 6, 6, 2))
    assert list(rows) == [
        "conv1 (Conv2D)",
        "batchnorm1 (BatchNorm)",
        "residual1 (Residual)",
        "residual1.body.conv1 (Conv2D)",
        "concat1 (Concat)",
        "concat1.conv1 (Conv2D)",
        "concat1.sequential1.maxpool1 (MaxPool2D)",
        "concat1.sequential1.conv1 (Conv2D)",
        "flatten1 (Flatten)",
        "dropout1 (Dropout)",
        "dense1 (Dense)",
    ]
    image = 2 * 6 * 6 * 4 * 4
    residual, concat = rows["residual1 (Residual)"], rows["concat1 (Concat)"]
    assert residual["forward_operations"] == concat["forward_operations"] == 0
    assert residual["forward_bytes"] == 3 * image  # body, input, sum
    assert concat["forward_bytes"] == 2 * image // 4 * 5  # two parts and the whole
    assert concat["output_shape"] == (6, 6, 5)


def test_layers_before_the_first_parameters_have_no_backward_pass():
    rows = rows_of(nn.Sequential([nn.ReLU(), nn.Dense(2)], input_shape=(3,), seed=0), x_of(4, 3))
    assert rows["relu1 (ReLU)"]["forward_ms"] > 0
    assert rows["relu1 (ReLU)"]["backward_ms"] == 0
    assert rows["relu1 (ReLU)"]["backward_bytes"] == 0


class Waits(nn.Layer):
    """Takes the seconds that it is told, by a clock that the test turns."""

    kind = "waits"
    now = 0.0

    def __init__(self, forward_seconds, backward_seconds, name=None):
        super().__init__(name)
        self.forward_seconds, self.backward_seconds = forward_seconds, backward_seconds

    def create_parameters(self, input_shape):
        self.add_parameter("weight", (1,), lambda shape, rng: np.ones(shape))

    def forward(self, x, training=False):
        Waits.now += self.forward_seconds
        return x.copy()

    def backward(self, dy, input_gradient=True):
        Waits.now += self.backward_seconds
        return dy.copy()


class Overhead(nn.Sequential):
    """A row of layers that wastes a second in each pass."""

    def forward(self, x, training=False):
        Waits.now += 1.0
        return super().forward(x, training)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(profiling, "perf_counter", lambda: Waits.now)


def test_frozen_and_shared_weights():
    """A frozen layer has no products for its weights; the shared one is read by both layers, and written."""
    n, each = 4, 2 * 4 * 64  # operations of one product
    source = nn.Dense(8, use_bias=False)
    layers = [
        nn.Dense(8, use_bias=False),
        source,
        nn.Dense(8, use_bias=False),
        nn.TiedDense(source, use_bias=False),
    ]
    layers[0].trainable = layers[2].trainable = False
    model = nn.Sequential(layers, input_shape=(8,), seed=0)
    rows = model.profile(np.ones((n, 8), np.float32), seconds=0.0).rows
    assert [row["forward_operations"] for row in rows] == [each] * 4
    assert [row["backward_operations"] for row in rows] == [0, each, each, 2 * each]
    x, weight = 4 * n * 8, 4 * 64
    assert [row["forward_bytes"] for row in rows] == [2 * x + weight] * 4
    assert [rows[i]["backward_bytes"] for i in (0, 1, 3)] == [0, 2 * x + weight, 3 * x + 2 * weight]


def test_times(clock):
    model = Overhead([nn.Residual([Waits(1.0, 2.0), Waits(4.0, 8.0)]), Waits(16.0, 32.0)], input_shape=(3,))
    report = model.profile(x_of(2, 3), seconds=500)
    rows = {row["layer"]: (row["forward_ms"], row["backward_ms"]) for row in report.rows}
    assert rows == {
        "residual1 (Residual)": (0, 0),  # the clock does not see the sum
        "residual1.body.waits1 (Waits)": (1e3, 2e3),
        "residual1.body.waits2 (Waits)": (4e3, 8e3),
        "waits1 (Waits)": (16e3, 32e3),
    }
    assert report.layers_ms == 63e3
    assert report.whole_ms == 64e3
    assert report.outside_ms == 1e3
    assert report.noise_ms == 0
    assert report.n_steps == 3
    assert report.rows[-1]["share"] == 48 / 64


def test_the_loss_is_a_row():
    loss, labels = nn.SoftmaxCrossEntropy(), np.array([0, 2, 1])
    model = nn.Sequential([nn.Dense(3)], input_shape=(4,), seed=0)
    report = model.profile(x_of(3, 4), labels, loss, seconds=0)
    assert [row["layer"] for row in report.rows] == ["dense1 (Dense)", "loss (SoftmaxCrossEntropy)"]
    assert report.rows[1]["forward_ms"] > 0
    assert report.rows[1]["backward_ms"] == 0
    assert loss.gradient is None
    assert loss.losses is None


def state_of(model):
    arrays = model.state_dict() | {"theta": model.theta.copy(), "grad": model.grad.copy()}
    saved = {path: id(layer.saved) for path, layer in model.walk()}
    return arrays, (model.workspace.step, model.workspace.seed, saved, [*vars(model["dense1"])])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_model_is_left_alone(dtype):
    model, x, y = residual_net(dtype=dtype), x_of(5, 6, 6, 2, dtype=dtype), np.arange(5) % 3
    twin = copy.deepcopy(model)
    trainers = [nn.Trainer(m, nn.SoftmaxCrossEntropy(), nn.Adam(), seed=0) for m in (model, twin)]
    for trainer in trainers:
        trainer.train_step(x, y)
    arrays, others = state_of(model)
    drawn = np.random.get_state()[1].copy()  # noqa: NPY002 - nobody is to touch it
    model.profile(x, seconds=0)
    model.profile(x, y, trainers[0].loss, seconds=0)
    after, others_after = state_of(model)
    assert others == others_after
    assert (np.random.get_state()[1] == drawn).all()  # noqa: NPY002
    for name, array in arrays.items():
        assert array.tobytes() == after[name].tobytes(), name
    assert arrays["grad"].any()
    for trainer in trainers:  # and goes on as if nothing had been: the same masks, the same statistics
        trainer.train_step(x, y)
    for name, array in twin.state_dict().items():
        assert array.tobytes() == model.state_dict()[name].tobytes(), name


def test_a_model_that_is_not_built_stays_so():
    model = nn.Sequential([nn.Dense(3)])
    assert model.profile(x_of(2, 4), seconds=0).rows[0]["output_shape"] == (3,)
    assert model.workspace is None


def test_a_part_of_a_model():
    rows = rows_of(residual_net(dtype="float64")["residual1"], x_of(2, 6, 6, 4, dtype="float64"))
    assert list(rows) == ["Residual", "body.conv1 (Conv2D)"]


def test_winograd_is_named():
    def is_winograd(algorithm, filters=32):
        model = nn.Sequential([nn.Conv2D(filters, 3, algorithm=algorithm)], input_shape=(10, 10, 32), seed=0)
        report = model.profile(x_of(2, 10, 10, 32), seconds=0)
        assert (
            ("* Winograd" in str(report)) == ("conv1 (Conv2D)*" in str(report)) == report.rows[0]["winograd"]
        )
        return report.rows[0]["winograd"]

    assert is_winograd("auto")
    assert is_winograd("winograd", filters=8)
    assert not is_winograd("auto", filters=8)  # does not pay
    assert not is_winograd("direct")
    assert not is_winograd("im2col")
    before = nn.use_kernels("reference")
    try:
        assert not is_winograd("auto")
    finally:
        nn.use_kernels(before)
    strided = nn.Sequential([nn.Conv2D(32, 3, stride=2)], input_shape=(32, 32, 32), seed=0)
    assert not strided.profile(x_of(2, 32, 32, 32), seconds=0).rows[0]["winograd"]


def test_the_table():
    model = nn.Sequential([nn.Flatten(), nn.Dense(10)], input_shape=(4, 4, 2), seed=0)
    report = model.profile(x_of(8, 4, 4, 2), x_of(8, 10), nn.SquaredError(), seconds=0)
    lines = str(report).splitlines()
    names = "layer", "output shape", "forward ms", "GFLOP/s", "backward ms", "GFLOP/s", "MB", "GB/s", "share"
    assert lines[0].split() == " ".join(names).split()
    assert [line.split()[0] for line in lines[2:5]] == ["flatten1", "dense1", "loss"]
    assert lines[1] == lines[5] == "-" * len(lines[1])
    assert lines[6].startswith("total")
    assert lines[6].endswith(f"{report.layers_ms / report.whole_ms:.1%}")
    assert lines[7] == "medians of 3 steps with 8 samples, float32"
    assert lines[8].startswith(f"whole step {report.whole_ms:.5f}"[:-2])
    assert len(lines) == 9
    assert max(map(len, lines)) <= 120


def test_the_table_of_a_slow_and_of_a_fast_model(clock):
    report = Overhead([Waits(1.0, 2.0)], input_shape=(3,)).profile(x_of(2, 3), seconds=0)
    assert str(report).splitlines()[-1] == (
        "whole step 4000.000 ms = layers 3000.000 + Python outside of them 1000.000 + noise 0.000"
    )
    report = nn.Sequential([Waits(1e-6, 2e-6)], input_shape=(3,)).profile(x_of(2, 3), seconds=0)
    assert "0.00100" in str(report)
    assert "whole step 0.00300 ms = layers 0.00300 + Python outside of them " in str(report)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0]], TypeError, "x: expected a NumPy array. Received: list"),
        (
            np.zeros((2, 5), np.float32),
            nn.ShapeError,
            r"x: expected shape \(N, 4\). Received: shape=\(2, 5\)",
        ),
        (np.zeros((2, 4)), TypeError, "x: expected dtype float32, the model's. Received: dtype=float64"),
        (
            np.zeros((0, 4), np.float32),
            nn.ShapeError,
            r"x: expected at least one sample. Received: shape=\(0, 4\)",
        ),
    ],
)
def test_wrong_inputs(x, error, message):
    model = nn.Sequential([nn.Dense(3)], input_shape=(4,), seed=0)
    with pytest.raises(error, match=message):
        model.profile(x, seconds=0)


def test_wrong_targets():
    model, x = nn.Sequential([nn.Dense(3)], input_shape=(4,), seed=0), x_of(2, 4)
    with pytest.raises(
        ValueError, match=r"y, loss: expected both or neither. Received: y=ndarray, loss=None"
    ):
        model.profile(x, np.array([0, 1]), seconds=0)
    with pytest.raises(
        ValueError, match=r"y, loss: expected both or neither. Received: y=NoneType, loss=Soft"
    ):
        model.profile(x, loss=nn.SoftmaxCrossEntropy(), seconds=0)
    with pytest.raises(ValueError, match="target: expected"):
        model.profile(x, np.array([0, 7]), nn.SoftmaxCrossEntropy(), seconds=0)


def test_a_layer_that_fails_leaves_the_model_usable():
    class Fails(nn.Dense):
        def backward(self, dy, input_gradient=True):
            raise RuntimeError("on purpose")

    model, x = nn.Sequential([Fails(3)], input_shape=(4,), seed=0), x_of(2, 4)
    with pytest.raises(RuntimeError, match="on purpose"):
        model.profile(x, seconds=0)
    assert model.predict(x).shape == (2, 3)
