"""What linear-algebra libraries must be told before they are loaded, so that numbers repeat.

They read these environment variables once. Kernels that the book's own commands start have them
from the beginning; in a session that somebody else started, the first cell of a notebook calls
`pin`, which is in time unless something has loaded NumPy or PyTorch already. This module therefore
imports nothing that does.
"""

from __future__ import annotations

import os

__all__ = ["NUMBERS", "THREADS", "pin"]

THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One thread, because the order of sums depends on how many there are."""

NUMBERS = {
    **THREADS,
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_CBWR": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
"""Threads and code paths; the x86 names are ignored on other processors."""


def pin() -> None:
    """Choose threads and code paths for this process; at full scale it keeps its threads."""
    at_full_scale = os.environ.get("LEARNMECH_SCALE") == "full"
    os.environ.update({k: v for k, v in NUMBERS.items() if not (at_full_scale and k in THREADS)})
