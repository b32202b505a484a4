"""What a model takes, and how it predicts: in batches, into an array of the caller's own."""

import numpy as np
import pytest

import fastnn as nn

F32 = np.float32


def random(*shape, seed=0, dtype=F32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def network(**options):
    return nn.Sequential(
        [nn.Conv2D(4, 3, activation="relu"), nn.BatchNorm(), nn.Residual([nn.Conv2D(4, 1)]), nn.Flatten(),
         nn.Dense(6, activation="gelu"), nn.Dropout(0.5), nn.Dense(3)],
        **{"input_shape": (5, 6, 2), "seed": 0} | options,
    )  # fmt: skip


def plain(**options):
    return nn.Sequential([nn.Dense(4, "tanh"), nn.Dense(2)], **{"input_shape": (3,), "seed": 0} | options)


# What a model takes


@pytest.mark.parametrize(
    "cut", [lambda x: x[::2], lambda x: x[:, ::-1], lambda x: x.transpose(0, 1, 2, 3)[..., ::-1]]
)
def test_inputs_that_are_not_contiguous(cut):
    model, x = network(), random(6, 5, 6, 2)
    assert (model.predict(cut(x)) == model.predict(cut(x).copy())).all()
    y = model.forward(cut(x))
    dy = np.asfortranarray(random(*y.shape))
    model.backward(dy)
    gradient = model.grad.copy()
    model.zero_grad()
    model.backward(dy.copy(order="C"))
    assert (model.grad == gradient).all()


def test_read_only_inputs():
    model, x = network(), random(4, 5, 6, 2)
    x.flags.writeable = False
    model.forward(x, training=True)
    model.backward(np.broadcast_to(F32(1), (4, 3)))


def test_a_memory_map(tmp_path):
    model, x = network(), random(20, 5, 6, 2)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for batch_size in (7, 100):
        y = model.predict(mapped, batch_size=batch_size)
        assert type(y) is np.ndarray
        np.testing.assert_allclose(y, model.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["forward", "predict"])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            np.zeros((4, 5, 6), F32),
            nn.ShapeError,
            r"x: expected shape \(N, 5, 6, 2\)\. Received: shape=\(4, 5, 6\)$",
        ),
        (np.zeros((5, 6, 2), F32), nn.ShapeError, r"a single sample needs a batch axis: x\[None\]"),
        (np.zeros((4, 2, 5, 6), F32), nn.ShapeError, r"Received: shape=\(4, 2, 5, 6\)"),
        (np.zeros((999, 7), F32), nn.ShapeError, r"Received: shape=\(999, 7\)"),
        (np.zeros((), F32), nn.ShapeError, r"Received: shape=\(\)"),
        (np.zeros((4, 5, 6, 2)), TypeError, r"expected dtype float32.*float64.*x\.astype\('float32'\)"),
        (np.zeros((4, 5, 6, 2), np.uint8), TypeError, r"x\.astype\('float32'\) / 255"),
        (np.zeros((4, 5, 6, 2), ">f4"), TypeError, "expected dtype float32"),
        ([[1.0]], TypeError, "x: expected a NumPy array. Received: list"),
        (None, TypeError, "x: expected a NumPy array. Received: NoneType"),
    ],
)
def test_wrong_inputs(method, x, error, message):
    with pytest.raises(error, match=message):
        getattr(network(), method)(x)


def test_grey_images_without_their_channel():
    with pytest.raises(nn.ShapeError, match=r"grey images have one channel: x\[\.\.\., None\]"):
        nn.models.lenet5(seed=0).predict(np.zeros((4, 28, 28), F32))


@pytest.mark.parametrize("method", ["forward", "predict"])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_model_that_is_not_built_needs_a_batch(method, shape):
    with pytest.raises(nn.ShapeError, match=r"x: expected a batch \(N, \.\.\.\)"):
        getattr(plain(input_shape=None), method)(np.zeros(shape, F32))


@pytest.mark.parametrize(
    ("dy", "error"),
    [
        (np.zeros((4, 3), F32), nn.ShapeError),
        (np.zeros((4,), F32), nn.ShapeError),
        (np.zeros((4, 2)), nn.ShapeError),
        (np.zeros((3, 2), F32), ValueError),
        ([[0.0, 0.0]], TypeError),
    ],
)
def test_wrong_output_gradients(dy, error):
    model = plain()
    model.forward(random(4, 3))
    with pytest.raises(error):
        model.backward(dy)


# predict


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 11])
def test_predict_in_batches_is_forward(n):
    model, x = network(), random(n, 5, 6, 2)
    y = model.predict(x, batch_size=4)
    assert y.shape == (n, 3)
    assert y.dtype == F32
    np.testing.assert_allclose(y, model.forward(x), rtol=1e-5, atol=1e-6)


def test_the_result_of_predict_is_the_callers_own():
    model, x = plain(), random(4, 3)
    for batch_size in (2, 4, 100):
        first = model.predict(x, batch_size)
        kept = first.copy()
        for seed in range(5):
            model.predict(random(4, 3, seed=seed), batch_size)
            model.forward(random(4, 3, seed=seed))
        assert (first == kept).all()
        assert first.flags.owndata
        first[:] = 0
        assert (model.predict(x, batch_size) == kept).all()
    identity = nn.Sequential([nn.Dropout(0.5)], input_shape=(3,))
    assert not np.shares_memory(identity.predict(x), x)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "8"])
def test_batch_size_of_predict(batch_size):
    with pytest.raises(ValueError, match="predict: batch_size: expected an integer of at least 1"):
        plain().predict(random(4, 3), batch_size)


def test_predict_keeps_no_activations():
    model = nn.Sequential([nn.Dense(64) for _ in range(20)], input_shape=(64,), seed=0)
    model.predict(random(100, 64))
    assert model.workspace.n_bytes <= 3 * 100 * 64 * 4
    model.forward(random(100, 64))
    assert model.workspace.n_bytes >= 20 * 100 * 64 * 4


def test_predict_after_an_error_keeps_for_training_again():
    model = plain()
    with pytest.raises(nn.ShapeError):
        model.predict(random(4, 5))
    assert model.workspace.keep
    model.forward(random(4, 3))
    model.backward(random(4, 2))
