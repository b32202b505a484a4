"""Losses: values, gradients, targets of every kind, and messages."""

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels
from fastnn.errors import ShapeError
from fastnn.losses import Loss, SoftmaxCrossEntropy, SquaredError

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.fixture(params=["compiled", "reference"])
def which(request):
    before = kernels.use_kernels(request.param)
    yield request.param
    kernels.use_kernels(before)


def logits(n=6, k=4, dtype="float64", seed=0):
    return np.random.default_rng(seed).normal(size=(n, k)).astype(dtype)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


LABELS = np.array([0, 3, 1, 2, 3, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy_value_and_gradient(which, dtype):
    z, loss = logits(dtype=dtype), SoftmaxCrossEntropy()
    y = softmax(z.astype(np.float64))
    value = loss.forward(z, LABELS)
    assert type(value) is float
    rtol = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(value, -np.log(y[np.arange(6), LABELS]).mean(), rtol=rtol)
    np.testing.assert_allclose(loss.losses, -np.log(y[np.arange(6), LABELS]), rtol=rtol)
    np.testing.assert_allclose(loss.backward(), (y - np.eye(4)[LABELS]) / 6, rtol=0, atol=rtol)
    assert loss.backward().dtype == dtype


@pytest.mark.parametrize("dtype", INTEGERS)
def test_labels_of_any_integer_dtype(which, dtype):
    loss, z = SoftmaxCrossEntropy(), logits()
    expected = loss.forward(z, LABELS)
    assert loss.forward(z, LABELS.astype(dtype)) == expected
    wide = np.zeros(12, dtype)
    wide[::2] = LABELS
    assert loss.forward(z, wide[::2]) == expected  # not contiguous


def test_one_hot_rows_are_labels(which):
    loss, z = SoftmaxCrossEntropy(), logits()
    expected, gradient = loss.forward(z, LABELS), loss.backward().copy()
    np.testing.assert_allclose(loss.forward(z, np.eye(4)[LABELS]), expected, rtol=1e-14)
    np.testing.assert_allclose(loss.backward(), gradient, atol=1e-15)
    columns = np.asfortranarray(np.eye(4)[LABELS])
    np.testing.assert_allclose(loss.forward(z, columns), expected, rtol=1e-14)


def test_equal_logits_give_log_k(which):
    value = SoftmaxCrossEntropy().forward(np.zeros((3, 10)), np.array([0, 5, 9]))
    np.testing.assert_allclose(value, np.log(10))


def test_huge_logits_stay_finite(which):
    loss = SoftmaxCrossEntropy()
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    assert loss.forward(z, np.array([0, 0])) == pytest.approx(1e4)
    np.testing.assert_allclose(loss.backward(), [[0, 0], [-0.5, 0.5]])


@pytest.mark.parametrize(
    ("loss", "target"),
    [(SoftmaxCrossEntropy(), LABELS), (SquaredError(), logits(seed=1)),
     (SquaredError("mean"), logits(seed=1)), (SquaredError("mean_samples", half=True), logits(seed=1))],
)  # fmt: skip
def test_weights_make_a_weighted_mean(which, loss, target):
    """A weight of 2 is the sample twice."""
    z = logits()
    twice = np.array([0, 0, 1, 2, 3, 4, 5, 5])
    expected = loss.forward(z[twice], target[twice])
    np.testing.assert_allclose(loss.forward(z, target, np.array([2.0, 1, 1, 1, 1, 2])), expected, rtol=1e-13)
    np.testing.assert_allclose(loss.forward(z, target, np.array([2, 1, 1, 1, 1, 2])), expected, rtol=1e-13)


def test_squared_error_reductions(which):
    y, t = logits(), logits(seed=1)
    d = y - t
    for reduction, n in (("mean_samples", 6), ("mean", 24), ("sum", 1)):
        for half in (False, True):
            loss, c = SquaredError(reduction, half), 0.5 if half else 1.0
            np.testing.assert_allclose(loss.forward(y, t), c * (d**2).sum() / n, rtol=1e-13)
            np.testing.assert_allclose(loss.backward(), 2 * c * d / n, rtol=1e-13)


def test_squared_error_takes_images(which):
    y, t = np.ones((2, 3, 3, 1), np.float32), np.zeros((2, 3, 3, 1), np.float32)
    loss = SquaredError()
    assert loss.forward(y, t) == 9.0
    assert loss.backward().shape == y.shape


@pytest.mark.parametrize(
    ("loss", "target"),
    [(SoftmaxCrossEntropy(), LABELS), (SoftmaxCrossEntropy(), softmax(logits(seed=2))),
     *((SquaredError(r, h), logits(seed=1)) for r in ("mean_samples", "mean", "sum") for h in (False, True))],
)  # fmt: skip
@pytest.mark.parametrize("weights", [None, np.array([1.0, 0, 2, 3, 0.5, 1])])
def test_gradient_is_that_of_the_value(which, loss, target, weights):
    z = logits()
    loss.forward(z, target, weights)
    gradient = loss.backward().copy()
    for i in np.ndindex(z.shape):
        right, left = z.copy(), z.copy()
        right[i] += 1e-6
        left[i] -= 1e-6
        slope = (loss.evaluate(right, target, weights) - loss.evaluate(left, target, weights)) / 2e-6
        assert slope == pytest.approx(gradient[i], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), SquaredError()])
def test_no_samples(which, loss):
    target = np.zeros((0, 4)) if isinstance(loss, SquaredError) else np.zeros(0, np.int64)
    assert loss.forward(np.zeros((0, 4)), target) == 0.0
    assert loss.backward().shape == (0, 4)


def test_buffers_are_reused_and_gradients_stay_their_holders():
    loss, z = SoftmaxCrossEntropy(), logits(dtype="float32")
    for _ in range(3):
        loss.forward(z, LABELS)
        loss.forward(z[:5], LABELS[:5])
    held = loss.workspace.n_bytes
    loss.forward(z, LABELS)
    assert loss.workspace.n_bytes == held
    gradient = loss.backward()
    before = gradient.copy()
    loss.forward(2 * z, LABELS)
    assert (gradient == before).all()


def test_evaluate_leaves_backward_alone():
    loss, z = SoftmaxCrossEntropy(), logits()
    loss.forward(z, LABELS)
    before = loss.backward().copy()
    np.testing.assert_allclose(loss.evaluate(z[:2], LABELS[:2]), loss.losses.mean(), rtol=1e-14)
    assert (loss.backward() == before).all()
    with pytest.raises(RuntimeError, match=r"backward was called before forward. Call forward\("):
        SquaredError().backward()


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        (np.array([0, 1, 4, 2, -1, 0]), ValueError, "to 3. Received: 4 at position 2; labels count from 0"),
        (np.array([0, 1, -1, 2, 9, 0]), ValueError, "to 3. Received: -1 at position 2; the model has 4"),
        (np.array([0, 1, 2**40, 2, 9, 0]), ValueError, "Received: 1099511627776 at position 2"),
        (np.array([0, 2**63 + 1, 2, 9, 0, 0], np.uint64), ValueError, "9223372036854775809 at position 1"),
        (LABELS.astype(np.float64), TypeError, r"Received: shape=\(6,\), dtype=float64; .*astype\('int64'\)"),
        (LABELS > 1, TypeError, "dtype=bool"),
        (LABELS[:5], ShapeError, r"labels \(6,\) .* Received: 5 labels"),
        (LABELS[:, None], ShapeError, r"labels need no second axis: target\[:, 0\]"),
        (np.eye(5)[LABELS], ShapeError, "the model has 4 outputs, these rows have 5 classes"),
        (np.eye(4)[LABELS][:5], ShapeError, r"Received: shape=\(5, 4\)"),
        (np.eye(4, dtype=int)[LABELS], TypeError, "in the model's dtype"),
        (np.eye(4, dtype="f4")[LABELS], TypeError, r"dtype float64, the model's.*astype\('float64'\)"),
        (list(LABELS), TypeError, "expected a NumPy array. Received: list"),
        (np.zeros((6, 4, 1)), ShapeError, r"Received: shape=\(6, 4, 1\)"),
    ],
)  # fmt: skip
def test_wrong_targets_of_cross_entropy(which, target, error, text):
    loss = SoftmaxCrossEntropy()
    with pytest.raises(error, match=text):
        loss.forward(logits(), target)
    if error is not TypeError or "float64, the model" not in text:
        with pytest.raises(error, match=text):
            loss.check_target(target, (4,), 6)


def test_negative_probabilities_are_found_before_training():
    target = np.eye(4)[LABELS]
    target[3, 1] = -0.25
    with pytest.raises(ValueError, match=r"at least 0. Received: -0.25 at position \(3, 1\)"):
        SoftmaxCrossEntropy().check_target(target, (4,), 6)


@pytest.mark.parametrize(
    ("shape", "target", "error", "text"),
    [
        ((6, 1), np.zeros(6), ShapeError, r"shape \(6, 1\).* target\[:, None\] \(it is never broadcast\)"),
        ((6,), np.zeros((6, 1)), ShapeError, r"shape \(6,\).* target\[..., 0\] \(it is never broadcast\)"),
        ((6, 2), np.zeros((5, 2)), ShapeError, r"Received: shape=\(5, 2\)"),
        ((6, 2), np.zeros((6, 2), int), TypeError, "expected the model's dtype"),
        ((6, 2), np.zeros((6, 2), np.float32), TypeError, "expected dtype float64, the model's"),
        ((6, 2), 0.0, TypeError, "expected a NumPy array. Received: float"),
    ],
)
def test_wrong_targets_of_squared_error(which, shape, target, error, text):
    with pytest.raises(error, match=text):
        SquaredError().forward(np.zeros(shape), target)


@pytest.mark.parametrize(
    "weights",
    [np.ones(5), np.ones((6, 1)), np.array([1, 1, -1, 1, 1, 1.0]), np.array([1, np.nan, 1, 1, 1, 1.0])],
)
def test_wrong_weights(which, weights):
    with pytest.raises(ValueError, match=r"sample_weight: expected 6 numbers of at least 0, one for each"):
        SoftmaxCrossEntropy().forward(logits(), LABELS, weights)


def test_wrong_reduction():
    with pytest.raises(ValueError, match=r"reduction: expected 'mean_samples', .* Received: 'average'"):
        SquaredError("average")


def test_a_model_that_ends_in_softmax_is_refused():
    loss = SoftmaxCrossEntropy()
    dense = [nn.Dense(3)]
    for layers in (
        [*dense, nn.Softmax()], [nn.Dense(3), nn.Sequential([nn.Softmax(), nn.Flatten()])],
        [nn.Dense(3), nn.Softmax(), nn.Reshape((3,))],
    ):  # fmt: skip
        model = nn.Sequential(layers, input_shape=(4,))
        with pytest.raises(ValueError, match=r"ends in logits. Received: .* ends in .*softmax1 .*remove it"):
            loss.check_model(model)
        SquaredError().check_model(model)
    loss.check_model(nn.Sequential([nn.Dense(3), nn.Softmax(), nn.Dense(3)], input_shape=(4,)))
    loss.check_model(nn.Sequential([nn.Dense(3)]))
    with pytest.raises(ShapeError, match=r"outputs \(K,\).* Received: output_shape=\(4, 4, 1\)"):
        loss.check_model(nn.Sequential([nn.ReLU()], input_shape=(4, 4, 1)))


def test_a_loss_of_ones_own():
    class AbsoluteError(Loss):
        def prepare(self, target, output):
            return target

        def compute(self, output, target, sample_weight, gradient, losses):
            if gradient is not None:
                gradient[...] = np.sign(output - target) / len(output)
            losses[...] = np.abs(output - target).sum(axis=1)
            return float(losses.mean())

        def check_target(self, target, output_shape, n):
            pass

    loss = AbsoluteError()
    assert loss.forward(np.full((2, 3), 2.0), np.zeros((2, 3))) == 6.0
    assert (loss.backward() == 0.5).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_pytorch(dtype):
    torch = pytest.importorskip("torch")
    z = logits(dtype=dtype)
    p = softmax(logits(dtype=dtype, seed=4))
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for ours, theirs, target in (
        (SoftmaxCrossEntropy(), torch.nn.CrossEntropyLoss(), LABELS),
        (SoftmaxCrossEntropy(), torch.nn.CrossEntropyLoss(), p),
        (SquaredError("mean"), torch.nn.MSELoss(), p),
        (SquaredError("sum"), torch.nn.MSELoss(reduction="sum"), p),
    ):  # fmt: skip
        tensor = torch.tensor(z, requires_grad=True)
        value = theirs(tensor, torch.tensor(target))
        value.backward()
        np.testing.assert_allclose(ours.forward(z, target), value.item(), rtol=rtol)
        np.testing.assert_allclose(ours.backward(), tensor.grad.numpy(), rtol=rtol, atol=rtol)
