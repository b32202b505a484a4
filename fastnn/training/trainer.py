"""The trainer: model, loss and optimizer at work. `Trainer.fit` holds the whole training loop."""

import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from math import isfinite
from time import perf_counter
from typing import Any

import numpy as np

from .. import metrics as metrics_module
from ..data.batches import Batches
from ..errors import NonFiniteError
from ..layers.model import Model
from ..optimizers.line_search import loss_again
from ..regularizers import checked
from .callbacks import Callback
from .checkpoint import SavedTraining, save_checkpoint
from .diagnosis import Snapshot, explain, not_finite
from .feed import evaluation_feed, n_batches, seed_of_order, training_feed
from .history import History
from .interrupt import first_ctrl_c
from .progress import progress


class Trainer:
    """Changes a model's parameters so that the loss falls.

    Parameters
    ----------
    model : Model
    loss : Loss
    optimizer : Optimizer
    metrics : sequence of str, Metric or function
        `"accuracy"`, `"top_5_accuracy"`, `"f1"`, ..., or functions `(output, target) -> number`.
    seed : int, optional
        Of the data's order and of the validation split; by default the model's.
    regularizers : sequence of Regularizer
        Penalties, whose gradients are added to that of each batch before it is clipped, and constraints,
        which hold after each update. What is called the loss stays that of the data, in `fit`, `evaluate`
        and `train_step`; the history has a column `penalty` beside it, the mean over the epoch's batches,
        and training makes the sum of both smaller. A line search compares these sums.

    Attributes
    ----------
    history : History
        Curves of the last `fit`.
    epoch, batch : int
        Finished epochs, and finished batches of the running one.
    interrupted : bool
        Whether the last `fit` was ended by Ctrl-C.
    last_loss, last_penalty : float or None
        Of the last batch, before its update.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(2)], input_shape=(2,), seed=0)
    >>> trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.Adam(lr=0.05), metrics=["accuracy"])
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    >>> history = trainer.fit(x, np.array([0, 1, 1, 0]), epochs=200, batch_size=4, verbose=False)
    >>> trainer.evaluate(x, np.array([0, 1, 1, 0]))["accuracy"]
    1.0
    """

    def __init__(self, model, loss, optimizer, metrics=(), seed=None, regularizers=()):
        for name, value, methods in (
            ("model", model, ("forward", "backward", "theta")),
            ("loss", loss, ("forward", "backward", "evaluate")),
            ("optimizer", optimizer, ("bind", "step")),
        ):
            if isinstance(value, type) or not all(hasattr(type(value), method) for method in methods):
                hint = f"; write {value.__name__}(...)" if isinstance(value, type) else ""
                raise TypeError(f"{name}: expected a {name.capitalize()} object. Received: {value!r}{hint}")
        if not isinstance(model, Model) or not model.is_root:
            raise TypeError(f"model: expected a Sequential that is not part of another. Received: {model!r}")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        metrics = [metrics] if isinstance(metrics, str) or not hasattr(metrics, "__iter__") else metrics
        self.metrics = [metrics_module.get(metric) for metric in metrics]
        names = [metric.name for metric in self.metrics]
        if len({*names, "loss", "penalty", "lr", "time"}) < len(names) + 4:
            raise ValueError(
                "metrics: expected different names, none of them loss, penalty, lr or time. "
                f"Received: {names}"
            )
        self.regularizers = checked(regularizers)
        if isinstance(seed, np.random.Generator):
            seed = int(seed.integers(2**63))
        self.seed = self.order_seed = int(model.seed if seed is None else seed)
        self.n_fits = 0
        self.epoch = self.batch = self.epochs = 0
        self.history, self.totals = History(), self._new_totals()
        self.callbacks: list[Callback] = []
        self.data = self.validation = self.n_batches = None
        self.last_loss = self.last_penalty = self.output = None
        self._good: Any = None  # a Snapshot during fit
        self._batch_hooks: list[Callable] = []
        self.stop_training = self.interrupted = self.fitting = self.verbose = self._bound = False
        loss.check_model(model)
        if model.input_shape is not None:
            self._bind()

    def _bind(self):
        self.optimizer.bind(self.model)
        for regularizer in self.regularizers:
            regularizer.check(self.model.parameters)
        self._bound = True

    def _new_totals(self):
        summed = getattr(self.loss, "reduction", None) == "sum"
        return metrics_module.Totals(self.metrics, summed, getattr(self.loss, "weight_of", None))

    # One update

    def train_step(self, x, y, sample_weight=None):
        """One update of the parameters on one batch; with `accumulate_steps` of the optimizer, a part of one.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
        y : ndarray
            Targets as the loss takes them.
        sample_weight : ndarray (N,), optional

        Returns
        -------
        float
            The loss before the update; `last_penalty` is the penalty.

        Raises
        ------
        NonFiniteError
            The loss is infinite or not a number; nothing was updated. The message names the first faulty
            tensor and the likely cause.
        """
        pre_step = getattr(self.optimizer, "pre_step", None)
        if pre_step is None or not self._bound:
            return self._train_step(x, y, sample_weight)
        pre_step()
        try:
            return self._train_step(x, y, sample_weight)
        except BaseException:
            self.optimizer.undo_pre_step()
            raise

    def _train_step(self, x, y, sample_weight):
        model = self.model
        output = self.output = model.forward(x, True)
        loss = self.last_loss = self.loss.forward(output, y, sample_weight)
        if not isfinite(loss):
            reason, self._bad_batch = explain(self, loss, x, y, sample_weight)
            model.workspace.step -= 1  # this pass does not count
            raise NonFiniteError(reason)
        if not self._bound:
            self._bind()
        if not getattr(self.optimizer, "n_pending", 0):  # the gradient of batches before this one waits
            model.zero_grad()
        model.workspace.once = True
        try:
            model.backward(self.loss.backward(), False)
        finally:
            model.workspace.once = False
        penalties, parameters = self.regularizers, model.parameters
        self.last_penalty = sum(r.add_grad(parameters) for r in penalties) if penalties else None
        if getattr(self.optimizer, "needs_closure", False):
            again = loss_again(model, self.loss, x, y, sample_weight)
            self.optimizer.step(lambda: again() + sum(r.value(parameters) for r in penalties))
        else:
            self.optimizer.step()
        if not getattr(self.optimizer, "n_pending", 0):
            for regularizer in penalties:
                regularizer.project(parameters)
        return loss

    # Training

    def fit(
        self, x, y=None, epochs=1, batch_size=32, validation_split=0.0, validation_data=None, callbacks=(),
        sample_weight=None, shuffle=True, verbose=True, resume_from=None, initial_epoch=0, augment=None,
        prefetch=None,
    ):  # fmt: skip
        """Train until `epochs` epochs are done.

        Parameters
        ----------
        x, y : ndarray (N, ...)
            Samples and targets, memory maps too. Bytes are scaled to [0, 1]. Or, without `y`, batches: an
            iterable of `(x, y)` or `(x, y, sample_weight)` that can be gone through once per epoch, or a
            function `epoch -> iterable`, epoch counting from 0.
        epochs : int
        batch_size : int or None
            Samples per update; None: all.
        validation_split : float
            Part of the arrays that is held out, chosen at random, every class in proportion.
        validation_data : (x, y), (x, y, sample_weight) or batches
        callbacks : sequence of Callback
        sample_weight : ndarray (N,), optional
        shuffle : bool
            A new order in every epoch, and in every `fit`.
        verbose : bool
            Progress on standard error.
        resume_from : str or Path, optional
            A checkpoint. Training goes on as if it had never stopped, bit for bit; `epochs` counts from
            the very beginning. Model, optimizer and data must be as they were.
        initial_epoch : int
            Number of epochs to take as done.
        augment : Augmentation, optional
            Random changes of the training images, see `fastnn.augmentation`.
        prefetch : int, optional
            Batches that a background thread prepares ahead; by default 2 with `augment`, else 0.

        Returns
        -------
        History
            Ctrl-C ends training after the current batch and returns the finished epochs; a second one
            raises `KeyboardInterrupt` at once.

        Raises
        ------
        NonFiniteError
            A loss or a parameter became infinite or not a number. If the batch holds such a number, the
            model stays as the last good update left it; otherwise model and optimizer go back to where
            the epoch began. The message says which, and why.
        ValueError, TypeError
            Something does not fit; nothing was changed.
        """
        saved = None if resume_from is None else SavedTraining(resume_from)
        self._check_epochs(epochs, initial_epoch)
        seed = self.seed if saved is None else saved.seed
        order_seed = seed_of_order(seed, self.n_fits) if saved is None else saved.order_seed
        train, validation, data = training_feed(
            self.model, self.loss, x, y, sample_weight, batch_size, shuffle, validation_split,
            validation_data, epochs - initial_epoch, seed, order_seed, augment, prefetch,
        )  # fmt: skip
        self._begin(train, validation, data, saved, epochs, initial_epoch, callbacks, verbose, order_seed)
        with self._ending_well():
            self._call("on_fit_begin")
            while self.epoch < epochs and not self.stop_training:
                started = perf_counter()
                self.model.workspace.epoch = self.n_fits * 2**32 + self.epoch
                self._good = None  # first let go of its memory
                self._good = Snapshot(self)
                self._call("on_epoch_begin")
                for batch in train.epoch(self.epoch, self.batch):
                    loss = self.train_step(*batch)
                    self.totals.add(loss, self.output, *batch[1:], penalty=self.last_penalty)
                    self.batch += 1
                    for hook in self._batch_hooks:
                        hook(self)
                    if self.stop_training:
                        break
                else:
                    self._check_parameters()
                    values = self.totals.values()
                    if validation is not None:
                        results = self._evaluate(validation, self.epoch)
                        values |= {f"val_{name}": value for name, value in results.items()}
                    values |= {"lr": self.optimizer.current_lr(), "time": perf_counter() - started}
                    self.epoch, self.batch, self.totals = self.epoch + 1, 0, self._new_totals()
                    self.history.append(self.epoch, values)
                    self._call("on_epoch_end")
        return self.history

    def _check_epochs(self, epochs, initial_epoch):
        for name, value, least in (("epochs", epochs, 1), ("initial_epoch", initial_epoch, 0)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ValueError(f"{name}: expected an integer of at least {least}. Received: {value!r}")

    def _begin(self, train, validation, data, saved, epochs, initial_epoch, callbacks, verbose, order_seed):
        """Check what is left to check, then start counting."""
        callbacks = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(f"callbacks: expected Callback objects. Received: {callback!r}")
        results = ["loss", *(metric.name for metric in self.metrics)]
        names = results + [f"val_{name}" for name in results if validation is not None] + ["lr", "time"]
        if self.regularizers:
            names.insert(1, "penalty")
        for callback in callbacks:
            callback.check(self, names)
        if saved is not None:
            saved.check(self, data)
        self._bind()
        self.data, self.validation = data, validation
        self.callbacks = sorted([progress()] * bool(verbose) + callbacks, key=lambda callback: callback.order)
        hooks = [callback.on_batch_end for callback in self.callbacks]
        idle = Callback.on_batch_end
        self._batch_hooks = [hook for hook in hooks if getattr(hook, "__func__", None) is not idle]
        self.verbose, self.stop_training, self.interrupted = bool(verbose), False, False
        self.epochs, self.n_batches = epochs, n_batches(train)
        self.epoch, self.batch, self.order_seed = initial_epoch, 0, order_seed
        self.history, self.totals = History(names), self._new_totals()
        self.n_fits += 1
        for callback in callbacks:
            callback.reset()
        if saved is not None:
            saved.restore(self)

    def _call(self, event):
        epoch = self.epoch
        for callback in self.callbacks:
            getattr(callback, event)(self)
            if self.epoch < epoch:  # taken back, to be done again: the other callbacks do not count it
                break

    def _check_parameters(self):
        faults = not_finite(self.model)
        if faults:
            lr = self.optimizer.current_lr()
            raise NonFiniteError(
                f"parameters: expected finite numbers after epoch {self.epoch + 1}. "
                f"Received: {', '.join(faults)} with values that are not.\n"
                f"Likely cause: a learning rate too high for this network (lr={lr:g}; try {lr / 10:g})."
            )

    @contextmanager
    def _ending_well(self):
        """Call `on_fit_end` whatever ends training; Ctrl-C ends it like a stop, NaN with a good model."""
        with ExitStack() as ends:
            for callback in reversed(self.callbacks):
                ends.callback(callback.on_fit_end, self)
            self.fitting, self._good, self._bad_batch = True, None, False
            try:
                with first_ctrl_c(self):
                    yield
            except KeyboardInterrupt:  # raised by a callback or the data, or the second
                if self.interrupted:
                    raise
                self.interrupted = True
            except NonFiniteError as error:
                raise NonFiniteError(f"{error}\n{self._good.restore(self._bad_batch)}") from None
            finally:
                self.fitting, self._good, self.output = False, None, None
        if self.interrupted:
            where = f"in epoch {self.epoch + 1} after batch {self.batch}"
            self.say(f"Ctrl-C: training stopped {where}", always=True)

    def say(self, text, always=False):
        """A line on standard error, unless `fit` was asked to be quiet."""
        if self.verbose or always:
            print(text, file=sys.stderr, flush=True)

    # Using the model

    def evaluate(self, x, y=None, sample_weight=None, batch_size=256):
        """Loss and metrics over all samples.

        Parameters
        ----------
        x, y, sample_weight : ndarray, or `x` alone: an iterable of batches
        batch_size : int
            Only a matter of memory: the result is that of all samples together.

        Returns
        -------
        dict of str to float
            `{"loss": ..., "accuracy": ...}`; the loss is that of the data, without penalties.
        """
        if y is None and hasattr(x, "shape"):
            raise ValueError("y: expected targets. Received: None; predict(x) needs none")
        given = (x, y) if sample_weight is None else (x, y, sample_weight)
        data = x if y is None else tuple(np.asarray(array) for array in given)
        return self._evaluate(evaluation_feed(self.model, self.loss, data, batch_size))

    def _evaluate(self, batches, epoch=0):
        self.model.theta  # noqa: B018 - or the error that the model has no input shape
        totals, workspace = self._new_totals(), self.model.workspace
        keep, workspace.keep = workspace.keep, False
        try:
            for x, y, *weight in batches.epoch(epoch):
                output = self.model.forward(x)
                totals.add(self.loss.evaluate(output, y, *weight), output, y, *weight)
        finally:
            workspace.keep = keep
        return totals.values()

    def predict(self, x, batch_size=256):
        """Outputs `(N, *output_shape)` for all samples; bytes are scaled to [0, 1], as in `fit`."""
        if isinstance(x, np.ndarray) and x.dtype.kind in "iub" and len(x):
            batches = Batches(x, batch_size=batch_size, shuffle=False, dtype=self.model.model_dtype)
            return np.concatenate([self.model.predict(x, batch_size) for x, _ in batches.epoch(0)])
        return self.model.predict(x, batch_size)

    # Files

    def save(self, path):
        """Write a checkpoint of this moment; `fit(resume_from=path)` or `load` continues from it."""
        self._bind()
        save_checkpoint(self, path)

    def load(self, path):
        """Go to where a checkpoint was written, for a training loop of your own; see `fit(resume_from=)`."""
        saved = SavedTraining(path)
        saved.check(self)
        self._bind()
        saved.restore(self)
