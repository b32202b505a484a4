"""Rules that change the parameters by the gradient."""

from .adam import Adam, AdaMax, AdamW, AMSGrad, MaxProp, NAdam
from .adaptive import AdaDelta, AdaGrad, RMSProp
from .base import Optimizer
from .line_search import ArmijoLineSearch, LineSearch
from .sgd import NAG, SGD, Momentum

__all__ = [
    "NAG",
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "ArmijoLineSearch",
    "LineSearch",
    "MaxProp",
    "Momentum",
    "NAdam",
    "Optimizer",
    "RMSProp",
]
