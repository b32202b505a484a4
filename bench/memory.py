"""How much memory this process holds: read from /proc, so Linux only.

`peak` is the largest resident size since the last `reset_peak`, the kernel's own mark: no sampling misses it.
"""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

MEGA = 2**20


def status(field: str) -> int:
    """A size of /proc/self/status in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError as error:
        raise NotImplementedError("memory is read from /proc, which this system does not have") from error
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def resident() -> int:
    return status("VmRSS")


def peak() -> int:
    return status("VmHWM")


def reset_peak() -> bool:
    """Start a new peak at the present size; False where that is not permitted."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def release() -> None:
    """Give freed memory back to the system, so that what was used before does not hide what is used now."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
