"""The networks of the race as plain lists of layers: each peer builds its own model from the same list.

Shapes are channels last: an image is (H, W, C), Dense weights are (out, in), filters (F, KH, KW, C).
`initial_weights` makes one set of weights for all peers, `forward` is the NumPy answer they must give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

EPS = 1e-5  # of every BatchNorm, in every framework
MOMENTUM = 0.9  # share of the old running mean that a BatchNorm keeps


@dataclass(frozen=True)
class Dense:
    units: int
    activation: str | None = None


@dataclass(frozen=True)
class Conv2D:
    filters: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    activation: str | None = None
    use_bias: bool = True


@dataclass(frozen=True)
class MaxPool2D:
    size: int = 2


@dataclass(frozen=True)
class BatchNorm:
    activation: str | None = None


@dataclass(frozen=True)
class Flatten:
    pass


@dataclass(frozen=True)
class GlobalAvgPool2D:
    pass


@dataclass(frozen=True)
class Residual:
    """`activation(body(x) + shortcut(x))`; no layers in `shortcut` means x itself."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()
    activation: str = "relu"


Layer = Dense | Conv2D | MaxPool2D | BatchNorm | Flatten | GlobalAvgPool2D | Residual
Shape = tuple[int, ...]
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Network:
    """`layers` on samples of `input_shape`; `extra` ones run only when they are named."""

    name: str
    input_shape: Shape
    batch: int
    layers: tuple[Layer, ...]
    extra: bool = False

    @property
    def is_mlp(self) -> bool:
        return all(isinstance(layer, Dense) for layer in self.layers)

    @property
    def classes(self) -> int:
        return self.layers[-1].units


def mlp(*units: int, activation: str = "relu") -> tuple[Layer, ...]:
    return (*(Dense(n, activation) for n in units[:-1]), Dense(units[-1]))


def lenet() -> tuple[Layer, ...]:
    return (
        Conv2D(6, 5, padding=2, activation="relu"), MaxPool2D(),
        Conv2D(16, 5, activation="relu"), MaxPool2D(), Flatten(), *mlp(120, 84, 10),
    )  # fmt: skip


def vgg_cifar() -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for filters in (64, 128, 256):
        layers += [Conv2D(filters, 3, padding=1, activation="relu")] * 2 + [MaxPool2D()]
    return (*layers, Flatten(), *mlp(256, 10))


def convolution(filters: int, kernel_size: int, stride: int, activation: str | None) -> tuple[Layer, ...]:
    """The convolution of a ResNet: no bias, since the BatchNorm after it has one."""
    padding = kernel_size // 2
    return Conv2D(filters, kernel_size, stride, padding, use_bias=False), BatchNorm(activation)


def resnet18_cifar() -> tuple[Layer, ...]:
    layers = [*convolution(64, 3, 1, "relu")]
    width = 64
    for filters in (64, 128, 256, 512):
        for _ in range(2):
            stride = 1 if filters == width else 2
            body = convolution(filters, 3, stride, "relu") + convolution(filters, 3, 1, None)
            shortcut = () if filters == width else convolution(filters, 1, stride, None)
            layers.append(Residual(body, shortcut))
            width = filters
    return (*layers, GlobalAvgPool2D(), Dense(10))


GREY, COLOUR = (28, 28, 1), (32, 32, 3)
NETWORKS = {
    network.name: network
    for network in [
        Network("tiny", (4,), 16, mlp(16, 3, activation="tanh")),
        *(Network(f"mlp-b{n}", (784,), n, mlp(512, 256, 10)) for n in (32, 128, 512)),
        *(Network(f"lenet-b{n}", GREY, n, lenet()) for n in (32, 128)),
        Network("vgg-cifar-b32", COLOUR, 32, vgg_cifar()),
        Network("resnet18-cifar-b32", COLOUR, 32, resnet18_cifar()),
        Network("mlp-b1", (784,), 1, mlp(512, 256, 10), extra=True),
        Network("lenet-b1", GREY, 1, lenet(), extra=True),
        *(Network(f"wide{n}-b64", (784,), 64, mlp(n, n, 10), extra=True) for n in (45, 46)),
        Network("resnet18-cifar-b1", COLOUR, 1, resnet18_cifar(), extra=True),
    ]
}


def output_shape(layer: Layer, shape: Shape) -> Shape:
    match layer:
        case Dense(units=units):
            return (units,)
        case Conv2D(filters=filters, kernel_size=k, stride=s, padding=p):
            return ((shape[0] + 2 * p - k) // s + 1, (shape[1] + 2 * p - k) // s + 1, filters)
        case MaxPool2D(size=size):
            return (shape[0] // size, shape[1] // size, shape[2])
        case Flatten():
            return (int(np.prod(shape)),)
        case GlobalAvgPool2D():
            return shape[-1:]
        case Residual(body=body):
            for inner in body:
                shape = output_shape(inner, shape)
    return shape


def walk(layers: tuple[Layer, ...], shape: Shape, prefix: str = "") -> Iterator[tuple[str, Layer, Shape]]:
    """(path, layer, input shape) of every layer, the inner ones of a Residual instead of itself.

    Paths are the keys of the weights: "0", "3.body.0", "3.shortcut.1".
    """
    for i, layer in enumerate(layers):
        path = f"{prefix}{i}"
        if isinstance(layer, Residual):
            yield from walk(layer.body, shape, f"{path}.body.")
            yield from walk(layer.shortcut, shape, f"{path}.shortcut.")
        else:
            yield path, layer, shape
        shape = output_shape(layer, shape)


def initial_weights(network: Network, seed: int = 0) -> Weights:
    """He's initialization (He et al. 2015), with biases and BatchNorm statistics that are not trivial."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for path, layer, shape in walk(network.layers, network.input_shape):
        if isinstance(layer, Dense | Conv2D):
            if isinstance(layer, Dense):
                full: Shape = (layer.units, shape[0])
            else:
                full = (layer.filters, layer.kernel_size, layer.kernel_size, shape[-1])
            weights[f"{path}.weight"] = rng.standard_normal(full) * np.sqrt(2 / np.prod(full[1:]))
            if isinstance(layer, Dense) or layer.use_bias:
                weights[f"{path}.bias"] = 0.01 * rng.standard_normal(full[0])
        elif isinstance(layer, BatchNorm):
            for name, low, high in (("gamma", 0.5, 1), ("beta", 0, 0.1), ("running_mean", 0, 0.1),
                                    ("running_var", 0.8, 1.2)):  # fmt: skip
                weights[f"{path}.{name}"] = rng.uniform(low, high, shape[-1])
    return {name: w.astype(np.float32) for name, w in weights.items()}


def parameter_count(network: Network) -> int:
    """Trainable parameters (running statistics are not)."""
    weights = initial_weights(network)
    return sum(w.size for name, w in weights.items() if ".running_" not in name)


def channels_first(network: Network, weights: Weights) -> Weights:
    """`weights` for frameworks whose images are (C, H, W): filters, and the Dense behind a Flatten."""
    converted = {name: w.transpose(0, 3, 1, 2) if w.ndim == 4 else w for name, w in weights.items()}
    image: Shape | None = None
    for path, layer, shape in walk(network.layers, network.input_shape):
        if isinstance(layer, Flatten):
            image = shape
        elif isinstance(layer, Dense) and image:
            w = weights[f"{path}.weight"].reshape(-1, *image).transpose(0, 3, 1, 2)
            converted[f"{path}.weight"], image = w.reshape(w.shape[0], -1), None
    return {name: np.ascontiguousarray(w) for name, w in converted.items()}


def images_first(x: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) as contiguous (N, C, H, W); other inputs unchanged."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x


def fixed_batch(network: Network, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """One random batch: `x` (N, ...) float32 and labels `y` (N,) int64."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((network.batch, *network.input_shape), dtype=np.float32)
    return x, rng.integers(0, network.classes, network.batch)


def activate(a: np.ndarray, activation: str | None) -> np.ndarray:
    return {None: lambda a: a, "relu": lambda a: np.maximum(a, 0), "tanh": np.tanh}[activation](a)


def forward(layers: tuple[Layer, ...], weights: Weights, x: np.ndarray, prefix: str = "") -> np.ndarray:
    """Logits in plain NumPy, in inference mode; give float64 `x` for the reference of `--check`."""
    for i, layer in enumerate(layers):
        path = f"{prefix}{i}"
        match layer:
            case Dense(activation=activation):
                x = activate(x @ weights[f"{path}.weight"].T + weights[f"{path}.bias"], activation)
            case Conv2D(kernel_size=k, stride=s, padding=p, activation=activation):
                x = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
                windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::s, ::s]
                a = np.tensordot(windows, weights[f"{path}.weight"], ((3, 4, 5), (3, 1, 2)))
                x = activate(a + weights.get(f"{path}.bias", 0), activation)
            case MaxPool2D(size=k):
                n, h, w, c = x.shape
                x = x[:, : h // k * k, : w // k * k].reshape(n, h // k, k, w // k, k, c).max(axis=(2, 4))
            case BatchNorm(activation=activation):
                gamma, beta, mean, var = (
                    weights[f"{path}.{name}"] for name in ("gamma", "beta", "running_mean", "running_var")
                )
                x = activate(gamma * (x - mean) / np.sqrt(var + EPS) + beta, activation)
            case Flatten():
                x = x.reshape(len(x), -1)
            case GlobalAvgPool2D():
                x = x.mean(axis=(1, 2))
            case Residual(body=body, shortcut=shortcut, activation=activation):
                y = forward(body, weights, x, f"{path}.body.")
                x = activate(y + forward(shortcut, weights, x, f"{path}.shortcut."), activation)
    return x
