"""`fastnn.race`: one layer, every way to compute it, side by side."""

import time

import numpy as np

from . import kernels
from .testing import copy_of, pairs_of, run

ALGORITHMS = ("auto", "direct", "im2col", "winograd")


def race(layer, x, algorithms=None, seconds=0.3):
    """Time a layer's forward and backward pass with the compiled kernels and with their NumPy twins.

    Layers that offer several algorithms (Conv2D) run each of them. The layer itself is left alone. Prints a
    table; the difference is the largest one to the twins among output and gradients, in units of the largest
    element of each. Multiply-adds count as two operations, and backward as twice forward.

    Parameters
    ----------
    layer : Layer or Model
    x : ndarray (N, ...)
        float32 or float64: the kernels of that dtype run.
    algorithms : list of str, optional
        Which of "auto", "direct", "im2col" and "winograd"; all by default.
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
    >>> [row["kernels"] for row in rows]
    ['reference', 'compiled']
    """
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        received = f"dtype={x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"x: expected a float32 or float64 array. Received: {received}")
    model = copy_of(layer, x.shape[1:], x.dtype)
    dy = np.random.default_rng(0).normal(size=(len(x), *model.output_shape)).astype(x.dtype)
    operations = 2 * len(x) * sum(inner.multiply_adds() for _, inner in model.walk() if not inner.children())
    choices = [inner for _, inner in model.walk() if hasattr(inner, "algorithm")]
    if algorithms is None:
        algorithms = ALGORITHMS
    given = [inner.algorithm for inner in choices]

    rows, truth, before = [], None, kernels.kernels_in_use()
    try:
        for which, algorithm in [("reference", None)] + [
            ("compiled", name) for name in (algorithms if choices else [None])
        ]:
            kernels.use_kernels(which)
            for inner, own in zip(choices, given):
                inner.algorithm = algorithm or own
            row = {"kernels": which, "algorithm": algorithm or ""}
            rows.append(row)
            try:
                result = _measure(row, model, x, dy, operations, seconds)
            except ValueError as error:  # Winograd, say, with a stride
                row["error"] = str(error)
                continue
            truth = truth or result
            row["difference"] = _difference(result, truth)
    finally:
        kernels.use_kernels(before)
    print(_table(layer, x, rows))
    return rows


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
        row[f"{name}_gflops"] = factor * operations / spent / 1e9 if spent else 0.0
    model.workspace.step = step
    return result


def median_seconds(call, seconds):
    """Median time of a call, of at least three or one long one."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or (len(times) < 3 and times[0] < seconds) or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def _difference(result, truth):
    """Largest difference to the twins, relative to the largest element of the array it is in."""
    return max(
        float(np.abs(a - b).max(initial=0.0)) / (float(np.abs(b).max(initial=0.0)) or 1.0)
        for _, a, b in pairs_of(result, truth)
    )


def _table(layer, x, rows):
    lines = [
        f"{layer!r} on {x.shape} {x.dtype}",
        f"{'kernels':10s} {'algorithm':10s} {'forward':>11s} {'GFLOP/s':>8s} {'backward':>11s} "
        f"{'GFLOP/s':>8s} {'difference':>11s}",
    ]
    for row in rows:
        start = f"{row['kernels']:10s} {row['algorithm']:10s} "
        if "error" in row:
            lines.append(start + f"does not apply: {row['error']}")
            continue
        lines.append(
            start + f"{row['forward_ms']:8.3f} ms {row['forward_gflops']:8.1f} {row['backward_ms']:8.3f} ms "
            f"{row['backward_gflops']:8.1f} {row['difference']:11.1e}"
        )
    return "\n".join(lines)
