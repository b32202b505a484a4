"""Losses: a number for how wrong the outputs are, and its gradient with respect to them."""

from .base import Loss
from .classification import NLL, SoftmaxCrossEntropy
from .divergence import KLDivergence
from .margin import BinaryCrossEntropy, Hinge
from .regression import Huber, SquaredError

__all__ = [
    "NLL",
    "BinaryCrossEntropy",
    "Hinge",
    "Huber",
    "KLDivergence",
    "Loss",
    "SoftmaxCrossEntropy",
    "SquaredError",
]
