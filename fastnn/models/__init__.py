"""Networks of the notes, one paper a file."""

from .lenet import lenet5
from .mlp import mlp

__all__ = ["lenet5", "mlp"]
