"""Models: theta and grad, passes and what they keep, state, copies, threads, seeds."""

import copy
import pickle
import threading

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


# One vector


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_theta_and_grad_are_single_vectors(dtype):
    model = network(dtype=dtype)
    theta, grad = model.theta, model.grad
    assert theta.shape == grad.shape == (model.n_parameters,)
    assert theta.dtype == grad.dtype == dtype
    assert model.theta is theta
    assert model.grad is grad
    start = 0
    for parameter in model.parameters.values():
        end = start + parameter.size
        assert np.shares_memory(parameter.data, theta[start:end])
        assert np.shares_memory(parameter.grad, grad[start:end])
        theta[start:end], grad[start:end] = 1, 2
        assert (parameter.data == 1).all()
        assert (parameter.grad == 2).all()
        start = end
    assert start == model.n_parameters


def test_a_change_of_theta_changes_the_outputs():
    model, x = plain(), random(4, 3)
    before = model.predict(x)
    model.theta[:] *= 2
    assert (model.predict(x) != before).any()
    model.theta[:] = 0
    assert (model.predict(x) == 0).all()


def test_gradients_add_up_until_zero_grad():
    model, x, dy = plain(dtype="float64"), random(5, 3, dtype=np.float64), random(5, 2, dtype=np.float64)
    model.forward(x)
    model.backward(dy)
    once = model.grad.copy()
    model.backward(dy)  # the same forward pass may be used twice
    np.testing.assert_allclose(model.grad, 2 * once, rtol=1e-13)
    for part in (slice(0, 2), slice(2, 5)):  # batches add up too
        model.forward(x[part])
        model.backward(dy[part])
    np.testing.assert_allclose(model.grad, 3 * once, rtol=1e-12)
    model.zero_grad()
    assert (model.grad == 0).all()
    model.forward(x)
    model.backward(dy)
    np.testing.assert_allclose(model.grad, once, rtol=1e-13)


def test_zero_grad_counts_for_each_parameter():
    model = plain()
    model.forward(random(5, 3))
    model.backward(random(5, 2))
    model.zero_grad()
    for parameter in model.parameters.values():
        assert (parameter.grad == 0).all()


def test_grad_before_any_backward_is_zero():
    assert (network().grad == 0).all()


def test_a_model_that_only_predicts_has_no_gradient():
    model = network()
    model.predict(random(2, 5, 6, 2))
    assert model._grad is None


# Passes


def test_the_first_forward_builds_a_model():
    model = plain(input_shape=None)
    assert model.input_shape is None
    for attribute in ("theta", "grad"):
        with pytest.raises(nn.NotBuiltError, match=r"Sequential: expected a model with known input shape"):
            getattr(model, attribute)
    for method in (model.state_dict, model.summary, lambda: model.load_state_dict({}),
                   lambda: model.backward(random(1, 2))):  # fmt: skip
        with pytest.raises(nn.NotBuiltError):
            method()
    y = model.forward(random(4, 3))
    assert model.input_shape == (3,)
    assert (y == plain().forward(random(4, 3))).all()
    assert plain(input_shape=None).predict(random(4, 3)).shape == (4, 2)


def test_results_stay_valid_while_they_are_held():
    model = plain()
    results = [model.forward(random(4, 3, seed=i)) for i in range(5)]
    for i, y in enumerate(results):
        assert (y == model.predict(random(4, 3, seed=i))).all()
    gradients = []
    for i in range(3):
        model.forward(random(4, 3, seed=i))
        gradients.append(model.backward(random(4, 2, seed=i)))
    copies = [g.copy() for g in gradients]
    model.forward(random(4, 3, seed=9))
    model.backward(random(4, 2, seed=9))
    assert all((a == b).all() for a, b in zip(gradients, copies))


def test_backward_needs_a_forward_pass_that_kept_something():
    model, x, dy = plain(), random(4, 3), random(4, 2)
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        model.backward(dy)
    model.predict(x)
    with pytest.raises(RuntimeError, match="predict"):
        model.backward(dy)
    model.forward(x)
    model.predict(x)  # uses the same layers: an error, never another batch's gradient
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        model.backward(dy)
    model.forward(x)
    model.backward(dy)


@pytest.mark.parametrize("build", [lambda: nn.Residual([nn.Dense(3)], activation="gelu", input_shape=(3,)),
                                   lambda: nn.Concat([nn.Dense(3), []], input_shape=(3,))])  # fmt: skip
def test_predict_keeps_nothing_in_other_containers(build):
    model = build()
    y = model.predict(random(4, 3))
    with pytest.raises(RuntimeError, match="backward was called before forward"):
        model.backward(np.ones_like(y))


def test_samples_are_independent_of_their_batch():
    model, x = network(), random(7, 5, 6, 2)
    whole = model.predict(x)
    for i in range(7):
        np.testing.assert_allclose(model.predict(x[i : i + 1])[0], whole[i], rtol=1e-5, atol=1e-6)


# State


def test_state_dict_round_trip():
    model, other = network(seed=1), network(seed=2)
    model.forward(random(8, 5, 6, 2), training=True)  # moves the running means
    state = model.state_dict()
    assert list(state) == [*model.parameters, *model.buffers]
    assert any(name.endswith("running_mean") for name in state)
    x = random(4, 5, 6, 2)
    assert (other.predict(x) != model.predict(x)).any()
    theta = other.theta
    other.load_state_dict(state)
    assert other.theta is theta
    assert (other.theta == model.theta).all()
    assert (other.predict(x) == model.predict(x)).all()


def test_state_dict_holds_copies():
    model = network()
    state = model.state_dict()
    before = {name: array.copy() for name, array in state.items()}
    model.theta[:] = 7
    for array in model.buffers.values():
        array[...] = 7
    for name, array in state.items():
        assert (array == before[name]).all()
    model.load_state_dict(state)
    for array in state.values():
        array[...] = 9
    assert (model.theta != 9).all()


def test_load_state_dict_lists_every_fault_and_changes_nothing():
    model = plain()
    before = model.theta.copy()
    state = {name: array + 1 for name, array in model.state_dict().items()}
    del state["dense1.bias"]
    state["dense2.weight"] = np.zeros((2, 5), F32)
    state["dense2.bias"] = np.zeros(2)
    state["conv1.weight"] = np.zeros(1, F32)
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    assert str(caught.value).splitlines() == [
        "state_dict does not fit this model (nothing was loaded):",
        "  missing: dense1.bias",
        "  unexpected: conv1.weight",
        "  dense2.weight: expected (2, 4) float32. Received: (2, 5) float32",
        "  dense2.bias: expected (2,) float32. Received: (2,) float64",
    ]
    assert (model.theta == before).all()


# Copies


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_models_of_their_own(again):
    model = network()
    model.forward(random(8, 5, 6, 2), training=True)
    twin = again(model)
    x = random(4, 5, 6, 2)
    assert (twin.predict(x) == model.predict(x)).all()
    assert (twin.theta == model.theta).all()
    assert not np.shares_memory(twin.theta, model.theta)
    assert list(twin.parameters) == list(model.parameters)
    expected = model.predict(x)
    twin.theta[:] = 0  # its parameters are views into its theta
    assert (twin.predict(x) == 0).all()
    assert (model.predict(x) == expected).all()


def test_copies_of_parts_and_of_models_that_are_not_built():
    model = network()
    twin = copy.deepcopy(model["residual1"])
    assert (twin["body.conv1"].weight.data == model["residual1.body.conv1"].weight.data).all()
    assert twin.theta.shape == (4 * 4 + 4,)
    assert copy.deepcopy(plain(input_shape=None)).input_shape is None


# Threads


def test_two_models_in_two_threads():
    """Each of two Python threads trains its model as it would alone."""

    def train(seed, steps=40):
        model = network(seed=seed)
        x, dy = random(16, 5, 6, 2, seed=seed), random(16, 3, seed=seed)
        for _ in range(steps):
            model.zero_grad()
            model.forward(x, training=True)
            model.backward(dy)
            model.theta[:] -= F32(0.001) * model.grad
        return model.theta.tobytes()

    alone = [train(seed) for seed in (1, 2)]
    together = [None, None]

    def work(i):
        together[i] = train(i + 1)

    for _ in range(3):
        workers = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert together == alone


# Seeds


def test_seeds():
    assert (network(seed=3).theta == network(seed=3).theta).all()
    assert (network(seed=np.int64(3)).theta == network(seed=3).theta).all()
    assert (network(seed=3).theta != network(seed=4).theta).any()
    assert plain(seed=None).seed != plain(seed=None).seed
    drawn = plain(seed=np.random.default_rng(0)), plain(seed=np.random.default_rng(0))
    assert drawn[0].seed == drawn[1].seed
    generator = np.random.default_rng(0)
    assert plain(seed=generator).seed != plain(seed=generator).seed


def test_a_weight_does_not_depend_on_the_layers_after_it():
    long = nn.Sequential([nn.Dense(4), nn.Dense(5), nn.Dense(6)], input_shape=(3,), seed=0)
    short = nn.Sequential([nn.Dense(4)], input_shape=(3,), seed=0)
    assert (long["dense1"].weight.data == short["dense1"].weight.data).all()
    assert (long.theta[: short.theta.size] == short.theta).all()


def test_float32_and_float64_start_from_the_same_numbers():
    assert (plain(dtype="float64").theta.astype(F32) == plain().theta).all()


def test_the_global_generator_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    model = network(seed=None)
    model.forward(random(2, 5, 6, 2), training=True)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
