"""Examples in docstrings run and print what they say; public things have docstrings."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import fastnn as nn

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(nn.__path__, "fastnn.")
    if "._ext" not in module.name and not module.name.endswith("__main__")
)


def test_modules_are_found():
    assert {"fastnn.layers.dense", "fastnn.cli", "fastnn.reference.gemm", "fastnn.plots.curves"} <= set(
        MODULES
    )


@pytest.mark.parametrize("name", ["fastnn", *MODULES])
def test_examples(name):
    module = importlib.import_module(name)
    names = {"nn": nn, "np": np} | vars(module)
    with np.printoptions(precision=4, suppress=True, legacy=False):
        result = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    """Modules, and the classes, functions and methods in them whose names are public."""
    module = importlib.import_module(name)
    assert module.__doc__
    missing = []
    for key, value in vars(module).items():
        if key.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        missing += [key] if not value.__doc__ else []
    assert not missing
