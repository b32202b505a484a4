"""Losses of regression: the squared error, and Huber's, which outliers pull less."""

from .. import kernels
from ..checks import number
from .base import OutputWise

#: What the loss of a batch is divided by: samples, samples and outputs, nothing.
REDUCTIONS = ("mean_samples", "mean", "sum")


class SquaredError(OutputWise):
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

    arguments = ("reduction", "half")

    def __init__(self, reduction="mean_samples", half=False):
        super().__init__()
        self.reduction = self.chosen("reduction", reduction, REDUCTIONS)
        self.half = bool(half)

    def compute(self, output, target, sample_weight, gradient, losses):
        return kernels.squared_error(
            output, target, sample_weight, gradient, losses, self.reduction, self.half
        )


class Huber(OutputWise):
    """The squared error for small errors, the absolute one for large ones [1].

    Formula, with the error `e = y - t` of one output, summed over the outputs::

        L = e^2 / 2                       where |e| <= delta
        L = delta (|e| - delta / 2)       elsewhere

    The gradient is `e`, held between `-delta` and `delta`: a wrong target pulls no more than that.

    Departures from [1]: none. PyTorch's `HuberLoss` is `reduction="mean"`; its `SmoothL1Loss(beta=delta)`
    is that divided by `delta`.

    Parameters
    ----------
    delta : float
        The error at which the loss becomes linear, in the unit of the targets; positive.
    reduction : {"mean_samples", "mean", "sum"}
        As in `SquaredError`: the mean over samples of the sum over outputs, the mean over all outputs, or
        the sum.

    References
    ----------
    .. [1] Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import Huber
    >>> loss = Huber(delta=1.0)
    >>> loss.forward(np.array([[0.5], [3.0]]), np.zeros((2, 1)))  # (0.125 + 2.5) / 2
    1.3125
    >>> loss.backward().shape
    (2, 1)
    """

    arguments = ("delta", "reduction")

    def __init__(self, delta=1.0, reduction="mean_samples"):
        super().__init__()
        hint = ", an error in the unit of the targets"
        self.delta = number("Huber", "delta", delta, "(0, inf)", hint)
        self.reduction = self.chosen("reduction", reduction, REDUCTIONS)

    def compute(self, output, target, sample_weight, gradient, losses):
        return kernels.huber(output, target, sample_weight, gradient, losses, self.delta, self.reduction)
