"""Rules that change the parameters by the gradient."""

from .adam import Adam
from .base import Optimizer
from .sgd import SGD, Momentum

__all__ = ["SGD", "Adam", "Momentum", "Optimizer"]
