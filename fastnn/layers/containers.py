"""Layers made of layers: in a row, with a shortcut, side by side."""

import numpy as np

from .. import kernels
from ..errors import ShapeError
from .base import Layer, resolve_activation
from .model import Model


class Sequential(Model):
    """One layer after the other.

    Parameters
    ----------
    layers : list of Layer
    input_shape : tuple of int, optional
        Shape of one sample, `(28, 28, 1)`; without it the model is built by its first `forward`.
    seed : int, optional
        Of the first weights and of dropout; random if not given.
    dtype : {"float32", "float64"}

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Flatten(), nn.Dense(10)], input_shape=(28, 28, 1), seed=0)
    >>> model.n_parameters
    7850
    """

    kind = "sequential"

    def shape_rule(self, input_shape):
        shape = tuple(input_shape)
        rows = []
        for i, layer in enumerate(self.layers):
            try:
                layer.own_parameters, layer.own_buffers = {}, {}
                layer.build(shape)
            except ShapeError as error:
                rows.append(f"  --> {i + 1:2d} {layer.label():28s} does not fit {shape}")
                table = "\n".join([f"         {'input':28s} {tuple(input_shape)}", *rows])
                raise ShapeError(f"{error}\n{table}") from None
            shape = layer.output_shape
            rows.append(f"      {i + 1:2d} {layer.label():28s} {shape}")
        # The first layer that learns and those before it need no gradient to their input.
        learning = [i for i, layer in enumerate(self.layers) if _learns(layer)]
        self._stop = learning[0] if learning else len(self.layers)
        self._below = [inner for layer in self.layers[: self._stop] for _, inner in layer.walk()]
        if self.plain:
            for before, layer in zip(self.layers, self.layers[1:]):
                layer.follow(before)
        return shape

    @property
    def plain(self):
        """Whether its layers run one after the other: a subclass may do something else."""
        return type(self).pass_forward is Sequential.pass_forward

    def pass_forward(self, x, training):
        keep = self.workspace.keep
        for layer in self.layers:
            x = layer.forward(x, training)
            if not keep:
                layer.saved = None
        return x

    def can_add(self, function):
        return self.plain and bool(self.layers) and self.layers[-1].can_add(function)

    def forward_add(self, x, other, function, alpha, training):
        *inner, last = self.layers
        for layer in inner:
            x = layer.forward(x, training)
            if not self.workspace.keep:
                layer.saved = None
        y = last.forward_add(x, other, function, alpha, training)
        if not self.workspace.keep:
            last.saved = None
        return y

    def pass_backward(self, dy, input_gradient):
        stop = 0 if input_gradient else self._stop
        for i in range(len(self.layers) - 1, stop - 1, -1):
            dy = self.layers[i].backward(dy, input_gradient or i > stop)
            if self.workspace.once:
                self.layers[i].saved = None
        if not input_gradient and self.workspace.once:
            for layer in self._below:
                layer.saved = None
        return dy if input_gradient else None


class Residual(Model):
    """`y = activation(body(x) + shortcut(x))`; without a shortcut the input itself is added.

    The copy is added, not concatenated: the gradient reaches the input unhindered,
    `dx = da (I + d body / dx)` (the notes, S8.14; He et al. 2016).

    Parameters
    ----------
    body : Layer or list of Layer
    shortcut : Layer or list of Layer, optional
        Where shapes change: usually a 1x1 convolution and BatchNorm.
    activation : str or Layer, optional
        After the sum.
    """

    kind = "residual"

    def __init__(self, body, shortcut=None, activation=None, name=None, **model_options):
        self.body = _as_layer(body, "body")
        self.shortcut = None if shortcut is None else _as_layer(shortcut, "shortcut")
        self.activation = activation
        self.function, self.alpha = resolve_activation(activation)
        self.body.name = self.body.name or "body"
        if self.shortcut is not None:
            self.shortcut.name = self.shortcut.name or "shortcut"
        super().__init__(
            [self.body] if self.shortcut is None else [self.body, self.shortcut], name=name, **model_options
        )

    def shape_rule(self, input_shape):
        for layer in self.layers:
            layer.own_parameters, layer.own_buffers = {}, {}
            layer.build(input_shape)
        other = self.shortcut.output_shape if self.shortcut else tuple(input_shape)
        if self.body.output_shape != other:
            edit = (
                "make both end in the same shape"
                if self.shortcut
                else "give a shortcut that ends in the body's shape, e.g. Conv2D(filters, 1, stride=...)"
            )
            raise ShapeError(
                f"{self.label()}: expected body and shortcut to end in the same shape. "
                f"Received: body {self.body.output_shape}, shortcut {other}; {edit}"
            )
        return other

    @property
    def fused(self):
        """Whether the body's last layer adds the shortcut in its own pass over memory."""
        return self.workspace.fuse and self.body.can_add(self.function)

    def pass_forward(self, x, training):
        if self.fused:
            other = self.shortcut_of(x, training)
            y = h = self.body.forward_add(x, other, self.function, self.alpha, training)
        else:
            a, other = self.body.forward(x, training), self.shortcut_of(x, training)
            y = h = self.buffer(a.shape)
            if self.function in kernels.SAVES_INPUT and self.workspace.keep:
                h = self.buffer(a.shape)
                kernels.add_forward(a, other, h)
                kernels.activation_forward(h, y, self.function, self.alpha)
            else:
                kernels.add_forward(a, other, y, self.function, self.alpha)
        self.saved = (h,)
        if not self.workspace.keep:
            for layer in self.layers:
                layer.saved = None
        return y

    def shortcut_of(self, x, training):
        return x if self.shortcut is None else self.shortcut.forward(x, training)

    def pass_backward(self, dy, input_gradient):
        (h,) = self.last_pass()
        da = dy
        if self.function != "linear":
            da = self.buffer(dy.shape)
            kernels.activation_backward(dy, h, da, self.function, self.alpha)
        dx = self.body.backward(da, input_gradient)
        if self.shortcut is not None:
            da = self.shortcut.backward(da, input_gradient)
        if self.workspace.once:
            for layer in self.layers:
                layer.saved = None
        if not input_gradient:
            return None
        # The body's gradient is a buffer of its own, unless the body did nothing.
        total = self.buffer(dx.shape) if np.may_share_memory(dx, da) else dx
        kernels.add_forward(dx, da, total)
        return total


class Concat(Model):
    """Branches side by side, their outputs joined along the last axis (channels or features).

    The inception module is a Concat of four branches (the notes, S8.12; Szegedy et al. 2015).

    Parameters
    ----------
    branches : list of Layer or list of list of Layer
    """

    kind = "concat"

    def __init__(self, branches, name=None, **model_options):
        self.branches = [_as_layer(branch, "branch") for branch in branches]
        if not self.branches:
            raise ValueError("Concat: branches: expected at least one. Received: []")
        super().__init__(self.branches, name=name, **model_options)

    def shape_rule(self, input_shape):
        for branch in self.branches:
            branch.own_parameters, branch.own_buffers = {}, {}
            branch.build(input_shape)
        shapes = [branch.output_shape for branch in self.branches]
        if any(shape[:-1] != shapes[0][:-1] for shape in shapes):
            raise ShapeError(
                f"{self.label()}: expected branches that differ only in the last axis. Received: {shapes}; "
                "padding='same' keeps the size of an image"
            )
        self._ends = np.cumsum([shape[-1] for shape in shapes]).tolist()
        return (*shapes[0][:-1], self._ends[-1])

    def pass_forward(self, x, training):
        y = self.buffer((x.shape[0], *self.output_shape))
        start = 0
        for branch, end in zip(self.branches, self._ends):
            kernels.concat_forward(branch.forward(x, training), y, start)
            if not self.workspace.keep:
                branch.saved = None
            start = end
        self.saved = ()
        return y

    def pass_backward(self, dy, input_gradient):
        self.last_pass()
        total, start = None, 0
        for branch, end in zip(self.branches, self._ends):
            part = self.buffer((*dy.shape[:-1], end - start))
            kernels.concat_backward(dy, part, start)
            dx = branch.backward(part, input_gradient)
            if self.workspace.once:
                branch.saved = None
            start = end
            if not input_gradient:
                continue
            if total is None:
                total = dx
            else:
                kernels.add_forward(total, dx, total)
        return total


def _as_layer(layers, what):
    if isinstance(layers, Layer):
        return layers
    if isinstance(layers, (list, tuple)):
        return Sequential(layers)
    raise TypeError(f"{what}: expected a layer or a list of layers. Received: {layers!r}")


def _learns(layer):
    return any(inner.trained() for _, inner in layer.walk())
