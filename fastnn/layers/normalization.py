"""Batch normalization."""

import numpy as np

from .. import initializers, kernels
from ..errors import ShapeError
from .base import Layer, resolve_activation
from .conv import Conv2D

#: Activations whose derivative `batchnorm_backward` applies itself.
FUSED = ("linear", "relu", "leaky_relu")


class Normalization(Layer):
    """What BatchNorm and LayerNorm share: a factor and a shift for each number of the last axis."""

    def shape_rule(self, input_shape):
        if len(input_shape) < 1:
            raise ShapeError(
                f"{self.label()}: expected samples with a last axis of channels or features. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        return input_shape

    def create_parameters(self, input_shape):
        shape = input_shape[-1:]
        self.gamma = self.add_parameter("gamma", shape, initializers.get("ones"), decay=False)
        self.beta = self.add_parameter("beta", shape, initializers.get("zeros"), decay=False)


class BatchNorm(Normalization):
    """Give every channel mean `beta` and deviation `gamma` over the batch (Ioffe & Szegedy 2015).

    Training: `x_hat = (x - mean) / sqrt(var + eps)`, `y = activation(gamma x_hat + beta)`, with the mean and
    the biased variance (`1/R`) of each channel over the `R` samples and pixels of the batch. It keeps
    `running = (1 - momentum) running + momentum batch`, for the variance the unbiased one (`1/(R - 1)`; a
    batch with `R = 1` leaves it as it is). Outside training the running values take the batch's place.
    Backward: `dgamma = sum da x_hat`, `dbeta = sum da`,
    `dx = gamma / sqrt(var + eps) (da - mean(da) - x_hat mean(da x_hat))`.

    Parameters
    ----------
    momentum : float
        Weight of the new batch in the running values, as in PyTorch; Keras calls `1 - momentum` momentum.
    eps : float
    activation : str or Layer, optional
        Name of an activation, fused into the kernel, or an activation layer.

    Examples
    --------
    >>> import fastnn as nn
    >>> nn.Sequential([nn.BatchNorm(activation="relu")], input_shape=(32, 32, 64)).output_shape
    (32, 32, 64)
    """

    kind = "batchnorm"

    def __init__(self, momentum=0.1, eps=1e-5, activation=None, name=None):
        super().__init__(name)
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm: momentum: expected a number from 0 to 1. Received: {momentum!r}")
        if not eps > 0:
            raise ValueError(f"BatchNorm: eps: expected a positive number. Received: {eps!r}")
        self.momentum = momentum
        self.eps = eps
        self.activation = activation
        self.function, self.alpha = resolve_activation(activation)
        self.moments = None  # of the next input, if the layer before gathers them in the `room`

    @property
    def running_mean(self):
        """Mean of each channel, (C,), over the batches so far."""
        return self.own_buffers["running_mean"]

    @property
    def running_var(self):
        """Variance of each channel, (C,), over the batches so far."""
        return self.own_buffers["running_var"]

    def create_parameters(self, input_shape):
        super().create_parameters(input_shape)
        shape = input_shape[-1:]
        self.add_buffer("running_mean", np.zeros(shape))
        self.add_buffer("running_var", np.ones(shape))
        self.room = np.empty((2, *shape))

    def follow(self, before):
        if isinstance(before, Conv2D) and before.function == "linear" and self.trainable:
            before.normalizer = self

    def gather(self):
        """Room (2, C) for the mean and the sum of squared deviations of the next batch.

        The convolution before fills it: it has the numbers in the cache, which saves a pass over memory.
        """
        self.moments = self.room
        return self.moments

    def forward(self, x, training=False):
        if (
            self.function in kernels.SAVES_INPUT and self.workspace.keep
        ):  # the derivative needs the pre-activation
            a, y = self.normalize(x, None, "linear", 0.0, training), self.buffer(x.shape)
            kernels.activation_forward(a, y, self.function, self.alpha)
            return y
        return self.normalize(x, None, self.function, self.alpha, training)

    def can_add(self, function):
        return self.function == "linear" and function in FUSED

    def forward_add(self, x, other, function, alpha, training):
        return self.normalize(x, other, function, alpha, training)

    def normalize(self, x, other, function, alpha, training):
        """`function(normalized x + other)`, and what backward needs is kept."""
        moments, self.moments = self.moments, None
        y, gamma, beta = self.buffer(x.shape), self.gamma.data, self.beta.data
        running, mean, inv_std = (self.running_mean, self.running_var), None, None
        if training and self.trainable:
            mean, inv_std = self.buffer(gamma.shape), self.buffer(gamma.shape)
            kernels.batchnorm_forward(
                x,
                gamma,
                beta,
                y,
                mean,
                inv_std,
                *running,
                self.momentum,
                self.eps,
                function,
                alpha,
                other,
                moments,
            )
        else:
            kernels.batchnorm_inference(x, gamma, beta, *running, y, self.eps, function, alpha, other)
        self.saved = x, y, mean, inv_std
        return y

    def backward(self, dy, input_gradient=True):
        x, h, mean, inv_std = self.last_pass()
        function, by_batch = self.function, mean is not None
        if function not in FUSED:
            da = self.buffer(dy.shape)
            kernels.activation_backward(dy, h, da, function, self.alpha)
            dy, function = da, "linear"
        if not by_batch:
            mean, inv_std = self.running_mean, 1 / np.sqrt(self.running_var + self.eps)
        dx = self.buffer(x.shape) if input_gradient else None
        if self.trainable:
            accumulate = self.gamma.accumulate()
            self.beta.accumulate()
            kernels.batchnorm_backward(
                dy, x, None if by_batch else h, self.gamma.data, mean, inv_std, dx if by_batch else None,
                self.gamma.grad, self.beta.grad, function, self.alpha, accumulate, self.beta.data,
            )  # fmt: skip
        if input_gradient and not by_batch:
            self.scale_by_running(dy, h, dx, function)
        return dx

    def scale_by_running(self, dy, h, dx, function):
        """`dx = da gamma / sqrt(running_var + eps)`: outside training the layer is a scale and a shift."""
        if function != "linear":
            kernels.activation_backward(dy, h, dx, function, self.alpha)
            dy = dx
        zero = np.zeros_like(self.running_mean)
        kernels.batchnorm_inference(dy, self.gamma.data, zero, zero, self.running_var, dx, self.eps)
