"""Layers: each is a shape rule, parameters, forward and backward, on about one screen."""

from .activations import (
    ELU,
    GELU,
    SELU,
    Activation,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Step,
    Tanh,
)
from .base import Layer, WeightedLayer, from_config, to_config
from .containers import Concat, Residual, Sequential
from .conv import Conv2D
from .dense import Dense, TiedDense
from .dropout import Dropout
from .layer_norm import LayerNorm
from .lrn import LRN
from .model import Model
from .noise import AlphaDropout, GaussianNoise, MaskingNoise, StochasticGate
from .normalization import BatchNorm
from .parametric import Maxout, PReLU, Swish
from .pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from .reshape import Flatten, Reshape

__all__ = [
    "ELU",
    "GELU",
    "LRN",
    "SELU",
    "Activation",
    "AlphaDropout",
    "AvgPool2D",
    "BatchNorm",
    "Concat",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool2D",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaskingNoise",
    "MaxPool2D",
    "Maxout",
    "Model",
    "PReLU",
    "ReLU",
    "Reshape",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "StochasticGate",
    "Swish",
    "Tanh",
    "TiedDense",
    "WeightedLayer",
    "from_config",
    "to_config",
]
