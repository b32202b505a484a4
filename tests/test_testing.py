"""The checks for layers find every planted fault, and find none in sound layers."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels, testing
from fastnn._ext import threads
from fastnn.layers.base import Layer
from fastnn.testing import GradientMismatch, check_gradients, check_layer, copy_of


def x_of(*shape):
    return np.random.default_rng(0).normal(size=shape)


SOUND = [
    (nn.Dense(4, activation="tanh"), (3,)),
    (nn.Dense(1, use_bias=False), (5,)),
    (nn.Dense(6, activation="relu"), (7,)),
    (nn.ReLU(), (3, 2)),
    (nn.LeakyReLU(0.1), (4,)),
    (nn.Softmax(), (5,)),
    (nn.Flatten(), (2, 3, 2)),
    (nn.Dropout(0.3), (20,)),
    (nn.Residual([nn.Dense(4, activation="gelu")]), (4,)),
    (nn.Concat([nn.Dense(3), nn.Dense(2, activation="elu")]), (4,)),
    (nn.Sequential([nn.Dense(5, activation="relu"), nn.Dropout(0.5), nn.Dense(2)]), (4,)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("layer", "shape"), SOUND, ids=[type(layer).__name__ for layer, _ in SOUND])
def test_sound_layers_pass(layer, shape, dtype, capsys):
    check_layer(layer, shape, dtype=dtype)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(testing.CHECKS)
    assert all(line.startswith("  ok ") for line in lines)
    assert layer.input_shape is None  # it was left alone


# Faults, one each


class Slope(Layer):
    """y = slope x, the base of the faulty layers below; sound itself."""

    def create_parameters(self, input_shape):
        self.slope = self.add_parameter("slope", input_shape, lambda shape, rng: rng.normal(size=shape))

    def forward(self, x, training=False):
        self.saved = (x,)
        y = self.buffer(x.shape)
        np.multiply(x, self.slope.data, out=y)
        return y

    def backward(self, dy, input_gradient=True):
        (x,) = self.last_pass()
        self.add_gradient((x * dy).sum(axis=0))
        return dy * self.slope.data

    def add_gradient(self, gradient):
        if self.slope.accumulate():
            self.slope.grad[...] += gradient
        else:
            self.slope.grad[...] = gradient


def test_the_base_of_the_faulty_layers_is_sound():
    check_layer(Slope(), (4,), verbose=False)


class WrongParameterGradient(Slope):
    def add_gradient(self, gradient):
        gradient[1] *= 1.01
        super().add_gradient(gradient)


class WrongInputGradient(Slope):
    def backward(self, dy, input_gradient=True):
        dx = super().backward(dy)
        dx[-1:, 2] *= 1.01
        return dx


class Overwrites(Slope):
    def add_gradient(self, gradient):
        self.slope.accumulate()
        self.slope.grad[...] = gradient


class AlwaysAdds(Slope):
    def add_gradient(self, gradient):
        self.slope.accumulate()
        self.slope.grad[...] += gradient


class ForgetsForward(Slope):
    def backward(self, dy, input_gradient=True):
        return dy if self.saved is None else super().backward(dy)


class MixesSamples(Slope):
    def forward(self, x, training=False):
        return super().forward(x - x.sum(axis=0) * 0.5)


class ChangesInput(Slope):
    def forward(self, x, training=False):
        x *= 2
        return super().forward(x)


class ChangesOutputGradient(Slope):
    def backward(self, dy, input_gradient=True):
        dx = super().backward(dy)
        dy *= 2
        return dx


class WrongShape(Slope):
    def forward(self, x, training=False):
        return super().forward(x)[:, :-1]


class WrongInputShape(Slope):
    def backward(self, dy, input_gradient=True):
        return super().backward(dy).reshape(-1)


class WrongDtype(Slope):
    def forward(self, x, training=False):
        return super().forward(x).astype(np.float64)


class FailsOnNothing(Slope):
    def forward(self, x, training=False):
        x.max()
        return super().forward(x)


class DividesBySamplesLessOne(Slope):
    def backward(self, dy, input_gradient=True):
        with np.errstate(all="ignore"):
            return super().backward(dy) * (np.float64(0) / (len(dy) - 1) + 1).astype(dy.dtype)


class CountsThreads(Slope):
    def forward(self, x, training=False):
        return super().forward(x) * self.dtype.type(threads.get_num_threads())


class TwinDiffers(Slope):
    def forward(self, x, training=False):
        return super().forward(x) * self.dtype.type(1 if kernels.kernels_in_use() == "compiled" else 1.001)


class LosesItsConfiguration(Slope):
    def __init__(self, factor=1.0, name=None):
        super().__init__(name)
        self.factor = 2 * factor


FAULTS = [
    (WrongParameterGradient, r"gradients agree with differences: .* of \w+.slope\[1\]: expected .* Received"),
    (WrongInputGradient, r"gradients agree .* gradient of x\[2, 2\]: expected .* Received"),
    (Overwrites, r"add up until zero_grad: \w+.slope after 2 backward passes"),
    (AlwaysAdds, r"\w+.slope after zero_grad"),
    (ForgetsForward, "backward before forward raises RuntimeError: expected RuntimeError"),
    (MixesSamples, "a batch gives what its samples give alone"),
    (ChangesInput, "x: expected it unchanged"),
    (ChangesOutputGradient, "dy: expected it unchanged"),
    (WrongShape, r"y: expected shape \(3, 4\). Received: \(3, 3\)"),
    (WrongInputShape, r"dx: expected shape \(3, 4\). Received: \(12,\)"),
    (WrongDtype, "y: expected dtype float32. Received: float64"),
    (FailsOnNothing, "batches of 0 and 1 samples work: "),
    (DividesBySamplesLessOne, "dx: expected finite numbers for 1 samples"),
    (CountsThreads, "y: expected the same bits with 2 threads as with one"),
    (TwinDiffers, "compiled and reference kernels agree: y: expected a difference below"),
    (LosesItsConfiguration, "configuration goes to JSON and back"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_every_fault_is_found(fault, message, capsys):
    with pytest.raises(AssertionError, match=message):
        check_layer(fault(), (4,))
    assert "FAILED" in capsys.readouterr().out


def test_kernels_and_threads_are_put_back_after_a_failure():
    before = kernels.kernels_in_use(), threads.get_num_threads()
    for fault in (TwinDiffers, CountsThreads):
        with pytest.raises(AssertionError):
            check_layer(fault(), (4,), verbose=False)
    assert (kernels.kernels_in_use(), threads.get_num_threads()) == before


def test_gradients_of_a_model_with_a_loss():
    model = nn.Sequential(
        [nn.Dense(6, activation="relu"), nn.Dropout(0.5), nn.Dense(3)], input_shape=(4,), seed=1
    )
    theta = model.theta.copy()
    x = x_of(5, 4).astype(np.float32)
    for loss, target in (
        (nn.SoftmaxCrossEntropy(), np.array([0, 2, 1, 0, 2])),
        (nn.SquaredError(), x_of(5, 3).astype(np.float32)),
    ):  # fmt: skip
        for training in (False, True):
            report = check_gradients(model, x, loss, target, training=training, n_checks=None)
            assert report.n_checked == model.n_parameters + x.size
            assert list(report.largest) == [*model.parameters, "x"]
            assert max(report.largest.values()) < 1e-6
            assert "dense1.weight" in repr(report)
    assert (model.theta == theta).all()
    assert model.dtype == np.float32


def test_checks_are_seeded():
    layer, x = nn.Dense(3, activation="tanh"), x_of(2, 4)
    assert check_gradients(layer, x).largest == check_gradients(layer, x).largest
    assert check_gradients(layer, x).largest != check_gradients(layer, x, seed=1).largest


def test_a_kink_between_the_two_sides_is_stepped_round():
    x = np.array([[3e-6, -3e-6, 1.0]])  # the first step of 1e-5 sees both sides
    report = check_gradients(nn.ReLU(), x)
    assert report.n_checked == 3
    assert report.n_kinks == 0


def test_on_a_kink_a_slope_between_is_right_and_no_other():
    class Absolute(Layer):
        at_zero = 0.5

        def forward(self, x, training=False):
            self.saved = (x,)
            return np.abs(x)

        def backward(self, dy, input_gradient=True):
            (x,) = self.last_pass()
            return dy * np.where(x == 0, self.at_zero, np.sign(x))

    x = np.array([[0.0, 1.0, -1.0]])
    assert check_gradients(Absolute(), x).n_kinks == 1
    Absolute.at_zero = 1.5
    with pytest.raises(GradientMismatch, match=r"x\[0, 0\]"):
        check_gradients(Absolute(), x)


@pytest.mark.parametrize("error", [1.01, 1.0001, 0.99, -1.0, np.nan])
def test_small_errors_are_found(error):
    class Wrong(Slope):
        def backward(self, dy, input_gradient=True):
            return super().backward(dy) * error

    with pytest.raises(GradientMismatch, match=r"expected .* by differences. Received: .* from backward"):
        check_gradients(Wrong(), x_of(3, 4))


def test_copies_have_the_values_of_the_layer():
    model = nn.Sequential([nn.Dense(3), nn.Sequential([nn.Dense(2)])], input_shape=(4,), seed=5)
    copy = copy_of(model, (4,), "float64")
    assert copy.theta.dtype == np.float64
    assert (copy.theta == model.theta).all()
    x = x_of(2, 4).astype(np.float32)
    inner = copy_of(model["dense1"], (4,), "float32")
    assert (inner.forward(x) == model["dense1"].forward(x)).all()
