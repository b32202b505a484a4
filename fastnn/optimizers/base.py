"""What every optimizer is: a rule for one step, its state, and a learning rate."""

import math
from typing import Any

import numpy as np

from ..workspace import ALIGNMENT


class Optimizer:
    """Base of all optimizers. A subclass names its state vectors and writes `update`.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule `step -> lr` of the updates done so far, from 0.
    weight_decay : float
        Applies to weights, not to biases and normalisation (`Parameter.decay`).

    Attributes
    ----------
    n_steps : int
        Updates done.
    """

    #: Constructor arguments, for `config`.
    arguments: tuple[str, ...] = ("lr", "weight_decay")
    #: Vectors like `theta` that the rule remembers from step to step.
    state_names: tuple[str, ...] = ()

    def __init__(self, lr, weight_decay=0.0):
        self.lr = lr
        self.weight_decay = self._checked("weight_decay", weight_decay)
        self.n_steps = 0
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
        self._lr = lr if callable(lr) else self._checked("lr", lr)
        self._scheduled = callable(lr)

    def current_lr(self):
        """Learning rate of the next update."""
        if not self._scheduled:
            return self._lr
        lr = self._lr(self.n_steps)
        try:
            return self._checked("lr", lr)
        except (TypeError, ValueError):
            raise ValueError(
                f"lr: expected a finite number of at least 0 from the schedule at step {self.n_steps}. "
                f"Received: {lr!r}; correct the schedule, a function of the number of updates done"
            ) from None

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
        self._state = tuple(_zeros_like(theta) for _ in self.state_names)
        self.model = model
        return self

    def step(self):
        """One update of `model.theta`, its trainable part, by `model.grad`, which stays as it is."""
        if self._runs is None:
            self._runs = self._divide()
        self.model.grad  # noqa: B018 - zeroes what no backward pass has written
        lr = self._lr if not self._scheduled else self.current_lr()
        for weight_decay, arrays in self._runs:
            self.update(lr, weight_decay, *arrays)
        self.n_steps += 1

    def _divide(self):
        """`(weight decay, (theta, grad, *state))` of each run of parameters with the same weight decay."""
        model = self._bound()
        vectors = (model.theta[: model.n_trainable], model.grad, *self._state)
        if not self.weight_decay:
            return [(0.0, vectors)]
        runs, start, end = [], 0, 0
        parameters = [p for p in model.parameters.values() if p.trainable]
        for parameter, following in zip(parameters, [*parameters[1:], None]):
            end += parameter.size
            if following is None or following.decay != parameter.decay:
                weight_decay = self.weight_decay if parameter.decay else 0.0
                runs.append((weight_decay, tuple(vector[start:end] for vector in vectors)))
                start = end
        return runs

    def _bound(self):
        if self.model is None:
            raise RuntimeError(
                f"{type(self).__name__}: expected a model. Call bind(model) first, as a Trainer does"
            )
        return self.model

    # State

    def _named(self):
        """`(name, view)` of the state by parameter: `"m.conv1.weight"`."""
        for name, vector in zip(self.state_names, self._state):
            start = 0
            for path, parameter in self.model.parameters.items():
                if not parameter.trainable:
                    break  # the frozen ones come last
                end = start + parameter.size
                yield f"{name}.{path}", vector[start:end].reshape(parameter.shape)
                start = end

    def state_dict(self):
        """Copies of the state, `{"n_steps": array, "m.conv1.weight": array, ...}`.

        The learning rate is not in it: it belongs to `config` or to the schedule.
        """
        self._bound()
        steps = {"n_steps": np.array(self.n_steps, np.int64)}
        return steps | {name: view.copy() for name, view in self._named()}

    def load_state_dict(self, state):
        """Take over a state; nothing changes unless names, shapes and dtypes all fit.

        Raises
        ------
        ValueError
            With the names that are missing, extra or of another shape.
        """
        self._bound()
        own = dict(self._named())
        faults = [f"missing: {name}" for name in ("n_steps", *own) if name not in state]
        faults += [f"unexpected: {name}" for name in state if name not in own and name != "n_steps"]
        for name, array in own.items():
            if name in state and (state[name].shape != array.shape or state[name].dtype != array.dtype):
                faults.append(
                    f"{name}: expected {array.shape} {array.dtype}. "
                    f"Received: {state[name].shape} {state[name].dtype}"
                )
        if "n_steps" in state and (np.size(state["n_steps"]) != 1 or int(state["n_steps"]) < 0):
            faults.append(f"n_steps: expected an integer of at least 0. Received: {state['n_steps']!r}")
        if faults:
            raise ValueError(
                f"state does not fit this {type(self).__name__} and its model (nothing was loaded):\n  "
                + "\n  ".join(faults)
            )
        for name, array in own.items():
            array[...] = state[name]
        self.n_steps = int(state["n_steps"])

    def config(self):
        """Constructor arguments, as JSON can hold them; a schedule, which is a function, is left out."""
        values = {name: getattr(self, name) for name in self.arguments}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if not callable(v)}

    def __repr__(self):
        values = {name: getattr(self, name) for name in self.arguments}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    # Checks of hyperparameters

    def _checked(self, name, value, below=math.inf):
        """`value` as a float in `[0, below)`, or an error."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < below:  # NaN fails too
            expected = f"a number in [0, {below:g})" if below < math.inf else "a finite number of at least 0"
            hint = " or a schedule, a function step -> lr" if name == "lr" else ""
            raise ValueError(f"{type(self).__name__}: {name}: expected {expected}{hint}. Received: {value!r}")
        return number

    def _chosen(self, name, value, choices):
        """`value`, which must be one of `choices`."""
        if value not in choices:
            expected = ", ".join(repr(choice) for choice in choices)
            raise ValueError(
                f"{type(self).__name__}: {name}: expected one of {expected}. Received: {value!r}"
            )
        return value


def _zeros_like(theta):
    """Zeros on a cache line; the system provides the pages when they are first used."""
    block = np.zeros(theta.nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + theta.nbytes].view(theta.dtype)
