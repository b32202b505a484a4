"""Networks of the notes, one paper a file."""

from .autoencoder import autoencoder
from .lenet import lenet5
from .mlp import mlp

__all__ = ["autoencoder", "lenet5", "mlp"]
