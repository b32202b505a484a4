"""How far training is: a bar in a terminal or a notebook, a line per epoch in a log file."""

import sys
from time import perf_counter
from typing import Any

from .callbacks import Callback

REFRESH = 0.1  # seconds between two looks at the loss
LINES = 0.25  # seconds between two lines above the bar


def progress():
    """The form that fits where standard error goes."""
    in_notebook = "ipykernel" in sys.modules
    return Bar() if in_notebook or sys.stderr.isatty() else Lines()


class Lines(Callback):
    """One line per epoch on standard error."""

    order = -1

    def on_fit_begin(self, trainer):
        self._file = sys.stderr

    def on_epoch_end(self, trainer):
        print(line(trainer), file=self._file, flush=True)


class Bar(Callback):
    """A tqdm bar over all batches of all epochs, and above it a line per epoch (four a second at most)."""

    order = -1
    bar: Any = None

    def on_fit_begin(self, trainer):
        from tqdm.auto import tqdm

        per_epoch = trainer.n_batches
        done = None if per_epoch is None else trainer.epoch * per_epoch + trainer.batch
        total = None if per_epoch is None else trainer.epochs * per_epoch
        self.bar = tqdm(
            total=total, initial=done or 0, unit="batch", mininterval=0, leave=False, file=sys.stderr
        )
        self._looked = self._printed = 0.0
        self._unseen = 0

    def on_epoch_begin(self, trainer):
        if trainer.n_batches is not None:
            ahead = self.bar.n + self._unseen - (trainer.epoch * trainer.n_batches + trainer.batch)
            if ahead > 0:  # the epoch is done again
                self.bar.update(self._unseen - ahead)
                self._unseen = 0

    def on_batch_end(self, trainer):
        self._unseen += 1
        now = perf_counter()
        if now - self._looked > REFRESH:
            self._looked = now
            self.bar.set_description_str(f"epoch {trainer.epoch + 1}/{trainer.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss={trainer.totals.values()['loss']:.4g}", refresh=False)
            self.bar.update(self._unseen)
            self._unseen = 0

    def on_epoch_end(self, trainer):
        now = perf_counter()
        is_last = trainer.epoch >= trainer.epochs or trainer.stop_training
        if is_last or now - self._printed > LINES:
            self._printed = now
            self.bar.write(line(trainer), file=sys.stderr)

    def on_fit_end(self, trainer):
        if self.bar is not None:
            self.bar.update(self._unseen)
            self.bar.close()
            self.bar = None


def line(trainer):
    """The last epoch in one line."""
    values = trainer.history.last()
    time = values.pop("time")
    numbers = "  ".join(f"{name}={value:.4g}" for name, value in values.items())
    return f"epoch {trainer.epoch}/{trainer.epochs}  {numbers}  {time:.3g}s"
