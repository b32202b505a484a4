"""Callbacks: what else happens during `Trainer.fit`."""

import csv
import os
from pathlib import Path

from ..metrics import better
from .checkpoint import save_checkpoint


class Callback:
    """Base of all callbacks; write the methods you need.

    The trainer tells where training is: `trainer.epoch` and `trainer.batch` count what is done,
    `trainer.history` holds the finished epochs, `trainer.last_loss` the last batch's loss. Setting
    `trainer.stop_training = True` ends training after this batch or epoch.
    """

    #: Callbacks of a lower order are called first; what saves comes after what decides.
    order = 0

    def check(self, trainer, names):
        """Before anything changes: raise if this cannot work. `names` are the history's columns."""

    def reset(self):
        """Forget earlier trainings; a resumed one calls `load_state_dict` after it."""

    def on_fit_begin(self, trainer):
        """Before the first epoch."""

    def on_epoch_begin(self, trainer):
        """Before the first batch."""

    def on_batch_end(self, trainer):
        """After every update: keep it short."""

    def on_epoch_end(self, trainer):
        """After validation; `trainer.history.last()` has the epoch's numbers.

        A callback that lowers `trainer.epoch` has the epoch done again; those after it are not called then.
        """

    def on_fit_end(self, trainer):
        """However training ends, Ctrl-C and errors included."""

    def state_dict(self):
        """What a resumed training needs: numbers, text and arrays by name."""
        return {}

    def load_state_dict(self, state):
        """Take over what `state_dict` returned."""


class _Monitor(Callback):
    """A callback that watches one column of the history."""

    def __init__(self, monitor, mode, min_delta=0.0):
        better("loss", mode)  # an unknown mode is an error here, not after the first epoch
        if not min_delta >= 0:
            raise ValueError(f"min_delta: expected a number of at least 0. Received: {min_delta!r}")
        self.monitor, self.mode, self.min_delta = monitor, mode, float(min_delta)
        self.reset()

    def reset(self):
        self.best = None  # no value yet that is a number
        self.best_epoch = 0

    def check(self, trainer, names):
        if self.monitor not in names:
            hint = ""
            if self.monitor.startswith("val_") and self.monitor[4:] in names:
                hint = "; it needs validation data: fit(validation_split=0.1) or fit(validation_data=(x, y))"
            raise ValueError(
                f"{type(self).__name__}: monitor: expected one of {', '.join(names)}. "
                f"Received: {self.monitor!r}{hint}"
            )
        mode = self.mode
        if mode == "auto":  # a metric of the user's own may tell
            own = {metric.name: metric.mode for metric in trainer.metrics}
            mode = own.get(self.monitor.removeprefix("val_")) or "auto"
        self._sign = 1 if better(self.monitor, mode) == "min" else -1

    def improved(self, trainer):
        """Whether the last epoch was the best one; NaN never is."""
        return self.is_best(trainer.history[self.monitor][-1], trainer.epoch)

    def is_best(self, value, epoch):
        """Whether `value` is better than all before; NaN never is."""
        is_better = value == value and (
            self.best is None or self._sign * value < self._sign * self.best - self.min_delta
        )
        if is_better:
            self.best, self.best_epoch = value, epoch
        return is_better

    def state_dict(self):
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state):
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class EarlyStopping(_Monitor):
    """Stop when the monitored value has not improved for `patience` epochs or updates (the notes, S6.5).

    Training stops exactly `patience` epochs (updates) after the best one. With `restore_best` the model then
    has the parameters and buffers of the best one, however training ends: stopped, at the last epoch, by
    Ctrl-C or by an error. It goes together with any other callback and regulariser.

    Parameters
    ----------
    monitor : str
        A column of the history, `"val_loss"`, `"val_accuracy"`, ...; with updates `"loss"`, that of the
        batch, or a `val_` column.
    patience : int
        At least 1.
    min_delta : float
        An improvement is a change of more than this; NaN is none.
    mode : {"auto", "min", "max"}
        Which values are better; "auto" knows losses, errors and fastnn's metrics.
    restore_best : bool
    unit : {"epoch", "update"}
        What patience counts. With updates, all validation data is gone through after each of them.

    Attributes
    ----------
    best, best_epoch : float or None, int
        The best value and its epoch, counted from 1; None and 0 before the first.
    best_batch : int
        With updates: the batch of that epoch after which it was best.

    Examples
    --------
    >>> import fastnn as nn
    >>> x, y = nn.datasets.xor(200, seed=0)
    >>> trainer = nn.Trainer(nn.models.mlp((2,), (8,), 2, seed=0), nn.SoftmaxCrossEntropy(), nn.Adam(lr=0.1))
    >>> stopping = nn.EarlyStopping(patience=3)
    >>> history = trainer.fit(x, y, epochs=100, validation_split=0.2, callbacks=[stopping], verbose=False)
    >>> len(history) == stopping.best_epoch + 3
    True
    """

    def __init__(
        self, monitor="val_loss", patience=5, min_delta=0.0, mode="auto", restore_best=True, unit="epoch"
    ):
        if isinstance(patience, bool) or int(patience) != patience or patience < 1:
            raise ValueError(f"patience: expected an integer of at least 1. Received: {patience!r}")
        if unit not in ("epoch", "update"):
            raise ValueError(f"EarlyStopping: unit: expected 'epoch' or 'update'. Received: {unit!r}")
        super().__init__(monitor, mode, min_delta)
        self.patience, self.restore_best, self.unit = int(patience), restore_best, unit

    def reset(self):
        super().reset()
        self.best_batch = 0
        self._waited = 0  # epochs or updates since the best
        self._weights = None

    def check(self, trainer, names):
        if self.unit == "update":
            names = [name for name in names if name == "loss" or name.startswith("val_")]
        super().check(trainer, names)

    def on_fit_begin(self, trainer):
        if self._waited >= self.patience:  # resumed from a training that had stopped
            trainer.stop_training = True

    def on_batch_end(self, trainer):
        if self.unit == "update" and not trainer.optimizer.n_pending:
            value = trainer.last_loss
            if self.monitor != "loss":
                results = trainer._evaluate(trainer.validation, trainer.epoch)
                value = results[self.monitor.removeprefix("val_")]
            self._count(trainer, self.is_best(value, trainer.epoch + 1))

    def on_epoch_end(self, trainer):
        if self.unit == "epoch":
            self._count(trainer, self.improved(trainer))

    def _count(self, trainer, is_best):
        if is_best:
            self._waited, self.best_batch = 0, trainer.batch
            if self.restore_best:
                self._weights = None  # first let go of the old ones
                self._weights = trainer.model.state_dict()
        else:
            self._waited += 1
            if self._waited >= self.patience:
                trainer.stop_training = True

    def on_fit_end(self, trainer):
        if self._weights is not None:
            trainer.model.load_state_dict(self._weights)
            where = f"epoch {self.best_epoch}" + (f", batch {self.best_batch}" if self.best_batch else "")
            trainer.say(f"EarlyStopping: restored {where}, {self.monitor}={self.best:.4g}")
            self._weights = None

    def state_dict(self):
        own = {"waited": self._waited, "weights": self._weights, "best_batch": self.best_batch}
        return super().state_dict() | own

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._waited, self._weights = state["waited"], state["weights"]
        self.best_batch = state.get("best_batch", 0)  # checkpoints of older versions do not have it


class Checkpoint(_Monitor):
    """Save model, optimizer and position after an epoch, for `fit(resume_from=path)` and for `fastnn.load`.

    Parameters
    ----------
    path : str or Path
        `{epoch}` in it is replaced by the epoch's number; otherwise each file replaces the one before.
    monitor : str
        With `best_only`: the history's column that decides.
    best_only : bool
        Save only epochs that are better than all before.
    every : int
        Save after every so many epochs.
    every_batches : int, optional
        Save within epochs too, after so many batches: for epochs that take hours.
    mode : {"auto", "min", "max"}
    """

    order = 1

    def __init__(self, path, monitor="val_loss", best_only=False, every=1, every_batches=None, mode="auto"):
        super().__init__(monitor, mode)
        for name, value in (("every", every), ("every_batches", every_batches or 1)):
            if int(value) != value or value < 1:
                raise ValueError(
                    f"Checkpoint: {name}: expected an integer of at least 1. Received: {value!r}"
                )
        self.path, self.best_only = os.fspath(path), best_only
        self.every, self.every_batches = every, every_batches

    def check(self, trainer, names):
        if self.best_only:
            super().check(trainer, names)
        folder = Path(self.file(1)).parent
        if not folder.is_dir():
            raise FileNotFoundError(
                f"Checkpoint: path: expected a file in an existing folder. Received: {self.path!r}; "
                f"create {folder}"
            )

    def file(self, epoch):
        """The path of an epoch's file."""
        return self.path.replace("{epoch}", str(epoch))

    def on_batch_end(self, trainer):
        if self.every_batches and trainer.batch % self.every_batches == 0:
            save_checkpoint(trainer, self.file(trainer.epoch + 1))

    def on_epoch_end(self, trainer):
        if trainer.epoch % self.every == 0 and (not self.best_only or self.improved(trainer)):
            save_checkpoint(trainer, self.file(trainer.epoch))


class CSVLogger(Callback):
    """Keep a CSV file up to date with the history: a header, then a row per epoch.

    Parameters
    ----------
    path : str or Path
        Is replaced when training begins; a resumed training writes its earlier epochs again.
    """

    order = 1

    def __init__(self, path):
        self.path = Path(path)

    def check(self, trainer, names):
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"CSVLogger: path: expected a file in an existing folder. Received: {self.path}; "
                f"create {self.path.parent}"
            )

    def on_fit_begin(self, trainer):
        trainer.history.to_csv(self.path)

    def on_epoch_end(self, trainer):
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(trainer.history.rows()[-1])
