"""What happens to the gradient before an optimizer's rule sees it: clipping, accumulation, groups."""

import numpy as np
import pytest

import fastnn as nn
from fastnn.optimizers import NAG, SGD, Adam, Momentum


def network(dtype="float64", seed=0):
    layers = [nn.Dense(5, activation="tanh", name="first"), nn.Dense(2, name="last")]
    return nn.Sequential(layers, input_shape=(3,), seed=seed, dtype=dtype)


def moved(optimizer, grad, model=None):
    """How far one step with this gradient moves theta."""
    model = model or network()
    optimizer.bind(model)
    before = model.theta.copy()
    model.grad[:] = grad
    optimizer.step()
    assert (model.grad == grad).all()
    return model.theta - before


GRAD = np.random.default_rng(0).normal(size=32)


def parts(vector):
    """The vector by parameter, in the order of theta."""
    return np.split(vector, [15, 20, 30])


# Clipping


def test_clip_value():
    np.testing.assert_allclose(
        moved(SGD(1.0, clip_value=0.3), GRAD), -np.clip(GRAD, -0.3, 0.3), rtol=0, atol=1e-15
    )


def test_clip_norm_is_that_of_each_parameter():
    grad = GRAD * np.repeat([10.0, 0.01, 1.0, 0.01], [15, 5, 10, 2])
    expected = [-g * min(1, 0.5 / np.linalg.norm(g)) for g in parts(grad)]
    np.testing.assert_allclose(moved(SGD(1.0, clip_norm=0.5), grad), np.concatenate(expected), atol=1e-15)
    assert [np.linalg.norm(e) < 0.49 for e in expected] == [False, True, False, True]


@pytest.mark.parametrize("size", [0.01, 100.0])
def test_clip_global_norm(size):
    grad = size * GRAD
    expected = -grad * min(1, 0.5 / np.linalg.norm(grad))
    np.testing.assert_allclose(moved(SGD(1.0, clip_global_norm=0.5), grad), expected, rtol=1e-13, atol=1e-15)


def test_clipping_is_anew_in_each_step():
    model = network()
    for name in ("clip_norm", "clip_global_norm"):
        optimizer = SGD(1.0, **{name: 1e3}).bind(model)
        for size in (1e6, 1e-3, 1e6, 1.0):
            before = model.theta.copy()
            model.grad[:] = size * GRAD
            optimizer.step()
            if size < 10:
                np.testing.assert_allclose(model.theta - before, -size * GRAD, rtol=1e-9)
            model.theta[:] = before


@pytest.mark.parametrize("name", ["clip_norm", "clip_global_norm"])
def test_norms_equal_pytorchs(name):
    torch = pytest.importorskip("torch")
    ours = moved(SGD(1.0, **{name: 0.5}), GRAD)
    ps = [torch.nn.Parameter(torch.zeros(len(g), dtype=torch.float64)) for g in parts(GRAD)]
    for p, g in zip(ps, parts(GRAD)):
        p.grad = torch.tensor(g)
    for group in [ps] if name == "clip_global_norm" else [[p] for p in ps]:
        torch.nn.utils.clip_grad_norm_(group, 0.5)
    theirs = np.concatenate([p.grad.numpy() for p in ps])
    np.testing.assert_allclose(-ours, theirs, rtol=1e-5)  # PyTorch divides by the norm + 1e-6


def test_the_norm_of_float32_gradients_does_not_overflow():
    model = network("float32")
    grad = np.full(32, 1e30, np.float32)
    step = moved(SGD(1.0, clip_global_norm=1.0), grad, model)
    np.testing.assert_allclose(step, -1 / np.sqrt(32), rtol=1e-5)


def test_weight_decay_is_not_clipped():
    model = network()
    for p in model.parameters.values():
        p.data[...] = 2.0
    step = parts(moved(SGD(1.0, weight_decay=0.5, clip_global_norm=1e-3), np.zeros(32), model))
    assert [set(s) for s in step] == [{-1.0}, {0.0}, {-1.0}, {0.0}]


def test_what_is_not_a_number_is_not_clipped_away():
    for options in ({"clip_value": 1.0}, {"clip_norm": 1.0}, {"clip_global_norm": 1.0}):
        grad = GRAD.copy()
        grad[3] = np.nan
        model = network()
        optimizer = SGD(1.0, **options).bind(model)
        model.grad[:] = grad
        optimizer.step()
        assert np.isnan(model.theta[3])


def test_wrong_clips_are_refused():
    for name in ("clip_value", "clip_norm", "clip_global_norm"):
        for wrong in (0, -1, np.nan, "a"):
            with pytest.raises(ValueError, match=rf"Adam: {name}: expected .*Received: "):
                Adam(**{name: wrong})
    with pytest.raises(ValueError, match=r"clip_value, clip_norm: expected one of .*, or none. Received"):
        Adam(clip_value=1, clip_norm=1)


# Several batches, one update


@pytest.mark.parametrize("make", [lambda **o: SGD(0.1, **o), lambda **o: Momentum(0.1, weight_decay=0.1, **o),
                                  Adam, lambda **o: NAG(0.1, **o),
                                  lambda **o: Adam(clip_global_norm=0.1, **o),
                                  lambda **o: SGD(0.1, clip_norm=0.1, **o),
                                  lambda **o: SGD(0.1, clip_value=0.05, **o)])  # fmt: skip
def test_accumulated_batches_are_one_large_batch(make):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    thetas = []
    for k in (1, 3):
        model = network()
        trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), make(accumulate_steps=k))
        trainer.fit(x, y, epochs=4, batch_size=30 // k, shuffle=False, verbose=False)
        assert trainer.optimizer.n_steps == 8 and trainer.optimizer.n_pending == 0
        thetas.append(model.theta.copy())
    np.testing.assert_allclose(*thetas, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("form", ["lookahead", "shifted"])
def test_between_updates_theta_is_not_changed(form):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.integers(0, 2, 9)
    trainer = nn.Trainer(network(), nn.SoftmaxCrossEntropy(), NAG(0.1, form=form, accumulate_steps=3))
    points = [trainer.model.theta.copy()]
    for _ in range(9):
        trainer.train_step(x, y)
        points.append(trainer.model.theta.copy())
    same = [(points[t] == points[t + 1]).all() for t in range(9)]
    assert same == 3 * [True, True, False]


def test_accumulation_goes_on_from_a_checkpoint(tmp_path):
    """Saved with a gradient that waits; the same bits afterwards."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)
    trainers = [nn.Trainer(network(), nn.SoftmaxCrossEntropy(), Adam(accumulate_steps=3)) for _ in range(3)]
    options = {"batch_size": 10, "verbose": False}
    trainers[0].fit(x, y, epochs=4, **options)
    trainers[1].fit(x, y, epochs=2, **options)
    assert trainers[1].optimizer.n_pending == 1
    trainers[1].save(tmp_path / "c.safetensors")
    trainers[2].fit(x, y, epochs=4, resume_from=tmp_path / "c.safetensors", **options)
    assert trainers[2].model.theta.tobytes() == trainers[0].model.theta.tobytes()


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "a"])
def test_wrong_accumulate_steps_are_refused(wrong):
    with pytest.raises(ValueError, match=r"SGD: accumulate_steps: expected an integer of at least 1. Rec"):
        SGD(0.1, accumulate_steps=wrong)


# Groups


def test_groups_by_name():
    groups = {"first.*": {"lr_scale": 0.1}, "*.bias": {"lr_scale": 0.0}}
    expected = [-0.1, -0.1, -1.0, 0.0]  # the first pattern that fits
    step = parts(moved(SGD(1.0, groups=groups), np.ones(32)))
    for s, e in zip(step, expected):
        np.testing.assert_allclose(s, e, rtol=1e-12, atol=0)


def test_weight_decay_by_name():
    model = network()
    for p in model.parameters.values():
        p.data[...] = 2.0
    groups = {"last.*": {"weight_decay": 0.25}}
    step = parts(moved(SGD(1.0, weight_decay=0.5, groups=groups), np.zeros(32), model))
    assert [set(s) for s in step] == [{-1.0}, {0.0}, {-0.5}, {0.0}]  # biases never decay


def test_groups_equal_separate_optimizers():
    a, b, c = network(), network(), network()
    optimizers = [
        Adam(0.1, groups={"last.*": {"lr_scale": 0.5}}).bind(a), Adam(0.1).bind(b), Adam(0.05).bind(c)
    ]  # fmt: skip
    for t in range(10):
        for model, optimizer in zip((a, b, c), optimizers):
            model.grad[:] = np.random.default_rng(t).normal(size=32)
            optimizer.step()
    assert a.theta.tobytes() == np.concatenate([b.theta[:20], c.theta[20:]]).tobytes()


def test_parameters_alike_are_one_run():
    model = network()
    optimizer = SGD(0.1, groups={"first.*": {"lr_scale": 0.5}}).bind(model)
    model.grad[:] = 1
    optimizer.step()
    assert [arrays[0].size for _, _, arrays in optimizer._runs] == [20, 12]


def test_wrong_groups_are_refused():
    with pytest.raises(TypeError, match=r"SGD: groups: expected a dict. Received: 'first'"):
        SGD(0.1, groups="first")
    for wrong in (0.1, {"lr": 0.1}, {"lr_scale": 1, "x": 1}):
        with pytest.raises(ValueError, match=r"SGD: groups\['a'\]: expected .*lr_scale, weight_decay.*Rec"):
            SGD(0.1, groups={"a": wrong})
    with pytest.raises(ValueError, match=r"groups\['a'\]: lr_scale: expected a number in .*Received: -1"):
        SGD(0.1, groups={"a": {"lr_scale": -1}})
    with pytest.raises(ValueError, match=r"groups: expected patterns of first.weight, .*Received: 'conv\*'"):
        SGD(0.1, groups={"conv*": {"lr_scale": 0.1}}).bind(network())


def test_config_names_what_is_used():
    assert "clip_norm" not in SGD(0.1).config() and "groups" not in repr(SGD(0.1))
    config = Adam(clip_norm=2, accumulate_steps=4, groups={"a": {"lr_scale": 1}}).config()
    assert (config["clip_norm"], config["accumulate_steps"]) == (2.0, 4)
    assert config["groups"] == {"a": {"lr_scale": 1.0}}
