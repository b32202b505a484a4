"""What every loss is: a number for a batch, its gradient, and checks of the targets and the model."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels
from ..checks import choice
from ..errors import ShapeError
from ..workspace import Workspace


class Loss:
    """Base of all losses. A subclass writes `check_target`, `prepare` and `compute`.

    Attributes
    ----------
    losses : ndarray (N,)
        Loss of each sample of the last `forward` or `evaluate`, with the weights of the classes, before those
        of the samples and the mean; the next one overwrites it.
    """

    #: Constructor arguments, for `repr`.
    arguments: tuple[str, ...] = ()

    #: `weight_of(target, sample_weight)` is what the loss of a batch was divided by, where that is neither
    #: the number of samples nor the sum of their weights. So the mean over batches is that of all samples.
    weight_of: Callable[..., float] | None = None

    def __init__(self):
        self.workspace = Workspace()
        self.gradient = None
        self.losses = None

    # To be written by a loss

    def check_target(self, target, output_shape, n):
        """Raise unless `target` fits `n` outputs `(n, *output_shape)`; looks at every value."""
        raise NotImplementedError(f"{type(self).__name__}.check_target is not written")

    def check_model(self, model):
        """Raise if the model's output is not what this loss takes."""

    def prepare(self, target, output):
        """`target` as the kernel takes it, or None if it is wrong."""
        raise NotImplementedError(f"{type(self).__name__}.prepare is not written")

    def compute(self, output, target, sample_weight, gradient, losses):
        """Fill `gradient (N, ...)`, unless it is None, and `losses (N,)`; return the loss."""
        raise NotImplementedError(f"{type(self).__name__}.compute is not written")

    # Passes

    def forward(self, output, target, sample_weight=None):
        """The loss of a batch; `backward` then has its gradient.

        Parameters
        ----------
        output : ndarray (N, ...)
            What the model's `forward` returned.
        target : ndarray
        sample_weight : ndarray (N,), optional
            The loss is the weighted mean, `sum(w_n l_n) / sum(w_n)`.

        Returns
        -------
        float
        """
        self.gradient = None  # lets go of the last one, whose memory is used again
        gradient = self.workspace.take(output.shape, output.dtype)
        loss = self._run(output, target, sample_weight, gradient)
        self.gradient = gradient
        return loss

    def evaluate(self, output, target, sample_weight=None):
        """The loss of a batch; what `backward` returns stays that of the last `forward`."""
        return self._run(output, target, sample_weight, None)

    def backward(self):
        """The gradient `(N, ...)` of the last `forward` with respect to the output."""
        if self.gradient is None:
            raise RuntimeError(
                f"{type(self).__name__}: backward was called before forward. Call forward(output, target) "
                "first (evaluate keeps no gradient)"
            )
        return self.gradient

    def _run(self, output, target, sample_weight, gradient):
        if not output.flags.c_contiguous:
            output = np.ascontiguousarray(output)
        prepared = self.prepare(target, output) if type(target) is np.ndarray else None
        if prepared is None or kernels.kernels_in_use() == "reference":  # the twins check nothing
            self.check_target(target, output.shape[1:], output.shape[0])
        if prepared is None:  # the one fault that check_target does not see
            raise TypeError(
                f"target: expected dtype {output.dtype}, the model's. Received: {described(target)}; "
                f"convert it with target.astype('{output.dtype}')"
            )
        if sample_weight is not None:
            sample_weight = self._weights(sample_weight, output)
        losses = self.losses
        if losses is None or losses.shape[0] != output.shape[0] or losses.dtype != output.dtype:
            losses = self.losses = np.empty(output.shape[0], output.dtype)
        try:
            return self.compute(output, prepared, sample_weight, gradient, losses)
        except (ValueError, IndexError):
            self.check_target(target, output.shape[1:], output.shape[0])  # says more about the target
            raise

    def _weights(self, sample_weight, output):
        weights = np.ascontiguousarray(sample_weight, output.dtype)
        if weights.shape != output.shape[:1] or not (weights >= 0).all():
            raise ValueError(
                f"sample_weight: expected {len(output)} numbers of at least 0, one for each sample. "
                f"Received: {described(sample_weight)}"
            )
        return weights

    # Arguments

    def chosen(self, name, value, choices):
        """`value`, which must be one of the strings `choices`."""
        return choice(type(self).__name__, name, value, choices)

    def __repr__(self):
        values = (f"{name}={getattr(self, name)!r}" for name in self.arguments)
        return f"{type(self).__name__}({', '.join(values)})"


class ClassWeighted(Loss):
    """Base of losses whose classes may weigh differently."""

    def set_class_weights(self, class_weights):
        """Keep weights as they were given: numbers, one for each class, or `{class: weight}`."""
        if isinstance(class_weights, dict) and not class_weights:
            class_weights = None
        if class_weights is not None:
            is_dict = isinstance(class_weights, dict)
            numbers = list(class_weights.values()) if is_dict else class_weights
            try:
                array = np.asarray(numbers, np.float64)
            except (TypeError, ValueError):
                array = np.full(1, np.nan)
            labels = class_weights if is_dict else ()
            wrong_label = any(not isinstance(c, (int, np.integer)) or c < 0 for c in labels)
            fit = array.ndim == 1 and array.size and (np.isfinite(array) & (array >= 0)).all()
            if wrong_label or not fit:
                raise ValueError(
                    f"{type(self).__name__}: class_weights: expected finite numbers of at least 0, one for "
                    f"each class, or a dict {{class: weight}}. Received: {class_weights!r}"
                )
            pairs = zip(class_weights, array.tolist()) if is_dict else ()
            class_weights = {int(c): w for c, w in pairs} if is_dict else tuple(array.tolist())
        self.class_weights = class_weights
        self._class_weight: Any = None

    def class_weight(self, n_classes, dtype, labels=None):
        """The weights as an array `(n_classes,)`, or None; classes that a dict leaves out weigh 1.

        `labels` are the classes' names where they are not 0, 1, ...
        """
        given = self.class_weights
        if given is None:
            return None
        array = self._class_weight
        if array is not None and len(array) == n_classes and array.dtype == dtype:
            return array
        if isinstance(given, dict):
            array, largest = np.ones(n_classes, dtype), max(given, default=-1)
            if largest >= n_classes:
                raise ValueError(
                    f"{type(self).__name__}: class_weights: expected classes from 0 to {n_classes - 1}. "
                    f"Received: a weight for class {largest}; take it out"
                )
            array[list(given)] = list(given.values())
        elif len(given) != n_classes:
            names = "" if labels is None else f", of the classes {labels}"
            raise ShapeError(
                f"{type(self).__name__}: class_weights: expected {n_classes} numbers, one for each "
                f"class{names}. Received: {len(given)}; give {n_classes}, or a dict {{class: weight}} for "
                "some of them"
            )
        else:
            array = np.array(given, dtype)
        if not array.any():
            raise ValueError(
                f"{type(self).__name__}: class_weights: expected a class that counts. Received: only zeros"
            )
        self._class_weight = array
        return array


class OutputWise(Loss):
    """Base of losses that compare each output with a target of its own: targets have the output's shape."""

    def check_values(self, target):
        """Raise unless every target is one that the loss takes."""

    def check_target(self, target, output_shape, n):
        target = as_array(target)
        expected = (n, *output_shape)
        if target.shape != expected:
            hint = ""
            if target.shape + (1,) == expected:
                hint = "; add the axis: target[:, None] (it is never broadcast)"
            elif target.shape == expected + (1,):
                hint = "; drop the axis: target[..., 0] (it is never broadcast)"
            raise ShapeError(
                f"target: expected shape {expected}, the output's. Received: {described(target)}{hint}"
            )
        if target.dtype.kind in "fiu":
            self.check_values(target)
        if target.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"target: expected the model's dtype, float32 or float64. Received: {described(target)}; "
                "convert it with target.astype('float32')"
            )

    def prepare(self, target, output):
        return as_output(target, output)


def as_output(target, output):
    """`target`, contiguous, if shape and dtype are those of `output`; else None."""
    if target.shape != output.shape or target.dtype != output.dtype:
        return None
    return target if target.flags.c_contiguous else np.ascontiguousarray(target)


def as_array(target):
    """`target`, which must be an array."""
    if not isinstance(target, np.ndarray):
        raise TypeError(
            f"target: expected a NumPy array. Received: {type(target).__name__}; use numpy.asarray(target)"
        )
    return target


def described(array):
    """Shape and dtype, for messages."""
    return f"shape={np.shape(array)}, dtype={np.asarray(array).dtype}"


def check_probabilities(target, expected):
    """Raise unless these are numbers of at least 0 of a model's dtype; `expected` begins the message."""
    if target.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{expected} in the model's dtype. Received: {described(target)}; "
            "convert them with target.astype('float32')"
        )
    check_wanted(target, target >= 0, "probabilities of at least 0")


def check_wanted(target, wanted, expected, hint=""):
    """Raise, with the first place, unless `wanted`, an array of booleans, is true everywhere."""
    if not wanted.all():
        place = tuple(int(i) for i in np.unravel_index(np.argmin(wanted), wanted.shape))
        where = place[0] if len(place) == 1 else place
        raise ValueError(f"target: expected {expected}. Received: {target[place]} at position {where}{hint}")


def check_ending(loss, model, function, why):
    """Raise if the model ends in `function`, "softmax" or "sigmoid", or in its logarithm; `why` says why."""
    last = last_layer(model)
    kind = type(last).__name__.lower().removeprefix("log")
    names = (kind, getattr(last, "function", None), getattr(last, "activation", None))
    if function in names:
        raise ValueError(
            f"loss: {type(loss).__name__} expected a model that ends in logits. Received: one that ends in "
            f"{last.label()}, {why}"
        )


def last_layer(layer):
    """The layer whose numbers the model returns: shapes may be changed after it."""
    while layer.children() and type(layer).__name__ == "Sequential":
        inner = [child for child in layer.children() if type(child).__name__ not in ("Flatten", "Reshape")]
        if not inner:
            break
        layer = inner[-1]
    return layer
