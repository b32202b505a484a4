"""What every optimizer is: a rule for one step, its state, and a learning rate."""

import math
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

import numpy as np

from .. import kernels
from ..checks import choice, integer, number
from ..workspace import ALIGNMENT


class Optimizer:
    """Base of all optimizers. A subclass names its state vectors and writes `update`.

    Before the rule sees it, the gradient may be clipped, in one of three ways; `model.grad` itself stays as
    it is, and the weight decay, which comes after, is not clipped::

        clip_value         g <- min(max(g, -clip_value), clip_value)         each element
        clip_norm          g <- g min(1, clip_norm / ||g||)                  each parameter
        clip_global_norm   g <- g min(1, clip_global_norm / ||grad||)        all parameters alike

    Only the norms keep the direction, `clip_norm` that of each parameter (Pascanu, Mikolov & Bengio, On the
    difficulty of training recurrent neural networks, ICML 2013). Norms are summed in float64.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule `step -> lr` of the updates done so far, from 0.
    weight_decay : float
        Applies to weights, not to biases and normalisation (`Parameter.decay`).
    clip_value, clip_norm, clip_global_norm : float, optional
        Above 0; one of them.
    accumulate_steps : int
        Number of batches whose gradients' mean makes one update: a larger batch in the memory of a small one.
        `step` counts the calls, and `n_pending` those since the last update; the gradient must not be zeroed
        in between (a Trainer takes care of it). What waits at the end of an epoch waits for the next.
    groups : dict of str to dict, optional
        `{"conv*": {"lr_scale": 0.1, "weight_decay": 0}}`: parameters by the pattern of their names (`*`, `?`,
        `[...]`), the first that fits; either number may be left out.

    Attributes
    ----------
    lr_scale : float
        Factor of the learning rate, also of a scheduled one: what callbacks change.
    n_steps : int
        Updates done.
    n_pending : int
        Calls of `step` since the last update.
    scale, clip : float
        What a rule passes to its kernel: `g = scale grad`, cut to `[-clip, clip]` unless `clip` is 0.
    """

    #: Constructor arguments, for `config`.
    arguments: tuple[str, ...] = ("lr", "weight_decay")
    #: Those of every optimizer, which `config` names where they are used.
    common_arguments: tuple[str, ...] = (
        "clip_value",
        "clip_norm",
        "clip_global_norm",
        "accumulate_steps",
        "groups",
    )
    #: Vectors like `theta` that the rule remembers from step to step.
    state_names: tuple[str, ...] = ()
    #: Whether `step` wants a function that computes the loss of the same batch again.
    needs_closure = False

    def __init__(
        self, lr, weight_decay=0.0, clip_value=None, clip_norm=None, clip_global_norm=None,
        accumulate_steps=1, groups=None,
    ):  # fmt: skip
        self.lr = lr
        self.weight_decay = self._checked("weight_decay", weight_decay)
        self.clip_value = self._positive("clip_value", clip_value)
        self.clip_norm = self._positive("clip_norm", clip_norm)
        self.clip_global_norm = self._positive("clip_global_norm", clip_global_norm)
        clips = {name: getattr(self, name) for name in self.common_arguments[:3]}
        given = {name: value for name, value in clips.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                f"{type(self).__name__}: {', '.join(given)}: expected one of clip_value, clip_norm, "
                f"clip_global_norm, or none. Received: {given}"
            )
        self.accumulate_steps = integer(type(self).__name__, "accumulate_steps", accumulate_steps)
        self.groups = None if groups is None else self._checked_groups(groups)
        self.scale, self.clip = 1.0 / self.accumulate_steps, self.clip_value or 0.0
        self.n_steps = self.n_pending = 0
        self.lr_scale = 1.0
        self.model: Any = None
        self._state: tuple[np.ndarray, ...] = ()
        self._runs: list[tuple] | None = None

    # To be written by an optimizer

    def update(self, lr, weight_decay, theta, grad, *state):
        """Change `theta` and the state in place; `self.n_steps` updates were done before this one."""
        raise NotImplementedError(f"{type(self).__name__}.update is not written")

    # The learning rate

    @property
    def lr(self):
        """Learning rate: a number or a schedule `step -> lr`."""
        return self._lr

    @lr.setter
    def lr(self, lr):
        self._lr = self._number_or_schedule("lr", lr)
        self._scheduled = callable(lr)

    def current_lr(self):
        """Learning rate of the next update."""
        return (self._now("lr", self._lr) if self._scheduled else self._lr) * self.lr_scale

    def _number_or_schedule(self, name, value, below=math.inf):
        """A number as a float, a schedule as it is, or an error."""
        if not callable(value):
            return self._checked(name, value, below)
        if str(value.__module__).startswith("fastnn.schedules.") and value.__qualname__ == value.__name__:
            raise TypeError(
                f"{type(self).__name__}: {name}: expected a schedule, a function step -> {name}. "
                f"Received: {value.__name__}, which makes one; write {value.__name__}(...)"
            )
        return value

    def _now(self, name, value, below=math.inf):
        """What a number or a schedule is for the next update."""
        if not callable(value):
            return value
        hint = f" from the schedule at step {self.n_steps}, a function of the number of updates done"
        return number(type(self).__name__, name, value(self.n_steps), f"[0, {below:g})", hint)

    # Steps

    def bind(self, model):
        """Take `model`, which must be built, as the one to train, and allocate the state.

        Returns
        -------
        Optimizer
            Itself: `optimizer = Adam().bind(model)`.
        """
        if model is self.model:
            return self
        if self.model is not None:
            raise ValueError(
                f"model: expected {self.model.label()}, whose state this {type(self).__name__} holds. "
                f"Received: another model, {model.label()}; make an optimizer for each model"
            )
        theta = model.theta[: model.n_trainable]
        for pattern in self.groups or ():
            if not any(fnmatchcase(path, pattern) for path in model.parameters):
                raise ValueError(
                    f"{type(self).__name__}: groups: expected patterns of {', '.join(model.parameters)}. "
                    f"Received: {pattern!r}, which none of them fits"
                )
        self._state = tuple(_zeros_like(theta) for _ in self.state_names)
        self.model = model
        return self

    def step(self, closure=None):
        """One update of `model.theta`, its trainable part, by `model.grad`, which stays as it is.

        Parameters
        ----------
        closure : callable, optional
            Function without arguments that returns the loss of the same batch; only a line search asks it.
        """
        if self._runs is None:
            self._runs = self._divide()
        self.model.grad  # noqa: B018 - zeroes what no backward pass has written
        if self.n_pending + 1 < self.accumulate_steps:
            self.n_pending += 1
            return
        lr = self._lr * self.lr_scale if not self._scheduled else self.current_lr()
        if self.clip_global_norm is not None:
            self.scale = self._shrinkage(self.model.grad, self.clip_global_norm)
        for lr_scale, weight_decay, arrays in self._runs:
            if self.clip_norm is not None:
                self.scale = self._shrinkage(arrays[1], self.clip_norm)
            self.update(lr * lr_scale, weight_decay, *arrays)
        self.n_steps, self.n_pending = self.n_steps + 1, 0

    def _shrinkage(self, grad, longest):
        """What makes the mean gradient of the gathered batches at most `longest` long."""
        norm = math.sqrt(kernels.sum_of_squares(grad)) / self.accumulate_steps
        return (longest / norm if norm > longest else 1.0) / self.accumulate_steps

    def _divide(self):
        """`(factor of lr, weight decay, (theta, grad, *state))` of each run of parameters that are alike."""
        model = self._bound()
        vectors = (model.theta[: model.n_trainable], model.grad, *self._state)
        alone = self.clip_norm is not None  # then each parameter has a length of its own

        def kind(parameter):
            number, (setting, _) = parameter
            return setting, number if alone else 0

        parameters = [(self._setting(path, p), p.size) for path, p in model.parameters.items() if p.trainable]
        runs, start = [], 0
        for (setting, _), alike in groupby(enumerate(parameters), kind):
            end = start + sum(size for _, (_, size) in alike)
            runs.append((*setting, tuple(vector[start:end] for vector in vectors)))
            start = end
        return runs

    def _setting(self, path, parameter):
        """Factor of lr and weight decay of one parameter."""
        groups = self.groups or {}
        fitting = [options for pattern, options in groups.items() if fnmatchcase(path, pattern)]
        own = fitting[0] if fitting else {}
        weight_decay = own.get("weight_decay", self.weight_decay) if parameter.decay else 0.0
        return own.get("lr_scale", 1.0), weight_decay

    def _bound(self):
        if self.model is None:
            raise RuntimeError(
                f"{type(self).__name__}: expected a model. Call bind(model) first, as a Trainer does"
            )
        return self.model

    # State

    def _counts(self):
        return ("n_steps", "n_pending") if self.accumulate_steps > 1 else ("n_steps",)

    def _named(self):
        """`(name, view)` of the state by parameter, `"m.conv1.weight"`, and of gradients that wait."""
        for name, vector in zip(self.state_names, self._state):
            start = 0
            for path, parameter in self.model.parameters.items():
                if not parameter.trainable:
                    break  # the frozen ones come last
                end = start + parameter.size
                yield f"{name}.{path}", vector[start:end].reshape(parameter.shape)
                start = end
        if self.accumulate_steps > 1:
            for path, parameter in self.model.parameters.items():
                yield f"grad.{path}", parameter.grad

    def state_dict(self):
        """Copies of the state, `{"n_steps": array, "m.conv1.weight": array, ...}`.

        The learning rate is not in it: it belongs to `config` or to the schedule. Its factor `lr_scale` is,
        unless it is 1.
        """
        self._bound()
        counts = {name: np.array(getattr(self, name), np.int64) for name in self._counts()}
        if self.lr_scale != 1:
            counts["lr_scale"] = np.array(self.lr_scale, np.float64)
        return counts | {name: view.copy() for name, view in self._named()}

    def load_state_dict(self, state):
        """Take over a state; nothing changes unless names, shapes and dtypes all fit.

        Raises
        ------
        ValueError
            With the names that are missing, extra or of another shape.
        """
        self._bound()
        own, counts = dict(self._named()), self._counts()
        faults = [f"missing: {name}" for name in (*counts, *own) if name not in state]
        faults += [f"unexpected: {name}" for name in state if name not in {"lr_scale", *counts, *own}]
        for name, array in own.items():
            if name in state and (state[name].shape != array.shape or state[name].dtype != array.dtype):
                faults.append(
                    f"{name}: expected {array.shape} {array.dtype}. "
                    f"Received: {state[name].shape} {state[name].dtype}"
                )
        for name in counts:
            if name in state and (np.size(state[name]) != 1 or int(state[name]) < 0):
                faults.append(f"{name}: expected an integer of at least 0. Received: {state[name]!r}")
        lr_scale = self._checked("lr_scale", state.get("lr_scale", 1.0))
        if faults:
            raise ValueError(
                f"state does not fit this {type(self).__name__} and its model (nothing was loaded):\n  "
                + "\n  ".join(faults)
            )
        for name, array in own.items():
            array[...] = state[name]
        for name in counts:
            setattr(self, name, int(state[name]))
        self.lr_scale = lr_scale

    def _settings(self):
        """Constructor arguments; those of every optimizer only where they are used."""
        values = {name: getattr(self, name) for name in self.arguments}
        for name in self.common_arguments:
            value = getattr(self, name)
            if value is not None and (name, value) != ("accumulate_steps", 1):
                values[name] = value
        return values

    def config(self):
        """Constructor arguments, as JSON can hold them; a schedule, which is a function, is left out.

        A checkpoint keeps them, to tell whether it is continued by the same optimizer. Arguments that it does
        not have, because it is older than they are, count as their defaults.
        """
        values = self._settings()
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if not callable(v)}

    def __repr__(self):
        values = self._settings()
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    # Checks of hyperparameters

    def _set_eps(self, eps, mode, modes=("outside", "inside")):
        self.eps = self._checked("eps", eps)
        self.eps_mode = self._chosen("eps_mode", mode, modes)

    def _set_betas(self, betas):
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            name = type(self).__name__
            raise ValueError(f"{name}: betas: expected two numbers, (beta1, beta2). Received: {betas!r}")
        self.betas = tuple(self._checked("betas", beta, below=1.0) for beta in betas)

    def _checked(self, name, value, below=math.inf):
        """`value` as a float in `[0, below)`, or an error."""
        hint = " or a schedule, a function step -> lr" if name == "lr" else ""
        return number(type(self).__name__, name, value, f"[0, {below:g})", hint)

    def _positive(self, name, value):
        """`value` as a finite float above 0, or None, or an error."""
        if value is None or self._checked(name, value) > 0:
            return None if value is None else float(value)
        raise ValueError(f"{type(self).__name__}: {name}: expected a number above 0. Received: {value!r}")

    def _checked_groups(self, groups):
        """`groups` with its numbers as floats, or an error."""
        if not isinstance(groups, dict):
            raise TypeError(f"{type(self).__name__}: groups: expected a dict. Received: {groups!r}")
        checked = {}
        for pattern, options in groups.items():
            if not isinstance(options, dict) or not options.keys() <= {"lr_scale", "weight_decay"}:
                raise ValueError(
                    f"{type(self).__name__}: groups[{pattern!r}]: expected a dict of lr_scale, weight_decay "
                    f"or both. Received: {options!r}"
                )
            checked[pattern] = {
                name: self._checked(f"groups[{pattern!r}]: {name}", value) for name, value in options.items()
            }
        return checked

    def _chosen(self, name, value, choices):
        return choice(type(self).__name__, name, value, choices)


class WithMomentum(Optimizer):
    """Base of those that have a momentum, a number in [0, 1) or a schedule `step -> momentum`."""

    def __init__(self, lr, momentum, weight_decay, **common):
        super().__init__(lr, weight_decay, **common)
        self.momentum = self._number_or_schedule("momentum", momentum, below=1.0)

    def current_momentum(self):
        """Momentum of the next update."""
        return self._now("momentum", self.momentum, below=1.0)


def _zeros_like(theta):
    """Zeros on a cache line; the system provides the pages when they are first used."""
    block = np.zeros(theta.nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + theta.nbytes].view(theta.dtype)
