"""Both passes to look at, tensor by tensor in the order they are computed, and the paths of the chain rule.

>>> import numpy as np, fastnn as nn
>>> model = nn.Sequential([nn.Dense(3, activation="tanh"), nn.Dense(2)], input_shape=(4,), seed=0)
>>> y = model.forward(np.ones((1, 4), np.float32))
>>> record = nn.backward_record(model, np.ones_like(y))
>>> [(step.layer, step.tensor) for step in record][:4]
[('dense2', 'a'), ('dense2', 'weight'), ('dense2', 'bias'), ('dense1', 'h')]
"""

import math
from itertools import product
from typing import NamedTuple

import numpy as np

from . import kernels
from .errors import ShapeError
from .layers.activations import Activation
from .layers.base import WeightedLayer
from .layers.dense import Dense
from .layers.pooling import MaxPool2D
from .layers.summary import aligned, ruled
from .profiling import in_front


class Value(NamedTuple):
    """What one tensor was in a forward pass."""

    layer: str
    tensor: str
    value: np.ndarray


class Gradient(NamedTuple):
    """The loss's gradient with respect to one tensor."""

    layer: str
    tensor: str
    gradient: np.ndarray


class Path(NamedTuple):
    """One way from a unit to the loss: the units it goes through and the factors of its product."""

    units: tuple[int, ...]
    factors: tuple[float, ...]

    @property
    def product(self):
        """The part of the derivative that comes along this path."""
        return math.prod(self.factors)


class Record(list):
    """A list of `Value` or `Gradient`; printed, it is a table."""

    def __repr__(self):
        rows = [("layer", "tensor", "shape", "length")]
        for layer, tensor, array in self:
            length = math.sqrt(kernels.sum_of_squares(array))
            rows.append((layer, tensor, str(array.shape), f"{length:.3g}"))
        return "\n".join(ruled(aligned(rows, left=3))[:-1])


class _Recorder:
    """What `in_front` lets the passes of all layers go through."""

    def __init__(self, model, kind):
        self.paths = {layer: path for path, layer in model.walk()}
        self.kind, self.record = kind, Record()

    def around(self, call, layer, name):
        if layer.children():
            return call
        return self.forward(call, layer) if name == "forward" else self.backward(call, layer)

    def forward(self, call, layer):
        if self.kind is not Value:
            return call

        def recorded(x, training=False):
            y = call(x, training)
            fused = isinstance(layer, WeightedLayer)
            if fused and layer.function != "linear":
                a = layer.buffer(y.shape)
                layer.linear(x, a, "linear", 0.0)
                self.note(layer, "a", a)
            self.note(layer, "a" if fused and layer.function == "linear" else "h", y)
            return y

        return recorded

    def backward(self, call, layer):
        def recorded(dy, input_gradient=True):
            self.note(layer, "h", dy)
            if isinstance(layer, WeightedLayer):
                if layer.function == "linear":
                    self.record.pop()  # h is a
                self.note(layer, "a", layer.to_pre_activation(dy, layer.last_pass()[1]))
            dx = call(dy, input_gradient)
            for tensor, parameter in layer.own_parameters.items():
                self.note(layer, tensor, parameter.grad)
            return dx

        return recorded

    def note(self, layer, tensor, array):
        self.record.append(self.kind(self.paths.get(layer, "input"), tensor, np.array(array, order="C")))


def forward_record(model, x, training=False):
    """The forward pass with all its values, in the order in which they are computed.

    For each layer `a = W h + b` and `h = activation(a)` (the notes, S2.1 and S2.2), or one of the two where
    the layer has no activation of its own (`a`) or is one, or something else (`h`).

    Parameters
    ----------
    model : Model
    x : ndarray (N, *input_shape)
    training : bool

    Returns
    -------
    list of Value
        `(layer, tensor, value)`: path of the layer, `"a"` or `"h"`, a copy of the array. Printed, it is a
        table with shapes and lengths.

    Examples
    --------
    >>> import numpy as np, fastnn as nn
    >>> model = nn.Sequential([nn.Dense(3, activation="relu"), nn.Dense(2)], input_shape=(4,), seed=0)
    >>> for step in nn.forward_record(model, np.ones((5, 4), np.float32)):
    ...     print(step.layer, step.tensor, step.value.shape)
    dense1 a (5, 3)
    dense1 h (5, 3)
    dense2 a (5, 2)
    """
    recorder, fuse = _Recorder(model, Value), model.workspace.fuse
    model.workspace.fuse = False  # a sum inside another layer's pass would not be seen
    try:
        with in_front(model, recorder):
            model.forward(x, training)
    finally:
        model.workspace.fuse = fuse
    return recorder.record


def backward_record(model, dy):
    """The backward pass with all its gradients, in the order in which they are computed.

    From the output to the input, for each layer (the notes, S2.12; Rumelhart, Hinton & Williams 1986)::

        dL/dh    what the layer after it gave: W^T dL/da
        dL/da    dL/dh * activation'(a), of layers with an activation of their own
        dL/dW, dL/db    of the parameters, by their names

    and at last `dL/dx`. Where the activation is a layer of its own, or there is none, `h` or `a` is the only
    one of the two. `model.grad` then holds the gradients of this pass alone.

    Parameters
    ----------
    model : Model
        After `forward`.
    dy : ndarray (N, *output_shape)
        The loss's gradient with respect to the output, `loss.backward()`.

    Returns
    -------
    list of Gradient
        `(layer, tensor, gradient)`: path of the layer, `"h"`, `"a"`, the name of a parameter, or `"x"` of the
        input; a copy of the array. Printed, it is a table with shapes and lengths.

    Examples
    --------
    >>> import numpy as np, fastnn as nn
    >>> model = nn.Sequential([nn.Dense(3, activation="relu"), nn.Dense(2)], input_shape=(4,), seed=0)
    >>> loss = nn.SoftmaxCrossEntropy()
    >>> _ = loss.forward(model.forward(np.ones((5, 4), np.float32), training=True), np.zeros(5, int))
    >>> for step in nn.backward_record(model, loss.backward()):
    ...     print(step.layer, step.tensor, step.gradient.shape)
    dense2 a (5, 2)
    dense2 weight (2, 3)
    dense2 bias (2,)
    dense1 h (5, 3)
    dense1 a (5, 3)
    dense1 weight (3, 4)
    dense1 bias (3,)
    input x (5, 4)
    """
    recorder = _Recorder(model, Gradient)
    for _, layer in model.walk():
        if isinstance(layer, MaxPool2D):
            layer.separate()
    model.zero_grad()
    with in_front(model, recorder):
        dx = model.backward(dy)
    recorder.note(None, "x", dx)
    return recorder.record


def chain_rule_paths(model, x, dy, layer, unit, most=10_000):
    """Every path from one unit to the loss, whose products add up to its gradient.

    The loss depends on `h`, the output of a unit, through all units of the next layer, and through them on
    those after it: `dL/dh_j = sum_k dL/da_k W_kj`, again and again (the notes, S2.8). Written out, it is a
    sum over paths, one for each choice of a unit in every later layer: n_(l+1) n_(l+2) ... n_L of them. The
    product of a path is that of its weights, the derivatives of the activations it goes through, and the
    gradient of the output where it ends. Backpropagation adds the same up layer by layer, in the time of as
    many products as there are weights.

    Parameters
    ----------
    model : Sequential
        Of Dense layers, and activations between them.
    x : ndarray (n_inputs,)
        One sample.
    dy : ndarray (n_outputs,)
        The loss's gradient with respect to the output.
    layer : str or int
        Name or position of the layer that the unit belongs to; -1 for the input.
    unit : int
    most : int
        More paths than this are refused.

    Returns
    -------
    list of Path
        `units` begins with `unit`; `factors` are the weights and derivatives on the way, then the `dy`;
        `product` is theirs.

    Raises
    ------
    ShapeError, ValueError
        Another kind of layer, another sample, no such unit, or too many paths.

    Examples
    --------
    >>> import numpy as np, fastnn as nn
    >>> model = nn.Sequential([nn.Dense(3, activation="tanh"), nn.Dense(2)], input_shape=(4,), seed=0)
    >>> x, dy = np.ones(4, np.float32), np.array([1, -1], np.float32)
    >>> paths = nn.chain_rule_paths(model, x, dy, layer="dense1", unit=0)
    >>> [path.units for path in paths]
    [(0, 0), (0, 1)]
    """
    layers = list(model.layers)
    for each in layers:
        if not isinstance(each, (Dense, Activation)):
            raise ValueError(
                f"chain_rule_paths: model: expected Dense layers and activations. Received: {each.label()}"
            )
    start = layers.index(model[layer]) if isinstance(layer, str) else layer % (len(layers) + 1)
    start = -1 if start == len(layers) else start
    size = (model.input_shape if start < 0 else layers[start].output_shape)[0]
    for name, array, expected in (("x", x, model.input_shape), ("dy", dy, model.output_shape)):
        if np.shape(array) != expected:
            raise ShapeError(
                f"chain_rule_paths: {name}: expected shape {expected}, of one sample. "
                f"Received: {np.shape(array)}"
            )
    if not 0 <= unit < size:
        raise ValueError(
            f"chain_rule_paths: unit: expected a number from 0 to {size - 1}. Received: {unit!r}"
        )
    later = layers[start + 1 :]
    n_paths = math.prod(each.units for each in later if isinstance(each, Dense))
    if n_paths > most:
        raise ValueError(
            f"chain_rule_paths: most: expected at most {most} paths. Received: {n_paths:,}; "
            "give a later layer, or a larger number"
        )
    model.forward(x[None])
    slopes = [_slopes(each) for each in later]
    paths = []
    for choices in product(*(range(each.units) for each in later if isinstance(each, Dense))):
        units, factors, following = [int(unit)], [], iter(choices)
        for each, slope in zip(later, slopes):
            if isinstance(each, Dense):
                k = next(following)
                factors.append(float(each.weight.data[k, units[-1]]))
                units.append(k)
            if slope is not None:
                factors.append(float(slope[units[-1]]))
        paths.append(Path(tuple(units), (*factors, float(dy[units[-1]]))))
    return paths


def _slopes(layer):
    """The derivative of the layer's activation at each unit of the last forward pass; None if linear."""
    if layer.function == "linear":
        return None
    saved = layer.last_pass()[-1]
    slopes = np.ones_like(saved)
    kernels.activation_backward(np.ones_like(saved), saved, slopes, layer.function, layer.alpha)
    return slopes[0]
