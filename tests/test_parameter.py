"""Parameters are views into theta and grad; gradients overwrite first and then add."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.parameter import Parameter


def network(**options):
    return nn.Sequential([nn.Dense(3), nn.Dense(2)], input_shape=(4,), seed=0, **options)


def test_shape_and_size():
    parameter = Parameter("weight", (np.int64(3), 4), None)
    assert parameter.shape == (3, 4)
    assert all(type(n) is int for n in parameter.shape)
    assert parameter.size == 12
    assert parameter.decay
    assert Parameter("scalar", (), None).size == 1
    assert Parameter("nothing", (0, 3), None).size == 0
    assert repr(parameter) == "Parameter('weight', shape=(3, 4))"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_and_grad_are_views(dtype):
    model = network(dtype=dtype)
    start = 0
    for parameter in model.parameters.values():
        end = start + parameter.size
        for array, vector in ((parameter.data, model.theta), (parameter.grad, model.grad)):
            assert array.dtype == dtype
            assert array.shape == parameter.shape
            assert np.shares_memory(array, vector)
            vector[start:end] = np.arange(parameter.size)
            assert (array.ravel() == np.arange(parameter.size)).all()
        start = end
    assert start == model.n_parameters == 4 * 3 + 3 + 3 * 2 + 2


def test_theta_starts_on_a_cache_line():
    assert network().theta.ctypes.data % 64 == 0
    assert network().grad.ctypes.data % 64 == 0


def test_names_and_weight_decay():
    model = network()
    assert {name: p.decay for name, p in model.parameters.items()} == {
        "dense1.weight": True, "dense1.bias": False, "dense2.weight": True, "dense2.bias": False,
    }  # fmt: skip


def test_memory_comes_with_its_first_use():
    model = network()
    parameter = model["dense1"].weight
    assert "data" not in vars(parameter)
    model.predict(np.zeros((1, 4), np.float32))
    assert vars(parameter)["data"] is not None
    assert parameter._grad is None  # a model that only predicts costs its weights


def test_the_first_backward_pass_overwrites_and_the_next_adds():
    parameter = network()["dense1"].weight
    assert parameter.accumulate() is False
    assert parameter.accumulate() is True


def test_zero_grad_starts_anew():
    model = network(dtype="float64")
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))

    def gradient():
        model.forward(x, training=True)
        model.backward(dy)
        return model.grad.copy()

    once = gradient()
    np.testing.assert_allclose(gradient(), 2 * once, rtol=1e-13)
    model.zero_grad()
    np.testing.assert_allclose(gradient(), once, rtol=1e-13)
    model.zero_grad()
    assert (model.grad == 0).all()
    assert (model["dense1"].weight.grad == 0).all()
