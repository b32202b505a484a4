"""Errors that say what was expected, what came, and what to do."""


class FastnnError(Exception):
    """Base of the errors that only fastnn raises."""


class ShapeError(FastnnError, ValueError):
    """An array or a layer has a shape that does not fit."""


class NotBuiltError(FastnnError, RuntimeError):
    """A model is used before its input shape is known."""


class NonFiniteError(FastnnError, FloatingPointError):
    """A loss or a gradient became infinite or not a number."""


class FileFormatError(FastnnError, ValueError):
    """A file is truncated, corrupt or of another kind."""


class MissingExtraError(FastnnError, ImportError):
    """An optional dependency is not installed; the message names the `pip install` that mends it."""


def require(module: str, extra: str):
    """Import an optional dependency or say how to install it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"This needs {module.split('.')[0]}, which is not installed: "
            f"run `pip install 'fastnn-edu[{extra}]'`."
        ) from error
