"""Training: the loop, what happens around it, and its files."""

from .bootstrap import bagging, train_ensemble
from .callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping
from .ensemble import Ensemble
from .history import History
from .monitor import LayerMonitor
from .plateau import HalveOnWorse, ReduceLROnPlateau
from .pretraining import PretrainedLayer, pretrain_layerwise
from .search import RangeTest, RateSearch, log_search, lr_range_test
from .trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Ensemble",
    "HalveOnWorse",
    "History",
    "LayerMonitor",
    "PretrainedLayer",
    "RangeTest",
    "RateSearch",
    "ReduceLROnPlateau",
    "Trainer",
    "bagging",
    "log_search",
    "lr_range_test",
    "pretrain_layerwise",
    "train_ensemble",
]
