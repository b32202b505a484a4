"""fastnn itself."""

from __future__ import annotations

from collections.abc import Callable

import networks as net
import numpy as np

import fastnn as nn

Maker = Callable[[], Callable[[], np.ndarray]]
LOSSES = {"cross-entropy": nn.SoftmaxCrossEntropy, "squared error": lambda: nn.SquaredError("mean")}


def version(variant: str) -> str:
    return f"fastnn {nn.__version__}"


def layers_of(layers: tuple) -> list:
    built = []
    for layer in layers:
        match layer:
            case net.Dense():
                built.append(nn.Dense(layer.units, activation=layer.activation))
            case net.Conv2D():
                built.append(nn.Conv2D(layer.filters, layer.kernel_size, layer.stride, layer.padding,
                                       groups=layer.groups, use_bias=layer.use_bias,
                                       activation=layer.activation))  # fmt: skip
            case net.MaxPool2D():
                built.append(nn.MaxPool2D(layer.size, layer.stride, layer.padding))
            case net.AvgPool2D():
                built.append(nn.AvgPool2D(layer.size))
            case net.BatchNorm():
                built.append(nn.BatchNorm(eps=net.EPS, activation=layer.activation))
            case net.Flatten():
                built.append(nn.Flatten())
            case net.GlobalAvgPool2D():
                built.append(nn.GlobalAvgPool2D())
            case net.Residual():
                body, shortcut = nn.Sequential(layers_of(layer.body)), None
                if layer.shortcut:
                    shortcut = nn.Sequential(layers_of(layer.shortcut))
                built.append(nn.Residual(body, shortcut, activation=layer.activation))
            case net.Concat():
                built.append(nn.Concat([nn.Sequential(layers_of(branch)) for branch in layer.branches]))
    return built


def load(container, layers: tuple, weights: net.Weights, prefix: str = "") -> None:
    """Copy `weights` into the layers, which stand in the same order as in the list."""
    for i, (layer, description) in enumerate(zip(container.layers, layers)):
        path = f"{prefix}{i}"
        inside = net.parts(description, path)
        for inner, (inner_prefix, rows) in zip(layer.layers if inside else (), inside):
            load(inner, rows, weights, inner_prefix)
        for key in ("weight", "bias", "gamma", "beta", "running_mean", "running_var"):
            if f"{path}.{key}" in weights:
                target = getattr(layer, key)
                array = target if isinstance(target, np.ndarray) else target.data
                array[...] = weights[f"{path}.{key}"]


def build(network: net.Network, weights: net.Weights):
    model = nn.Sequential(layers_of(network.layers), input_shape=network.input_shape, seed=0)
    load(model, network.layers, weights)
    return model


def train(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray, y: np.ndarray,
          threads: int) -> dict[str, Callable[[], Callable[[], float]]]:  # fmt: skip
    nn.set_num_threads(threads)

    def make() -> Callable[[], float]:
        trainer = nn.Trainer(build(network, weights), LOSSES[network.loss](), nn.Adam(lr=network.lr))
        return lambda: trainer.train_step(x, y)

    return {"train_step": make}


def infer(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray,
          threads: int) -> dict[str, Maker]:  # fmt: skip
    nn.set_num_threads(threads)

    def make() -> Callable[[], np.ndarray]:
        model = build(network, weights).for_inference(network.batch)
        return lambda: model.predict(x)

    return {"for_inference": make}


def to_numpy(result: np.ndarray) -> np.ndarray:
    return result
