"""The one door: both forms have every kernel with the same signature, and whole models agree."""

import ast
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import fastnn as nn
from fastnn import kernels

NAMES = [(family, name) for family, names in kernels.FAMILIES.items() for name in names]


@pytest.fixture
def compiled_again():
    yield
    nn.use_kernels("compiled")


def test_every_family_has_its_files():
    folder = Path(kernels.__file__).parent
    assert set(kernels.FAMILIES) <= {path.stem for path in (folder / "reference").glob("*.py")}
    assert len(NAMES) == len({name for _, name in NAMES})


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_both_forms_exist(family, name):
    compiled, reference = (
        getattr(importlib.import_module(f"fastnn.{package}.{family}"), name)
        for package in ("_ext", "reference")
    )
    assert getattr(kernels, name) is compiled
    assert compiled is not reference
    assert compiled.__doc__
    assert reference.__doc__


@pytest.mark.parametrize(("family", "name"), NAMES)
def test_signatures_are_the_same(family, name):
    compiled, reference = (
        inspect.signature(getattr(importlib.import_module(f"fastnn.{package}.{family}"), name))
        for package in ("_ext", "reference")
    )

    def plain(signature):
        return [(p.name, p.default) for p in signature.parameters.values()]

    assert plain(compiled) == plain(reference)


def test_switching(compiled_again):
    assert kernels.kernels_in_use() == "compiled"
    assert nn.use_kernels("reference") == "compiled"
    assert kernels.kernels_in_use() == "reference"
    assert kernels.dense_forward.__module__ == "fastnn.reference.dense"
    assert nn.use_kernels("compiled") == "reference"
    assert "reference" not in str(kernels.dense_forward.__module__)


def test_unknown_kernels():
    with pytest.raises(ValueError, match=r"which: expected 'compiled' or 'reference'\. Received: 'numpy'"):
        nn.use_kernels("numpy")
    assert kernels.kernels_in_use() == "compiled"


def network(dtype):
    return nn.Sequential(
        [
            nn.Conv2D(8, 3, padding="same", use_bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2),
            nn.Residual([nn.Conv2D(8, 3, padding="same", activation="elu"), nn.BatchNorm()], None, "relu"),
            nn.Concat([nn.Conv2D(4, 1, activation="silu"), nn.Conv2D(8, 3, padding="same", groups=8)]),
            nn.AvgPool2D(2), nn.Flatten(), nn.Dense(20, activation="gelu"), nn.Dropout(0.3), nn.Dense(4),
        ],
        input_shape=(8, 8, 3), seed=0, dtype=dtype,
    )  # fmt: skip


def trained(which, dtype, steps=5):
    """Losses, parameters, buffers and predictions after some steps of training."""
    nn.use_kernels(which)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 8, 8, 3)).astype(dtype), rng.integers(0, 4, 12)
    model = network(dtype)
    trainer = nn.Trainer(
        model, nn.SoftmaxCrossEntropy(), nn.Momentum(lr=0.05, momentum=0.9, weight_decay=1e-3)
    )
    losses = [trainer.train_step(x, y) for _ in range(steps)]
    buffers = np.concatenate([array.ravel() for array in model.buffers.values()])
    return np.array(losses), model.theta, buffers, model.predict(x)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-4)])
def test_training_is_the_same_with_both(dtype, rtol, compiled_again):
    compiled, reference = trained("compiled", dtype), trained("reference", dtype)
    assert compiled[0][-1] < compiled[0][0]
    for received, expected in zip(compiled, reference):
        assert np.abs(received - expected).max() <= rtol * np.abs(expected).max()


def test_a_step_of_lenet_is_the_same_with_both(compiled_again):
    (x, y), _ = nn.datasets.fashion_mnist_sample()
    thetas = []
    for which in ("compiled", "reference"):
        nn.use_kernels(which)
        model = nn.models.lenet5(seed=0, dropout=0.5)
        trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.SGD(lr=0.1))
        for start in range(0, 64, 16):
            trainer.train_step(x[start : start + 16], y[start : start + 16])
        thetas.append(model.theta)
    assert np.abs(thetas[0] - thetas[1]).max() < 1e-5


def test_the_stubs_name_the_same_arguments():
    stubs = Path(kernels.__file__).with_suffix(".pyi")
    functions = {n.name: n.args for n in ast.parse(stubs.read_text()).body if isinstance(n, ast.FunctionDef)}
    for family, names in kernels.FAMILIES.items():
        twins = importlib.import_module(f"fastnn.reference.{family}")
        for name in names:
            expected = inspect.signature(getattr(twins, name)).parameters.values()
            arguments = functions[name].args
            assert [a.arg for a in arguments] == [p.name for p in expected], name
            defaults = [p.default for p in expected if p.default is not p.empty]
            assert [ast.literal_eval(d) for d in functions[name].defaults] == defaults, name
