"""PyTorch: eager with contiguous images, eager with channels last, and compiled by inductor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import networks as net
import numpy as np
import torch
from torch import nn
from torch.nn import functional

Step = Callable[[], torch.Tensor]
LOSSES = {"cross-entropy": functional.cross_entropy, "squared error": functional.mse_loss}


def version(variant: str) -> str:
    return f"torch {torch.__version__}"


def activation_layer(name: str | None) -> list[nn.Module]:
    return [] if name is None else [{"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[name]()]


class Residual(nn.Module):
    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


class Concat(nn.Module):
    def __init__(self, branches: list[nn.Sequential]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def load(module: nn.Module, weights: net.Weights, path: str) -> nn.Module:
    names = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias",
             "running_mean": "running_mean", "running_var": "running_var"}  # fmt: skip
    state = {names[key]: weights[f"{path}.{key}"] for key in names if f"{path}.{key}" in weights}
    module.load_state_dict({name: torch.tensor(w) for name, w in state.items()}, strict=False)
    return module


def sequential(layers: tuple, shape: net.Shape, weights: net.Weights, prefix: str = "") -> nn.Sequential:
    modules: list[nn.Module] = []
    for i, layer in enumerate(layers):
        path = f"{prefix}{i}"
        match layer:
            case net.Dense():
                modules.append(load(nn.Linear(shape[0], layer.units), weights, path))
            case net.Conv2D():
                conv = nn.Conv2d(shape[-1], layer.filters, layer.kernel_size, layer.stride, layer.padding,
                                 groups=layer.groups, bias=layer.use_bias)  # fmt: skip
                modules.append(load(conv, weights, path))
            case net.MaxPool2D():
                modules.append(nn.MaxPool2d(layer.size, layer.stride, layer.padding))
            case net.AvgPool2D():
                modules.append(nn.AvgPool2d(layer.size))
            case net.BatchNorm():
                norm = nn.BatchNorm2d(shape[-1], eps=net.EPS, momentum=1 - net.MOMENTUM)
                modules.append(load(norm, weights, path))
            case net.Flatten():
                modules.append(nn.Flatten())
            case net.GlobalAvgPool2D():
                modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            case net.Residual() | net.Concat():
                inside = [sequential(row, shape, weights, inner) for inner, row in net.parts(layer, path)]
                modules.append(Residual(*inside) if isinstance(layer, net.Residual) else Concat(inside))
        if not isinstance(layer, net.Residual):
            modules += activation_layer(getattr(layer, "activation", None))
        shape = net.output_shape(layer, shape)
    return nn.Sequential(*modules)


def build(network: net.Network, weights: net.Weights, x: np.ndarray, channels_last: bool):
    model = sequential(network.layers, network.input_shape, net.channels_first(network, weights))
    images = torch.from_numpy(net.images_first(x))
    if channels_last and images.ndim == 4:
        layout = torch.channels_last
        return model.to(memory_format=layout), images.contiguous(memory_format=layout)
    return model, images


def layouts(variant: str, network: net.Network) -> list[str]:
    """The layouts that a variant tries; torch.compile may take the faster one."""
    if len(network.input_shape) == 1:
        return ["contiguous"]
    return {"torch": ["contiguous"], "torch-channels-last": ["channels last"],
            "torch-compile": ["contiguous", "channels last"]}[variant]  # fmt: skip


def train(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray, y: np.ndarray,
          threads: int) -> dict[str, Callable[[], Step]]:  # fmt: skip
    torch.set_num_threads(threads)
    labels, loss_function = torch.from_numpy(y), LOSSES[network.loss]
    makers: dict[str, Callable[[], Step]] = {}
    for layout in layouts(variant, network):
        for fused in (None, True):

            def make(layout: str, fused: bool | None) -> Step:
                model, images = build(network, weights, x, layout == "channels last")
                optimizer = torch.optim.Adam(model.parameters(), lr=network.lr, fused=fused)

                def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
                    return loss_function(model(images), labels)

                if variant == "torch-compile":
                    loss_of = torch.compile(loss_of)

                def step() -> torch.Tensor:
                    optimizer.zero_grad(set_to_none=True)
                    loss = loss_of(images, labels)
                    loss.backward()
                    optimizer.step()
                    return loss

                return step

            makers[f"{layout}, {'fused' if fused else 'default'} Adam"] = partial(make, layout, fused)
    return makers


def infer(variant: str, network: net.Network, weights: net.Weights, x: np.ndarray,
          threads: int) -> dict[str, Callable[[], Step]]:  # fmt: skip
    torch.set_num_threads(threads)
    makers: dict[str, Callable[[], Step]] = {}
    for layout in layouts(variant, network):
        for freezing in (False, True) if variant == "torch-compile" else (False,):

            def make(layout: str, freezing: bool) -> Step:
                model, images = build(network, weights, x, layout == "channels last")
                model.eval()
                if variant == "torch-compile":
                    model = torch.compile(model, options={"freezing": freezing})

                def call() -> torch.Tensor:
                    with torch.inference_mode():
                        return model(images)

                return call

            makers[f"{layout}{', freezing' if freezing else ''}"] = partial(make, layout, freezing)
    return makers


def to_numpy(result: torch.Tensor) -> np.ndarray:
    return result.detach().numpy()
