"""Every picture. Matplotlib is imported only here, and only when a picture is drawn.

Each function returns a `matplotlib.figure.Figure`; `save(figure, path)` writes it.
"""

from .augmentation import augmented
from .curves import learning_curves
from .evaluation import confusion, mistakes
from .figure import save
from .filters import filters
from .rates import learning_rates, range_test, rate_search
from .roofline import roofline

__all__ = [
    "augmented",
    "confusion",
    "filters",
    "learning_curves",
    "learning_rates",
    "mistakes",
    "range_test",
    "rate_search",
    "roofline",
    "save",
]
