"""Binary cross-entropy and hinge: identities and messages; `test_all.py` has the rest."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.errors import ShapeError
from fastnn.losses import BinaryCrossEntropy, Hinge, SoftmaxCrossEntropy

RNG = np.random.default_rng(0)


def test_is_cross_entropy_of_two_classes():
    """sigmoid(z) is the softmax of the logits 0 and z."""
    z, t = RNG.normal(size=(9, 1)), RNG.integers(0, 2, 9)
    both = np.concatenate([np.zeros_like(z), z], axis=1)
    binary, softmax = BinaryCrossEntropy(), SoftmaxCrossEntropy()
    assert binary.forward(z, t[:, None] * 1.0) == pytest.approx(softmax.forward(both, t), rel=1e-14)
    np.testing.assert_allclose(binary.backward(), softmax.backward()[:, 1:], atol=1e-16)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3), (2, 4, 4, 1)])
def test_outputs_of_any_shape(shape):
    z, t = RNG.normal(size=shape).astype("f4"), RNG.integers(0, 2, shape).astype("f4")
    y = 1 / (1 + np.exp(-z.astype(float)))
    loss = BinaryCrossEntropy()
    expected = -(np.log(y) * t + np.log(1 - y) * (1 - t)).sum() / shape[0]
    assert loss.forward(z, t) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(loss.backward(), (y - t) / shape[0], atol=1e-7)


@pytest.mark.parametrize("bad", [-0.01, 1.01, 2.0, np.nan])
def test_targets_outside_0_and_1(bad):
    t = np.ones((6, 2))
    t[3, 1] = bad
    for check in (
        lambda: BinaryCrossEntropy().forward(np.zeros((6, 2)), t),
        lambda: BinaryCrossEntropy().check_target(t, (2,), 6),
    ):
        with pytest.raises(ValueError, match=rf"numbers in \[0, 1\]. Received: {bad} at position \(3, 1\)"):
            check()


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), Hinge()])
def test_nothing_is_broadcast(loss):
    for shape, target, text in (
        ((6, 1), np.ones(6), r"shape \(6, 1\).* target\[:, None\] \(it is never broadcast\)"),
        ((6,), np.ones((6, 1)), r"shape \(6,\).* target\[..., 0\] \(it is never broadcast\)"),
        ((6, 2), np.ones((5, 2)), r"Received: shape=\(5, 2\)"),
    ):
        with pytest.raises(ShapeError, match=text):
            loss.forward(np.zeros(shape), target)
    with pytest.raises(TypeError, match="expected the model's dtype"):
        loss.forward(np.zeros((6, 1)), np.ones((6, 1), int))


def test_the_trainer_names_wrong_integers_too():
    model = nn.Sequential([nn.Dense(1)], input_shape=(3,))
    for loss, text in (
        (BinaryCrossEntropy(), "Received: 2 at"),
        (Hinge(), r"Received: 2 at .* 2 \* target - 1"),
    ):
        with pytest.raises(ValueError, match=text):
            nn.Trainer(model, loss, nn.SGD(lr=0.1)).fit(
                np.zeros((3, 3), np.float32), np.array([[2], [1], [0]]), verbose=False
            )


def test_a_model_that_ends_in_sigmoid_is_refused():
    for last in ([nn.Dense(1, activation="sigmoid")], [nn.Dense(1), nn.Sigmoid(), nn.Flatten()]):
        model = nn.Sequential(last, input_shape=(3,))
        with pytest.raises(
            ValueError, match=r"BinaryCrossEntropy expected .* logits. .* sigmoid would be taken"
        ):
            BinaryCrossEntropy().check_model(model)
    with pytest.raises(ValueError, match=r"ends in .*softmax.*depend on each other; remove it"):
        BinaryCrossEntropy().check_model(nn.Sequential([nn.Dense(2), nn.Softmax()], input_shape=(3,)))
    BinaryCrossEntropy().check_model(nn.Sequential([nn.Dense(1)], input_shape=(3,)))


def test_class_weights_of_another_length():
    with pytest.raises(
        ShapeError, match=r"BinaryCross.* 2 numbers, one for each class, of the classes 0 and 1"
    ):
        BinaryCrossEntropy(class_weights=[1, 2, 3])
    with pytest.raises(ShapeError, match=r"Hinge: .* 2 numbers, one for each class, of the classes -1 and 1"):
        Hinge(class_weights=[1, 2, 3])
    loss = Hinge("crammer_singer", class_weights=[1, 2, 3])
    with pytest.raises(ShapeError, match=r"Hinge: class_weights: expected 4 numbers, .* Received: 3"):
        loss.forward(np.zeros((2, 4)), np.zeros(2, int))
    with pytest.raises(ShapeError, match="expected 4 numbers"):
        loss.check_model(nn.Sequential([nn.Dense(4)], input_shape=(3,)))


def test_training_learns_xor():
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])
    for loss, target in (
        (BinaryCrossEntropy(), y[:, None]), (Hinge(squared=True), 2 * y[:, None] - 1),
        (Hinge("crammer_singer"), y),
    ):  # fmt: skip
        units = 2 if target.ndim == 1 else 1
        model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(units)], input_shape=(2,), seed=0)
        trainer = nn.Trainer(model, loss, nn.Adam(lr=0.05))
        trainer.fit(x, target, epochs=200, batch_size=4, verbose=False)
        output = model.predict(x)
        predicted = output.argmax(1) if units == 2 else output[:, 0] > 0
        assert (predicted == y).all()


# Hinge


def test_crammer_singer_of_two_classes_is_twice_multi_margin():
    torch = pytest.importorskip("torch")
    z, labels, w = RNG.normal(size=(9, 2)), RNG.integers(0, 2, 9), np.array([1.0, 3.0])
    for squared in (False, True):
        for weights in (None, w):
            tensor = torch.tensor(z, requires_grad=True)
            theirs = torch.nn.functional.multi_margin_loss(
                tensor,
                torch.tensor(labels),
                p=1 + squared,
                weight=None if weights is None else torch.tensor(w),
            )
            theirs.backward()
            loss = Hinge("crammer_singer", squared, weights)
            assert loss.forward(z, labels) / 2 == pytest.approx(theirs.item(), rel=1e-13)
            np.testing.assert_allclose(loss.backward() / 2, tensor.grad.numpy(), rtol=1e-13)


def test_binary_is_hinge_embedding_where_they_agree():
    """PyTorch's loss of "different" pairs is max(0, 1 - z), the hinge of t = 1."""
    torch = pytest.importorskip("torch")
    z, ones = RNG.normal(size=(9, 3)), np.ones((9, 3))
    theirs = torch.nn.functional.hinge_embedding_loss(torch.tensor(z), -torch.tensor(ones))
    assert Hinge(reduction="mean").forward(z, ones) == pytest.approx(theirs.item(), rel=1e-14)


def test_crammer_singer_of_two_classes_is_binary():
    """With scores -z / 2 and z / 2 the lead is z."""
    z, t = RNG.normal(size=(9, 1)), RNG.integers(0, 2, 9)
    scores = np.concatenate([-z / 2, z / 2], axis=1)
    expected = Hinge().forward(z, 2.0 * t[:, None] - 1)
    assert Hinge("crammer_singer").forward(scores, t) == pytest.approx(expected, rel=1e-14)


def test_wrong_targets_of_hinge():
    t = np.ones((6, 2))
    t[3, 1] = 0
    with pytest.raises(ValueError, match=r"-1 or 1. Received: 0.0 at position \(3, 1\); .* 2 \* target - 1"):
        Hinge().forward(np.zeros((6, 2)), t)
    labels = np.array([0, 1, 2, 3, 4, 0])
    loss = Hinge("crammer_singer")
    for target, error, text in (
        (labels, ValueError, "labels from 0 to 3. Received: 4 at position 4; labels count from 0"),
        (labels[:5], ShapeError, r"integer labels \(6,\), as many as inputs. Received: 5 labels"),
        (labels[:, None], ShapeError, r"labels need no second axis: target\[:, 0\]"),
        (labels * 1.0, TypeError, r"Received: .*float64; convert labels with target.astype\('int64'\)"),
        (np.eye(4)[labels % 4], ShapeError, r"Received: shape=\(6, 4\), dtype=float64"),
        (list(labels), TypeError, "expected a NumPy array. Received: list"),
    ):
        with pytest.raises(error, match=text):
            loss.forward(np.zeros((6, 4)), target)
    with pytest.raises(ShapeError, match=r"scores \(N, K\) of two classes or more. Received: shape=\(6, 1\)"):
        loss.forward(np.zeros((6, 1)), labels)
    with pytest.raises(ShapeError, match=r"outputs \(K,\).* Received: output_shape=\(4, 4, 1\)"):
        loss.check_model(nn.Sequential([nn.ReLU()], input_shape=(4, 4, 1)))
    with pytest.raises(ValueError, match=r"form: expected 'binary' or 'crammer_singer'. Received: 'multi'"):
        Hinge("multi")
    for dtype in ("int8", "uint16", "int64"):
        assert loss.forward(np.zeros((6, 4)), (labels % 4).astype(dtype)) == 1.0
