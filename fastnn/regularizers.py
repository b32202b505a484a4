"""Penalties on the weights that a Trainer adds to the loss, and a limit on their length."""

import math
from fnmatch import fnmatchcase

import numpy as np

from . import kernels
from .checks import choice, number


class Regularizer:
    """Base of penalties and constraints on weights.

    They apply to parameters that decay (`Parameter.decay`: weights; not biases, normalisation, slopes of
    activations) and that training changes. A subclass writes `penalty`, or `project_array`, or both.

    Parameters
    ----------
    only : str or sequence of str, optional
        Patterns of names (`*`, `?`, `[...]`) of parameters or of layers, which stand for all inside:
        `"dense*"`, `"encoder"`, `"conv1.weight"`. By default all weights of the model.
    """

    #: Constructor arguments, for `repr`.
    arguments: tuple[str, ...] = ()

    def __init__(self, only=None):
        self.only = (only,) if isinstance(only, str) else None if only is None else tuple(only)
        if self.only is not None and not all(isinstance(pattern, str) for pattern in self.only):
            raise TypeError(
                f"{type(self).__name__}: only: expected patterns of names, as text. Received: {only!r}"
            )

    # To be written by a regularizer

    def penalty(self, theta, grad):
        """The penalty of one array; adds its gradient to `grad`, unless that is None."""
        return 0.0

    def project_array(self, theta):
        """Move one array to the nearest allowed point, in place."""

    # What a Trainer calls

    def value(self, parameters):
        """The penalty.

        Parameters
        ----------
        parameters : dict of str to Parameter
            `model.parameters`.

        Returns
        -------
        float
        """
        return sum((self.penalty(p.data, None) for p in self.chosen(parameters)), 0.0)

    def add_grad(self, parameters):
        """Add the penalty's gradient to those of the parameters; returns the penalty, of the same pass."""
        return sum((self.penalty(p.data, p.grad) for p in self.chosen(parameters)), 0.0)

    def project(self, parameters):
        """After an update: move the parameters to the nearest allowed point. Penalties leave them alone."""
        for parameter in self.chosen(parameters):
            self.project_array(parameter.data)

    def chosen(self, parameters):
        """The parameters that it applies to."""
        return [p for path, p in parameters.items() if p.decay and p.trainable and self._names(path)]

    def check(self, parameters):
        """Raise if `only` has a pattern that fits no weight."""
        weights = [path for path, p in parameters.items() if p.decay and p.trainable]
        for pattern in self.only or ():
            if not any(_fits(path, pattern) for path in weights):
                raise ValueError(
                    f"{type(self).__name__}: only: expected patterns of {', '.join(weights)} or of their "
                    f"layers. Received: {pattern!r}, which none of them fits"
                )

    def _names(self, path):
        return self.only is None or any(_fits(path, pattern) for pattern in self.only)

    def __repr__(self):
        names = self.arguments if self.only is None else (*self.arguments, "only")
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"


class ElasticNet(Regularizer):
    """`l1 sum |w| + l2/2 sum w^2`, whose gradient is `l1 sign(w) + l2 w`, with sign(0) = 0 [1].

    Parameters
    ----------
    l1, l2 : float
        At least 0. L1 makes weights that the loss hardly needs exactly small; L2 shrinks all.
    only : str or sequence of str, optional
        As in Regularizer.

    References
    ----------
    .. [1] Zou & Hastie, Regularization and variable selection via the elastic net, JRSS B 2005.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(1)], input_shape=(2,))
    >>> model["dense1"].weight.data[:] = 3, -4
    >>> nn.regularizers.ElasticNet(l1=0.1, l2=0.2).add_grad(model.parameters)
    3.2
    >>> model["dense1"].weight.grad
    array([[ 0.7, -0.9]], dtype=float32)
    """

    arguments: tuple[str, ...] = ("l1", "l2")

    def __init__(self, l1=0.0, l2=0.0, only=None):
        super().__init__(only)
        name = type(self).__name__
        self.l1, self.l2 = number(name, "l1", l1), number(name, "l2", l2)

    def penalty(self, theta, grad):
        return kernels.weight_penalty(theta, grad, self.l1, self.l2)


class L2(ElasticNet):
    """Pull all weights towards 0, in proportion to their size (the notes, S6.1; [1]).

    ::

        form="half"    alpha/2 sum w^2     gradient alpha w
        form="full"    alpha sum w^2       gradient 2 alpha w

    For plain SGD, "half" is its weight decay: `w <- (1 - lr alpha) w - lr g`. For Adam and the like the two
    differ, since they divide the penalty's gradient too; AdamW decays apart from it. Around the minimum w* of
    a quadratic loss with Hessian `H = Q diag(lambda) Q^T` the new minimum is
    `(H + alpha I)^-1 H w* = Q diag(lambda / (lambda + alpha)) Q^T w*`: what shrinks most are the directions,
    eigenvectors of H, in which the loss hardly changes; single weights only where these are the axes.

    Parameters
    ----------
    alpha : float
        At least 0.
    form : {"half", "full"}
        "full" is scikit-learn's and Keras's, next to a squared error without 1/2.
    only : str or sequence of str, optional
        As in Regularizer.

    References
    ----------
    .. [1] Goodfellow, Bengio & Courville, Deep Learning, 2016, section 7.1.1.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(1)], input_shape=(2,))
    >>> model["dense1"].weight.data[:] = 3, -4
    >>> L2(0.1).value(model.parameters), L2(0.1, form="full").value(model.parameters)
    (1.25, 2.5)
    """

    arguments = ("alpha", "form")

    def __init__(self, alpha, form="half", only=None):
        self.alpha = number("L2", "alpha", alpha)
        self.form = choice("L2", "form", form, ("half", "full"))
        super().__init__(0.0, self.alpha * (1 if form == "half" else 2), only)


class L1(ElasticNet):
    """`alpha sum |w|`: pulls every weight towards 0 with the same force, and so the useless ones all the way.

    The gradient is `alpha sign(w)`, with sign(0) = 0. Steps of a fixed length pass 0 instead of ending there:
    weights become small, about lr alpha, rather than exactly 0 (Tibshirani 1996).

    Parameters
    ----------
    alpha : float
        At least 0.
    only : str or sequence of str, optional
        As in Regularizer.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(1)], input_shape=(2,))
    >>> model["dense1"].weight.data[:] = 3, -4
    >>> L1(0.5).value(model.parameters)
    3.5
    """

    arguments = ("alpha",)

    def __init__(self, alpha, only=None):
        self.alpha = number("L1", "alpha", alpha)
        super().__init__(self.alpha, 0.0, only)


class MaxNorm(Regularizer):
    """After each update, shorten the incoming weights of every unit that are longer than `limit` [1].

    `w <- w min(1, limit / ||w||)`, the nearest point of a ball. It goes with Dropout, which it allows large
    learning rates [1]. There is no penalty.

    Parameters
    ----------
    limit : float
        Above 0; 3 or 4 in [1].
    axis : int or tuple of int, optional
        Axes that a length is taken over, neighbours of each other. By default all but the first, which is
        that of the units: their incoming weights, for a convolution a whole filter. 0 is the outgoing ones.
    only : str or sequence of str, optional
        As in Regularizer.

    References
    ----------
    .. [1] Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.

    Examples
    --------
    >>> import fastnn as nn
    >>> model = nn.Sequential([nn.Dense(2)], input_shape=(2,))
    >>> model["dense1"].weight.data[:] = [[3, -4], [0.3, 0.4]]
    >>> MaxNorm(1.0).project(model.parameters)
    >>> model["dense1"].weight.data
    array([[ 0.6, -0.8],
           [ 0.3,  0.4]], dtype=float32)
    """

    arguments = ("limit", "axis")

    def __init__(self, limit, axis=None, only=None):
        super().__init__(only)
        self.limit = number("MaxNorm", "limit", limit, "(0, inf)")
        self.axis = axis
        axes = (0,) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        whole = all(isinstance(a, (int, np.integer)) and a >= 0 for a in axes)
        if not axes or not whole or tuple(axes) != tuple(range(axes[0], axes[0] + len(axes))):
            raise ValueError(
                f"MaxNorm: axis: expected the number of an axis, or of neighbouring ones such as (1, 2, 3). "
                f"Received: {axis!r}"
            )
        self._axes = slice(1, None) if axis is None else slice(axes[0], axes[-1] + 1)

    def check(self, parameters):
        super().check(parameters)
        for parameter in self.chosen(parameters):
            if (self._axes.stop or 1) > len(parameter.shape):
                raise ValueError(
                    f"MaxNorm: axis: expected axes of {parameter.name} with shape {parameter.shape}. "
                    f"Received: {self.axis!r}; give the weights that it is meant for with only="
                )

    def project_array(self, theta):
        axes, shape = self._axes, theta.shape
        inner = 1 if axes.stop is None else math.prod(shape[axes.stop :])
        kernels.max_norm(theta.reshape(math.prod(shape[: axes.start]), -1, inner), self.limit)


def checked(regularizers):
    """A list of regularizers, or an error."""
    one = isinstance(regularizers, (Regularizer, type))
    given = [regularizers] if one else list(regularizers)
    for regularizer in given:
        if not isinstance(regularizer, Regularizer):
            hint = f"; write {regularizer.__name__}(...)" if isinstance(regularizer, type) else ""
            raise TypeError(f"regularizers: expected Regularizer objects. Received: {regularizer!r}{hint}")
    return given


def _fits(path, pattern):
    """Whether a pattern names a parameter, or a layer around it."""
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))
