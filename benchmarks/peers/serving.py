"""The peers' side of a benchmark: wait for a line, do the work once, answer with its facts.

This runs in ``.venv-peers``, which has no learnmech; standard output carries answers only.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

__all__ = ["inputs", "serve"]

torch.set_num_threads(1)


def inputs() -> dict[str, np.ndarray]:
    """Return the arrays that the benchmark handed over."""
    with np.load(sys.argv[1]) as stored:
        return dict(stored)


def serve(work: Callable[[], Mapping[str, float | int]]) -> None:
    """Do the work once for each line on standard input, and time it."""
    answers = sys.stdout
    for _ in sys.stdin:
        gc.collect()
        gc.disable()
        start = time.process_time()
        with contextlib.redirect_stdout(sys.stderr):
            facts = work()
        seconds = time.process_time() - start
        gc.enable()
        print(json.dumps({"seconds": seconds, **facts}), file=answers, flush=True)
