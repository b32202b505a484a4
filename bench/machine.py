"""What this machine can do at best: arithmetic and memory bandwidth, measured, and what runs on it.

`python bench/machine.py [--threads 2]` prints it; peers.py stores it beside every result.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FASTNN_NUM_THREADS",
                    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NPROC")  # fmt: skip
PACKAGES = ("numpy", "fastnn-edu", "torch", "jax", "jaxlib", "onnx", "onnxruntime", "openvino",
            "scikit-learn")  # fmt: skip


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        first = info.read_text().split("\n\n")[0]
        fields = (line.split(":", 1) for line in first.splitlines() if ":" in line)
        named = {key.strip(): value.strip() for key, value in fields}
        if "model name" in named:
            family, model = named.get("cpu family", "?"), named.get("model", "?")
            return f"{named['model name']} (family {family}, model {model})"
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    installed = {str(d.metadata["Name"]).lower(): d.version for d in importlib.metadata.distributions()}
    return found | {name: installed[name] for name in PACKAGES if name in installed}


def environment(threads: int) -> dict[str, str]:
    """The environment of a process that shall use `threads` threads, whatever library it loads."""
    variables = {**os.environ, **{name: str(threads) for name in THREAD_VARIABLES}}
    variables["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    return {**variables, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}


def sgemm(multiply: Callable[[Any, Any, Any], Any]) -> float:
    """GFLOP/s of the best float32 product among a few sizes."""
    import numpy as np

    from fastnn.machine import giga, shortest_seconds

    rng = np.random.default_rng(0)
    found = []
    for n in (512, 1024, 2048):
        a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
        out = np.empty_like(a)
        found.append(giga(2 * n**3, shortest_seconds(lambda a=a, b=b, out=out: multiply(a, b, out), 0.5)))
    return max(found)


def rates(threads: int) -> dict[str, float | str]:
    """Measure in this process, which must have been started with `environment(threads)`."""
    import numpy as np

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    try:
        from fastnn import set_num_threads
        from fastnn._ext import gemm
        from fastnn.machine import copy_bandwidth, multiply_add_peak
    except ImportError as error:
        return {"fastnn": f"not measured: {error}"}
    set_num_threads(threads)
    return {
        "copy_gb_s": copy_bandwidth(),
        "numpy_sgemm_gflops": sgemm(lambda a, b, out: np.matmul(a, b, out=out)),
        "fastnn_sgemm_gflops": sgemm(gemm.gemm),
        "fma_peak_gflops": multiply_add_peak(),
    }


def describe(threads: int) -> dict[str, Any]:
    """CPU, versions and rates; the rates come from a process of their own."""
    command = [sys.executable, __file__, "--rates", "--threads", str(threads)]
    run = subprocess.run(command, env=environment(threads), capture_output=True, text=True, check=False)
    measured = json.loads(run.stdout) if run.returncode == 0 else {"error": run.stderr.strip()[-200:]}
    return {
        "cpu": cpu_name(), "cores": cores(), "threads": threads, "system": platform.platform(),
        "versions": versions(), "rates": measured,
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure the machine: sgemm GFLOP/s and copy GB/s.")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--rates", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    print(json.dumps(rates(options.threads) if options.rates else describe(options.threads), indent=2))


if __name__ == "__main__":
    main()
