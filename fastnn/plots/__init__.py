"""Every picture. Matplotlib is imported only here, and only when a picture is drawn.

Each function returns a `matplotlib.figure.Figure`; `save(figure, path)` writes it.
"""

from .curves import learning_curves
from .evaluation import confusion, mistakes
from .figure import save
from .filters import filters
from .roofline import roofline

__all__ = ["confusion", "filters", "learning_curves", "mistakes", "roofline", "save"]
