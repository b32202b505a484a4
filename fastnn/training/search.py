"""Searches for a learning rate: short trainings on a grid of rates, or one in which the rate rises."""

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import isfinite, nan

import numpy as np

from ..checks import integer, number
from ..errors import NonFiniteError
from ..metrics import better
from .diagnosis import Snapshot
from .feed import training_feed
from .history import History
from .trainer import Trainer

#: The finer search around the best rate of the grid.
FINER = (0.5, 2.0, 3.0)


@dataclass(frozen=True, eq=False)
class RateSearch:
    """What `log_search` found; printed, it is a table.

    Attributes
    ----------
    lrs : ndarray (n,)
        Rates that were tried, ascending.
    values : ndarray (n,)
        The monitored value after each short training; NaN where the loss of a batch did not stay finite.
    monitor : str
        Which value.
    best_lr, best_value : float
    histories : list of History or None
    """

    lrs: np.ndarray
    values: np.ndarray
    monitor: str
    best_lr: float
    best_value: float
    histories: list[History | None]

    def __str__(self):
        rows = [f"{'lr':>10}  {self.monitor}"]
        for lr, value in zip(self.lrs, self.values):
            rows.append(f"{lr:>10.4g}  {value:.4g}" + ("  best" if lr == self.best_lr else ""))
        return "\n".join(rows)


@dataclass(frozen=True, eq=False)
class RangeTest:
    """What `lr_range_test` saw.

    Attributes
    ----------
    lrs : ndarray (n,)
        The rate of each update, ascending.
    losses : ndarray (n,)
        The loss of each batch, before its update.
    smoothed : ndarray (n,)
        Their moving average, corrected for its beginning.
    diverged : bool
        Whether the loss rose so far that the test was ended, or was not finite any more.
    smoothing : float
        How much of the moving average was kept at each update.
    """

    lrs: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged: bool
    smoothing: float = 0.0

    @property
    def lowest_lr(self):
        """The rate at the lowest smoothed loss: already too high for a whole training."""
        return float(self.lrs[self._lowest()])

    @property
    def steepest_lr(self):
        """The rate, up to that of the lowest loss, at which the smoothed loss falls fastest over log(lr).

        The first values are passed over: they are means of so few batches that chance moves them most.
        """
        stop = max(self._lowest() + 1, 2)
        part = slice(min(round(1 / (1 - self.smoothing)) - 1, stop - 2), stop)
        slopes = np.gradient(self.smoothed[part], np.log(self.lrs[part]))
        return float(self.lrs[part][np.argmin(slopes)])

    def _lowest(self):
        if len(self.lrs) < 2:
            raise ValueError(
                f"RangeTest: expected at least 2 updates with a finite loss. Received: {len(self.lrs)}; "
                "repeat the test with a smaller lr_min"
            )
        return int(np.argmin(self.smoothed))


def log_search(
    trainer, data, lrs=(1e-4, 1e-3, 1e-2, 1e-1, 1.0), epochs=2, refine=True, monitor="val_loss",
    mode="auto", batch_size=32, validation_split=None, validation_data=None, seed=0,
):  # fmt: skip
    """Train shortly with each rate of a logarithmic grid, from the same beginning, and take the best (S4.2).

    Then, unless `refine` is off, a finer search around it: half, twice and three times the best rate, so
    0.05, 0.2 and 0.3 if the grid's best is 0.1.

    Every training begins with the same weights, sees the same batches and draws the same dropout masks, so
    the same seed gives the same result. A rate whose loss does not stay finite is noted and left out.

    Parameters
    ----------
    trainer : Trainer or callable
        Its model, loss and optimizer are used; afterwards model and optimizer are as before, bit for bit.
        Or a function `seed -> Trainer`, whose trainer is used only here. The model must be built.
    data : (x, y), (x, y, sample_weight) or batches
        As `Trainer.fit` takes them.
    lrs : sequence of float
        Above 0.
    epochs : int
        Of each training.
    refine : bool
    monitor : str
        `"val_loss"`, `"val_accuracy"`, ...: the value after the last epoch decides.
    mode : {"auto", "min", "max"}
        Which values are better; "auto" knows losses, errors and fastnn's metrics.
    batch_size : int
    validation_split : float, optional
        By default 0.1 without `validation_data`.
    validation_data : (x, y), (x, y, sample_weight) or batches, optional
    seed : int
        Of the split and of the order of the data.

    Returns
    -------
    RateSearch

    Raises
    ------
    NonFiniteError
        The loss stayed finite with none of the rates.
    ValueError, TypeError
        An argument does not fit.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(1,), seed=0)
    >>> trainer = nn.Trainer(model, nn.SquaredError(half=True), nn.SGD(lr=0.1))
    >>> x = np.full((20, 1), 2.2, np.float32)  # the loss is 2.42 (w - 1)^2, so 1 / 4.84 is best
    >>> log_search(trainer, (x, x), lrs=[0.01, 0.1, 1.0]).best_lr
    0.2
    """
    trainer = trainer(seed) if callable(trainer) else trainer
    rates = sorted({number("log_search", "lrs", lr, "(0, inf)") for lr in lrs})
    if not rates:
        raise ValueError("log_search: lrs: expected at least one learning rate. Received: none")
    if validation_split is None:
        validation_split = 0.1 if validation_data is None else 0.0
    found: dict[float, History | None] = {}
    with _borrowed(trainer, "log_search") as start:
        sign = _sign(trainer, monitor, mode)
        options = {
            "epochs": integer("log_search", "epochs", epochs), "batch_size": batch_size, "verbose": False,
            "validation_split": validation_split, "validation_data": validation_data,
        }  # fmt: skip

        def value(lr):
            history = found[lr]
            return nan if history is None else history[monitor][-1]

        def best():
            finite = [lr for lr in found if isfinite(value(lr))]
            if not finite:
                raise NonFiniteError(
                    f"log_search: expected a learning rate with which {monitor} stays finite. "
                    f"Received: {', '.join(f'{lr:g}' for lr in found)}; try smaller ones"
                )
            return min(finite, key=lambda lr: (sign * value(lr), lr))

        for lr in rates:
            found[lr] = _short_training(trainer, start, lr, seed, _arguments(data) | options)
        if refine:
            middle = best()
            for lr in (factor * middle for factor in FINER):
                if lr not in found:
                    found[lr] = _short_training(trainer, start, lr, seed, _arguments(data) | options)
        lr = best()
    tried = sorted(found)
    values = np.array([value(lr) for lr in tried])
    return RateSearch(np.array(tried), values, monitor, lr, value(lr), [found[lr] for lr in tried])


def lr_range_test(
    trainer, data, lr_min=1e-6, lr_max=1.0, steps=100, shape="exponential", batch_size=32, smoothing=0.9,
    stop_at=4.0, seed=0,
):  # fmt: skip
    """One training in which the rate rises from `lr_min` to `lr_max`, to see where the loss begins to fall.

    A rate is useful from where the loss falls until it gets restless; `triangular` goes between the two [1].
    The test ends early when the smoothed loss is `stop_at` times its lowest.

    Departure from [1]. There the rate rises along a line, `shape="linear"`; the default multiplies it by the
    same number at each update, which gives every power of ten as many.

    Parameters
    ----------
    trainer : Trainer or callable
        As in `log_search`: afterwards model and optimizer are as before, bit for bit.
    data : (x, y), (x, y, sample_weight) or batches
    lr_min, lr_max : float
        Of the first and of the last update, `0 < lr_min < lr_max`.
    steps : int
        Updates, at least 2; the data is gone through as often as that needs.
    shape : {"exponential", "linear"}
    batch_size : int
    smoothing : float
        In [0, 1): how much of the moving average is kept at each update.
    stop_at : float
        Above 1; infinity lets the test go on while the loss is finite.
    seed : int
        Of the order of the data.

    Returns
    -------
    RangeTest
        `plots.range_test` draws it.

    Raises
    ------
    ValueError, TypeError
        An argument does not fit.

    References
    ----------
    .. [1] Smith, Cyclical learning rates for training neural networks, WACV 2017.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(1, use_bias=False)], input_shape=(1,), seed=0)
    >>> trainer = nn.Trainer(model, nn.SquaredError(half=True), nn.SGD(lr=0.1))
    >>> x = np.full((20, 1), 2, np.float32)  # the curvature is 4, so the loss grows with rates above 0.5
    >>> y = np.arange(20, dtype=np.float32)[:, None] % 2
    >>> result = lr_range_test(trainer, (x, y), lr_min=1e-4, lr_max=10.0, batch_size=4)
    >>> bool(0.01 < result.steepest_lr < 0.5), result.diverged
    (True, True)
    """
    trainer = trainer(seed) if callable(trainer) else trainer
    low = number("lr_range_test", "lr_min", lr_min, "(0, inf)")
    high = number("lr_range_test", "lr_max", lr_max, f"({low}, inf)")
    n = integer("lr_range_test", "steps", steps)
    if n < 2:
        raise ValueError(f"lr_range_test: steps: expected an integer of at least 2. Received: {steps!r}")
    if shape not in ("exponential", "linear"):
        raise ValueError(f"lr_range_test: shape: expected 'exponential' or 'linear'. Received: {shape!r}")
    kept = number("lr_range_test", "smoothing", smoothing, "[0, 1)")
    stop_at = number("lr_range_test", "stop_at", stop_at, "(1, inf]")
    rates = np.geomspace(low, high, n) if shape == "exponential" else np.linspace(low, high, n)
    losses: list[float] = []
    smoothed: list[float] = []
    average, diverged = 0.0, False
    with _borrowed(trainer, "lr_range_test"):
        runner, optimizer = _again(trainer, seed), trainer.optimizer
        given = {"y": None, "sample_weight": None} | _arguments(data)
        batches, _, _ = training_feed(
            trainer.model, trainer.loss, given["x"], given["y"], given["sample_weight"], batch_size, True,
            0.0, None, n, runner.seed, runner.seed,
        )  # fmt: skip
        optimizer.lr_scale = 1.0
        for lr, batch in zip(rates, islice(_endless(batches), n)):
            optimizer.lr = float(lr)
            try:
                loss = runner.train_step(*batch)
            except NonFiniteError:
                diverged = True
                break
            losses.append(loss)
            average = kept * average + (1 - kept) * loss
            smoothed.append(average / (1 - kept ** len(losses)))
            if smoothed[-1] > stop_at * min(smoothed):
                diverged = True
                break
    return RangeTest(rates[: len(losses)], np.array(losses), np.array(smoothed), diverged, kept)


@contextmanager
def _borrowed(trainer, where):
    """Yield the trainer's state; afterwards model and optimizer have it again, bit for bit."""
    if not isinstance(trainer, Trainer):
        raise TypeError(
            f"{where}: trainer: expected a Trainer, or a function seed -> Trainer. Received: {trainer!r}"
        )
    trainer.model.theta  # noqa: B018 - or the error that the model has no input shape
    trainer.optimizer.bind(trainer.model)
    start, lr = Snapshot(trainer), trainer.optimizer.lr
    try:
        yield start
    finally:
        trainer.optimizer.lr = lr
        start.restore(False)


def _again(trainer, seed):
    """A trainer of the same parts, whose counting and history are its own."""
    return Trainer(
        trainer.model, trainer.loss, trainer.optimizer, trainer.metrics, seed, trainer.regularizers
    )


def _short_training(trainer, start, lr, seed, arguments):
    """The history of a training with `lr` from `start`, or None if its loss did not stay finite."""
    start.restore(False)
    trainer.optimizer.lr, trainer.optimizer.lr_scale = lr, 1.0
    runner = _again(trainer, seed)
    try:
        history = runner.fit(**arguments)
    except NonFiniteError:
        return None
    if runner.interrupted:  # fit ends well after Ctrl-C, and the search must end too
        raise KeyboardInterrupt
    return history


def _arguments(data):
    """What `Trainer.fit` calls the parts of the data."""
    is_arrays = isinstance(data, (tuple, list)) and len(data) in (2, 3)
    if is_arrays and all(hasattr(array, "shape") for array in data):
        return dict(zip(("x", "y", "sample_weight"), data))
    return {"x": data}


def _sign(trainer, monitor, mode):
    """1 if smaller values of the column are better, else -1."""
    modes = {"loss": "min"} | {metric.name: metric.mode for metric in trainer.metrics}
    names = [*modes, *(f"val_{name}" for name in modes)]
    if monitor not in names:
        raise ValueError(f"log_search: monitor: expected one of {', '.join(names)}. Received: {monitor!r}")
    if mode == "auto":  # a metric of the user's own may tell
        mode = modes[monitor.removeprefix("val_")] or "auto"
    return 1 if better(monitor, mode) == "min" else -1


def _endless(batches):
    """The batches of epoch 0, of epoch 1, and so on."""
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1
