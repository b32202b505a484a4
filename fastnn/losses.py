"""Losses: a number for how wrong the outputs are, and its gradient with respect to them."""

import numpy as np

from . import kernels
from .errors import ShapeError
from .workspace import Workspace

INT64 = np.dtype(np.int64)


class Loss:
    """Base of all losses. A subclass writes `check_target`, `prepare` and `compute`.

    Attributes
    ----------
    losses : ndarray (N,)
        Loss of each sample of the last `forward` or `evaluate`, before weights and means; the next one
        overwrites it.
    """

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
                f"target: expected dtype {output.dtype}, the model's. Received: {_describe(target)}; "
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
                f"Received: {_describe(sample_weight)}"
            )
        return weights

    def __repr__(self):
        return f"{type(self).__name__}()"


class SoftmaxCrossEntropy(Loss):
    """`L = -log y_t` of the softmax `y` of the logits, `t` the true class; the mean over the batch.

    With probabilities as target `L = -sum_j p_j log y_j`. The gradient to the logits is `y - p` (divided
    by N), which is why softmax and cross-entropy are one: nothing is lost where `y` underflows (the notes,
    S2.5 to S2.7; Bridle 1990). The model ends in logits, without `Softmax`.

    Targets are labels `(N,)` of any integer dtype, or probabilities `(N, K)` (one-hot rows, say) in the
    model's dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import SoftmaxCrossEntropy
    >>> loss = SoftmaxCrossEntropy()
    >>> round(loss.forward(np.zeros((2, 10)), np.array([3, 7])), 4)
    2.3026
    >>> loss.backward().shape
    (2, 10)
    """

    def check_model(self, model):
        last = _last_layer(model)
        if type(last).__name__ == "Softmax" or "softmax" in (
            getattr(last, "function", None), getattr(last, "activation", None),
        ):  # fmt: skip
            raise ValueError(
                f"loss: SoftmaxCrossEntropy expected a model that ends in logits. Received: one that ends in "
                f"{last.label()}, so softmax would be taken twice; remove it (the predicted class stays the "
                "same, and softmax of predict(x) gives probabilities)"
            )
        shape = model.output_shape
        if shape is not None and len(shape) != 1:
            raise ShapeError(
                f"loss: SoftmaxCrossEntropy expected a model with outputs (K,), one logit per class. "
                f"Received: output_shape={shape}; put Flatten() or GlobalAvgPool2D() and Dense(K) at the end"
            )

    def check_target(self, target, output_shape, n):
        target = _array(target)
        if len(output_shape) != 1:
            raise ShapeError(f"output: expected logits (N, K). Received: shape={(n, *output_shape)}")
        n_classes = output_shape[0]
        expected = f"target: expected integer labels ({n},) or probabilities ({n}, {n_classes})"
        if target.ndim == 1:
            if target.dtype.kind not in "iu":
                raise TypeError(
                    f"{expected}. Received: {_describe(target)}; convert labels with target.astype('int64')"
                )
            if len(target) != n:
                raise ShapeError(f"{expected}, as many as inputs. Received: {len(target)} labels")
            _check_labels(target, n_classes)
            return
        if target.shape != (n, n_classes):
            hint = ""
            if target.shape == (n, 1):
                hint = "; labels need no second axis: target[:, 0]"
            elif target.ndim == 2 and len(target) == n:
                hint = f"; the model has {n_classes} outputs, these rows have {target.shape[1]} classes"
            raise ShapeError(f"{expected}. Received: {_describe(target)}{hint}")
        if target.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"{expected} in the model's dtype. Received: {_describe(target)}; "
                "convert them with target.astype('float32')"
            )
        if not (target >= 0).all():
            row, column = np.argwhere(~(target >= 0))[0]
            raise ValueError(
                f"target: expected probabilities of at least 0. Received: {target[row, column]} "
                f"at position ({row}, {column})"
            )

    def prepare(self, target, output):
        if output.ndim != 2:
            return None
        if target.ndim == 1:
            dtype = target.dtype
            if target.shape[0] != output.shape[0] or dtype.kind not in "iu":
                return None
            if dtype is INT64 and target.flags.c_contiguous:
                return target
            labels = self.workspace.take(target.shape, INT64)
            labels[...] = target
            return labels
        if target.shape != output.shape or target.dtype != output.dtype:
            return None
        return target if target.flags.c_contiguous else np.ascontiguousarray(target)

    def compute(self, output, target, sample_weight, gradient, losses):
        return kernels.softmax_cross_entropy(output, target, sample_weight, gradient, losses)


class SquaredError(Loss):
    """The squared distance of output and target (the notes, S2.3).

    Parameters
    ----------
    reduction : {"mean_samples", "mean", "sum"}
        The notes' `1/N sum_n sum_k (y_nk - t_nk)^2`, the mean over all N K numbers (PyTorch, Keras), or the
        sum.
    half : bool
        Times 1/2, which makes the gradient of one sample `y - t`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import SquaredError
    >>> SquaredError().forward(np.zeros((2, 3)), np.ones((2, 3)))
    3.0
    """

    def __init__(self, reduction="mean_samples", half=False):
        super().__init__()
        if reduction not in ("mean_samples", "mean", "sum"):
            raise ValueError(
                f"SquaredError: reduction: expected 'mean_samples', 'mean' or 'sum'. Received: {reduction!r}"
            )
        self.reduction = reduction
        self.half = bool(half)

    def check_target(self, target, output_shape, n):
        target = _array(target)
        expected = (n, *output_shape)
        if target.shape != expected:
            hint = ""
            if target.shape + (1,) == expected:
                hint = "; add the axis: target[:, None] (it is never broadcast)"
            elif target.shape == expected + (1,):
                hint = "; drop the axis: target[..., 0] (it is never broadcast)"
            raise ShapeError(
                f"target: expected shape {expected}, the output's. Received: {_describe(target)}{hint}"
            )
        if target.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"target: expected the model's dtype, float32 or float64. Received: {_describe(target)}; "
                "convert it with target.astype('float32')"
            )

    def prepare(self, target, output):
        if target.shape != output.shape or target.dtype != output.dtype:
            return None
        return target if target.flags.c_contiguous else np.ascontiguousarray(target)

    def compute(self, output, target, sample_weight, gradient, losses):
        return kernels.squared_error(
            output, target, sample_weight, gradient, losses, self.reduction, self.half
        )

    def __repr__(self):
        return f"SquaredError(reduction={self.reduction!r}, half={self.half})"


def _array(target):
    if not isinstance(target, np.ndarray):
        raise TypeError(
            f"target: expected a NumPy array. Received: {type(target).__name__}; use numpy.asarray(target)"
        )
    return target


def _describe(array):
    return f"shape={np.shape(array)}, dtype={np.asarray(array).dtype}"


def _check_labels(target, n_classes):
    if len(target) == 0 or (target.min() >= 0 and target.max() < n_classes):
        return
    first = int(np.argmax((target < 0) | (target >= n_classes)))
    hint = "labels count from 0" if target[first] == n_classes else f"the model has {n_classes} outputs"
    raise ValueError(
        f"target: expected labels from 0 to {n_classes - 1}. Received: {target[first]} at position {first}; "
        f"{hint}"
    )


def _last_layer(layer):
    """The layer whose numbers the model returns: shapes may be changed after it."""
    while layer.children() and type(layer).__name__ == "Sequential":
        inner = [child for child in layer.children() if type(child).__name__ not in ("Flatten", "Reshape")]
        if not inner:
            break
        layer = inner[-1]
    return layer


__all__ = ["Loss", "SoftmaxCrossEntropy", "SquaredError"]
