"""Dropout: a random part of the network at every training step."""

from .. import kernels
from .base import Layer

_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = 2**64 - 1


class Dropout(Layer):
    """Zero each input with probability `rate`, scale the others by `1 / (1 - rate)`; nothing in inference.

    The mask is a function of (seed, step, layer, element), so it is never stored: backward computes it
    again, and a resumed training draws the masks that the uninterrupted one would have drawn
    (the notes, S6.8; Srivastava et al. 2014, with inverted scaling).

    Parameters
    ----------
    rate : float
        Probability of zeroing, in [0, 1).
    keep_prob : float, optional
        The notes' p, `1 - rate`; give one of the two.
    """

    kind = "dropout"

    def __init__(self, rate=None, keep_prob=None, name=None):
        super().__init__(name)
        if (rate is None) == (keep_prob is None):
            raise ValueError(
                f"Dropout: expected either rate or keep_prob. Received: rate={rate}, keep_prob={keep_prob}"
            )
        self.rate = float(rate) if keep_prob is None else 1.0 - float(keep_prob)
        self.keep_prob = None
        if not 0 <= self.rate < 1:
            raise ValueError(f"Dropout: rate: expected a number in [0, 1). Received: {self.rate}")

    def _key(self):
        """A 64-bit key of (seed, step, layer), mixed so that neighbours share nothing."""
        key = self.workspace.seed & _MASK
        for number, factor in zip((self.workspace.step, self.index, 1), _MIX):
            key = ((key ^ number) * factor) & _MASK
            key ^= key >> 31
        return key

    def forward(self, x, training=False):
        if not training or self.rate == 0:
            self.saved = (None,)
            return x
        y, key = self.buffer(x.shape), self._key()
        kernels.dropout_forward(x, y, self.rate, key)
        self.saved = (key,)
        return y

    def backward(self, dy, input_gradient=True):
        (key,) = self.last_pass()
        if key is None:
            return dy
        dx = self.buffer(dy.shape)
        kernels.dropout_backward(dy, dx, self.rate, key)
        return dx
