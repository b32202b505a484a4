"""Dropout: a random part of the network at every training step."""

import numpy as np

from .. import kernels
from ..checks import choice
from .base import Layer

_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = 2**64 - 1


class RandomLayer(Layer):
    """A layer whose random numbers are a function of (seed, step, layer, element).

    So they are never stored: backward computes them again, and a resumed training draws those that the
    uninterrupted one would have drawn.
    """

    def key(self, period="step"):
        """A 64-bit key of (seed, step or epoch, layer), mixed so that neighbours share nothing."""
        key = self.workspace.seed & _MASK
        purpose = 1 if period == "step" else 2
        for number, factor in zip((getattr(self.workspace, period), self.index, purpose), _MIX):
            key = ((key ^ number) * factor) & _MASK
            key ^= key >> 31
        return key

    def mask(self, x, rate, scale, shift=0.0, fill=0.0, period="step", same_mask=False):
        """`scale x + shift` with probability `1 - rate`, else `fill`; `backward` finds the same elements."""
        if rate == 0 and scale == 1:
            self.saved = (None, None, None, False)
            return x
        y, key = self.buffer(x.shape), self.key(period)
        kernels.dropout_forward(x, y, rate, key, scale, shift, fill, same_mask)
        self.saved = (rate, key, scale, same_mask)
        return y

    def backward(self, dy, input_gradient=True):
        rate, key, scale, same_mask = self.last_pass()
        if key is None:
            return dy
        dx = self.buffer(dy.shape)
        kernels.dropout_backward(dy, dx, rate, key, scale, same_mask)
        return dx


def drop_rate(layer, rate, keep_prob):
    """The probability of zeroing, from `rate` or from `keep_prob`, one of which must be given."""
    if (rate is None) == (keep_prob is None):
        raise ValueError(
            f"{layer}: expected either rate or keep_prob. Received: rate={rate}, keep_prob={keep_prob}"
        )
    rate = float(rate) if keep_prob is None else 1.0 - float(keep_prob)
    if not 0 <= rate < 1:
        name = "rate" if keep_prob is None else "keep_prob, so rate"
        raise ValueError(f"{layer}: {name}: expected a number in [0, 1). Received: {rate}")
    return rate


class Dropout(RandomLayer):
    """Zero each input with probability `rate` while training: each step trains another part of the network.

    Formula, m = 1 with probability `keep_prob = 1 - rate`, else 0 (the notes, S6.8; [1])::

                                training                inference
        scaling="inverted"      y = m x / keep_prob     y = x
        scaling="test"          y = m x                 y = keep_prob x

    Both give the layers behind the mean that they see in inference; "test" is the form of the notes and of
    [1], "inverted" that of the frameworks. For a linear model, and for softmax regression with the
    normalised geometric mean, inference is the average over all masks exactly; for other networks it
    approximates it. Of the 2^n parts of a network few are trained more than once, if at all; weights of
    dropped units get no gradient, but momentum and weight decay move them all the same.

    Parameters
    ----------
    rate : float
        Probability of zeroing, in [0, 1).
    keep_prob : float, optional
        The notes' p, `1 - rate`; give one of the two.
    scaling : {"inverted", "test"}
    test_factor : {"keep_prob", "empirical"}
        "empirical" is the notes' other form: in inference each unit gets, in the place of `keep_prob`, the
        fraction of training samples for which it was active (so `y = fraction / keep_prob x` if inverted).
        The counts are buffers, `active` (*input_shape) and `seen` (1,), which are saved with the model;
        before any training the fraction is `keep_prob`.
    resample : {"sample", "batch", "epoch"}
        What gets a mask of its own: each sample; each step, for its whole batch; each epoch of
        `Trainer.fit`, for all its batches. In a loop of your own `model.workspace.epoch += 1` begins one.

    References
    ----------
    .. [1] Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dropout(keep_prob=0.75, scaling="test")], input_shape=(2,))
    >>> model.predict(np.ones((1, 2), np.float32))
    array([[0.75, 0.75]], dtype=float32)
    """

    kind = "dropout"

    def __init__(
        self, rate=None, keep_prob=None, scaling="inverted", test_factor="keep_prob", resample="sample",
        name=None,
    ):  # fmt: skip
        super().__init__(name)
        self.rate = drop_rate("Dropout", rate, keep_prob)
        self.keep_prob = None
        self.scaling = choice("Dropout", "scaling", scaling, ("inverted", "test"))
        self.test_factor = choice("Dropout", "test_factor", test_factor, ("keep_prob", "empirical"))
        self.resample = choice("Dropout", "resample", resample, ("sample", "batch", "epoch"))
        self.period = "epoch" if resample == "epoch" else "step"
        self.same_mask = resample != "sample"

    def create_parameters(self, input_shape):
        if self.test_factor == "empirical":
            self.add_buffer("active", np.zeros(input_shape))
            self.add_buffer("seen", np.zeros(1))

    def forward(self, x, training=False):
        keep_prob = 1 - self.rate
        scale = 1.0 if self.scaling == "test" else 1 / keep_prob
        if training:
            y = self.mask(x, self.rate, scale, period=self.period, same_mask=self.same_mask)
            if self.test_factor == "empirical":
                self.count(len(x))
            return y
        if self.test_factor == "empirical" and self.own_buffers["seen"][0]:
            fraction = self.own_buffers["active"] / self.own_buffers["seen"]
            factor = (fraction * self.dtype.type(scale)).ravel()
            self.saved = (factor,)
            return self.multiply(x, factor)
        return self.mask(x, 0.0, scale * keep_prob)

    def count(self, n):
        """Add the mask of this step, once for each of n samples."""
        rows = 1 if self.same_mask else n
        kept = self.buffer((rows, *self.input_shape))
        kept.fill(1)
        if self.rate:
            kernels.dropout_forward(kept, kept, self.rate, self.key(self.period), 1.0)
        self.own_buffers["active"] += kept.sum(axis=0) * self.dtype.type(n if self.same_mask else 1)
        self.own_buffers["seen"] += n

    def backward(self, dy, input_gradient=True):
        saved = self.last_pass()
        return self.multiply(dy, *saved) if len(saved) == 1 else super().backward(dy)

    def multiply(self, x, factor):
        """`factor x`, a factor for each unit: the kernel of BatchNorm with mean 0 and variance 1."""
        y, zero, one = self.buffer(x.shape), np.zeros_like(factor), np.ones_like(factor)
        rows = (len(x), factor.size)
        kernels.batchnorm_inference(x.reshape(rows), factor, zero, zero, one, y.reshape(rows), 0.0)
        return y
