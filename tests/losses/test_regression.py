"""Huber: its two pieces and its messages; `test_all.py` and `test_base.py` have the rest."""

import numpy as np
import pytest

from fastnn.errors import ShapeError
from fastnn.losses import Huber, SquaredError


def test_a_large_delta_is_half_the_squared_error():
    rng = np.random.default_rng(0)
    y, t = rng.normal(size=(2, 6, 3))
    huber, squared = Huber(delta=100), SquaredError(half=True)
    assert huber.forward(y, t) == pytest.approx(squared.forward(y, t), rel=1e-14)
    np.testing.assert_allclose(huber.backward(), squared.backward(), rtol=1e-14)


def test_a_small_delta_is_the_absolute_error():
    rng = np.random.default_rng(0)
    y, t = rng.normal(size=(2, 6, 3))
    huber, delta = Huber(delta=1e-9), 1e-9
    assert huber.forward(y, t) / delta == pytest.approx(np.abs(y - t).sum(axis=1).mean(), rel=1e-8)
    np.testing.assert_allclose(huber.backward() / delta, np.sign(y - t) / 6, rtol=1e-12)


def test_is_smooth_l1_times_delta():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    y, t = 2 * rng.normal(size=(2, 6, 3))
    theirs = torch.nn.functional.smooth_l1_loss(torch.tensor(y), torch.tensor(t), beta=0.7).item()
    assert Huber(0.7, "mean").forward(y, t) / 0.7 == pytest.approx(theirs, rel=1e-13)


@pytest.mark.parametrize("delta", [0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_wrong_delta(delta):
    with pytest.raises(ValueError, match=r"Huber: delta: expected a number in \(0, inf\), .* Received: "):
        Huber(delta)


def test_messages():
    with pytest.raises(ValueError, match=r"Huber: reduction: expected 'mean_samples', 'mean' or 'sum'. Rec"):
        Huber(reduction="average")
    with pytest.raises(ShapeError, match=r"target\[:, None\] \(it is never broadcast\)"):
        Huber().forward(np.zeros((6, 1)), np.zeros(6))
    assert repr(Huber(np.float32(2))) == "Huber(delta=2.0, reduction='mean_samples')"
