"""What every layer is: a shape rule, parameters, forward and backward."""

from typing import Any

import numpy as np

from .. import initializers, kernels
from ..checks import integer
from ..errors import NotBuiltError, ShapeError
from ..parameter import Parameter

#: Layer classes by name, for loading a model from its file. Subclasses enter themselves.
REGISTRY: dict[str, type] = {}


class Layer:
    """Base of all layers; copy the nearest one to write your own.

    A subclass sets `kind` and writes `shape_rule`, `forward` and `backward`, and `create_parameters` if it
    has any. Constructor arguments are kept in attributes of the same names (`config` reads them).
    `fastnn.testing.check_layer` tells whether the layer is right.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        Shapes of one sample, without the batch axis; known once the model is built.
    saved : tuple or None
        What `backward` needs of the last `forward`.
    """

    kind = "layer"

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        REGISTRY[cls.__name__] = cls

    def __init__(self, name=None):
        self.name = name
        self.input_shape: Any = None
        self.output_shape: Any = None
        self.saved: Any = None
        self.workspace: Any = None  # of the outermost model, like dtype
        self.dtype: Any = None
        self._trainable = True
        self.index = 0  # position in the model; random layers draw from it
        self.own_parameters = {}
        self.own_buffers = {}  # name -> array that is saved but not trained

    @property
    def trainable(self):
        """Whether training changes its parameters; False, set before the model is built, freezes them.

        A frozen layer's parameters lie behind the others in `theta`, optimizers leave them alone, and
        `backward` computes no gradients to them. Layers inside it are frozen too, and a frozen BatchNorm
        keeps to its running statistics.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, trainable):
        if self.workspace is not None:
            raise RuntimeError(
                f"{self.label()}: trainable: expected to be set before the model is built, which places the "
                "parameters. Set it on the layer first, or build the model again and load_state_dict"
            )
        self._trainable = bool(trainable)

    # To be written by a layer

    def shape_rule(self, input_shape):
        """Output shape of one sample; raises `ShapeError` if `input_shape` does not fit."""
        return input_shape

    def connect(self, model):
        """Find other layers that this one shares with; `model` is the outermost, about to be built."""

    def create_parameters(self, input_shape):
        """Call `add_parameter` for each parameter."""

    def forward(self, x, training=False):
        """Output `(N, *output_shape)` for `x (N, *input_shape)`."""
        raise NotImplementedError(f"{type(self).__name__}.forward is not written")

    def backward(self, dy, input_gradient=True):
        """Gradient to the input; adds to the parameters' gradients.

        With `input_gradient=False` the result may be None: the first layer of a model saves its work.
        """
        raise NotImplementedError(f"{type(self).__name__}.backward is not written")

    def multiply_adds(self):
        """Multiply-adds of one sample's forward pass."""
        return 0

    def can_add(self, function):
        """Whether there is a `forward_add` for that activation function."""
        return False

    def forward_add(self, x, other, function, alpha, training):
        """`function(forward(x) + other)` in one pass over memory; `backward` gets the gradient of the sum."""
        raise NotImplementedError(f"{type(self).__name__}.forward_add is not written")

    def follow(self, before):
        """The model is built, and `before` is the layer whose output is this one's input."""

    def prepare(self, batch_size):
        """Do once what depends only on the weights, which will not change any more (`for_inference`)."""

    # What a layer may use

    def add_parameter(self, name, shape, initializer, decay=True):
        """Declare a parameter; its values come when the model allocates `theta`."""
        parameter = Parameter(name, shape, initializer, decay)
        parameter.trainable = self._trainable
        self.own_parameters[name] = parameter
        return parameter

    def add_buffer(self, name, array):
        """Declare an array that belongs to the state dict but is not trained.

        Read it from `own_buffers`: the model replaces it by one of its own dtype.
        """
        self.own_buffers[name] = array
        return array

    def trained(self):
        """The parameters to which `backward` owes a gradient: none of frozen ones."""
        return [parameter for parameter in self.own_parameters.values() if parameter.trainable]

    def buffer(self, shape):
        """An uninitialised array of the model's workspace."""
        return self.workspace.take(shape, self.dtype)

    def last_pass(self):
        """`saved`, or the error that there was no forward pass."""
        if self.saved is None:
            raise RuntimeError(
                f"{self.label()}: backward was called before forward. Call forward(x) first "
                "(predict(x) keeps nothing for a backward pass)."
            )
        return self.saved

    # What the containers use

    def children(self):
        """Layers inside this one."""
        return []

    def walk(self, prefix=""):
        """Yield `(path, layer)` for this layer and all inside it, `"residual1.conv1"`."""
        yield prefix, self
        for child in self.children():
            yield from child.walk(f"{prefix}.{child.name}" if prefix else child.name)

    def build(self, input_shape):
        """Fix the shapes and declare the parameters."""
        self.input_shape = tuple(input_shape)
        self.output_shape = tuple(self.shape_rule(self.input_shape))
        self.create_parameters(self.input_shape)

    def config(self):
        """Constructor arguments, as JSON can hold them."""
        import inspect  # a tenth of the time to import fastnn, and only files need it

        arguments = inspect.signature(type(self).__init__).parameters.values()
        values = {
            a.name: getattr(self, a.name)
            for a in arguments
            if a.kind is not a.VAR_KEYWORD and a.name not in ("self", "name")
        }
        if self.name:
            values["name"] = self.name
        # A function cannot be saved, and a loaded layer needs no first values.
        return {name: _to_json(v) for name, v in values.items() if not callable(v)}

    def label(self):
        """Name and class, for messages."""
        return f"{self.name} ({type(self).__name__})" if self.name else type(self).__name__

    def __repr__(self):
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({arguments})"


def to_config(layer):
    """A layer as JSON can hold it."""
    config = {"class": type(layer).__name__, "config": layer.config()}
    return config if layer.trainable else config | {"trainable": False}


def from_config(config):
    """A new layer from `to_config`'s result."""
    name = config["class"]
    if name not in REGISTRY:
        raise ValueError(
            f"layer class: expected one of {', '.join(sorted(REGISTRY))}. Received: {name!r}; "
            "if the class is your own, import the module that defines it before loading"
        )
    layer = REGISTRY[name](**{key: _from_json(v) for key, v in config["config"].items()})
    if not config.get("trainable", True):  # not by the setter: a whole model is built already
        layer._trainable = False
    return layer


def _to_json(value):
    if isinstance(value, Layer):
        return to_config(value)
    return [_to_json(v) for v in value] if isinstance(value, (list, tuple)) else value


def _from_json(value):
    if isinstance(value, dict) and "class" in value:
        return from_config(value)
    return [_from_json(v) for v in value] if isinstance(value, list) else value


def resolve_activation(activation):
    """`(name, alpha)` of an `activation=` argument: None, a name, or an activation layer."""
    if activation is None:
        return "linear", 0.0
    from .activations import DEFAULT_ALPHA, Activation

    if isinstance(activation, Activation):
        if getattr(activation, "learnable", False):
            raise ValueError(
                f"activation: expected one without a parameter of its own. Received: {activation!r}; "
                "put it behind the layer"
            )
        return activation.function, activation.alpha
    if not isinstance(activation, str) or activation not in DEFAULT_ALPHA:
        raise ValueError(
            f"activation: expected None, an activation layer such as LeakyReLU(0.1), or one of "
            f"{', '.join(DEFAULT_ALPHA)}. Received: {activation!r}"
        )
    return activation, DEFAULT_ALPHA[activation]


class WeightedLayer(Layer):
    """A layer that computes a pre-activation `a` from a weight and a bias, and `h = activation(a)` fused.

    What Dense, TiedDense and Conv2D share.
    """

    def __init__(self, activation, use_bias, weight_init, bias_init, name):
        super().__init__(name)
        self.activation = activation
        self.use_bias = use_bias
        self.weight_init = weight_init
        self.bias_init = bias_init
        self.function, self.alpha = resolve_activation(activation)
        self.bias = None
        self.pool: Any = None  # the MaxPool2D right behind it, if that one applies the derivative
        self.prepared = None  # the weight as the kernel reads it, if it will not change any more
        self.saves_input = self.function in kernels.SAVES_INPUT

    def create_weight(self, weight_shape):
        """Declare weight `(out, ...)` and bias `(out,)`."""
        self.weight = self.add_parameter(
            "weight", weight_shape, initializers.get(self.weight_init, self.function)
        )
        if self.use_bias:
            self.bias = self.add_parameter(
                "bias", weight_shape[:1], initializers.get(self.bias_init), decay=False
            )

    def linear(self, x, y, activation, alpha):
        """`y = activation(pre-activation of x)`, by the layer's kernel."""
        raise NotImplementedError

    def forward_to(self, x, y):
        """Fill `y`, and keep what backward needs."""
        if self.saves_input and self.workspace.keep:
            a = self.buffer(y.shape)
            self.linear(x, a, "linear", 0.0)
            kernels.activation_forward(a, y, self.function, self.alpha)
            self.saved = x, a
        else:
            self.linear(x, y, self.function, self.alpha)
            self.saved = x, None if self.pool is not None and self.workspace.fuse else y
        return y

    def to_pre_activation(self, dy, h):
        """`da = dy * activation'`, from what forward kept."""
        if self.function == "linear" or h is None:
            return dy
        da = self.buffer(dy.shape)
        kernels.activation_backward(dy, h, da, self.function, self.alpha)
        return da


def weight_gradients(layer):
    """`(dw, db, accumulate)` for a layer's kernel; None for what is frozen or not there."""
    if not layer.trainable:
        return None, None, False
    accumulate = layer.weight.accumulate()
    if layer.bias is None:
        return layer.weight.grad, None, accumulate
    if not accumulate:
        layer.bias.accumulate()
    # Of a weight that another layer shares and has written, the bias may be stale: then `grad` zeroes it.
    return layer.weight.grad, layer.bias.grad, accumulate


def pair(value, name, layer):
    """A number or a pair of numbers as `(vertical, horizontal)`."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{layer}: {name}: expected a number or a pair. Received: {value!r}")
    return tuple(integer(layer, name, v) for v in values)


def checked_seed(seed):
    """A seed as an int: random if None, drawn if a Generator."""
    if seed is None or isinstance(seed, np.random.Generator):
        return int(np.random.default_rng(seed).integers(2**31))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed: expected None, an integer of at least 0 or a Generator. Received: {seed!r}")
    return int(seed)


def checked_shape(input_shape):
    """A tuple of int, or the error that it is not the shape of a sample."""
    if not isinstance(input_shape, (tuple, list)):
        hint = f"; write ({input_shape},)" if isinstance(input_shape, int) else ""
        raise TypeError(
            f"input_shape: expected a tuple, the shape of one sample. Received: {input_shape!r}{hint}"
        )
    return tuple(integer("model", "input_shape", n) for n in input_shape)


__all__ = ["Layer", "NotBuiltError", "ShapeError", "WeightedLayer", "from_config", "to_config"]
