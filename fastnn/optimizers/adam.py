"""Adam and its family: a step size of its own for every parameter, and a moving average of the gradient."""

from .. import kernels
from .base import Optimizer


class Adam(Optimizer):
    """Adaptive moments: the moving average of the gradient over the root of that of its square.

    Formula, for update t = 1, 2, ... (the notes, S3.8)::

        m <- beta1 m + (1 - beta1) g          m^ = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2        v^ = v / (1 - beta2^t)
        w <- w - lr m^ / (sqrt(v^) + eps)

    The first step is about `lr` long in every coordinate, however large the gradient is. Without the
    correction of the bias (`bias_correction=False`) the first steps are up to 6.6 times longer.

    Departures from [1]. Options only: `eps_mode="inside"` is the notes' `sqrt(v^ + eps)`; `weight_decay`
    adds `weight_decay w` to `g`, or with `decoupled=True` (AdamW, [2]) takes `lr weight_decay w` from `w`,
    untouched by `sqrt(v^)`. Either applies to weights, not to biases and normalisation. `amsgrad=True` [3]
    puts the largest `v` so far in the place of `v`; see `AMSGrad`.

    Parameters
    ----------
    lr : float or callable
        Learning rate, or a schedule `step -> lr`.
    betas : (float, float)
        Both in [0, 1).
    eps : float
    weight_decay : float
    decoupled : bool
    eps_mode : {"outside", "inside"}
    bias_correction : bool
    amsgrad : bool
    **common
        `clip_value`, `clip_norm`, `clip_global_norm`, `accumulate_steps`, `groups`, as in `Optimizer`.

    References
    ----------
    .. [1] Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015.
    .. [2] Loshchilov & Hutter, Decoupled weight decay regularization, ICLR 2019.
    .. [3] Reddi, Kale & Kumar, On the convergence of Adam and beyond, ICLR 2018.

    Examples
    --------
    >>> from fastnn.optimizers import Adam
    >>> Adam(decoupled=True, weight_decay=1e-2).betas
    (0.9, 0.999)
    """

    arguments: tuple[str, ...] = (
        "lr", "betas", "eps", "weight_decay", "decoupled", "eps_mode", "bias_correction", "amsgrad",
    )  # fmt: skip

    def __init__(
        self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False, eps_mode="outside",
        bias_correction=True, amsgrad=False, **common,
    ):  # fmt: skip
        super().__init__(lr, weight_decay, **common)
        self._set_betas(betas)
        self._set_eps(eps, eps_mode)
        self.decoupled = bool(decoupled)
        self.bias_correction = bool(bias_correction)
        self.amsgrad = bool(amsgrad)
        self.state_names = ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    def update(self, lr, weight_decay, theta, grad, m, v, v_max=None):
        beta1, beta2 = self.betas
        kernels.adam_step(
            theta, grad, m, v, self.n_steps + 1, lr, beta1, beta2, self.eps, weight_decay, self.decoupled,
            self.eps_mode, self.bias_correction, v_max, self.scale, self.clip,
        )  # fmt: skip


class AdamW(Adam):
    """`Adam` with decoupled weight decay, 0.01 unless told otherwise.

    Formula (the notes, S4.4; m^ and v^ as in `Adam`)::

        w <- (1 - lr weight_decay) w - lr m^ / (sqrt(v^) + eps)

    Without a gradient `w` is `(1 - lr weight_decay)^t w_0`. For plain gradient descent this is the same as
    adding `weight_decay w` to the gradient; Adam would divide that by `sqrt(v^)` too.

    Departures from [1]: the paper multiplies both steps by a schedule and the decay not by `lr`; here, as in
    PyTorch, the decay is `lr weight_decay`.

    Parameters
    ----------
    lr, betas, eps, weight_decay, eps_mode, bias_correction, amsgrad, **common
        As in `Adam`.

    References
    ----------
    .. [1] Loshchilov & Hutter, Decoupled weight decay regularization, ICLR 2019.

    Examples
    --------
    >>> from fastnn.optimizers import AdamW
    >>> AdamW().weight_decay
    0.01
    """

    arguments = ("lr", "betas", "eps", "weight_decay", "eps_mode", "bias_correction", "amsgrad")

    def __init__(
        self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, eps_mode="outside",
        bias_correction=True, amsgrad=False, **common,
    ):  # fmt: skip
        super().__init__(lr, betas, eps, weight_decay, True, eps_mode, bias_correction, amsgrad, **common)


class AMSGrad(Adam):
    """`Adam` that never raises a parameter's rate again: the largest `v` so far stands in the root.

    Formula (the notes, S4.3; m and v as in `Adam`)::

        v_max <- max(v_max, v)          w <- w - lr m^ / (sqrt(v_max^) + eps)

    [1] shows a convex problem on which Adam walks to the worst point, because the rare gradient that matters
    has left `v` when the next one comes; AMSGrad walks to the best.

    Departures from [1]. The paper corrects no bias: `bias_correction=False`. Here, as in PyTorch and Keras,
    `m` and the maximum of the uncorrected `v` are corrected, and `eps` guards the division.

    Parameters
    ----------
    lr, betas, eps, weight_decay, decoupled, eps_mode, bias_correction, **common
        As in `Adam`.

    References
    ----------
    .. [1] Reddi, Kale & Kumar, On the convergence of Adam and beyond, ICLR 2018.

    Examples
    --------
    >>> from fastnn.optimizers import AMSGrad
    >>> AMSGrad().state_names
    ('m', 'v', 'v_max')
    """

    arguments = ("lr", "betas", "eps", "weight_decay", "decoupled", "eps_mode", "bias_correction")

    def __init__(
        self, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False, eps_mode="outside",
        bias_correction=True, **common,
    ):  # fmt: skip
        super().__init__(lr, betas, eps, weight_decay, decoupled, eps_mode, bias_correction, True, **common)


class NAdam(Optimizer):
    """Adam with Nesterov's look-ahead: the step takes the next momentum now.

    Formula, for update t = 1, 2, ... (the notes, S3.11; m, v and v^ as in `Adam`)::

        next     mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2)
                 m^ = mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
        current  m^ = mu_t m / (1 - mu_1 ... mu_t) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
        w <- w - lr m^ / (sqrt(v^) + eps)

    `next` is the paper's [1] and PyTorch's. The notes' form, from [2], is `correction="current"` with
    `momentum_decay=0`, where mu is beta1 at all times: `m^ = (beta1 m + (1 - beta1) g) / (1 - beta1^t)`. What
    the notes call t + 1, "after gradient number t", is t here. The first step is 1.06 lr long with the
    defaults, 1.47 lr without `momentum_decay`, 1.9 lr in the notes' form.

    Departures from [1]. Options only: `momentum_decay=0`, which keeps mu at beta1; `eps_mode="inside"` is the
    notes' `sqrt(v^ + eps)`; `weight_decay` and `decoupled` as in `Adam`.

    Parameters
    ----------
    lr, betas, eps, weight_decay, decoupled, eps_mode, **common
        As in `Adam`.
    correction : {"next", "current"}
    momentum_decay : float
        psi of the paper; 0 for a constant momentum.

    References
    ----------
    .. [1] Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.
    .. [2] Ruder, An overview of gradient descent optimization algorithms, 2016.

    Examples
    --------
    >>> from fastnn.optimizers import NAdam
    >>> NAdam(correction="current", momentum_decay=0).lr
    0.002
    """

    arguments = (
        "lr", "betas", "eps", "weight_decay", "decoupled", "eps_mode", "correction", "momentum_decay",
    )  # fmt: skip
    state_names = ("m", "v")

    def __init__(
        self, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False, eps_mode="outside",
        correction="next", momentum_decay=0.004, **common,
    ):  # fmt: skip
        super().__init__(lr, weight_decay, **common)
        self._set_betas(betas)
        self._set_eps(eps, eps_mode)
        self.decoupled = bool(decoupled)
        self.correction = self._chosen("correction", correction, ("next", "current"))
        self.momentum_decay = self._checked("momentum_decay", momentum_decay)
        self._product = 0, 1.0  # t, mu_1 ... mu_t

    def _mu(self, t):
        decay = 1.0 - 0.5 * 0.96 ** (t * self.momentum_decay) if self.momentum_decay else 1.0
        return self.betas[0] * decay

    def _mu_product(self, t):
        """mu_1 ... mu_t: one factor more than last time, or all of them after a state was loaded."""
        done, product = self._product
        if done > t:
            done, product = 0, 1.0
        for i in range(done + 1, t + 1):
            product *= self._mu(i)
        self._product = t, product
        return product

    def _shares(self, t):
        """What m and g are multiplied by in step t."""
        mu, product = self._mu(t), self._mu_product(t)
        g_share = (1.0 - mu) / (1.0 - product)
        if self.correction == "current":
            return mu / (1.0 - product), g_share
        following = self._mu(t + 1)
        return following / (1.0 - product * following), g_share

    def update(self, lr, weight_decay, theta, grad, m, v):
        t, (beta1, beta2) = self.n_steps + 1, self.betas
        m_share, g_share = self._shares(t)
        kernels.nadam_step(
            theta, grad, m, v, t, lr, beta1, beta2, self.eps, m_share, g_share, weight_decay, self.decoupled,
            self.eps_mode, self.scale, self.clip,
        )  # fmt: skip


class AdaMax(Optimizer):
    """Adam with the largest gradient in the place of the root of the average square.

    Formula, for update t = 1, 2, ... (the notes, S3.10)::

        m <- beta1 m + (1 - beta1) g          m^ = m / (1 - beta1^t)
        u <- max(beta2 u, |g|)                w <- w - lr m^ / (u + eps)

    `u` needs no correction: a maximum is not drawn towards the 0 it begins with (u_1 = |g_1|).

    Departures from [1], section 7.1. The paper has no `eps`, and divides 0 by 0 where no gradient has come
    yet; that is `eps=0`. `eps_mode="denominator"` is the notes' form, `eps_mode="in_max"` PyTorch's
    `u <- max(beta2 u, |g| + eps)`. `weight_decay` adds `weight_decay w` to `g` of the weights.

    Parameters
    ----------
    lr, betas, eps, weight_decay, **common
        As in `Adam`.
    eps_mode : {"denominator", "in_max"}

    References
    ----------
    .. [1] Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015.

    Examples
    --------
    >>> from fastnn.optimizers import AdaMax
    >>> AdaMax().lr
    0.002
    """

    arguments = ("lr", "betas", "eps", "eps_mode", "weight_decay")
    state_names = ("m", "u")

    def __init__(
        self, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, eps_mode="denominator", weight_decay=0.0, **common
    ):
        super().__init__(lr, weight_decay, **common)
        self._set_betas(betas)
        self._set_eps(eps, eps_mode, ("denominator", "in_max"))

    def update(self, lr, weight_decay, theta, grad, m, u):
        beta1, beta2 = self.betas
        kernels.adamax_step(
            theta, grad, m, u, self.n_steps + 1, lr, beta1, beta2, self.eps, weight_decay, self.eps_mode,
            self.scale, self.clip,
        )  # fmt: skip


class MaxProp(Optimizer):
    """RMSProp with the largest gradient in the place of the root of the average square.

    Formula (the notes, S3.9)::

        u <- max(beta u, |g|)          w <- w - lr g / (u + eps)

    No step is longer than `lr`. A feature that is seen every k-th batch with gradients of the same size takes
    steps of `lr` whatever k is; RMSProp's grow with k (3.15 lr for k = 50).

    There is no paper of this name: it is `AdaMax(betas=(0, beta))`. Departures from the notes: no root is
    taken (u is no square), and the reason for it is the one above. A batch without a gradient does raise
    MaxProp's rate, by 1 / beta, more than RMSProp's 1 / sqrt(beta). `weight_decay` adds `weight_decay w` to
    `g` of the weights.

    Parameters
    ----------
    lr, eps, weight_decay, **common
        As in `Adam`.
    beta : float
        In [0, 1).

    Examples
    --------
    >>> from fastnn.optimizers import MaxProp
    >>> MaxProp(lr=0.01).beta
    0.9
    """

    arguments = ("lr", "beta", "eps", "weight_decay")
    state_names = ("u",)

    def __init__(self, lr=1e-3, beta=0.9, eps=1e-8, weight_decay=0.0, **common):
        super().__init__(lr, weight_decay, **common)
        self.beta = self._checked("beta", beta, below=1.0)
        self.eps = self._checked("eps", eps)

    def update(self, lr, weight_decay, theta, grad, u):
        kernels.adamax_step(
            theta, grad, None, u, self.n_steps + 1, lr, 0.0, self.beta, self.eps, weight_decay, "denominator",
            self.scale, self.clip,
        )  # fmt: skip
