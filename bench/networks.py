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
    groups: int = 1


@dataclass(frozen=True)
class MaxPool2D:
    size: int = 2
    stride: int = 2
    padding: int = 0


@dataclass(frozen=True)
class AvgPool2D:
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


@dataclass(frozen=True)
class Concat:
    """The outputs of all branches, joined along the channels."""

    branches: tuple[tuple[Layer, ...], ...]


Layer = Dense | Conv2D | MaxPool2D | AvgPool2D | BatchNorm | Flatten | GlobalAvgPool2D | Residual | Concat
Shape = tuple[int, ...]
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Network:
    """`layers` on samples of `input_shape`; `extra` ones are not part of the default race."""

    name: str
    input_shape: Shape
    batch: int
    layers: tuple[Layer, ...]
    extra: bool = False
    loss: str = "cross-entropy"  # of softmax; or "squared error", the mean over all outputs
    lr: float = 1e-3  # of Adam; deep networks need less, or their losses jump and cannot be compared

    @property
    def is_mlp(self) -> bool:
        return all(isinstance(layer, Dense) for layer in self.layers)

    @property
    def outputs(self) -> int:
        return self.layers[-1].units


def mlp(*units: int, activation: str = "relu", last: str | None = None) -> tuple[Layer, ...]:
    return (*(Dense(n, activation) for n in units[:-1]), Dense(units[-1], last))


def lenet(activation: str = "relu", pool: Layer = MaxPool2D()) -> tuple[Layer, ...]:
    return (
        Conv2D(6, 5, padding=2, activation=activation), pool, Conv2D(16, 5, activation=activation), pool,
        Flatten(), *mlp(120, 84, 10, activation=activation),
    )  # fmt: skip


def vgg_cifar() -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for filters in (64, 128, 256):
        layers += [Conv2D(filters, 3, padding=1, activation="relu")] * 2 + [MaxPool2D()]
    return (*layers, Flatten(), *mlp(256, 10))


def vgg_224() -> tuple[Layer, ...]:
    """The two stages of VGG on large images: few channels, many pixels (Simonyan & Zisserman 2015)."""
    layers: list[Layer] = []
    for filters in (64, 128):
        layers += [Conv2D(filters, 3, padding=1, activation="relu")] * 2 + [MaxPool2D()]
    return (*layers, GlobalAvgPool2D(), Dense(10))


def alexnet() -> tuple[Layer, ...]:
    """Krizhevsky, Sutskever & Hinton (2012) on one card, with dense layers of 1024 for 4096."""
    pool = MaxPool2D(3, stride=2)
    return (
        Conv2D(64, 11, stride=4, padding=2, activation="relu"), pool,
        Conv2D(192, 5, padding=2, activation="relu"), pool,
        *(Conv2D(filters, 3, padding=1, activation="relu") for filters in (384, 256, 256)), pool,
        Flatten(), *mlp(1024, 1024, 10),
    )  # fmt: skip


def inception(ones: int, threes: tuple[int, int], fives: tuple[int, int], pooled: int) -> Concat:
    """A module of GoogLeNet (Szegedy et al. 2015): 1x1 convolutions reduce the channels for the wide ones."""

    def conv(filters: int, kernel_size: int) -> Conv2D:
        return Conv2D(filters, kernel_size, padding=kernel_size // 2, activation="relu")

    return Concat((
        (conv(ones, 1),),
        (conv(threes[0], 1), conv(threes[1], 3)),
        (conv(fives[0], 1), conv(fives[1], 5)),
        (MaxPool2D(3, stride=1, padding=1), conv(pooled, 1)),
    ))  # fmt: skip


def convolution(filters: int, kernel_size: int, stride: int = 1, activation: str | None = "relu",
                groups: int = 1) -> tuple[Layer, ...]:  # fmt: skip
    """A convolution before a BatchNorm, which has the bias."""
    padding = kernel_size // 2
    return Conv2D(filters, kernel_size, stride, padding, None, False, groups), BatchNorm(activation)


def bottlenecks(filters: int, blocks: int) -> tuple[Layer, ...]:
    """A stage of ResNet-50 (He et al. 2016): 1x1, 3x3, 1x1; the first block halves the image."""
    layers: list[Layer] = []
    for i in range(blocks):
        stride = 1 if i else 2
        body = (convolution(filters, 1) + convolution(filters, 3, stride)
                + convolution(4 * filters, 1, activation=None))  # fmt: skip
        layers.append(Residual(body, () if i else convolution(4 * filters, 1, stride, None)))
    return (*layers, GlobalAvgPool2D(), Dense(10))


def mobilenet() -> tuple[Layer, ...]:
    """MobileNet (Howard et al. 2017): 3x3 within each channel, then 1x1 across them."""
    layers, width = [*convolution(32, 3, stride=2)], 32
    for filters in (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024):
        stride = 2 if filters == 2 * width > 64 else 1
        layers += convolution(width, 3, stride, groups=width) + convolution(filters, 1)
        width = filters
    return (*layers, GlobalAvgPool2D(), Dense(10))


def resnet18_cifar() -> tuple[Layer, ...]:
    layers, width = [*convolution(64, 3)], 64
    for filters in (64, 128, 256, 512):
        for _ in range(2):
            stride = 1 if filters == width else 2
            body = convolution(filters, 3, stride) + convolution(filters, 3, activation=None)
            shortcut = () if filters == width else convolution(filters, 1, stride, None)
            layers.append(Residual(body, shortcut))
            width = filters
    return (*layers, GlobalAvgPool2D(), Dense(10))


GREY, COLOUR, LARGE = (28, 28, 1), (32, 32, 3), (224, 224, 3)
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
        Network("lenet1998-b32", GREY, 32, lenet("tanh", AvgPool2D()), extra=True),
        Network("autoencoder-b64", (784,), 64, mlp(256, 64, 256, 784, activation="tanh", last="sigmoid"),
                extra=True, loss="squared error"),
        Network("resnet18-cifar-b1", COLOUR, 1, resnet18_cifar(), extra=True),
        Network("bottleneck-b16", (56, 56, 256), 16, bottlenecks(128, 4), extra=True),
        Network("depthwise-b16", (128, 128, 3), 16, mobilenet(), extra=True, lr=1e-4),
        Network("inception-b16", (28, 28, 192), 16, (
            inception(64, (96, 128), (16, 32), 32), inception(128, (128, 192), (32, 96), 64),
            GlobalAvgPool2D(), Dense(10)), extra=True),
        Network("alexnet-b4", LARGE, 4, alexnet(), extra=True, lr=1e-4),
        Network("vgg-224-b1", LARGE, 1, vgg_224(), extra=True),
    ]
}  # fmt: skip


def window_positions(shape: Shape, size: int, stride: int, padding: int = 0) -> Shape:
    return tuple((n + 2 * padding - size) // stride + 1 for n in shape[:2])


def output_shape(layer: Layer, shape: Shape) -> Shape:
    match layer:
        case Dense(units=units):
            return (units,)
        case Conv2D(filters=filters, kernel_size=k, stride=s, padding=p):
            return (*window_positions(shape, k, s, p), filters)
        case MaxPool2D(size=k, stride=s, padding=p):
            return (*window_positions(shape, k, s, p), shape[2])
        case AvgPool2D(size=k):
            return (*window_positions(shape, k, k), shape[2])
        case Flatten():
            return (int(np.prod(shape)),)
        case GlobalAvgPool2D():
            return shape[-1:]
        case Residual(body=body):
            return output_of(body, shape)
        case Concat(branches=branches):
            shapes = [output_of(branch, shape) for branch in branches]
            return (*shapes[0][:-1], sum(inner[-1] for inner in shapes))
    return shape


def output_of(layers: tuple[Layer, ...], shape: Shape) -> Shape:
    """Shape behind layers in a row."""
    for layer in layers:
        shape = output_shape(layer, shape)
    return shape


def parts(layer: Layer, path: str) -> list[tuple[str, tuple[Layer, ...]]]:
    """(prefix of the paths, layers) of each row of layers inside a Residual or Concat."""
    match layer:
        case Residual(body=body, shortcut=shortcut):
            return [(f"{path}.body.", body), (f"{path}.shortcut.", shortcut)]
        case Concat(branches=branches):
            return [(f"{path}.branch{i}.", branch) for i, branch in enumerate(branches)]
    return []


def walk(layers: tuple[Layer, ...], shape: Shape, prefix: str = "") -> Iterator[tuple[str, Layer, Shape]]:
    """(path, layer, input shape) of every layer, the inner ones of a Residual or Concat instead of itself.

    Paths are the keys of the weights: "0", "3.body.0", "3.shortcut.1", "4.branch2.0".
    """
    for i, layer in enumerate(layers):
        path = f"{prefix}{i}"
        inside = parts(layer, path)
        for inner_prefix, row in inside:
            yield from walk(row, shape, inner_prefix)
        if not inside:
            yield path, layer, shape
        shape = output_shape(layer, shape)


def initial_weights(network: Network, seed: int = 0) -> Weights:
    """He's initialization (He et al. 2015), with biases and BatchNorm statistics that are not trivial."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}

    def put(name: str, values: np.ndarray) -> None:
        weights[name] = values.astype(np.float32)

    for path, layer, shape in walk(network.layers, network.input_shape):
        if isinstance(layer, Dense | Conv2D):
            if isinstance(layer, Dense):
                full: Shape = (layer.units, shape[0])
            else:
                full = (layer.filters, layer.kernel_size, layer.kernel_size, shape[-1] // layer.groups)
            put(f"{path}.weight", rng.standard_normal(full) * np.sqrt(2 / np.prod(full[1:])))
            if isinstance(layer, Dense) or layer.use_bias:
                put(f"{path}.bias", 0.01 * rng.standard_normal(full[0]))
        elif isinstance(layer, BatchNorm):
            for name, low, high in (("gamma", 0.5, 1), ("beta", 0, 0.1), ("running_mean", 0, 0.1),
                                    ("running_var", 0.8, 1.2)):  # fmt: skip
                put(f"{path}.{name}", rng.uniform(low, high, shape[-1]))
    return weights


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
    """One random batch: `x` (N, ...) float32, and labels `y` (N,) int64 or, for the squared error, `x`."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((network.batch, *network.input_shape), dtype=np.float32)
    if network.loss == "squared error":
        return x, x
    return x, rng.integers(0, network.outputs, network.batch)


def activate(a: np.ndarray, activation: str | None) -> np.ndarray:
    return {None: lambda a: a, "relu": lambda a: np.maximum(a, 0), "tanh": np.tanh,
            "sigmoid": lambda a: 1 / (1 + np.exp(-a))}[activation](a)  # fmt: skip


def windows_of(x: np.ndarray, size: int, stride: int, padding: int = 0, fill: float = 0.0) -> np.ndarray:
    """All windows of images `x` (N, H, W, C) as a view (N, OH, OW, C, size, size)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def convolve(layer: Conv2D, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    windows = windows_of(x, layer.kernel_size, layer.stride, layer.padding)
    pieces = zip(np.split(windows, layer.groups, axis=3), np.split(weight, layer.groups))
    return np.concatenate([np.tensordot(w, f, ((3, 4, 5), (3, 1, 2))) for w, f in pieces], axis=-1)


def forward(layers: tuple[Layer, ...], weights: Weights, x: np.ndarray, prefix: str = "") -> np.ndarray:
    """Logits in plain NumPy, in inference mode; give float64 `x` for the reference of `--check`."""
    for i, layer in enumerate(layers):
        path = f"{prefix}{i}"
        match layer:
            case Dense(activation=activation):
                x = activate(x @ weights[f"{path}.weight"].T + weights[f"{path}.bias"], activation)
            case Conv2D(activation=activation):
                a = convolve(layer, x, weights[f"{path}.weight"])
                x = activate(a + weights.get(f"{path}.bias", 0), activation)
            case MaxPool2D(size=k, stride=s, padding=p):
                x = windows_of(x, k, s, p, -np.inf).max(axis=(4, 5))
            case AvgPool2D(size=k):
                x = windows_of(x, k, k).mean(axis=(4, 5))
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
            case Concat():
                branches = [forward(row, weights, x, prefix) for prefix, row in parts(layer, path)]
                x = np.concatenate(branches, axis=-1)
    return x
