"""Every picture. Matplotlib is imported only here, and only when a picture is drawn.

Each function returns a `matplotlib.figure.Figure`; `save(figure, path)` writes it.
"""

from .activations import activations
from .augmentation import augmented
from .curves import learning_curves
from .evaluation import confusion, mistakes
from .figure import save
from .filters import filters
from .layers import layers
from .rates import learning_rates, range_test, rate_search
from .roofline import roofline
from .surfaces import animate_paths, effective_rates, look_ahead, optimizer_paths, surface

__all__ = [
    "activations",
    "animate_paths",
    "augmented",
    "confusion",
    "effective_rates",
    "filters",
    "layers",
    "learning_curves",
    "learning_rates",
    "look_ahead",
    "mistakes",
    "optimizer_paths",
    "range_test",
    "rate_search",
    "roofline",
    "save",
    "surface",
]
