"""What a chapter reads from its process's environment, and what it sets in the process."""

from __future__ import annotations

import os

import numpy as np

from learnmech.compare import reproducibility as repro
from learnmech.compare.measures import ClaimError

__all__ = ["device", "prepare", "scale", "seed_offset"]


def seed_offset() -> int:
    """Return the K of other seeds, 0 for the book's own.

    Raises:
        ClaimError: if the environment holds no such number.
    """
    text = os.environ.get(repro.SEED_OFFSET, "0")
    if not text.isdigit():
        raise ClaimError(f"{repro.SEED_OFFSET} must be a whole number, zero or more, got {text!r}")
    return int(text)


def scale() -> str:
    """Return the scale in force, ``laptop`` or ``full``.

    Raises:
        ClaimError: if the environment names another.
    """
    word = os.environ.get(repro.SCALE) or repro.LAPTOP
    if word not in repro.SCALES:
        raise ClaimError(f"{repro.SCALE} must be {' or '.join(repro.SCALES)}, got {word!r}")
    return word


def device(scale: str) -> str:
    """Return "cuda" at full scale where there is such a device, and otherwise "cpu"."""
    import torch  # noqa: PLC0415 - importing compare must not need PyTorch

    return "cuda" if scale == repro.FULL and torch.cuda.is_available() else "cpu"


def prepare(offset: int, scale: str) -> None:
    """Make PyTorch repeat itself, on one thread unless at full scale, and print few digits."""
    import torch  # noqa: PLC0415 - importing compare must not need PyTorch

    if scale == repro.LAPTOP:
        torch.set_num_threads(1)
    else:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else CUDA cannot repeat sums
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(offset)
    torch.set_printoptions(precision=4, sci_mode=False)
    np.set_printoptions(precision=4, suppress=True)
