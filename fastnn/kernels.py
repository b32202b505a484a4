"""The one door to the kernels: the compiled ones, or their NumPy twins.

`fastnn.use_kernels("reference")` switches every model of the process to the plain NumPy forms of
`fastnn/reference/`, `fastnn.use_kernels("compiled")` switches back.
"""

import importlib

#: Family -> names. A family is a file of the same name in `_ext/` and in `reference/`.
FAMILIES = {
    "gemm": ["gemm"],
    "dense": ["dense_prepare", "dense_forward", "dense_backward"],
    "conv": [
        "conv2d_prepare", "conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight",
        "im2col", "col2im",
    ],
    "pooling": [
        "max_pool2d_forward", "max_pool2d_backward", "avg_pool2d_forward", "avg_pool2d_backward",
        "global_avg_pool2d_forward", "global_avg_pool2d_backward",
    ],
    "normalization": ["batchnorm_forward", "batchnorm_inference", "batchnorm_backward"],
    "layer_norm": ["layernorm_forward", "layernorm_backward"],
    "lrn": ["lrn_forward", "lrn_backward"],
    "activations": [
        "activation_forward", "activation_backward", "add_forward", "softmax_forward", "softmax_backward",
        "log_softmax_forward", "log_softmax_backward",
    ],
    "parametric": [
        "prelu_forward", "prelu_backward", "swish_backward", "maxout_forward", "maxout_backward",
    ],
    "concat": ["concat_forward", "concat_backward"],
    "regression": ["squared_error", "huber"],
    "classification": ["softmax_cross_entropy", "nll"],
    "margin": ["binary_cross_entropy", "hinge"],
    "divergence": ["kl_divergence"],
    "dropout": ["dropout_forward", "dropout_backward"],
    "augmentation": ["warp_images", "erase_images", "adjust_images"],
    "noise": ["gaussian_noise_forward", "stochastic_gate_forward", "stochastic_gate_backward"],
    "optimizers": ["sum_of_squares"],
    "regularizers": ["weight_penalty", "max_norm"],
    "sgd": ["sgd_step", "momentum_step"],
    "adaptive": ["adagrad_step", "rmsprop_step", "adadelta_step"],
    "adam": ["adam_step", "nadam_step", "adamax_step"],
}  # fmt: skip

_packages = {"compiled": "fastnn._ext", "reference": "fastnn.reference"}
_current = ""


def use_kernels(which):
    """Switch all models to the compiled kernels or to their NumPy twins.

    Parameters
    ----------
    which : {"compiled", "reference"}

    Returns
    -------
    str
        What was in use before, to switch back.
    """
    global _current
    if which not in _packages:
        raise ValueError(f"which: expected 'compiled' or 'reference'. Received: {which!r}")
    before = _current
    for family, names in FAMILIES.items():
        module = importlib.import_module(f"{_packages[which]}.{family}")
        for name in names:
            globals()[name] = getattr(module, name)
    _current = which
    return before


def kernels_in_use():
    """Return "compiled" or "reference"."""
    return _current


use_kernels("compiled")
from .reference.activations import SAVES_INPUT  # noqa: E402, F401
