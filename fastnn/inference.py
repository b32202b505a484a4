"""Prediction with everything that depends only on the weights done once.

`fold_batchnorm` merges each BatchNorm into the layer before it. `InferenceModel` (made by
`model.for_inference()`) also packs the weights as the kernels read them, and for each batch size writes
down the kernel calls of one forward pass, a `Plan`, which is then repeated without the layers in between.
"""

import threading
from functools import partial
from typing import Any

import numpy as np

from . import kernels
from .checks import integer
from .fusion import address_of, fuse, memory_of, title
from .layers.base import REGISTRY, Layer, WeightedLayer, from_config, to_config
from .layers.containers import Sequential
from .layers.dense import TiedDense
from .layers.normalization import BatchNorm
from .workspace import ALIGNMENT, aligned_empty

#: Plans that an InferenceModel keeps: one for each batch size that it met.
KEPT_PLANS = 8


def fold_batchnorm(model):
    """A new model that computes the same without the BatchNorm layers behind linear layers.

    Outside training a BatchNorm is `gamma (a - mean) / sqrt(var + eps) + beta` with constant mean and
    variance: one more linear map, so the Dense or Conv2D before it can take it over,
    `w' = w s`, `b' = (b - mean) s + beta` with `s = gamma / sqrt(var + eps)`, and its activation with it.
    Other BatchNorm layers stay, those beside a weight that is shared too. The model given is left alone.
    """
    state = model.state_dict()
    tied = [layer for _, layer in model.walk() if isinstance(layer, TiedDense)]
    shared = {layer.path for layer in tied} | {path for path, layer in model.walk() if layer in tied}
    config = _fold(to_config(model), "", state, shared)
    folded = from_config(config)
    folded.load_state_dict(state)
    return folded


def _fold(config, prefix, state, shared):
    """`config` of a layer without what can be folded, none of `shared`; `state` is changed along."""
    values = dict(config["config"])
    for key, value in values.items():
        if isinstance(value, dict) and "class" in value:
            values[key] = _fold(value, _path(prefix, value), state, shared)
        elif isinstance(value, list) and value and isinstance(value[0], dict) and "class" in value[0]:
            values[key] = [_fold(inner, _path(prefix, inner), state, shared) for inner in value]
    if issubclass(REGISTRY[config["class"]], Sequential):
        layers = values["layers"]
        for i in range(len(layers) - 1, 0, -1):
            alone = _path(prefix, layers[i - 1]) not in shared
            if alone and _foldable(layers[i - 1], layers[i]):
                layers[i - 1 : i + 1] = [_merge(layers[i - 1], layers[i], prefix, state)]
    return {"class": config["class"], "config": values}


def _foldable(before, after):
    return (
        REGISTRY[after["class"]] is BatchNorm
        and issubclass(REGISTRY[before["class"]], WeightedLayer)
        and from_config(before).function == "linear"
    )


def _merge(layer, norm, prefix, state):
    path, norm_path = _path(prefix, layer), _path(prefix, norm)
    gamma, beta, mean, var = (
        state.pop(f"{norm_path}.{name}") for name in ("gamma", "beta", "running_mean", "running_var")
    )
    weight, bias = state[f"{path}.weight"], state.get(f"{path}.bias", 0)
    scale = gamma / np.sqrt(var + norm["config"]["eps"])
    state[f"{path}.weight"] = (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(weight.dtype)
    state[f"{path}.bias"] = ((bias - mean) * scale + beta).astype(weight.dtype)
    values = layer["config"] | {"use_bias": True, "activation": norm["config"]["activation"]}
    return {"class": layer["class"], "config": values}


def _path(prefix, config):
    name = config["config"].get("name", "")  # an activation has none
    return f"{prefix}.{name}" if prefix else name


class InferenceModel:
    """A model that only predicts, as fast as it can; `model.for_inference()` makes it.

    It holds a copy of the weights (later training of the model does not change it), with BatchNorm folded,
    and a plan for each batch size that it met. It may be used from several threads; they take turns.

    Attributes
    ----------
    batch_size : int or None
        Most samples at a time; larger inputs are cut. None takes any input in one piece up to the size at
        which the largest activation would need 64 MB.
    input_shape, output_shape : tuple of int
        Of one sample.
    """

    def __init__(self, model, batch_size=None):
        if not isinstance(model, Layer) or not hasattr(model, "state_dict"):
            raise TypeError(f"model: expected a model. Received: {type(model).__name__}")
        if batch_size is not None:
            batch_size = integer("for_inference", "batch_size", batch_size)
        self.batch_size = batch_size
        self._model = fold_batchnorm(model)
        self.input_shape, self.output_shape = self._model.input_shape, self._model.output_shape
        self._most = batch_size or self._model._predict_batch
        self._lock = threading.Lock()
        self._plans: dict[int, Plan] = {}
        for _, layer in self._model.walk():
            layer.prepare(self._most)
        if batch_size is not None:
            self._plan(batch_size)

    def predict(self, x):
        """Outputs `(N, *output_shape)` for `x (N, *input_shape)`, as the model's own `predict` gives them.

        Folded BatchNorm and other algorithms for prepared weights may change the last digits.
        """
        x = self._model.check_input(x)
        n = len(x)
        with self._lock:
            if 0 < n <= self._most:
                return self._plan(n).run(x).copy()
            y = np.empty((n, *self.output_shape), self._model.model_dtype)
            for start in range(0, n, self._most):
                part = x[start : start + self._most]
                y[start : start + len(part)] = self._plan(len(part)).run(part)
            return y

    def _plan(self, n):
        if n not in self._plans:
            if len(self._plans) == KEPT_PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[n] = Plan(self._model, n)
        return self._plans[n]

    def steps(self, n=None):
        """The kernel calls for `n` samples, as lines of text: name, and shapes of the arrays.

        `conv2d_forward + add + pool` adds another branch and takes 2x2 maxima too.
        """
        with self._lock:
            return self._plan(n or self.batch_size or 1).lines()

    def __repr__(self):
        return f"InferenceModel({self.input_shape} -> {self.output_shape}, batch_size={self.batch_size})"


class Plan:
    """The kernel calls of one forward pass of `n` samples, all activations in one block of memory.

    The calls are recorded at the door to the kernels while the model predicts random numbers, each array
    with memory of its own. Convolutions take over the sum or the pooling that follows them (`fusion.py`).
    From the first and last call that uses an array follows which may share memory.
    A layer that computes outside of the kernels (a user's own, say) would be missing from the recording:
    so the plan is tried on other numbers, and if it does not give the model's outputs bit for bit, `run`
    asks the model instead.

    Attributes
    ----------
    steps : list of (kernel, arguments, inputs)
        `inputs` are `(position, shape)` of the arguments that are the input itself. Empty if the model has
        to be asked.
    memory : ndarray of uint8
        All activations.
    """

    def __init__(self, model, n):
        self.model = model
        self.steps: list[Any] = []
        self.memory: Any = None
        rng = np.random.default_rng(0)
        shape, dtype = (n, *model.input_shape), model.model_dtype
        x = rng.standard_normal(shape).astype(dtype)
        calls, y = _record(model, x)
        self._place(fuse(calls, y), x, y)
        for _ in range(2):
            x = rng.standard_normal(shape).astype(dtype)
            if not self.steps or not np.array_equal(self.run(x), model.predict(x, n), equal_nan=True):
                self.steps, self.memory = [], None
                break
        model.workspace.clear()  # the recording had every array in memory of its own

    def run(self, x):
        """Outputs for `x`; the array is overwritten by the next run."""
        if not self.steps:
            return self.model.predict(x, len(x))
        for kernel, arguments, inputs in self.steps:
            if inputs:
                arguments = list(arguments)
                for position, shape in inputs:
                    arguments[position] = x if shape == x.shape else x.reshape(shape)
            kernel(*arguments)
        return self.output

    def lines(self):
        """One line for each call."""
        return [
            f"{title(kernel, arguments):28s}"
            + "  ".join(str(a.shape) for a in arguments if isinstance(a, np.ndarray))
            for kernel, arguments, _ in self.steps
        ]

    def _place(self, calls, x, y):
        """Give the recorded arrays their places in one block of memory; constants stay where they are."""
        of_x = memory_of(x)
        last = {memory_of(y): len(calls)}  # block -> the last call that needs it
        first: dict[int, int] = {}
        size: dict[int, int] = {}
        blocks = {memory_of(a): a for a in self.model.workspace.arrays()}
        for i, (_, arguments) in enumerate(calls):
            for array in arguments:
                if isinstance(array, np.ndarray) and (block := memory_of(array)) in blocks:
                    first.setdefault(block, i)
                    last[block] = max(last.get(block, 0), i)
                    size[block] = blocks[block].nbytes
        if memory_of(y) not in first:
            return  # the output is the input, or was made outside of the kernels
        start = _share(first, last, size)
        total = max(start[block] + size[block] for block in start)
        self.memory = memory = aligned_empty((total,), np.uint8)

        def placed(array):
            block = memory_of(array)
            offset = start[block] + address_of(array) - address_of(blocks[block])
            return memory[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)

        for kernel, arguments in calls:
            final, inputs = list(arguments), []
            for i, a in enumerate(arguments):
                if isinstance(a, np.ndarray) and memory_of(a) in start:
                    final[i] = placed(a)
                elif isinstance(a, np.ndarray) and memory_of(a) == of_x:
                    inputs.append((i, a.shape))
            self.steps.append((kernel, tuple(final), inputs))
        self.output = placed(y)


def _record(model, x):
    """`([(kernel, arguments)], y)` of a forward pass, every array alive and so in memory of its own."""
    calls, me = [], threading.get_ident()
    names = [name for family in kernels.FAMILIES.values() for name in family]
    plain = {name: getattr(kernels, name) for name in names}

    def recorder(kernel):
        def call(*arguments, **keywords):
            if threading.get_ident() == me:
                calls.append((partial(kernel, **keywords) if keywords else kernel, arguments))
            return kernel(*arguments, **keywords)

        return call

    model.workspace.clear()
    keep, model.workspace.keep = model.workspace.keep, False
    try:
        for name, kernel in plain.items():
            setattr(kernels, name, recorder(kernel))
        y = model.pass_forward(x, False)
    finally:
        model.workspace.keep = keep
        for name, kernel in plain.items():
            setattr(kernels, name, kernel)
    return calls, y


def _share(first, last, size):
    """Offset of each block such that blocks that live at the same time do not overlap: first fit by size."""
    start: dict[int, int] = {}
    for block in sorted(first, key=lambda b: -size[b]):
        meets = [b for b in start if first[b] <= last[block] and first[block] <= last[b]]
        offset = 0
        for other in sorted(meets, key=lambda b: start[b]):
            if offset + size[block] <= start[other]:
                break
            end = start[other] + size[other]
            offset = max(offset, -(-end // ALIGNMENT) * ALIGNMENT)
        start[block] = offset
    return start
