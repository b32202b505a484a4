"""Dropout: a random part of the network at every training step."""

from .. import kernels
from .base import Layer

_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = 2**64 - 1


class RandomLayer(Layer):
    """A layer whose random numbers are a function of (seed, step, layer, element).

    So they are never stored: backward computes them again, and a resumed training draws those that the
    uninterrupted one would have drawn.
    """

    def key(self):
        """A 64-bit key of (seed, step, layer), mixed so that neighbours share nothing."""
        key = self.workspace.seed & _MASK
        for number, factor in zip((self.workspace.step, self.index, 1), _MIX):
            key = ((key ^ number) * factor) & _MASK
            key ^= key >> 31
        return key

    def mask(self, x, rate, scale, shift=0.0, fill=0.0):
        """`scale x + shift` with probability `1 - rate`, else `fill`; `backward` finds the same elements."""
        if rate == 0 and scale == 1:
            self.saved = (None, None, None)
            return x
        y, key = self.buffer(x.shape), self.key()
        kernels.dropout_forward(x, y, rate, key, scale, shift, fill)
        self.saved = (rate, key, scale)
        return y

    def backward(self, dy, input_gradient=True):
        rate, key, scale = self.last_pass()
        if key is None:
            return dy
        dx = self.buffer(dy.shape)
        kernels.dropout_backward(dy, dx, rate, key, scale)
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
    approximates it.

    Parameters
    ----------
    rate : float
        Probability of zeroing, in [0, 1).
    keep_prob : float, optional
        The notes' p, `1 - rate`; give one of the two.
    scaling : {"inverted", "test"}

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

    def __init__(self, rate=None, keep_prob=None, scaling="inverted", name=None):
        super().__init__(name)
        self.rate = drop_rate("Dropout", rate, keep_prob)
        self.keep_prob = None
        if scaling not in ("inverted", "test"):
            raise ValueError(f"Dropout: scaling: expected one of 'inverted', 'test'. Received: {scaling!r}")
        self.scaling = scaling

    def forward(self, x, training=False):
        keep_prob = 1 - self.rate
        if self.scaling == "test":
            return self.mask(x, self.rate, 1.0) if training else self.mask(x, 0.0, keep_prob)
        return self.mask(x, self.rate, 1 / keep_prob) if training else self.mask(x, 0.0, 1.0)
