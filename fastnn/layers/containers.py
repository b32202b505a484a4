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
        # Layers before the first with parameters need no gradient to their input.
        with_parameters = [i for i, layer in enumerate(self.layers) if _has_parameters(layer)]
        self._stop = with_parameters[0] if with_parameters else 0
        return shape

    def pass_forward(self, x, training):
        keep = self.workspace.keep
        for layer in self.layers:
            x = layer.forward(x, training)
            if not keep:
                layer.saved = None
        return x

    def pass_backward(self, dy, input_gradient):
        if input_gradient:
            for layer in reversed(self.layers):
                dy = layer.backward(dy)
            return dy
        for i in range(len(self.layers) - 1, self._stop - 1, -1):
            dy = self.layers[i].backward(dy, i > self._stop)
        return None


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

    def pass_forward(self, x, training):
        keep = self.workspace.keep
        a = self.body.forward(x, training)
        other = x if self.shortcut is None else self.shortcut.forward(x, training)
        y = self.buffer(a.shape)
        if self.function in kernels.SAVES_INPUT and keep:
            pre = self.buffer(a.shape)
            kernels.add_forward(a, other, pre)
            kernels.activation_forward(pre, y, self.function, self.alpha)
            self.saved = (pre,)
        else:
            kernels.add_forward(a, other, y, self.function, self.alpha)
            self.saved = (y,)
        if not keep:
            for layer in self.layers:
                layer.saved = None
        return y

    def pass_backward(self, dy, input_gradient):
        (h,) = self.last_pass()
        da = dy
        if self.function != "linear":
            da = self.buffer(dy.shape)
            kernels.activation_backward(dy, h, da, self.function, self.alpha)
        dx = self.body.backward(da, input_gradient)
        if self.shortcut is not None:
            da = self.shortcut.backward(da, input_gradient)
        if not input_gradient:
            return None
        total = self.buffer(dx.shape)
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
        self.saved = (x.shape,)
        return y

    def pass_backward(self, dy, input_gradient):
        (shape,) = self.last_pass()
        total, start = None, 0
        for branch, end in zip(self.branches, self._ends):
            part = self.buffer((*dy.shape[:-1], end - start))
            kernels.concat_backward(dy, part, start)
            dx = branch.backward(part, input_gradient)
            start = end
            if not input_gradient:
                continue
            if total is None:
                total = self.buffer(shape)
                total[...] = dx
            else:
                kernels.add_forward(total, dx, total)
        return total


def _as_layer(layers, what):
    if isinstance(layers, Layer):
        return layers
    if isinstance(layers, (list, tuple)):
        return Sequential(layers)
    raise TypeError(f"{what}: expected a layer or a list of layers. Received: {layers!r}")


def _has_parameters(layer):
    return any(inner.own_parameters for _, inner in layer.walk())
