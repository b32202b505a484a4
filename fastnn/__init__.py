"""fastnn: a deep learning framework to learn from, over the fastest CPU kernels.

>>> import fastnn as nn
>>> model = nn.Sequential([nn.Dense(3, activation="tanh"), nn.Dense(2)], input_shape=(4,), seed=0)
>>> model.output_shape
(2,)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import initializers, layers, metrics, models, testing
from .config import get_num_threads, set_num_threads, show_config
from .errors import FastnnError, FileFormatError, MissingExtraError, NonFiniteError, NotBuiltError, ShapeError
from .kernels import use_kernels
from .layers import (
    ELU,
    GELU,
    LRN,
    SELU,
    Activation,
    AlphaDropout,
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2D,
    HardSigmoid,
    HardSwish,
    HardTanh,
    Layer,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    MaskingNoise,
    Maxout,
    MaxPool2D,
    Model,
    PReLU,
    ReLU,
    Reshape,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Step,
    StochasticGate,
    Swish,
    Tanh,
    TiedDense,
)
from .losses import (
    NLL,
    BinaryCrossEntropy,
    Hinge,
    Huber,
    KLDivergence,
    Loss,
    SoftmaxCrossEntropy,
    SquaredError,
)
from .optimizers import (
    NAG,
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    AMSGrad,
    ArmijoLineSearch,
    LineSearch,
    MaxProp,
    Momentum,
    NAdam,
    Optimizer,
    RMSProp,
)
from .parameter import Parameter
from .racing import race

if TYPE_CHECKING:
    from . import regularizers, schedules, theory
    from .chain_rule import backward_record, chain_rule_paths, forward_record
    from .data import augmentation, datasets
    from .files import load
    from .inference import InferenceModel
    from .training import (
        Callback,
        Checkpoint,
        CSVLogger,
        EarlyStopping,
        Ensemble,
        HalveOnWorse,
        History,
        LayerMonitor,
        ReduceLROnPlateau,
        Trainer,
        bagging,
        log_search,
        lr_range_test,
        pretrain_layerwise,
        train_ensemble,
    )

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "LRN",
    "NAG",
    "NLL",
    "SELU",
    "SGD",
    "AMSGrad",
    "Activation",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "AlphaDropout",
    "ArmijoLineSearch",
    "AvgPool2D",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Concat",
    "Conv2D",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Ensemble",
    "FastnnError",
    "FileFormatError",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool2D",
    "HalveOnWorse",
    "HardSigmoid",
    "HardSwish",
    "HardTanh",
    "Hinge",
    "History",
    "Huber",
    "InferenceModel",
    "KLDivergence",
    "Layer",
    "LayerMonitor",
    "LayerNorm",
    "LeakyReLU",
    "LineSearch",
    "Linear",
    "LogSoftmax",
    "Loss",
    "MaskingNoise",
    "MaxPool2D",
    "MaxProp",
    "Maxout",
    "MissingExtraError",
    "Model",
    "Momentum",
    "NAdam",
    "NonFiniteError",
    "NotBuiltError",
    "Optimizer",
    "PReLU",
    "Parameter",
    "RMSProp",
    "ReLU",
    "ReduceLROnPlateau",
    "Reshape",
    "Residual",
    "Sequential",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredError",
    "Step",
    "StochasticGate",
    "Swish",
    "Tanh",
    "TiedDense",
    "Trainer",
    "augmentation",
    "backward_record",
    "bagging",
    "chain_rule_paths",
    "datasets",
    "forward_record",
    "get_num_threads",
    "initializers",
    "layers",
    "load",
    "log_search",
    "lr_range_test",
    "metrics",
    "models",
    "pretrain_layerwise",
    "race",
    "regularizers",
    "schedules",
    "set_num_threads",
    "show_config",
    "testing",
    "theory",
    "train_ensemble",
    "use_kernels",
]

# Loaded at their first use: not every program needs them, and they cost a third of what fastnn adds to the
# time that NumPy takes to be imported.
_LATER = {
    **dict.fromkeys(["backward_record", "chain_rule_paths", "forward_record"], ".chain_rule"),
    "augmentation": ".data.augmentation", "datasets": ".data.datasets", "load": ".files",
    "InferenceModel": ".inference", "regularizers": ".regularizers", "schedules": ".schedules",
    "theory": ".theory",
    **dict.fromkeys(
        ["CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "Ensemble", "HalveOnWorse", "History",
         "LayerMonitor", "ReduceLROnPlateau", "Trainer", "bagging", "log_search", "lr_range_test",
         "pretrain_layerwise", "train_ensemble"],
        ".training",
    ),
}  # fmt: skip

if not TYPE_CHECKING:  # a type checker would take any name for one of these

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
        module = import_module(_LATER[name], __name__)
        value = globals()[name] = getattr(module, name, module)  # or the module itself: datasets
        return value


def __dir__():
    return sorted({*globals(), *__all__})
