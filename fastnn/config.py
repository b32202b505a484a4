"""What this installation is: threads, instruction set, versions."""

import os
import platform

import numpy as np

from . import kernels
from ._ext import built, isa, runnable, threads


def available_cores():
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def set_num_threads(n):
    """Set the number of threads that the kernels use; results do not depend on it.

    Parameters
    ----------
    n : int
        At least 1. More threads than processors only cost time.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= 1024:
        raise ValueError(f"n: expected an integer from 1 to 1024. Received: {n!r}")
    threads.set_num_threads(int(n) if threads.HAS_OPENMP else 1)


def get_num_threads():
    """The number of threads that the kernels use."""
    return threads.get_num_threads()


def _initial_threads():
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if not text:
            continue
        if text.isdigit() and int(text) > 0:
            return int(text)
        if name == "FASTNN_NUM_THREADS":
            raise ValueError(f"{name}: expected a positive integer. Received: {text!r}")
    return available_cores()


def processor():
    """Name of the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def show_config():
    """One fact a line: versions, processor, instruction set, threads, OpenMP.

    Returns
    -------
    str
    """
    from . import __version__

    notes = []
    if not threads.HAS_OPENMP:
        notes.append("built without OpenMP: one thread only; a compiler with OpenMP makes it faster")
    if not threads.HAS_VECTOR:
        notes.append("built by a compiler without vector extensions: slower; GCC or Clang make it faster")
    rows = {
        "fastnn": __version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{processor()}, {available_cores()} cores for this process",
        "instruction set": f"{isa} (installed: {', '.join(built)}; this processor runs: "
        f"{', '.join(runnable)}; FASTNN_ISA chooses)",
        "OpenMP": "yes" if threads.HAS_OPENMP else "no",
        "threads": f"{get_num_threads()} (FASTNN_NUM_THREADS, OMP_NUM_THREADS, fastnn.set_num_threads)",
        "kernels": kernels.kernels_in_use(),
    }
    width = max(len(name) for name in rows)
    return "\n".join(
        [f"{name:{width}s}  {value}" for name, value in rows.items()] + [f"note: {n}" for n in notes]
    )


set_num_threads(_initial_threads())
if hasattr(os, "register_at_fork"):
    # A forked child has no OpenMP threads, and waiting for them would hang: it computes alone.
    os.register_at_fork(after_in_child=lambda: threads.set_num_threads(1))
