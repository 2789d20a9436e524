"""What has to be pinned so that a notebook gives the same numbers twice.

Measured on this book's chapters: with one thread and float64, everything is identical bit for bit
on one machine, and processors with other vector units agree to about 1e-12. The code paths of the
linear-algebra libraries (:mod:`learnmech.pins`) can be chosen only before a process loads NumPy or
PyTorch, so ``learnmech run``, the tests and nbval choose them for the kernels they start. In a
session that somebody else started a notebook's first cell does what it can.
"""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

from learnmech.pins import NUMBERS

__all__ = [
    "BOOK_KERNEL",
    "CHECK",
    "FULL",
    "LAPTOP",
    "MODE",
    "PINNED",
    "PROGRESS",
    "RUN",
    "SCALE",
    "SCALES",
    "SEED_OFFSET",
    "STAGE",
    "WORKERS",
    "find_root",
    "fingerprint",
    "kernel_environment",
]

MODE = "LEARNMECH_MODE"
"""``run`` (everything is staged), ``check`` (other seeds, failures are recorded) or unset."""
STAGE = "LEARNMECH_STAGE"
"""Folder into which a chapter writes its ledger and figure data in the modes run and check."""
SEED_OFFSET = "LEARNMECH_SEED_OFFSET"
"""The K of ``learnmech check --seed-offset K``; 0 or unset for the book's own seeds."""
SCALE = "LEARNMECH_SCALE"
"""``laptop``, or unset, for the book's own sizes; ``full`` for a GPU or a cluster."""
PROGRESS = "LEARNMECH_PROGRESS"
"""``0`` keeps long cells from showing how far they are."""
WORKERS = "LEARNMECH_WORKERS"
"""Where a sweep computes that is not told so, as ``learnmech.practice.sweep`` reads it."""
BOOK_KERNEL = "LEARNMECH_BOOK_KERNEL"
"""``1`` in a kernel that had all of `PINNED` from its start, unset in anybody's own session."""

RUN = "run"
CHECK = "check"
LAPTOP = "laptop"
FULL = "full"
SCALES = (LAPTOP, FULL)

PINNED = {
    **NUMBERS,
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "MPLBACKEND": "agg",
    SCALE: LAPTOP,
    PROGRESS: "0",
    WORKERS: "1",
    BOOK_KERNEL: "1",
}
"""Environment of every kernel that the book's own commands start."""

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
