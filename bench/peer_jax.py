"""JAX: the whole training step is one jitted function with donated buffers; images are channels last."""

from __future__ import annotations

from collections.abc import Callable

import jax
import networks as net
import numpy as np
from jax import lax
from jax import numpy as jnp

Params = dict[str, jax.Array]


def version(variant: str) -> str:
    return f"jax {jax.__version__}"


def max_pool(x: jax.Array, k: int, pooling: str) -> jax.Array:
    """Two usual ways; the gradient of the second compiles to faster code on some networks."""
    if pooling == "reduce_window":
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, k, k, 1), (1, k, k, 1), "VALID")
    n, h, w, c = x.shape
    return x.reshape(n, h // k, k, w // k, k, c).max(axis=(2, 4))


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
    act: dict[str | None, Callable] = {None: lambda a: a, "relu": jax.nn.relu, "tanh": jnp.tanh}
    for i, layer in enumerate(layers):
        path = f"{prefix}{i}"
        match layer:
            case net.Dense():
                x = x @ params[f"{path}.weight"] + params[f"{path}.bias"]
            case net.Conv2D():
                x = lax.conv_general_dilated(
                    x, params[f"{path}.weight"], (layer.stride,) * 2, ((layer.padding,) * 2,) * 2,
                    dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
                if layer.use_bias:
                    x = x + params[f"{path}.bias"]
            case net.MaxPool2D():
                x = max_pool(x, layer.size, pooling)
            case net.BatchNorm():
                x = batch_norm(path, params, state, x, training)
            case net.Flatten():
                x = x.reshape(x.shape[0], -1)
            case net.GlobalAvgPool2D():
                x = x.mean(axis=(1, 2))
            case net.Residual():
                rest = params, state, x, training, pooling
                x = forward(layer.body, *rest, f"{path}.body.") + forward(
                    layer.shortcut, *rest, f"{path}.shortcut."
                )
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


def adam(params: Params, grads: Params, m: Params, v: Params, t: jax.Array):
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    a, b = 1e-3 / (1 - 0.9**t), 1 / (1 - 0.999**t)
    params = jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(b * v) + 1e-8), params, m, v)
    return params, m, v, t


def poolings(network: net.Network) -> list[str]:
    has_pool = any(isinstance(layer, net.MaxPool2D) for layer in network.layers)
    return ["reduce_window", "reshape max"] if has_pool else [""]


def train(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray, y: np.ndarray,
          threads: int) -> dict[str, Callable[[], jax.Array]]:  # fmt: skip
    images, labels = jnp.array(x), jnp.array(y)

    def make(pooling: str) -> Callable[[], jax.Array]:
        def loss_of(params: Params, state: Params, images: jax.Array, labels: jax.Array):
            state = dict(state)
            logits = forward(network.layers, params, state, images, True, pooling)
            log_probs = jax.nn.log_softmax(logits)
            return -jnp.take_along_axis(log_probs, labels[:, None], axis=1).mean(), state

        def update(everything, images, labels):
            params, state, m, v, t = everything
            (loss, state), grads = jax.value_and_grad(loss_of, has_aux=True)(params, state, images, labels)
            params, m, v, t = adam(params, grads, m, v, t)
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

    return {pooling: make(pooling) for pooling in poolings(network)}


def infer(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray,
          threads: int) -> dict[str, Callable[[], jax.Array]]:  # fmt: skip
    images, (params, state) = jnp.array(x), load(weights)

    def make(pooling: str) -> Callable[[], jax.Array]:
        predict = jax.jit(lambda p, s, x: forward(network.layers, p, s, x, False, pooling))
        return lambda: predict(params, state, images).block_until_ready()

    return {pooling: make(pooling) for pooling in poolings(network)}


def synchronize(result: jax.Array) -> None:
    """Training steps are dispatched ahead, as in a training loop; a sample ends when the last is done."""
    result.block_until_ready()


to_numpy = np.asarray
