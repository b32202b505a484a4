"""Training: the loop, what happens around it, and its files."""

from .callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping
from .history import History
from .trainer import Trainer

__all__ = ["CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "History", "Trainer"]
