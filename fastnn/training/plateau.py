"""Callbacks that lower the learning rate when validation stops getting better, or gets worse."""

from typing import Any

from ..checks import integer, number
from .callbacks import _Monitor


class _LowersRate(_Monitor):
    """A callback that multiplies `optimizer.lr_scale`, the factor of any rate, scheduled or not."""

    def __init__(self, monitor, factor, min_lr, min_delta, mode):
        super().__init__(monitor, mode, min_delta)
        self.factor = number(type(self).__name__, "factor", factor, "(0, 1)")
        self.min_lr = number(type(self).__name__, "min_lr", min_lr)

    def lower(self, optimizer):
        """Multiply the rate by `factor`, but not to less than `min_lr`; returns whether it is lower now."""
        before = optimizer.lr_scale
        optimizer.lr_scale = before * self.factor
        if optimizer.current_lr() >= self.min_lr:
            return True
        optimizer.lr_scale = before
        now = optimizer.current_lr()
        if now <= self.min_lr * (1 + 1e-9):  # there already, but for rounding
            return False
        optimizer.lr_scale = before * (self.min_lr / now)
        return True


class ReduceLROnPlateau(_LowersRate):
    """Lower the learning rate when the monitored value has not improved for `patience` epochs.

    The rate is multiplied by `factor` exactly `patience` epochs after the best one, and again after every
    `patience` epochs more without an improvement. Training goes on from where it is; `HalveOnWorse` goes
    back. PyTorch's scheduler of this name waits one epoch longer for the same `patience`.

    What changes is the optimizer's `lr_scale`, so that it works with schedules too. It is saved with the
    optimizer, and stays as it is in a later `fit`.

    Parameters
    ----------
    monitor : str
        A column of the history, `"val_loss"`, `"val_accuracy"`, ...
    factor : float
        In (0, 1).
    patience : int
        At least 1.
    min_delta : float
        An improvement is a change of more than this; NaN is none.
    min_lr : float
        The rate is not lowered to less than this.
    mode : {"auto", "min", "max"}
        Which values are better; "auto" knows losses, errors and fastnn's metrics.

    Attributes
    ----------
    best, best_epoch : float or None, int
        The best value and its epoch, counted from 1; None and 0 before the first.

    Raises
    ------
    ValueError
        An argument is out of its range; from `fit`, if `monitor` is no column, as without validation data.

    Examples
    --------
    >>> from fastnn.training import ReduceLROnPlateau
    >>> ReduceLROnPlateau(patience=3, min_lr=1e-5).factor
    0.5
    """

    def __init__(
        self, monitor="val_loss", factor=0.5, patience=5, min_delta=0.0, min_lr=0.0, mode="auto"
    ):  # fmt: skip
        self.patience = integer("ReduceLROnPlateau", "patience", patience)
        super().__init__(monitor, factor, min_lr, min_delta, mode)

    def reset(self):
        super().reset()
        self._waited = 0  # epochs since the best, or since the rate was lowered

    def on_epoch_end(self, trainer):
        if self.improved(trainer):
            self._waited = 0
        else:
            self._waited += 1
            if self._waited >= self.patience:
                self._waited = 0
                self.lower(trainer.optimizer)

    def state_dict(self):
        return super().state_dict() | {"waited": self._waited}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._waited = state["waited"]


class HalveOnWorse(_LowersRate):
    """Halve the learning rate when an epoch made validation worse, and do that epoch again (S3.3).

    The notes' tip: when the monitored value of an epoch is worse than that of the epoch before, parameters,
    buffers, optimizer and the counter that dropout draws from go back to where the epoch began, the rate is
    multiplied by `factor`, and the epoch is done again with the same batches. The history has only epochs
    that were kept. If `max_retries` further tries do no better, or the rate cannot fall any more, training
    stops, with the model of the last good epoch.

    Callbacks after this one, such as `EarlyStopping` and `Checkpoint`, are not told of epochs that do not
    count. What changes is the optimizer's `lr_scale`, so that it works with schedules too.

    Parameters
    ----------
    factor : float
        In (0, 1).
    restore : bool
        False: only lower the rate, and go on.
    min_lr : float
        The rate is not lowered to less than this.
    max_retries : int
        Most times that one epoch is done again, at least 1.
    monitor : str
        A column of the history, `"val_loss"`, `"val_accuracy"`, ...
    min_delta : float
        A value that is worse by at most this is not worse. NaN after a number is.
    mode : {"auto", "min", "max"}
        Which values are better; "auto" knows losses, errors and fastnn's metrics.

    Attributes
    ----------
    retries : int
        How often the running epoch has been begun again.
    gave_up : bool
        Whether training was stopped.

    Raises
    ------
    ValueError
        An argument is out of its range; from `fit`, if `monitor` is no column, as without validation data.

    Notes
    -----
    The first epoch has none before it and is always kept. An epoch is done again with the same batches, in
    the same order, if the data is arrays or gives the same for the same epoch.

    Examples
    --------
    >>> from fastnn.training import HalveOnWorse
    >>> HalveOnWorse(min_lr=1e-4).max_retries
    5
    """

    order = -1  # before all that count epochs

    def __init__(
        self, factor=0.5, restore=True, min_lr=0.0, max_retries=5, monitor="val_loss", min_delta=0.0,
        mode="auto",
    ):  # fmt: skip
        self.restore = bool(restore)
        self.max_retries = integer("HalveOnWorse", "max_retries", max_retries)
        super().__init__(monitor, factor, min_lr, min_delta, mode)

    def reset(self):
        self.retries, self.gave_up = 0, False
        self._start: Any = None  # what the running epoch began with

    def on_fit_begin(self, trainer):
        if self.gave_up:  # resumed from a training that had stopped
            trainer.stop_training = True

    def on_epoch_begin(self, trainer):
        # Resumed inside an epoch, its beginning comes from the checkpoint.
        if self.restore and (trainer.batch == 0 or self._start is None):
            good = vars(trainer._good)  # the trainer's copy of everything, not copied again
            self._start = {name: value for name, value in good.items() if name != "trainer"}

    def on_epoch_end(self, trainer):
        start, self._start = self._start, None
        if not self._worse(trainer.history[self.monitor]):
            self.retries = 0
        elif start is None:
            self.lower(trainer.optimizer)
        else:
            trainer.history.pop()
            _go_back(trainer, start)
            if self.retries < self.max_retries and self.lower(trainer.optimizer):
                self.retries += 1
            else:
                self.gave_up = trainer.stop_training = True

    def on_fit_end(self, trainer):
        if self.gave_up:
            trainer.say(
                f"HalveOnWorse: stopped after epoch {trainer.epoch}; {self.retries + 1} tries of the next "
                f"made {self.monitor} worse"
            )

    def _worse(self, values):
        """Whether the last of the values is worse than the one before."""
        if len(values) < 2:
            return False
        before, last = self._sign * values[-2], self._sign * values[-1]
        return before == before and not last <= before + self.min_delta  # NaN is worse than a number

    def state_dict(self):
        return {"retries": self.retries, "gave_up": self.gave_up, "start": self._start}

    def load_state_dict(self, state):
        self.retries, self.gave_up, self._start = state["retries"], state["gave_up"], state["start"]


def _go_back(trainer, start):
    """To where an epoch began: `start` has the attributes of a `Snapshot`."""
    trainer.model.load_state_dict(start["model"])
    trainer.optimizer.load_state_dict(start["optimizer"])
    trainer.totals.load_state_dict(start["totals"])
    trainer.model.workspace.step = start["step"]
    trainer.epoch, trainer.batch = start["epoch"], start["batch"]
