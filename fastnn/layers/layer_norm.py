"""Layer normalization."""

from .. import kernels
from .normalization import Normalization


class LayerNorm(Normalization):
    """Give the last axis of every sample mean 0 and variance 1, then scale and shift it [1].

    `x_hat = (x - mean) / sqrt(var + eps)`, `y = gamma x_hat + beta`, with the mean and the biased variance
    (`1/C`) of the C numbers of each row: of a sample, or of each pixel of an image. Unlike BatchNorm it is
    the same in training and inference, and one sample does not feel the others.
    Backward, with `g = dy gamma`: `dx = (g - mean(g) - x_hat mean(g x_hat)) / sqrt(var + eps)`,
    `dgamma = sum dy x_hat`, `dbeta = sum dy` over the rows.

    Parameters
    ----------
    eps : float

    References
    ----------
    .. [1] Ba, Kiros & Hinton, Layer normalization, 2016.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.LayerNorm()], input_shape=(4,))
    >>> model.predict(np.array([[0, 0, 2, 2]], np.float32))
    array([[-1., -1.,  1.,  1.]], dtype=float32)
    """

    kind = "layernorm"

    def __init__(self, eps=1e-5, name=None):
        super().__init__(name)
        if not eps > 0:
            raise ValueError(f"LayerNorm: eps: expected a positive number. Received: {eps!r}")
        self.eps = eps

    def forward(self, x, training=False):
        y, rows = self.buffer(x.shape), (x.size // x.shape[-1],)
        mean, inv_std = self.buffer(rows), self.buffer(rows)
        kernels.layernorm_forward(x, self.gamma.data, self.beta.data, y, mean, inv_std, self.eps)
        self.saved = x, mean, inv_std
        return y

    def backward(self, dy, input_gradient=True):
        x, mean, inv_std = self.last_pass()
        gamma, beta, accumulate = self.gamma, self.beta, False
        dx = self.buffer(x.shape) if input_gradient else None
        if self.trainable:
            accumulate = gamma.accumulate()
            beta.accumulate()
            dgamma, dbeta = gamma.grad, beta.grad
        else:
            dgamma = dbeta = self.buffer(gamma.shape)  # which nobody reads
        kernels.layernorm_backward(dy, x, gamma.data, mean, inv_std, dx, dgamma, dbeta, accumulate)
        return dx
