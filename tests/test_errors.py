"""Errors are what users may catch, and say what to do."""

import pytest

import fastnn as nn
from fastnn import errors


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (nn.ShapeError, ValueError),
        (nn.NotBuiltError, RuntimeError),
        (nn.NonFiniteError, FloatingPointError),
        (nn.FileFormatError, ValueError),
        (nn.MissingExtraError, ImportError),
    ],
)
def test_kinds(error, builtin):
    assert issubclass(error, nn.FastnnError)
    assert issubclass(error, builtin)


def test_require():
    assert errors.require("json", "plot").dumps([]) == "[]"
    with pytest.raises(nn.MissingExtraError) as caught:
        errors.require("no_such_module.inside", "data")
    assert str(caught.value) == (
        "This needs no_such_module, which is not installed: run `pip install 'fastnn-edu[data]'`."
    )
    assert isinstance(caught.value.__cause__, ImportError)


def test_public_names_exist():
    for name in nn.__all__:
        assert hasattr(nn, name)
    assert nn.__all__ == sorted(nn.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
