"""What training measured, epoch by epoch."""

import csv
from math import nan
from typing import NamedTuple

from ..metrics import better


class Best(NamedTuple):
    """The best epoch of a curve."""

    epoch: int
    value: float


class History:
    """Curves over the epochs: `history["val_loss"]` is a list with a number per finished epoch.

    Attributes
    ----------
    epochs : list of int
        Numbers of the finished epochs, counted from 1.
    names : list of str
        The curves: `loss` and the metrics, the same with `val_` in front of validation data, `lr` at the
        end of the epoch, `time` in seconds.
    layers : dict of str to dict of str to list of float
        What `LayerMonitor` saw, a number per finished epoch: `history.layers["grad_norm"]["conv1"]`. NaN for
        epochs without it.

    Notes
    -----
    `loss` and the training metrics are means over the epoch, while the parameters moved and dropout was
    active; the `val_` curves are computed after it. So early on `val_loss` may lie below `loss`.
    """

    def __init__(self, names=()):
        self.epochs: list[int] = []
        self._curves: dict[str, list[float]] = {name: [] for name in names}
        self.layers: dict[str, dict[str, list[float]]] = {}

    @property
    def names(self):
        return list(self._curves)

    def append(self, epoch, values):
        """Add one epoch; `values` has a number for every name."""
        for name, curve in self._curves.items():
            curve.append(float(values[name]))
        for curve in self._layer_curves():
            curve.append(nan)
        self.epochs.append(int(epoch))

    def record(self, quantity, layer, value):
        """Enter a layer's number of the last epoch, `record("grad_norm", "conv1", 0.3)`."""
        curves = self.layers.setdefault(quantity, {})
        curves.setdefault(layer, [nan] * len(self))[-1] = float(value)

    def _layer_curves(self):
        return [curve for curves in self.layers.values() for curve in curves.values()]

    def diagnose(self):
        """What went wrong, and what to do, in plain sentences with numbers.

        Overfitting, a rate that is too high or too low, curves that still fall; with `LayerMonitor` also
        vanishing and exploding gradients, updates out of proportion, dead and saturated units.

        Returns
        -------
        Diagnosis
            A list of str, empty where nothing stands out; printed, it is a list of points.

        Examples
        --------
        >>> history = History(["loss"])
        >>> for epoch, loss in enumerate([2.0, 2.6, 3.4], 1):
        ...     history.append(epoch, {"loss": loss})
        >>> print(history.diagnose())
        - The loss diverges: it was 2 in epoch 1 and is 3.4 now. The learning rate is too high; try a tenth of
        it.
        """
        from .advice import diagnose

        return diagnose(self)

    def best(self, name="val_loss", mode="auto"):
        """`(epoch, value)` of the best value of a curve; the first of equals. NaN is never the best.

        Parameters
        ----------
        name : str
        mode : {"auto", "min", "max"}
            Which values are better; "auto" knows losses, errors and fastnn's metrics.
        """
        sign = 1 if better(name, mode) == "min" else -1
        found = [(sign * v, e, v) for e, v in zip(self.epochs, self[name]) if v == v]
        if not found:
            raise ValueError(
                f"history.best: expected an epoch with a number in {name!r}. Received: {self[name]}"
            )
        _, epoch, value = min(found)
        return Best(epoch, value)

    def last(self):
        """The last epoch's values, `{"loss": ..., ...}`."""
        return {name: curve[-1] for name, curve in self._curves.items() if curve}

    def pop(self):
        """Take the last epoch back; returns its values."""
        values = self.last()
        self.epochs.pop()
        for curve in [*self._curves.values(), *self._layer_curves()]:
            curve.pop()
        return values

    def to_csv(self, path):
        """Write a table: a row per epoch, with a header."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.header())
            writer.writerows(self.rows())

    def header(self):
        """Names of the table's columns."""
        return ["epoch", *self._curves]

    def rows(self):
        """Rows of the table; numbers as Python prints them, so that nothing is lost."""
        return [list(row) for row in zip(self.epochs, *self._curves.values())]

    def to_json(self):
        """As JSON can hold it."""
        stored = {"epochs": list(self.epochs), "curves": _copied(self._curves)}
        return stored | {"layers": {name: _copied(curves) for name, curves in self.layers.items()}}

    @classmethod
    def from_json(cls, stored):
        """A history from `to_json`'s result."""
        history = cls()
        history.epochs = list(stored["epochs"])
        history._curves = _copied(stored["curves"])
        layers = stored.get("layers", {})  # files of earlier versions have none
        history.layers = {name: _copied(curves) for name, curves in layers.items()}
        return history

    def __getitem__(self, name):
        if name not in self._curves:
            hint = ""
            if name.startswith("val_") and name[4:] in self._curves:
                hint = "; there was no validation data: fit(validation_split=0.1) or fit(validation_data=...)"
            raise KeyError(f"history: expected one of {', '.join(self._curves)}. Received: {name!r}{hint}")
        return self._curves[name]

    def __contains__(self, name):
        return name in self._curves

    def __iter__(self):
        return iter(self._curves)

    def __len__(self):
        """Number of finished epochs."""
        return len(self.epochs)

    def keys(self):
        return self._curves.keys()

    def items(self):
        return self._curves.items()

    def __repr__(self):
        last = ", ".join(f"{name}={value:.4g}" for name, value in self.last().items())
        return f"History({len(self)} epochs{': ' + last if last else ''})"


def _copied(curves):
    return {name: list(curve) for name, curve in curves.items()}
