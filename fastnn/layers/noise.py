"""Noise as layers: at the inputs, at hidden units, and as an activation that is drawn."""

from .. import kernels
from ..checks import choice, number
from .dropout import RandomLayer, drop_rate

#: phi of StochasticGate -> the activation x phi(x).
EXPECTATION = {"gaussian_cdf": "gelu", "logistic": "silu"}


class GaussianNoise(RandomLayer):
    """Add normal noise while training; nothing in inference (the notes, S6.3).

    `y = x + std z`, z normal with mean 0 and variance 1, drawn anew for every element and step;
    `dx = dy`. Noise at the inputs of a linear model with squared error adds, in expectation,
    `std^2 sum w^2` to the loss, so it is L2 regularisation; for other networks this holds to first order [1].

    Parameters
    ----------
    std : float
        Standard deviation of the noise, in units of x.

    References
    ----------
    .. [1] Bishop, Training with noise is equivalent to Tikhonov regularization, Neural Computation 1995.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.GaussianNoise(0.1)], input_shape=(3,), seed=0)
    >>> x = np.ones((1, 3), np.float32)
    >>> bool((model.predict(x) == x).all()), bool((model.forward(x, training=True) == x).any())
    (True, False)
    """

    kind = "gaussiannoise"

    def __init__(self, std, name=None):
        super().__init__(name)
        self.std = number("GaussianNoise", "std", std)

    def forward(self, x, training=False):
        self.saved = ()
        if not training or self.std == 0:
            return x
        y = self.buffer(x.shape)
        kernels.gaussian_noise_forward(x, y, self.std, self.key())
        return y

    def backward(self, dy, input_gradient=True):
        self.last_pass()
        return dy


class MaskingNoise(RandomLayer):
    """Zero inputs at random while training, without any scaling; nothing in inference (the notes, S6.3).

    `y = m x`, m = 1 with probability `keep_prob`, else 0; `dx = m dy`. The corruption of denoising
    autoencoders [1]. Unlike Dropout it does not keep the mean: the inputs are to be missing, not scaled.

    Parameters
    ----------
    keep_prob : float
        Probability that an input stays, in (0, 1].

    References
    ----------
    .. [1] Vincent et al., Extracting and composing robust features with denoising autoencoders, ICML 2008.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.MaskingNoise(keep_prob=0.5)], input_shape=(1000,), seed=0)
    >>> np.unique(model.forward(np.ones((1, 1000), np.float32), training=True))
    array([0., 1.], dtype=float32)
    """

    kind = "maskingnoise"

    def __init__(self, keep_prob, name=None):
        super().__init__(name)
        drop_rate("MaskingNoise", None, keep_prob)
        self.keep_prob = float(keep_prob)

    def forward(self, x, training=False):
        return self.mask(x, 1 - self.keep_prob if training else 0.0, 1.0)


class AlphaDropout(RandomLayer):
    """Dropout for SELU networks: what is dropped gets SELU's lowest value, and mean 0 and variance 1 stay.

    Formula, with `alpha' = -1.7581`, the limit of SELU at minus infinity, and `q = keep_prob` (the notes,
    S7.10; [1])::

        y = a (m x + (1 - m) alpha') + b      m = 1 with probability q, else 0
        a = (q + alpha'^2 q (1 - q))^(-1/2)   b = -a (1 - q) alpha'

    Inference: `y = x`. The variance is 1 only for inputs with mean 0 and variance 1, which a SELU network
    has with `lecun_normal` weights and standardised data.

    Parameters
    ----------
    rate : float
        Probability of dropping, in [0, 1).
    keep_prob : float, optional
        `1 - rate`; give one of the two.

    References
    ----------
    .. [1] Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.AlphaDropout(keep_prob=0.9)], input_shape=(8,)).output_shape
    (8,)
    """

    kind = "alphadropout"
    #: -lambda alpha of SELU.
    LOWEST = -1.0507009873554805 * 1.6732632423543772

    def __init__(self, rate=None, keep_prob=None, name=None):
        super().__init__(name)
        self.rate = drop_rate("AlphaDropout", rate, keep_prob)
        self.keep_prob = None

    def forward(self, x, training=False):
        if not training:
            return self.mask(x, 0.0, 1.0)
        q, lowest = 1 - self.rate, self.LOWEST
        a = (q + lowest**2 * q * self.rate) ** -0.5
        b = -a * self.rate * lowest
        return self.mask(x, self.rate, a, b, a * lowest + b)


class StochasticGate(RandomLayer):
    """Dropout as a random activation, whose expectation is an activation function (the notes, S7.8).

    Training: `y = m x`, m = 1 with probability `phi(x)`, else 0, and `dx = m dy`: the gates count as
    constants. Inference: the expectation `y = x phi(x)` [1].

    =================  =================================  =================================
    phi                phi(x)                             expectation
    =================  =================================  =================================
    "constant"         `keep_prob`                        `Dropout(scaling="test")`
    "gaussian_cdf"     the normal distribution function   `GELU()`
    "logistic"         `1 / (1 + exp(-x))`                `SiLU()`
    =================  =================================  =================================

    Parameters
    ----------
    phi : {"constant", "gaussian_cdf", "logistic"}
    keep_prob : float
        The constant; the other two do not use it.

    References
    ----------
    .. [1] Hendrycks & Gimpel, Gaussian error linear units, 2016.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.StochasticGate("logistic")], input_shape=(1000,), seed=0)
    >>> x = np.full((1, 1000), 2, np.float32)
    >>> np.unique(model.forward(x, training=True)), model.predict(x)[0, :1]
    (array([0., 2.], dtype=float32), array([1.7616], dtype=float32))
    """

    kind = "gate"

    def __init__(self, phi="constant", keep_prob=0.8, name=None):
        super().__init__(name)
        self.phi = choice("StochasticGate", "phi", phi, ("constant", *EXPECTATION))
        drop_rate("StochasticGate", None, keep_prob)
        self.keep_prob = float(keep_prob)

    def forward(self, x, training=False):
        if self.phi == "constant":
            return self.mask(x, 1 - self.keep_prob, 1.0) if training else self.mask(x, 0.0, self.keep_prob)
        y, key = self.buffer(x.shape), None
        if training:
            key = self.key()
            kernels.stochastic_gate_forward(x, y, self.phi, key)
        else:
            kernels.activation_forward(x, y, EXPECTATION[self.phi])
        self.saved = (x, key)
        return y

    def backward(self, dy, input_gradient=True):
        if self.phi == "constant":
            return super().backward(dy, input_gradient)
        x, key = self.last_pass()
        dx = self.buffer(dy.shape)
        if key is None:
            kernels.activation_backward(dy, x, dx, EXPECTATION[self.phi])
        else:
            kernels.stochastic_gate_backward(dy, x, dx, self.phi, key)
        return dx
