"""examples/sparse_features.py: the rare feature's weight learns sooner with a rate of its own (S3.4)."""

import runpy
from pathlib import Path

import numpy as np
import pytest

example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "sparse_features.py"))


@pytest.fixture(scope="module")
def results():
    return {name: example["train"](optimizer) for name, optimizer in example["optimizers"]().items()}


def test_the_order(results):
    """After equal steps every adaptive method is nearer than gradient descent, AdaGrad by far."""
    rare = {name: errors[-1, 2] for name, (errors, _) in results.items()}
    others = {name: errors[-1, :2].max() for name, (errors, _) in results.items()}
    assert rare["AdaGrad"] < 0.1 * rare["gradient descent"]
    assert max(rare["RMSProp"], rare["MaxProp"]) < 0.2 * rare["gradient descent"]
    assert rare["gradient descent"] > 0.5 > 0.1 > max(others.values())  # long after the others are right


def test_without_the_feature_the_gradient_is_exactly_zero(results):
    """Twenty samples have it, so at most twenty batches of an epoch's hundred."""
    for _, gradients in results.values():
        zero = gradients[:, 2] == 0
        assert zero.reshape(example["EPOCHS"], 100).sum(axis=1).min() >= 80 and not zero.all()
        assert (gradients[:, :2] != 0).all()


def test_a_weight_whose_gradient_is_zero_stays(results):
    errors, gradients = results["AdaGrad"]
    still = np.flatnonzero(gradients[1:, 2] == 0) + 1
    np.testing.assert_array_equal(errors[still, 2], errors[still - 1, 2])
