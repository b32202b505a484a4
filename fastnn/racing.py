"""`fastnn.race`: one layer, every way to compute it, side by side."""

import numpy as np

from . import kernels
from .errors import ShapeError
from .layers.base import Layer
from .layers.conv import Conv2D
from .layers.dense import Dense
from .layers.model import Model
from .layers.summary import aligned, number
from .machine import giga, median_seconds
from .testing import copy_of, pairs_of, run

CONVOLUTIONS = ("auto", "direct", "im2col", "winograd")
PRODUCTS = ("tile", "blas")


def race(layer, x, algorithms=None, seconds=0.3):
    """Time a layer's forward and backward pass with the compiled kernels and with their NumPy twins.

    Layers that offer several algorithms run each of them: convolutions "auto", "direct", "im2col" and
    "winograd"; dense layers, where there are no convolutions, the kernel's own "tile" and "blas", which hands
    the same three products to NumPy's BLAS (with as many threads as that is set to use). The layer itself is
    left alone. Prints a table; the difference is the largest one to the twins among output and gradients, in
    units of the largest element of each. Multiply-adds count as two operations, and backward as twice
    forward; layers without any have no GFLOP/s.

    Parameters
    ----------
    layer : Layer or Model
    x : ndarray (N, ...)
        float32 or float64: the kernels of that dtype run.
    algorithms : list of str, optional
        Which of those that the layer offers; all by default.
    seconds : float
        Time for each measurement.

    Returns
    -------
    list of dict
        With the keys `kernels`, `algorithm`, `forward_ms`, `backward_ms`, `forward_gflops`,
        `backward_gflops`, `difference`, and `error` instead of the times where an algorithm does not apply.

    Examples
    --------
    >>> import numpy as np, fastnn as nn
    >>> rows = nn.race(nn.Dense(10), np.ones((32, 84), np.float32), seconds=0.01)  # doctest: +ELLIPSIS
    Dense...
    >>> [row["kernels"] + " " + row["algorithm"] for row in rows]
    ['reference ', 'compiled tile', 'compiled blas']
    """
    _check(layer, x)
    model = copy_of(layer, x.shape[1:], x.dtype)
    dy = np.random.default_rng(0).normal(size=(len(x), *model.output_shape)).astype(x.dtype)
    operations = 2 * len(x) * sum(inner.multiply_adds() for _, inner in model.walk() if not inner.children())

    rows, truth, before = [], None, kernels.kernels_in_use()
    try:
        for which, algorithm in [("reference", ""), *(("compiled", a) for a in _chosen(model, algorithms))]:
            row = {"kernels": which, "algorithm": algorithm}
            rows.append(row)
            try:
                _use(which, model, algorithm)
                result = _measure(row, model, x, dy, operations, seconds)
            except ValueError as error:
                if algorithm not in ("im2col", "winograd"):
                    raise
                row["error"] = str(error)  # Winograd, say, with a stride
                continue
            truth = truth or result
            row["difference"] = _difference(result, truth)
    finally:
        kernels.use_kernels(before)
    print(_table(layer, x, rows))
    return rows


def _check(layer, x):
    if not isinstance(layer, Layer):
        hint = f"; write {layer.__name__}(...)" if isinstance(layer, type) else ""
        raise TypeError(f"layer: expected a Layer or a Model. Received: {layer!r}{hint}")
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        received = f"dtype={x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"x: expected a float32 or float64 array. Received: {received}")
    if x.ndim < 2 or not len(x):
        raise ShapeError(f"x: expected a batch (N, ...) of at least one sample. Received: shape={x.shape}")
    if layer.input_shape not in (None, x.shape[1:]):
        expected = ", ".join(map(str, ("N", *layer.input_shape)))
        raise ShapeError(
            f"x: expected shape ({expected}), as {layer.label()} was built for. Received: shape={x.shape}"
        )


def _chosen(model, algorithms):
    """Names of the ways to run; [""] for layers with only one."""
    offered: list[str] = []
    for kind, names in ((Conv2D, CONVOLUTIONS), (Dense, PRODUCTS)):
        if not offered and any(isinstance(inner, kind) for _, inner in model.walk()):
            offered = list(names)
    if algorithms is None:
        return offered or [""]
    algorithms = [algorithms] if isinstance(algorithms, str) else list(algorithms)
    if unknown := [name for name in algorithms if name not in offered]:
        few = (
            f"some of {', '.join(offered)}" if offered else "None, since there is only one way to compute it"
        )
        raise ValueError(f"algorithms: expected {few}. Received: {', '.join(map(repr, unknown))}")
    return algorithms


def _use(which, model, algorithm):
    """Switch kernels, and the algorithm of the layers that offer it; the model is a copy, so nobody minds."""
    kernels.use_kernels(which)
    if algorithm == "blas":
        kernels.dense_forward, kernels.dense_backward = blas_forward, blas_backward
    for _, inner in model.walk():
        if isinstance(inner, Conv2D) and algorithm:
            inner.algorithm = algorithm


def blas_forward(x, weight, bias, y, activation="linear", alpha=0.0, prepared=None):
    """`dense_forward` by NumPy's BLAS: `y = activation(x W^T + b)`."""
    kernels.gemm(x, weight, y, bias, False, True, activation, alpha, algorithm="blas")


def blas_backward(x, weight, da, dx, dw, db, accumulate=False):
    """`dense_backward` by NumPy's BLAS: `dW = da^T x`, `db = sum of da over the batch`, `dx = da W`."""
    if dw is not None:
        kernels.gemm(da, x, dw, trans_a=True, accumulate=accumulate, algorithm="blas")
    if db is not None:
        np.add(da.sum(axis=0), db if accumulate else 0, out=db)
    if dx is not None:
        kernels.gemm(da, weight, dx, algorithm="blas")


def _measure(row, model, x, dy, operations, seconds):
    """Fill in times and rates; return `y`, `dx` and the gradients."""
    step = model.workspace.step
    result = run(model, x, dy)

    def forward():
        model.workspace.step = step  # dropout: the same mask every time
        model.forward(x, True)

    def backward():
        model.zero_grad()
        model.backward(dy)

    for name, pass_, factor in (("forward", forward, 1), ("backward", backward, 2)):
        spent = median_seconds(pass_, seconds)
        row[f"{name}_ms"] = spent * 1e3
        row[f"{name}_gflops"] = giga(factor * operations, spent)
    model.workspace.step = step
    return result


def _difference(result, truth):
    """Largest difference to the twins, relative to the largest element of the array it is in."""
    return max(
        float(np.abs(a - b).max(initial=0.0)) / (float(np.abs(b).max(initial=0.0)) or 1.0)
        for _, a, b in pairs_of(result, truth)
    )


def _table(layer, x, rows):
    cells = [("kernels", "algorithm", "forward ms", "GFLOP/s", "backward ms", "GFLOP/s", "difference")]
    cells += [(row["kernels"], row["algorithm"], *_numbers(row)) for row in rows]
    notes = [f"{row['algorithm']} does not apply: {row['error']}" for row in rows if "error" in row]
    what = f"{layer.label()} of {len(layer)} layers" if isinstance(layer, Model) else repr(layer)
    return "\n".join([f"{what} on {x.shape} {x.dtype}", *aligned(cells, left=2), *notes])


def _numbers(row):
    if "error" in row:
        return "does not apply", "", "", "", ""
    passes = [
        (number(row[f"{name}_ms"]), number(row[f"{name}_gflops"], 1)) for name in ("forward", "backward")
    ]
    return *passes[0], *passes[1], f"{row['difference']:.1e}"
