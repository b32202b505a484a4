"""A model: a layer made of layers that owns all their parameters as one vector."""

import math
from typing import Any

import numpy as np

from ..checks import integer
from ..errors import NotBuiltError, ShapeError
from ..workspace import Workspace, aligned_empty
from .base import Layer, checked_seed, checked_shape, from_config, to_config

#: Bytes of one activation that `predict` allows itself.
PREDICT_BYTES = 64 * 2**20


class Model(Layer):
    """What Sequential, Residual and Concat share. The outermost one owns parameters and buffers.

    Attributes
    ----------
    theta : ndarray (n_parameters,)
        All parameters in one vector, those of frozen layers last; the layers' parameters are views
        (the notes' theta, S2.3). A layer is frozen by `layer.trainable = False` before the model is built.
    grad : ndarray (n_trainable,)
        The loss's gradient, allocated by its first use.
    n_trainable : int
        How many numbers of theta training moves: the first ones.
    parameters : dict of str to Parameter
        `"conv1.weight"` -> parameter.
    buffers : dict of str to ndarray
        Arrays that are saved but not trained.
    """

    def __init__(self, layers, input_shape=None, seed=None, dtype="float32", name=None):
        super().__init__(name)
        if not isinstance(layers, (list, tuple)):
            raise TypeError(f"layers: expected a list of layers. Received: {layers!r}")
        self.layers = [self._checked(layer) for layer in layers]
        self.seed = checked_seed(seed)
        self.model_dtype = np.dtype(dtype)
        if self.model_dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype: expected 'float32' or 'float64'. Received: {dtype!r}")
        self.given_shape = None if input_shape is None else checked_shape(input_shape)
        self.is_root = True
        self.parameters, self.buffers = {}, {}
        self._theta = self._grad = None
        self._predict_batch = 512  # the outermost one may take less
        self.n_trainable = 0
        self._name_children()
        if self.given_shape is not None:
            self.build_model(self.given_shape)

    def _checked(self, layer):
        if not isinstance(layer, Layer):
            hint = "; write Dense(10), not Dense" if isinstance(layer, type) else ""
            raise TypeError(f"{type(self).__name__}: expected layers. Received: {layer!r}{hint}")
        if not layer.is_root if isinstance(layer, Model) else layer.workspace is not None:
            raise ValueError(f"{layer.label()} is already part of another model; build a new one")
        if isinstance(layer, Model):
            if layer._theta is not None:
                raise ValueError(
                    f"{layer.label()}: expected a model without weights yet. Received: one that has been "
                    "used, and would lose them; build the whole model first, then load_state_dict"
                )
            layer.is_root = False
            layer.parameters, layer.buffers, layer._theta, layer._grad = {}, {}, None, None
        return layer

    def children(self):
        return self.layers

    def _name_children(self):
        counts: dict[str, int] = {}
        taken = {layer.name for layer in self.children() if layer.name}
        for layer in self.children():
            if layer.name is None:
                while True:
                    counts[layer.kind] = counts.get(layer.kind, 0) + 1
                    name = f"{layer.kind}{counts[layer.kind]}"
                    if name not in taken:
                        break
                layer.name = name
        names = [layer.name for layer in self.children()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"layer names: expected different names. Received: {name!r} twice")

    # Building

    def build_model(self, input_shape):
        """Fix all shapes and collect the parameters; their memory comes with its first use."""
        self.workspace = Workspace(self.seed)
        for layer in [layer for _, layer in self.walk() if not layer.trainable]:
            for _, inner in layer.walk():
                inner._trainable = False
        for _, layer in self.walk():
            layer.connect(self)
        self.build(input_shape)
        self.parameters, self.buffers = {}, {}
        everything: list[tuple[str, Any]] = []
        for index, (path, layer) in enumerate(self.walk()):
            layer.workspace, layer.dtype, layer.index = self.workspace, self.model_dtype, index
            for name, parameter in layer.own_parameters.items():
                parameter.owner = self
                parameter.stream = len(everything)
                everything.append((f"{path}.{name}", parameter))
            for name in layer.own_buffers:
                layer.own_buffers[name] = layer.own_buffers[name].astype(self.model_dtype)
                self.buffers[f"{path}.{name}"] = layer.own_buffers[name]
        # The frozen ones last, so that those that an optimizer moves lie side by side.
        self.parameters = dict(sorted(everything, key=lambda entry: not entry[1].trainable))
        self._all = list(self.parameters.values())
        self._trained = [parameter for parameter in self._all if parameter.trainable]
        self.n_trainable = sum(parameter.size for parameter in self._trained)
        largest = max(math.prod(layer.output_shape) for _, layer in self.walk()) * self.model_dtype.itemsize
        self._predict_batch = min(512, max(1, PREDICT_BYTES // max(1, largest)))

    def allocate_parameters(self):
        """Allocate and initialise `theta`: parameter i of the layers draws from stream i of the seed."""
        if self._theta is not None:
            return
        self._theta = self._views("data")
        streams = np.random.SeedSequence(self.seed).spawn(len(self._all))
        for parameter in self._all:
            rng = np.random.default_rng(streams[parameter.stream])
            parameter.data[...] = parameter.initializer(parameter.shape, rng)

    def allocate_gradients(self):
        """Allocate `grad`, all zero."""
        self.allocate_parameters()
        if self._grad is None:
            whole = self._views("_grad")
            whole[:] = 0
            self._grad = whole[: self.n_trainable]

    def _views(self, attribute):
        vector = aligned_empty((self.n_parameters,), self.model_dtype)
        start = 0
        for parameter in self._all:
            setattr(parameter, attribute, vector[start : start + parameter.size].reshape(parameter.shape))
            start += parameter.size
        return vector

    @property
    def n_parameters(self):
        """Number of parameters, frozen ones too; counted without allocating them."""
        return sum(parameter.size for parameter in self.parameters.values())

    @property
    def theta(self):
        self._need_built()
        self.allocate_parameters()
        return self._theta

    @property
    def grad(self):
        self._need_built()
        self.allocate_gradients()
        for parameter in self._trained:
            parameter.grad  # noqa: B018 - zeroes what no backward pass has written since zero_grad()
        return self._grad

    def zero_grad(self):
        """Start a new gradient: the next backward pass overwrites it."""
        for parameter in self._all:
            parameter.fresh = False

    def _need_built(self):
        if self.workspace is None or not self.is_root:
            raise NotBuiltError(
                f"{self.label()}: expected a model with known input shape. Give input_shape=(...) to the "
                "outermost model, or call forward once"
                if self.is_root
                else f"{self.label()} is part of a larger model, which owns theta and grad; ask that one"
            )

    # Passes

    def pass_forward(self, x, training):
        """The forward pass of a container; `x` is as it should be."""
        raise NotImplementedError(f"{type(self).__name__}.pass_forward is not written")

    def pass_backward(self, dy, input_gradient):
        """The backward pass of a container."""
        raise NotImplementedError(f"{type(self).__name__}.pass_backward is not written")

    def forward(self, x, training=False):
        if self.is_root:
            x = self.check_input(x)
            self.workspace.step += training
        return self.pass_forward(x, training)

    def backward(self, dy, input_gradient=True):
        if self.is_root:
            dy = self.check_output_gradient(dy)
        return self.pass_backward(dy, input_gradient)

    def check_input(self, x):
        """`x` as the model takes it, or an error; a non-contiguous array is copied."""
        self._check(x)
        return x if x.flags.c_contiguous else np.ascontiguousarray(x)

    def _check(self, x):
        """Raise unless `x` fits; builds a model that is not built."""
        if not isinstance(x, np.ndarray):
            raise TypeError(f"x: expected a NumPy array. Received: {type(x).__name__}")
        if self.workspace is None:
            if x.ndim < 2:
                raise ShapeError(f"x: expected a batch (N, ...). Received: shape={x.shape}")
            self.build_model(x.shape[1:])
        if x.shape[1:] != self.input_shape:
            hint = ""
            if x.shape == self.input_shape:
                hint = "; a single sample needs a batch axis: x[None]"
            elif x.shape[1:] + (1,) == self.input_shape:
                hint = "; grey images have one channel: x[..., None]"
            expected = ", ".join(map(str, ("N", *self.input_shape)))
            raise ShapeError(f"x: expected shape ({expected}). Received: shape={x.shape}{hint}")
        if x.dtype != self.model_dtype:
            raise TypeError(
                f"x: expected dtype {self.model_dtype}, the model's. Received: dtype={x.dtype}; "
                f"convert it with x.astype('{self.model_dtype}')" + (" / 255" if x.dtype == np.uint8 else "")
            )

    def check_output_gradient(self, dy):
        """`dy` of the outermost model, contiguous."""
        self._need_built()
        if not isinstance(dy, np.ndarray):
            raise TypeError(f"dy: expected a NumPy array. Received: {type(dy).__name__}")
        if dy.shape[1:] != self.output_shape or dy.dtype != self.model_dtype:
            expected = ", ".join(map(str, ("N", *self.output_shape)))
            raise ShapeError(
                f"dy: expected shape ({expected}) and dtype {self.model_dtype}. "
                f"Received: shape={dy.shape}, dtype={dy.dtype}"
            )
        return dy if dy.flags.c_contiguous else np.ascontiguousarray(dy)

    def predict(self, x, batch_size=None):
        """Outputs for all samples, in batches; the result is the caller's own.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
            A memory map works too: a batch at a time is read.
        batch_size : int, optional
            By default at most 512, fewer where the largest activation would need more than 64 MB.

        Returns
        -------
        ndarray (N, *output_shape)
        """
        self._check(x)
        if batch_size is None:
            batch_size = self._predict_batch
        else:
            batch_size = integer("predict", "batch_size", batch_size)
        n, workspace = len(x), self.workspace
        keep, workspace.keep = workspace.keep, False
        try:
            if 0 < n <= batch_size:
                return self.pass_forward(x if x.flags.c_contiguous else np.ascontiguousarray(x), False).copy()
            y = np.empty((n, *self.output_shape), self.model_dtype)
            for start in range(0, n, batch_size):
                y[start : start + batch_size] = self.forward(x[start : start + batch_size])
            return y
        finally:
            workspace.keep = keep

    def for_inference(self, batch_size=None):
        """The model prepared for prediction: weights packed once, BatchNorm folded, buffers planned.

        Parameters
        ----------
        batch_size : int, optional
            Most samples at a time; its plan is made at once. By default each size is planned when it comes.

        Returns
        -------
        InferenceModel
            With a copy of the weights and `predict(x)`.
        """
        from ..inference import InferenceModel

        self._need_built()
        return InferenceModel(self, batch_size)

    def fold_batchnorm(self):
        """A new model without the BatchNorm layers behind Dense and Conv2D: their weights take them over.

        It computes the same as this one outside training, with fewer passes over memory.
        """
        from ..inference import fold_batchnorm

        self._need_built()
        return fold_batchnorm(self)

    # State

    def state_dict(self):
        """Copies of all parameters and buffers, `{"conv1.weight": array, ...}`."""
        self._need_built()
        self.allocate_parameters()
        state = {name: parameter.data.copy() for name, parameter in self.parameters.items()}
        return state | {name: array.copy() for name, array in self.buffers.items()}

    def load_state_dict(self, state):
        """Take over all arrays of `state`; nothing changes unless names, shapes and dtypes all fit.

        Raises
        ------
        ValueError
            With the names that are missing, extra or of another shape.
        """
        self._need_built()
        self.allocate_parameters()
        own = {name: parameter.data for name, parameter in self.parameters.items()} | self.buffers
        faults = [f"missing: {name}" for name in own if name not in state]
        faults += [f"unexpected: {name}" for name in state if name not in own]
        for name, array in own.items():
            if name in state and (state[name].shape != array.shape or state[name].dtype != array.dtype):
                faults.append(
                    f"{name}: expected {array.shape} {array.dtype}. "
                    f"Received: {state[name].shape} {state[name].dtype}"
                )
        if faults:
            raise ValueError(
                "state_dict does not fit this model (nothing was loaded):\n  " + "\n  ".join(faults)
            )
        for name, array in own.items():
            array[...] = state[name]

    def save(self, path):
        """Write the model to a safetensors file, atomically; `fastnn.load` reads it."""
        from ..files import save_model

        save_model(self, path)

    def config(self):
        return super().config() | {
            "input_shape": self.input_shape if self.is_root else None,
            "seed": self.seed if self.is_root else None,
            "dtype": str(self.model_dtype),
        }

    def __reduce__(self):
        """For copy and pickle: parameters have to stay views into the new model's `theta`."""
        config = to_config(self)
        if self.workspace is None:
            return from_config, (config,)
        config["config"] |= {"input_shape": self.input_shape, "dtype": str(self.dtype)}
        state: dict[str, Any] = {}
        for path, layer in self.walk():
            state |= {f"{path}.{name}": parameter.data for name, parameter in layer.own_parameters.items()}
            state |= {f"{path}.{name}": array for name, array in layer.own_buffers.items()}
        return _with_state, (config, state)

    def summary(self):
        """Table of the layers: output shape, parameters, multiply-adds and memory of one sample."""
        from .summary import summary

        if self.input_shape is None:
            self._need_built()
        return summary(self)

    def profile(self, x, y=None, loss=None, seconds=1.0):
        """Where the time of a training step on `x` goes, layer by layer: `fastnn.profiling.profile`."""
        from ..profiling import profile

        return profile(self, x, y, loss, seconds)

    def __getitem__(self, name):
        """A layer by its path, `model["conv1"]`, or by its position."""
        if isinstance(name, int):
            return self.layers[name]
        for path, layer in self.walk():
            if path == name:
                return layer
        raise KeyError(
            f"layer: expected one of {', '.join(p for p, _ in self.walk() if p)}. Received: {name!r}"
        )

    def __iter__(self):
        return iter(self.layers)

    def __len__(self):
        return len(self.layers)


def _with_state(config, state):
    model = from_config(config)
    model.load_state_dict(state)
    return model
