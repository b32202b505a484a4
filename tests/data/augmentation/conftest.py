import numpy as np
import pytest


@pytest.fixture
def images():
    """A function that makes n random images."""

    def make(n=9, shape=(12, 12, 3), dtype="float32"):
        return np.random.default_rng(0).random((n, *shape)).astype(dtype)

    return make
