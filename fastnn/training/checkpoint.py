"""Checkpoints: everything a training needs to go on bit for bit, in one file that `fastnn.load` reads too.

The file is a model's file (see `fastnn.files`) with one more entry of metadata, `training`: JSON in which
an array is `{"tensor": name}`. It holds the optimizer, the position (epoch and batch), the seeds of data
order and dropout, the history, the sums of the running epoch and the state of the callbacks.
"""

import numpy as np

from .. import optimizers
from ..errors import FileFormatError
from ..files import TRAINING, dump_json, read, write
from ..layers.base import REGISTRY as LAYERS
from ..layers.base import to_config
from .history import History

#: Attributes of the workspace that random layers draw from.
DRAWN_FROM = ("seed", "step", "epoch")


def save_checkpoint(trainer, path):
    """Write a checkpoint, atomically: a file that was there before stays until the new one is whole.

    Parameters
    ----------
    trainer : Trainer
    path : str or Path
    """
    model, tensors = trainer.model, trainer.model.state_dict()
    training = {
        "identity": identity(trainer),
        "data": trainer.data,
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "n_fits": trainer.n_fits,
        "seed": trainer.seed,
        "order_seed": trainer.order_seed,
        "dropout": {name: getattr(model.workspace, name) for name in DRAWN_FROM},
        "optimizer": trainer.optimizer.state_dict(),
        "totals": trainer.totals.state_dict(),
        "history": trainer.history.to_json(),
        "callbacks": [{"key": key, "state": c.state_dict()} for key, c in _with_keys(trainer.callbacks)],
    }
    packed = dump_json(_pack(training, TRAINING[:-1], tensors), "training")
    write(path, tensors, {"model": dump_json(to_config(model), "model"), "training": packed})


class SavedTraining:
    """A checkpoint that was read, to be compared with a trainer and then given to it."""

    def __init__(self, path):
        self.path = path
        tensors, metadata = read(path)
        if "training" not in metadata:
            raise FileFormatError(
                f"{path}: expected a checkpoint. Received: a model without its training; "
                "fastnn.load reads it, Checkpoint or trainer.save writes checkpoints"
            )
        self.model = {name: array for name, array in tensors.items() if not name.startswith(TRAINING)}
        try:
            self.state = _unpack(metadata["training"], tensors)
            self.seed, self.order_seed = self.state["seed"], self.state["order_seed"]
        except (KeyError, TypeError) as error:
            raise FileFormatError(
                f"{path}: expected a complete checkpoint. Received: one without {error}"
            ) from None

    def check(self, trainer, data=None):
        """Raise, with what differs, unless this trainer and its data continue the saved training."""
        faults = _differences(self.state["identity"], identity(trainer))
        if data is not None:
            faults += _differences(self.state["data"], data, "data")
        if faults:
            raise ValueError(
                f"{self.path}: expected the training that was saved. Received: another one\n  "
                + "\n  ".join(faults)
                + "\nTo begin a new training with the saved weights: model = fastnn.load(path)."
            )

    def restore(self, trainer):
        """Set a trainer and its callbacks to where the checkpoint was written."""
        state, workspace = self.state, trainer.model.workspace
        trainer.model.load_state_dict(self.model)
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.totals.load_state_dict(state["totals"])
        trainer.history = History.from_json(state["history"])
        trainer.epoch, trainer.batch, trainer.n_fits = state["epoch"], state["batch"], state["n_fits"]
        trainer.seed, trainer.order_seed = self.seed, self.order_seed
        for name in DRAWN_FROM:
            setattr(workspace, name, state["dropout"][name])
        trainer.model.seed = workspace.seed
        saved = {entry["key"]: entry["state"] for entry in state["callbacks"]}
        for key, callback in _with_keys(trainer.callbacks):
            if key in saved:
                callback.load_state_dict(saved[key])


def identity(trainer):
    """What must be the same for a training to go on; seeds come from the file."""
    return {
        "model": _without_seeds(to_config(trainer.model)),
        "optimizer": {"class": type(trainer.optimizer).__name__, **trainer.optimizer.config()},
        "loss": repr(trainer.loss),
        "metrics": [metric.name for metric in trainer.metrics],
        "regularizers": [repr(regularizer) for regularizer in trainer.regularizers],
    }


def _with_keys(callbacks):
    """`("EarlyStopping 1", callback)` for each; only those with a state are stored."""
    counts: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__name__
        counts[name] = counts.get(name, 0) + 1
        yield f"{name} {counts[name]}", callback


def _without_seeds(config):
    if isinstance(config, dict):
        return {key: _without_seeds(value) for key, value in config.items() if key != "seed"}
    return [_without_seeds(value) for value in config] if isinstance(config, (list, tuple)) else config


def _differences(saved, now, path=""):
    """`"model.layers[2].units: saved 10, now 20"` for everything that differs."""
    if isinstance(saved, dict) and isinstance(now, dict):
        found, saved = [], _completed(saved, now)
        for key in [*saved, *(key for key in now if key not in saved)]:
            # "model.config.layers[2].config.units" says nothing more than "model.layers[2].units"
            inner = path if key == "config" else f"{path}.{key}" if path else key
            found += _differences(saved.get(key, "nothing"), now.get(key, "nothing"), inner)
        return found
    if isinstance(saved, (list, tuple)) and isinstance(now, (list, tuple)) and len(saved) == len(now):
        pairs = enumerate(zip(saved, now))
        return [fault for i, (a, b) in pairs for fault in _differences(a, b, f"{path}[{i}]")]
    return [] if saved == now else [f"{path}: saved {_short(saved)}, now {_short(now)}"]


def _completed(saved, now):
    """A saved layer or optimizer with the arguments that came after it was saved, at their defaults."""
    name = saved.get("class")
    if name is None or name != now.get("class"):
        return saved
    import inspect  # a tenth of the time to import fastnn

    cls = LAYERS.get(name) or getattr(optimizers, name, None)
    arguments = inspect.signature(cls).parameters if cls else {}
    given, wanted = (d.get("config", d) for d in (saved, now))
    later = {k: arguments[k].default for k in wanted if k in arguments and k not in given}
    complete = {k: default for k, default in later.items() if default is not inspect.Parameter.empty} | given
    return saved | {"config": complete} if "config" in saved else complete


def _short(value):
    if isinstance(value, list):
        return f"{len(value)} ({', '.join(map(_short, value))})"
    return value["class"] if isinstance(value, dict) and "class" in value else repr(value)


def _pack(value, path, tensors):
    """`value` as JSON can hold it; its arrays go to `tensors`."""
    if isinstance(value, np.ndarray):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        return {key: _pack(inner, f"{path}/{key}", tensors) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(inner, f"{path}/{i}", tensors) for i, inner in enumerate(value)]
    return value


def _unpack(value, tensors):
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            return tensors[value["tensor"]]
        return {key: _unpack(inner, tensors) for key, inner in value.items()}
    return [_unpack(inner, tensors) for inner in value] if isinstance(value, list) else value
