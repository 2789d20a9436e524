"""What has to be pinned so that a notebook gives the same numbers twice.

Measured on this book's chapters: with one thread and float64, everything is identical bit for bit
on one machine, and processors with other vector units agree to about 1e-12. The variables below
choose the code paths of the linear-algebra libraries; they act only if they are set before a
process loads NumPy or PyTorch, so ``learnmech run``, the tests and nbval set them for the kernels
they start.
"""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

__all__ = [
    "CHECK",
    "MODE",
    "PINNED",
    "RUN",
    "SEED_OFFSET",
    "STAGE",
    "find_root",
    "fingerprint",
    "kernel_environment",
]

PINNED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_CBWR": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "MPLBACKEND": "agg",
}
"""Environment of every kernel; the x86 names are ignored on other processors."""

MODE = "LEARNMECH_MODE"
"""``run`` (everything is staged), ``check`` (other seeds, failures are recorded) or unset."""
STAGE = "LEARNMECH_STAGE"
"""Folder into which a chapter writes its ledger and figure data in the modes run and check."""
SEED_OFFSET = "LEARNMECH_SEED_OFFSET"
"""The K of ``learnmech check --seed-offset K``; 0 or unset for the book's own seeds."""

RUN = "run"
CHECK = "check"

_DRAWING = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "pillow")


def kernel_environment(**extra: str) -> dict[str, str]:
    """Return the environment for a kernel: the caller's, pinned, plus ``extra``."""
    inherited = {k: v for k, v in os.environ.items() if k not in (MODE, STAGE, SEED_OFFSET)}
    return {**inherited, **PINNED, **extra}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    seen = {line.split(":")[0].strip(): line for line in lines if line.startswith(wanted)}
    return "\n".join(seen[key] for key in sorted(seen))


def fingerprint() -> str:
    """Return a short hash that is equal on machines where pictures must agree byte for byte.

    It covers the processor and the versions of everything that computes or draws.
    """
    parts = [platform.machine(), platform.system(), platform.python_version(), _processor()]
    parts += [f"{name} {version(name)}" for name in _DRAWING]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def find_root(start: Path | None = None) -> Path | None:
    """Return the checkout of the book that holds ``start``, or None outside one."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    return None
