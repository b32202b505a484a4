"""JAX: the whole training step is one jitted function with donated buffers; images are channels last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import networks as net
import numpy as np
from jax import lax
from jax import numpy as jnp

Params = dict[str, jax.Array]
Step = Callable[[], jax.Array]


def version(variant: str) -> str:
    return f"jax {jax.__version__}"


def pool(layer: net.MaxPool2D | net.AvgPool2D, x: jax.Array, pooling: str) -> jax.Array:
    """Two usual ways; the gradient of "reshape" compiles to faster code on some networks."""
    k, largest = layer.size, isinstance(layer, net.MaxPool2D)
    if pooling == "reshape":
        n, h, w, c = x.shape
        windows = x.reshape(n, h // k, k, w // k, k, c)
        return windows.max(axis=(2, 4)) if largest else windows.mean(axis=(2, 4))
    if not largest:
        return lax.reduce_window(x, 0.0, lax.add, (1, k, k, 1), (1, k, k, 1), "VALID") / (k * k)
    s, p = layer.stride, (layer.padding,) * 2
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, k, k, 1), (1, s, s, 1), ((0, 0), p, p, (0, 0)))


def batch_norm(layer_path: str, params: Params, state: Params, x: jax.Array, training: bool):
    mean, var = state[f"{layer_path}.running_mean"], state[f"{layer_path}.running_var"]
    if training:
        old = mean, var
        mean = x.mean(axis=(0, 1, 2))
        var = jnp.maximum((x * x).mean(axis=(0, 1, 2)) - mean * mean, 0)  # one pass, as Flax does
        n = x.size // x.shape[-1]
        new = mean, var * (n / max(n - 1, 1))
        for name, a, b in zip(("running_mean", "running_var"), old, new):
            state[f"{layer_path}.{name}"] = net.MOMENTUM * a + (1 - net.MOMENTUM) * b
    scale = params[f"{layer_path}.gamma"] * lax.rsqrt(var + net.EPS)
    return (x - mean) * scale + params[f"{layer_path}.beta"]


def forward(layers: tuple, params: Params, state: Params, x: jax.Array, training: bool, pooling: str,
            prefix: str = "") -> jax.Array:  # fmt: skip
    """Logits; the running statistics in `state` are replaced when training."""
    act: dict[str | None, Callable] = {None: lambda a: a, "relu": jax.nn.relu, "tanh": jnp.tanh,
                                       "sigmoid": jax.nn.sigmoid}  # fmt: skip
    for i, layer in enumerate(layers):
        path = f"{prefix}{i}"
        match layer:
            case net.Dense():
                x = x @ params[f"{path}.weight"] + params[f"{path}.bias"]
            case net.Conv2D():
                x = lax.conv_general_dilated(
                    x, params[f"{path}.weight"], (layer.stride,) * 2, ((layer.padding,) * 2,) * 2,
                    dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=layer.groups)  # fmt: skip
                if layer.use_bias:
                    x = x + params[f"{path}.bias"]
            case net.MaxPool2D() | net.AvgPool2D():
                x = pool(layer, x, pooling)
            case net.BatchNorm():
                x = batch_norm(path, params, state, x, training)
            case net.Flatten():
                x = x.reshape(x.shape[0], -1)
            case net.GlobalAvgPool2D():
                x = x.mean(axis=(1, 2))
            case net.Residual() | net.Concat():
                inside = [forward(row, params, state, x, training, pooling, inner)
                          for inner, row in net.parts(layer, path)]  # fmt: skip
                x = jnp.add(*inside) if isinstance(layer, net.Residual) else jnp.concatenate(inside, axis=-1)
        x = act[getattr(layer, "activation", None)](x)
    return x


def load(weights: net.Weights) -> tuple[Params, Params]:
    """Weights in JAX's layouts, input first: Dense (in, out), filters (KH, KW, C, F)."""
    swapped = {
        name: w.T if w.ndim == 2 else w.transpose(1, 2, 3, 0) if w.ndim == 4 else w
        for name, w in weights.items()
    }
    arrays = {name: jnp.array(np.ascontiguousarray(w)) for name, w in swapped.items()}
    state = {name: w for name, w in arrays.items() if ".running_" in name}
    return {name: w for name, w in arrays.items() if name not in state}, state


def adam(params: Params, grads: Params, m: Params, v: Params, t: jax.Array, lr: float):
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    a, b = lr / (1 - 0.9**t), 1 / (1 - 0.999**t)
    params = jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(b * v) + 1e-8), params, m, v)
    return params, m, v, t


def poolings(network: net.Network) -> list[str]:
    """The ways to pool; "reshape" is for windows side by side that fill the image."""
    found = [(layer, shape) for _, layer, shape in net.walk(network.layers, network.input_shape)
             if isinstance(layer, net.MaxPool2D | net.AvgPool2D)]  # fmt: skip
    side_by_side = all(
        isinstance(layer, net.AvgPool2D) or (layer.stride, layer.padding) == (layer.size, 0)
        for layer, _ in found
    )
    filled = all(n % layer.size == 0 for layer, shape in found for n in shape[:2])
    if not found:
        return [""]
    return ["reduce_window", "reshape"] if side_by_side and filled else ["reduce_window"]


def loss_value(network: net.Network, outputs: jax.Array, target: jax.Array) -> jax.Array:
    if network.loss == "squared error":
        return jnp.square(outputs - target).mean()
    return -jnp.take_along_axis(jax.nn.log_softmax(outputs), target[:, None], axis=1).mean()


def train(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray, y: np.ndarray,
          threads: int) -> dict[str, Callable[[], Step]]:  # fmt: skip
    images, labels = jnp.array(x), jnp.array(y)

    def make(pooling: str) -> Step:
        def loss_of(params: Params, state: Params, images: jax.Array, labels: jax.Array):
            state = dict(state)
            outputs = forward(network.layers, params, state, images, True, pooling)
            return loss_value(network, outputs, labels), state

        def update(everything, images, labels):
            params, state, m, v, t = everything
            (loss, state), grads = jax.value_and_grad(loss_of, has_aux=True)(params, state, images, labels)
            params, m, v, t = adam(params, grads, m, v, t, network.lr)
            return (params, state, m, v, t), loss

        update = jax.jit(update, donate_argnums=0)
        params, state = load(weights)
        zeros = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        everything = (params, state, *zeros, jnp.array(0.0))

        def step() -> jax.Array:
            nonlocal everything
            everything, loss = update(everything, images, labels)
            return loss

        return step

    return {pooling: partial(make, pooling) for pooling in poolings(network)}


def infer(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray,
          threads: int) -> dict[str, Callable[[], Step]]:  # fmt: skip
    images = jnp.array(x)

    def make(pooling: str) -> Step:
        params, state = load(weights)
        predict = jax.jit(lambda p, s, x: forward(network.layers, p, s, x, False, pooling))
        return lambda: predict(params, state, images).block_until_ready()

    return {pooling: partial(make, pooling) for pooling in poolings(network)}


def synchronize(result: jax.Array) -> None:
    """Training steps are dispatched ahead, as in a training loop; a sample ends when the last is done."""
    result.block_until_ready()


to_numpy = np.asarray
