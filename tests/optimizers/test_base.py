"""What all optimizers share: binding, learning rates, weight decay, state."""

import json

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels, optimizers
from fastnn.errors import NotBuiltError
from fastnn.optimizers import (
    NAG,
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    AMSGrad,
    ArmijoLineSearch,
    LineSearch,
    MaxProp,
    Momentum,
    NAdam,
    Optimizer,
    RMSProp,
)

TESTED = [
    SGD(0.1), SGD(0.1, momentum=0.5), Momentum(0.1, form="velocity"), NAG(0.1), NAG(0.1, form="shifted"),
    AdaGrad(0.1, initial_accumulator=0.1), RMSProp(), RMSProp(momentum=0.9, centered=True, weight_decay=0.1),
    AdaDelta(), Adam(), Adam(decoupled=True, weight_decay=0.1), AdamW(), AMSGrad(), NAdam(),
    NAdam(correction="current", momentum_decay=0), AdaMax(), MaxProp(), LineSearch(), ArmijoLineSearch(),
    Adam(clip_value=0.1), Momentum(0.1, clip_norm=0.1, weight_decay=0.1), AMSGrad(clip_global_norm=0.1),
    SGD(0.1, weight_decay=0.1, groups={"*1.*": {"lr_scale": 0.5}, "*.weight": {"weight_decay": 0.0}}),
    NAG(0.1, accumulate_steps=3, clip_global_norm=1.0),
]  # fmt: skip
ids = [repr(o).split("(")[0] for o in TESTED]


def again(optimizer):
    return type(optimizer)(**optimizer.config())


def network(dtype="float64", seed=0):
    layers = [nn.Dense(5, activation="tanh"), nn.Dense(2)]
    return nn.Sequential(layers, input_shape=(3,), seed=seed, dtype=dtype)


def train(model, optimizer, n_steps, start=0):
    """Steps on batches that depend on nothing but the step's number."""
    for t in range(start, start + n_steps):
        rng = np.random.default_rng(t)
        x, target = (rng.normal(size=(4, n)).astype(model.dtype) for n in (3, 2))
        if hasattr(optimizer, "pre_step"):
            optimizer.pre_step()
        if not optimizer.n_pending:
            model.zero_grad()
        model.backward(model.forward(x, training=True) - target)
        optimizer.step(lambda x=x, target=target: 0.5 * ((model.forward(x) - target) ** 2).sum())


def test_all_public_optimizers_are_tested():
    public = {getattr(optimizers, name) for name in optimizers.__all__} - {Optimizer}
    assert public == {type(o) for o in TESTED}


@pytest.mark.parametrize("optimizer", TESTED, ids=ids)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_step_changes_theta_in_place_and_leaves_the_gradient(optimizer, dtype):
    model = network(dtype)
    optimizer = again(optimizer).bind(model)
    theta, before = model.theta, model.theta.copy()
    model.grad[:] = np.random.default_rng(0).normal(size=theta.size)
    grad = model.grad.copy()
    for _ in range(optimizer.accumulate_steps):
        optimizer.step(lambda: float(grad @ model.theta))
    assert model.theta is theta
    assert (theta != before).all()
    assert (model.grad == grad).all()
    assert optimizer.n_steps == 1


@pytest.mark.parametrize("optimizer", TESTED, ids=ids)
def test_compiled_and_reference_train_alike(optimizer):
    thetas, before = [], kernels.kernels_in_use()
    try:
        for which in ("compiled", "reference"):
            kernels.use_kernels(which)
            model = network()
            train(model, again(optimizer).bind(model), 20)
            thetas.append(model.theta.copy())
    finally:
        kernels.use_kernels(before)
    np.testing.assert_allclose(*thetas, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", TESTED, ids=ids)
def test_resumed_training_has_the_same_bits(optimizer):
    model = network()
    whole = again(optimizer).bind(model)
    train(model, whole, 7)
    weights, state = model.state_dict(), whole.state_dict()
    train(model, whole, 5, start=7)

    other = network(seed=1)
    resumed = again(optimizer).bind(other)
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    train(other, resumed, 5, start=7)
    assert other.theta.tobytes() == model.theta.tobytes()
    assert resumed.n_steps == whole.n_steps == 12 // optimizer.accumulate_steps


def test_state_dict_names_every_array_and_copies():
    optimizer = Adam().bind(network())
    state = optimizer.state_dict()
    assert list(state) == [
        "n_steps", "m.dense1.weight", "m.dense1.bias", "m.dense2.weight", "m.dense2.bias",
        "v.dense1.weight", "v.dense1.bias", "v.dense2.weight", "v.dense2.bias",
    ]  # fmt: skip
    assert state["m.dense1.weight"].shape == (5, 3)
    state["m.dense1.weight"][:] = 1
    assert (optimizer.state_dict()["m.dense1.weight"] == 0).all()
    assert list(SGD(0.1).bind(network()).state_dict()) == ["n_steps"]


def test_load_state_dict_is_strict_and_changes_nothing_on_error():
    optimizer = Momentum(0.1).bind(network())
    state = optimizer.state_dict()
    wrong = dict(state)
    del wrong["velocity.dense1.bias"]
    wrong["velocity.other"] = np.ones(3)
    wrong["velocity.dense2.weight"] = np.ones((2, 6))
    wrong["velocity.dense2.bias"] = np.ones(2, np.float32)
    wrong["velocity.dense1.weight"] = np.ones((5, 3))
    with pytest.raises(ValueError, match="nothing was loaded") as error:
        optimizer.load_state_dict(wrong)
    for text in (
        "missing: velocity.dense1.bias", "unexpected: velocity.other",
        "velocity.dense2.weight: expected (2, 5) float64. Received: (2, 6)", "Received: (2,) float32",
    ):  # fmt: skip
        assert text in str(error.value)
    assert (optimizer.state_dict()["velocity.dense1.weight"] == 0).all()
    with pytest.raises(ValueError, match="n_steps: expected an integer of at least 0"):
        optimizer.load_state_dict(state | {"n_steps": np.array(-1)})


@pytest.mark.parametrize("optimizer", TESTED, ids=ids)
def test_config_goes_to_json_and_back(optimizer):
    config = json.loads(json.dumps(optimizer.config()))
    assert type(optimizer)(**config).config() == optimizer.config()
    assert repr(type(optimizer)(**config)) == repr(optimizer)


def test_a_schedule_counts_updates_from_0():
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.1 / (1 + step)

    model = network()
    optimizer = SGD(schedule).bind(model)
    for t in range(3):
        before = model.theta.copy()
        model.grad[:] = 1.0
        optimizer.step()
        np.testing.assert_allclose(before - model.theta, 0.1 / (1 + t), rtol=1e-12)
    assert seen == [0, 1, 2]
    assert "lr" not in optimizer.config()
    assert optimizer.current_lr() == 0.1 / 4


def test_lr_can_be_changed_and_is_checked():
    optimizer = SGD(0.1)
    optimizer.lr = np.float32(0.5)
    assert optimizer.lr == 0.5
    with pytest.raises(ValueError, match=r"SGD: lr: expected .*schedule.* Received: -1"):
        optimizer.lr = -1
    assert optimizer.lr == 0.5


@pytest.mark.parametrize("lr", [0.5, lambda step: 0.5 / (1 + step)])
def test_the_factor_of_the_rate(lr):
    """`lr_scale` works on numbers and schedules, is saved unless it is 1, and an older state has none."""
    model = network()
    optimizer = SGD(lr).bind(model)
    plain = optimizer.state_dict()
    optimizer.lr_scale = 0.25
    assert optimizer.current_lr() == 0.125 and optimizer.lr == lr
    before = model.theta.copy()
    model.grad[:] = 1.0
    optimizer.step()
    np.testing.assert_allclose(before - model.theta, 0.125, rtol=1e-12)
    state = optimizer.state_dict()
    assert list(state) == ["n_steps", "lr_scale"] and list(plain) == ["n_steps"]
    resumed = SGD(lr).bind(network())
    resumed.load_state_dict(state)
    assert resumed.lr_scale == 0.25 and resumed.current_lr() == optimizer.current_lr()
    resumed.load_state_dict(plain)
    assert resumed.lr_scale == 1.0 and "lr_scale" not in resumed.config()
    with pytest.raises(ValueError, match=r"SGD: lr_scale: expected a number in \[0, inf\)"):
        resumed.load_state_dict(state | {"lr_scale": np.array(np.nan), "n_steps": np.array(9)})
    assert resumed.n_steps == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, "0.1x", None])
def test_a_schedule_with_wrong_values_is_refused(value):
    model = network()
    optimizer = SGD(lambda step: value).bind(model)
    before = model.theta.copy()
    with pytest.raises(
        ValueError,
        match=r"SGD: lr: expected a number in \[0, inf\) from the schedule at step 0, .*Received: ",
    ):
        optimizer.step()
    assert optimizer.n_steps == 0
    assert (model.theta == before).all()


def test_what_makes_a_schedule_is_not_one():
    with pytest.raises(TypeError, match=r"SGD: lr: .* Received: cosine, which makes one; write cosine\("):
        SGD(nn.schedules.cosine)
    with pytest.raises(TypeError, match=r"Momentum: momentum: .*; write sutskever_momentum\("):
        Momentum(0.1, momentum=nn.schedules.sutskever_momentum)
    for name in nn.schedules.__all__:
        with pytest.raises(TypeError, match="which makes one"):
            SGD(getattr(nn.schedules, name))
    SGD(nn.schedules.cosine(0.1, 10))
    SGD(np.reciprocal)  # any other function


FROM_LR = [lambda cls=cls, **o: cls(0.1, **o) for cls in (SGD, Momentum, NAG)]
ADAPTIVE = [AdaGrad, RMSProp, AdaDelta, Adam, AdamW, AMSGrad, NAdam, AdaMax, MaxProp]


@pytest.mark.parametrize("make", FROM_LR + ADAPTIVE)
@pytest.mark.parametrize("value", [-1e-3, np.nan, np.inf, "a", None])
def test_wrong_weight_decay_is_refused(make, value):
    with pytest.raises(ValueError, match=r"weight_decay: expected a number in \[0, inf\). Received"):
        make(weight_decay=value)


@pytest.mark.parametrize("cls", [SGD, Momentum, NAG, ArmijoLineSearch, *ADAPTIVE])
@pytest.mark.parametrize("lr", [-1, np.nan, np.inf, "a", None])
def test_wrong_lr_is_refused(cls, lr):
    with pytest.raises(
        ValueError, match=rf"{cls.__name__}: lr: expected a number in \[0, inf\) or a schedule"
    ):
        cls(lr)


@pytest.mark.parametrize(
    "optimizer", [SGD(0.5, weight_decay=0.1), SGD(0.5, momentum=0.9, weight_decay=0.1),
                  Adam(0.5, weight_decay=0.1, decoupled=True)],
)  # fmt: skip
def test_weight_decay_leaves_biases_alone(optimizer):
    model = network()
    optimizer.bind(model)
    for parameter in model.parameters.values():
        parameter.data[...] = 2.0
    model.grad[:] = 0.0
    optimizer.step()
    for name, parameter in model.parameters.items():
        expected = 2.0 * (1 - 0.5 * 0.1) if name.endswith("weight") else 2.0
        np.testing.assert_allclose(parameter.data, expected, rtol=1e-15)


def test_runs_with_the_same_weight_decay_are_one():
    model = network()
    for parameter in model.parameters.values():
        parameter.decay = True
    optimizer = SGD(0.1, weight_decay=0.1).bind(model)
    model.grad[:] = 0
    optimizer.step()
    assert len(optimizer._runs) == 1


def test_a_parameter_without_a_backward_pass_has_no_gradient():
    model = network()
    optimizer = SGD(0.1).bind(model)
    model.grad[:] = 1.0
    model.zero_grad()  # the old numbers are still in memory
    before = model.theta.copy()
    optimizer.step()
    assert (model.theta == before).all()


def test_binding():
    model = network()
    optimizer = Adam()
    with pytest.raises(RuntimeError, match=r"Adam: expected a model. Call bind\(model\)"):
        optimizer.step()
    with pytest.raises(RuntimeError, match="bind"):
        optimizer.state_dict()
    with pytest.raises(NotBuiltError):
        optimizer.bind(nn.Sequential([nn.Dense(2)]))
    assert optimizer.bind(model) is optimizer
    train(model, optimizer, 2)
    optimizer.bind(model)  # once more changes nothing
    assert optimizer.n_steps == 2
    with pytest.raises(ValueError, match=r"expected .*Received: another model.*make an optimizer for each"):
        optimizer.bind(network())


def test_a_model_without_parameters():
    model = nn.Sequential([nn.Flatten()], input_shape=(2, 2))
    for optimizer in (SGD(0.1, weight_decay=0.1), Adam()):
        optimizer.bind(model).step()


def test_an_optimizer_of_ones_own():
    class SignDescent(Optimizer):
        def update(self, lr, weight_decay, theta, grad):
            theta -= lr * np.sign(grad)

    model = network()
    before = model.theta.copy()
    model.grad[:] = -3.0
    SignDescent(0.25).bind(model).step()
    np.testing.assert_allclose(model.theta, before + 0.25)
