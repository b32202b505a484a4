"""Compiled kernels. Each is built once per instruction set; importing this package chooses one.

The folders `baseline`, `avx2` and `avx512` hold the same modules. The chosen folder becomes this
package's search path, so that `fastnn._ext.gemm` is the form that this processor runs best, or the
one that the environment variable `FASTNN_ISA` names.
"""

import os
from pathlib import Path

_here = Path(__file__).parent
_order = ["baseline", "avx2", "avx512"]


def _holds_kernels(folder: Path) -> bool:
    return any(folder.glob("gemm.*"))


#: Instruction sets whose kernels are installed.
built = [isa for isa in _order if _holds_kernels(_here / isa)]
if not built:
    raise ImportError(
        "fastnn's compiled kernels are missing. Expected them in "
        f"{_here}; install the package with `pip install .`, and do not run Python inside its source tree "
        "unless it was built there with `pip install -e .`."
    )
__path__ = [str(_here / "baseline"), str(_here)]
from fastnn._ext.cpu import instruction_sets as _instruction_sets  # noqa: E402

#: Installed instruction sets that this processor can run, the widest last.
runnable = [isa for isa in built if isa in _instruction_sets()]


def _choose() -> str:
    asked = os.environ.get("FASTNN_ISA", "").strip().lower()
    if not asked:
        return runnable[-1]
    if asked not in runnable:
        raise ImportError(
            f"FASTNN_ISA={asked!r}: expected one of {', '.join(runnable)}, the instruction sets that are "
            "installed and that this processor can run."
        )
    return asked


#: The instruction set whose kernels are in use.
isa = _choose()
__path__ = [str(_here / isa), str(_here)]
