"""Files: safetensors, with the model's configuration as JSON in the metadata. Loading executes nothing.

| metadata key | holds |
|---|---|
| `fastnn` | version of this layout, "1" |
| `model` | `layers.to_config(model)` as JSON |
| `training` | only in checkpoints: what `fastnn.training.checkpoint` needs besides its arrays |

Tensors named `training/...` belong to a checkpoint; the others are the model's state dict. So `load` reads
checkpoints too.
"""

import contextlib
import json
import os
from pathlib import Path

import numpy as np

from .errors import FileFormatError
from .layers.base import from_config, to_config

FORMAT = "1"
#: Prefix of the tensors that are not the model's.
TRAINING = "training/"

_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy .npy file",
    b"PK\x03\x04": "a zip archive (.npz, .keras, .pt)",
    b"\x80": "a pickle, which could run any program when it is loaded",
    b"\x1f\x8b": "a gzip file",
}


def save_model(model, path):
    """Write a model's configuration, parameters and buffers; an older file stays until the new one is whole.

    Parameters
    ----------
    model : Model
    path : str or Path
        By custom `name.safetensors`.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    OSError
        The disk is full, or the like; a file that was there before is unharmed.
    """
    write(path, model.state_dict(), {"model": dump_json(to_config(model), "model")})


def load(path):
    """A model from a file of `model.save` or from a checkpoint.

    Returns
    -------
    Model
        With the saved layers, parameters and buffers, ready to predict or to train.

    Raises
    ------
    FileNotFoundError
    FileFormatError
        The file is truncated, or was not written by fastnn, or has layers this program does not know.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.load("lenet.safetensors")  # doctest: +SKIP
    """
    tensors, metadata = read(path)
    state = {name: array for name, array in tensors.items() if not name.startswith(TRAINING)}
    config = metadata["model"]
    if isinstance(config, dict) and config.get("class") == "Ensemble":
        raise FileFormatError(
            f"{path}: expected the file of one model. Received: an ensemble; read it with "
            "fastnn.Ensemble.load(path)"
        )
    return model_from(path, config, state)


def model_from(path, config, state):
    """The model of a configuration with the arrays `state`; `path` is for messages."""
    try:
        model = from_config(config)
        _check_shapes(model, state)
        model.load_state_dict(state)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{path}: expected the configuration of a fastnn model. {error}") from error
    return model


def _check_shapes(model, state):
    """Shapes first, so that a wrong configuration allocates nothing."""
    shapes = {name: p.shape for name, p in model.parameters.items()}
    shapes |= {name: array.shape for name, array in model.buffers.items()}
    found = {name: array.shape for name, array in state.items()}
    faults = [
        f"{name}: the configuration says {shapes.get(name, 'nothing')}, "
        f"the file holds {found.get(name, 'nothing')}"
        for name in sorted(shapes.keys() | found.keys())
        if shapes.get(name) != found.get(name)
    ]
    if faults:
        raise FileFormatError("expected tensors that fit the configuration\n  " + "\n  ".join(faults))


def write(path, tensors, metadata):
    """Write a safetensors file atomically: a temporary file beside it takes its place once it is whole.

    Parameters
    ----------
    path : str or Path
    tensors : dict of str to ndarray
    metadata : dict of str to str
    """
    from safetensors.numpy import save_file

    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path: expected a file in an existing folder. Received: {path}; create {path.parent}"
        )
    if path.is_dir():
        raise IsADirectoryError(f"path: expected a file. Received: {path}, a folder")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(
            {name: np.asarray(array, order="C") for name, array in tensors.items()},
            os.fspath(temporary),
            metadata={"fastnn": FORMAT, **metadata},
        )
        _to_disk(temporary)
        os.replace(temporary, path)
    except Exception as error:  # safetensors' own error type is no OSError
        old = "; the older file is unharmed" if path.exists() else ""
        raise OSError(f"{path}: could not be saved{old}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # some systems open no folders
        _to_disk(path.parent)


def _to_disk(path):
    """Wait until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path):
    """Tensors and metadata of a file of fastnn's, the JSON in it parsed.

    Returns
    -------
    tensors : dict of str to ndarray
    metadata : dict
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"path: expected a file that fastnn wrote. Received: {path}, which does not exist"
        )
    if path.is_dir():
        raise IsADirectoryError(f"path: expected a file that fastnn wrote. Received: {path}, a folder")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{path}: expected a complete safetensors file. Received: {_what_is_it(path)} ({error})"
        ) from None
    try:
        parsed = {key: json.loads(text) for key, text in metadata.items() if key in ("model", "training")}
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: expected JSON in the metadata. Received: {error}") from None
    return tensors, parsed


def _check_format(path, metadata):
    if "fastnn" not in metadata or "model" not in metadata:
        raise FileFormatError(
            f"{path}: expected a safetensors file that fastnn wrote. Received: one of another program, "
            f"whose metadata has {', '.join(map(repr, metadata)) or 'no entries'}; for arrays of your own "
            "use safetensors.numpy.load_file and model.load_state_dict"
        )
    if metadata["fastnn"] != FORMAT:
        raise FileFormatError(
            f"{path}: expected format {FORMAT}. Received: format {metadata['fastnn']}; "
            "the file is of a newer fastnn, update this one"
        )


def _what_is_it(path):
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(9)
    if not size:
        return "an empty file"
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature) and start[8:9] != b"{":
            return kind
    if start[8:9] == b"{":
        return f"a truncated or damaged one, {size} bytes"
    return f"something else, {size} bytes that start with {start[:8]!r}"


def dump_json(value, what):
    """JSON of a configuration; NumPy numbers become Python's."""
    try:
        return json.dumps(value, default=_plain)
    except TypeError as error:
        raise TypeError(f"{what}: expected numbers, text, lists and None in its config(). {error}") from None


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"Received: {value!r}, a {type(value).__name__}")
