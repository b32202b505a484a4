"""Training: the loop, what happens around it, and its files."""

from .callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping
from .history import History
from .monitor import LayerMonitor
from .plateau import HalveOnWorse, ReduceLROnPlateau
from .search import RangeTest, RateSearch, log_search, lr_range_test
from .trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "HalveOnWorse",
    "History",
    "LayerMonitor",
    "RangeTest",
    "RateSearch",
    "ReduceLROnPlateau",
    "Trainer",
    "log_search",
    "lr_range_test",
]
