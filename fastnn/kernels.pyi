"""Types of the kernels; `fastnn/reference/` shows what each computes."""

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.floating]

SAVES_INPUT: frozenset[str]
FAMILIES: dict[str, list[str]]

def use_kernels(which: str) -> str: ...
def kernels_in_use() -> str: ...
def gemm(
    a: _Array, b: _Array, out: _Array, bias: _Array | None = None, trans_a: bool = False,
    trans_b: bool = False, activation: str = "linear", alpha: float = 0.0, accumulate: bool = False,
    algorithm: str = "tile",
) -> None: ...  # fmt: skip
def dense_prepare(weight: _Array) -> _Array | None: ...
def dense_forward(
    x: _Array, weight: _Array, bias: _Array | None, y: _Array, activation: str = "linear", alpha: float = 0.0,
    prepared: _Array | None = None,
) -> None: ...  # fmt: skip
def dense_backward(
    x: _Array, weight: _Array, da: _Array, dx: _Array | None, dw: _Array | None, db: _Array | None,
    accumulate: bool = False,
) -> None: ...  # fmt: skip
def conv2d_prepare(
    weight: _Array, input_shape: tuple[int, int, int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int], dilation: tuple[int, int], groups: int = 1, algorithm: str = "auto",
) -> tuple[str, _Array | None]: ...  # fmt: skip
def conv2d_forward(
    x: _Array, weight: _Array, bias: _Array | None, y: _Array, stride: tuple[int, int],
    padding: tuple[int, int, int, int], dilation: tuple[int, int], groups: int = 1,
    activation: str = "linear", alpha: float = 0.0, algorithm: str = "auto", prepared: _Array | None = None,
    add: _Array | None = None, pool: bool = False, moments: _Array | None = None,
) -> None: ...  # fmt: skip
def conv2d_backward_input(
    da: _Array, weight: _Array, dx: _Array, stride: tuple[int, int], padding: tuple[int, int, int, int],
    dilation: tuple[int, int], groups: int = 1, algorithm: str = "auto",
) -> None: ...  # fmt: skip
def conv2d_backward_weight(
    x: _Array, da: _Array, dw: _Array, db: _Array | None, stride: tuple[int, int],
    padding: tuple[int, int, int, int], dilation: tuple[int, int], groups: int = 1, accumulate: bool = False,
    algorithm: str = "auto",
) -> None: ...  # fmt: skip
def im2col(
    x: _Array, cols: _Array, kernel_size: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int], dilation: tuple[int, int],
) -> None: ...  # fmt: skip
def col2im(
    cols: _Array, x: _Array, kernel_size: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int], dilation: tuple[int, int],
) -> None: ...  # fmt: skip
def max_pool2d_forward(
    x: _Array, y: _Array, index: NDArray[np.uint8] | None, pool_size: tuple[int, int],
    stride: tuple[int, int], padding: tuple[int, int, int, int],
) -> None: ...  # fmt: skip
def max_pool2d_backward(
    dy: _Array, index: NDArray[np.uint8], dx: _Array, pool_size: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> None: ...  # fmt: skip
def avg_pool2d_forward(
    x: _Array, y: _Array, pool_size: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int], count_include_pad: bool = True,
) -> None: ...  # fmt: skip
def avg_pool2d_backward(
    dy: _Array, dx: _Array, pool_size: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int, int, int], count_include_pad: bool = True,
) -> None: ...  # fmt: skip
def global_avg_pool2d_forward(x: _Array, y: _Array) -> None: ...
def global_avg_pool2d_backward(dy: _Array, dx: _Array) -> None: ...
def batchnorm_forward(
    x: _Array, gamma: _Array, beta: _Array, y: _Array, mean: _Array, inv_std: _Array,
    running_mean: _Array | None, running_var: _Array | None, momentum: float, eps: float,
    activation: str = "linear", alpha: float = 0.0, add: _Array | None = None, moments: _Array | None = None,
) -> None: ...  # fmt: skip
def batchnorm_inference(
    x: _Array, gamma: _Array, beta: _Array, running_mean: _Array, running_var: _Array, y: _Array, eps: float,
    activation: str = "linear", alpha: float = 0.0, add: _Array | None = None,
) -> None: ...  # fmt: skip
def batchnorm_backward(
    dy: _Array, x: _Array, y: _Array | None, gamma: _Array, mean: _Array, inv_std: _Array, dx: _Array | None,
    dgamma: _Array | None, dbeta: _Array | None, activation: str = "linear", alpha: float = 0.0,
    accumulate: bool = False, beta: _Array | None = None,
) -> None: ...  # fmt: skip
def layernorm_forward(
    x: _Array, gamma: _Array, beta: _Array, y: _Array, mean: _Array, inv_std: _Array, eps: float,
) -> None: ...  # fmt: skip
def layernorm_backward(
    dy: _Array, x: _Array, gamma: _Array, mean: _Array, inv_std: _Array, dx: _Array | None, dgamma: _Array,
    dbeta: _Array, accumulate: bool = False,
) -> None: ...  # fmt: skip
def lrn_forward(
    x: _Array, y: _Array, scale: _Array, size: int, alpha: float, beta: float, k: float,
) -> None: ...  # fmt: skip
def lrn_backward(
    dy: _Array, x: _Array, y: _Array, scale: _Array, dx: _Array, size: int, alpha: float, beta: float,
    k: float,
) -> None: ...  # fmt: skip
def activation_forward(x: _Array, y: _Array, activation: str, alpha: float = 0.0) -> None: ...
def activation_backward(
    dy: _Array, saved: _Array, da: _Array, activation: str, alpha: float = 0.0,
) -> None: ...  # fmt: skip
def add_forward(a: _Array, b: _Array, y: _Array, activation: str = "linear", alpha: float = 0.0) -> None: ...
def prelu_forward(x: _Array, alpha: _Array, y: _Array) -> None: ...
def prelu_backward(
    dy: _Array, x: _Array, alpha: _Array, dx: _Array, dalpha: _Array, accumulate: bool = False,
) -> None: ...  # fmt: skip
def swish_backward(
    dy: _Array, x: _Array, beta: float, dx: _Array, dbeta: _Array, accumulate: bool = False,
) -> None: ...  # fmt: skip
def maxout_forward(a: _Array, y: _Array, index: NDArray[np.uint8] | None) -> None: ...
def maxout_backward(dy: _Array, index: NDArray[np.uint8], da: _Array) -> None: ...
def softmax_forward(x: _Array, y: _Array) -> None: ...
def softmax_backward(dy: _Array, y: _Array, dx: _Array) -> None: ...
def log_softmax_forward(x: _Array, y: _Array) -> None: ...
def log_softmax_backward(dy: _Array, y: _Array, dx: _Array) -> None: ...
def softmax_cross_entropy(
    logits: _Array, target: NDArray, sample_weight: _Array | None, dlogits: _Array | None, losses: _Array,
    class_weight: _Array | None = None, label_smoothing: float = 0.0, reduction: str = "mean_samples",
) -> float: ...  # fmt: skip
def nll(
    log_probs: _Array, target: NDArray, sample_weight: _Array | None, dlog_probs: _Array | None,
    losses: _Array, class_weight: _Array | None = None, reduction: str = "mean_samples",
) -> float: ...  # fmt: skip
def kl_divergence(
    logits: _Array, target: _Array, sample_weight: _Array | None, dlogits: _Array | None, losses: _Array,
    reduction: str = "mean_samples",
) -> float: ...  # fmt: skip
def binary_cross_entropy(
    logits: _Array, target: _Array, sample_weight: _Array | None, dlogits: _Array | None, losses: _Array,
    class_weight: _Array | None = None, reduction: str = "mean_samples",
) -> float: ...  # fmt: skip
def hinge(
    scores: _Array, target: NDArray, sample_weight: _Array | None, dscores: _Array | None, losses: _Array,
    class_weight: _Array | None = None, squared: bool = False, reduction: str = "mean_samples",
) -> float: ...  # fmt: skip
def huber(
    prediction: _Array, target: _Array, sample_weight: _Array | None, dprediction: _Array | None,
    losses: _Array, delta: float = 1.0, reduction: str = "mean_samples",
) -> float: ...  # fmt: skip
def squared_error(
    prediction: _Array, target: NDArray, sample_weight: _Array | None, dprediction: _Array | None,
    losses: _Array, reduction: str = "mean_samples", half: bool = False,
) -> float: ...  # fmt: skip
def dropout_forward(
    x: _Array, y: _Array, rate: float, key: int, scale: float | None = None, shift: float = 0.0,
    fill: float = 0.0, same_mask: bool = False,
) -> None: ...  # fmt: skip
def dropout_backward(
    dy: _Array, dx: _Array, rate: float, key: int, scale: float | None = None, same_mask: bool = False,
) -> None: ...  # fmt: skip
def warp_images(
    x: _Array, y: _Array, matrix: NDArray[np.float64], fill: str = "constant", value: float = 0.0,
    interpolation: str = "bilinear",
) -> None: ...  # fmt: skip
def erase_images(x: _Array, y: _Array, boxes: NDArray[np.int64], value: float = 0.0) -> None: ...
def adjust_images(
    x: _Array, y: _Array, contrast: NDArray[np.float64], brightness: NDArray[np.float64],
    low: float | None = None, high: float | None = None,
) -> None: ...  # fmt: skip
def gaussian_noise_forward(x: _Array, y: _Array, std: float, key: int) -> None: ...
def stochastic_gate_forward(x: _Array, y: _Array, phi: str, key: int) -> None: ...
def stochastic_gate_backward(dy: _Array, x: _Array, dx: _Array, phi: str, key: int) -> None: ...
def sum_of_squares(x: _Array) -> float: ...
def weight_penalty(theta: _Array, grad: _Array | None, l1: float, l2: float) -> float: ...
def max_norm(weight: _Array, limit: float) -> None: ...
def sgd_step(
    theta: _Array, grad: _Array, lr: float, weight_decay: float = 0.0, scale: float = 1.0, clip: float = 0.0,
) -> None: ...  # fmt: skip
def momentum_step(
    theta: _Array, grad: _Array, velocity: _Array, lr: float, momentum: float, weight_decay: float = 0.0,
    form: str = "grad_sum", nesterov: bool = False, scale: float = 1.0, clip: float = 0.0,
) -> None: ...  # fmt: skip
def adagrad_step(
    theta: _Array, grad: _Array, v: _Array, lr: float, eps: float, weight_decay: float = 0.0,
    eps_mode: str = "outside", scale: float = 1.0, clip: float = 0.0,
) -> None: ...  # fmt: skip
def rmsprop_step(
    theta: _Array, grad: _Array, v: _Array, mean: _Array | None, velocity: _Array | None, lr: float,
    rho: float, eps: float, momentum: float = 0.0, weight_decay: float = 0.0, eps_mode: str = "outside",
    scale: float = 1.0, clip: float = 0.0,
) -> None: ...  # fmt: skip
def adadelta_step(
    theta: _Array, grad: _Array, v: _Array, u: _Array, lr: float, rho: float, eps: float,
    weight_decay: float = 0.0, scale: float = 1.0, clip: float = 0.0,
) -> None: ...  # fmt: skip
def adam_step(
    theta: _Array, grad: _Array, m: _Array, v: _Array, step: int, lr: float, beta1: float, beta2: float,
    eps: float, weight_decay: float = 0.0, decoupled: bool = False, eps_mode: str = "outside",
    bias_correction: bool = True, v_max: _Array | None = None, scale: float = 1.0, clip: float = 0.0,
) -> None: ...  # fmt: skip
def nadam_step(
    theta: _Array, grad: _Array, m: _Array, v: _Array, step: int, lr: float, beta1: float, beta2: float,
    eps: float, m_share: float, g_share: float, weight_decay: float = 0.0, decoupled: bool = False,
    eps_mode: str = "outside", scale: float = 1.0, clip: float = 0.0,
) -> None: ...  # fmt: skip
def adamax_step(
    theta: _Array, grad: _Array, m: _Array | None, u: _Array, step: int, lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float = 0.0, eps_mode: str = "denominator", scale: float = 1.0,
    clip: float = 0.0,
) -> None: ...  # fmt: skip
def concat_forward(x: _Array, y: _Array, start: int) -> None: ...
def concat_backward(dy: _Array, dx: _Array, start: int) -> None: ...
