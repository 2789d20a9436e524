"""The same work, ours and a peer's, in turns: single thread, CPU time, medians over pairs.

A benchmark script states its work once, hands over two functions that do it, and says how many
times faster ours has to be, or how large its error may be. Peers that live in this environment
(SciPy, a plain loop) are functions; peers that pull a torch or NumPy of their own run in
``.venv-peers`` as a :class:`PeerProcess`, which waits between turns so that both are timed in
one run. Every function returns the facts of its run (errors, counts of products) as a dict.

    with Bench("curvature") as bench, PeerProcess("curvlinops_eigsh", data) as curvlinops:
        bench.race(
            "top Hessian eigenvalue", ours=lambda: {"error": ...}, peer=curvlinops.run,
            peer_name="curvlinops + eigsh", at_least=2.5,
        )
        bench.bound("top Hessian eigenvalue: error", 3e-9, at_most=1e-6)

At the end the rows are printed and stored in ``results.json``; a missed target makes the script
end with exit code 1. ``summary.py`` makes the table of all of them.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from learnmech.compare.reproducibility import PINNED

if any(os.environ.get(name) != value for name, value in PINNED.items()):
    # Thread counts and code paths are read when NumPy and torch are loaded: start again.
    os.environ.update(PINNED)
    os.execv(sys.executable, [sys.executable, *sys.argv])

import numpy as np
import torch
from summary import HERE, RESULTS, bound_in_words, race_in_words

PEERS_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"

Facts = Mapping[str, float | int]
Work = Callable[[], Facts]

torch.set_num_threads(1)


def timed(work: Work) -> tuple[float, Facts]:
    """Return the CPU seconds of one call, collector off, and what the call returned."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    facts = work()
    seconds = time.process_time() - start
    gc.enable()
    return seconds, facts


class PeerProcess:
    """A script of ``peers/`` in its own environment, run once each time it is asked.

    The script calls ``serve(work)`` of ``peers/serving.py``; the arrays reach it as one file.

    Args:
        script: name of a script in ``benchmarks/peers``, without its ending.
        arrays: what both sides work on, by name.

    Raises:
        SystemExit: where ``make bench`` has not made the environment yet.
    """

    def __init__(self, script: str, arrays: Mapping[str, np.ndarray]) -> None:
        if not PEERS_PYTHON.exists():
            raise SystemExit("The peers' environment is missing; 'make bench' makes it.")
        self._folder = tempfile.TemporaryDirectory()
        inputs = Path(self._folder.name) / "inputs.npz"
        np.savez(inputs, **dict(arrays))
        self._process = subprocess.Popen(
            [str(PEERS_PYTHON), str(HERE / "peers" / f"{script}.py"), str(inputs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **PINNED},
        )

    def run(self) -> Facts:
        """Do the work once more; the facts hold its own CPU seconds as ``seconds``."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; the next line says so
            print("run", file=stdin, flush=True)
        line = stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended with exit code {self._process.wait()}; see above")
        facts: dict[str, float | int] = json.loads(line)
        return facts

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        self._process.wait(timeout=60)
        self._folder.cleanup()


class Bench:
    """The rows of one benchmark script."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[dict[str, Any]] = []

    def race(
        self,
        work: str,
        *,
        ours: Work,
        peer: Work,
        peer_name: str,
        at_least: float | None = None,
        pairs: int = 5,
        warm_up: int = 1,
    ) -> dict[str, Any]:
        """Run both in turns and record how many times faster ours is: the median over pairs.

        Args:
            work: what is done, in words, with sizes and dtype.
            ours: does it with learnmech and returns its facts.
            peer: does the same work with the peer and returns its facts.
            peer_name: the peer and its settings, in words.
            at_least: target for (peer's seconds) / (our seconds); below one where ours may be
                slower; None for a comparison without a target.
            pairs: number of pairs that count.
            warm_up: number of pairs before those.
        """
        turns = []
        for _ in range(warm_up + pairs):
            our_seconds, our_facts = timed(ours)
            peer_seconds, peer_facts = timed(peer)
            facts = dict(peer_facts)
            turns.append((our_seconds, facts.pop("seconds", peer_seconds), our_facts, facts))
        counted = turns[warm_up:]
        ratio = statistics.median(theirs / mine for mine, theirs, *_ in counted)
        row = {
            "work": work,
            "ours_seconds": statistics.median(mine for mine, *_ in counted),
            "ours": dict(counted[-1][2]),
            "peer": peer_name,
            "peer_seconds": statistics.median(theirs for _, theirs, *_ in counted),
            "peer_facts": counted[-1][3],
            "times_faster": ratio,
            "at_least": at_least,
            "met": at_least is None or bool(ratio >= at_least),
            "pairs": pairs,
        }
        self.rows.append(row)
        return row

    def bound(self, work: str, value: float, *, at_most: float) -> dict[str, Any]:
        """Record a number that has a bound: an error, or a cost in units the text names."""
        row = {
            "work": work,
            "value": float(value),
            "at_most": at_most,
            "met": bool(value <= at_most),
        }
        self.rows.append(row)
        return row

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            return
        for row in self.rows:
            mark = "met   " if row["met"] else "MISSED"
            words = bound_in_words(row) if "value" in row else " | ".join(race_in_words(row))
            print(mark, words)
        self._store()
        if not all(row["met"] for row in self.rows):
            raise SystemExit(1)

    def _store(self) -> None:
        stored = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
        stored[self.name] = {
            "date": datetime.now(UTC).date().isoformat(),
            "processor": processor(),
            "versions": {
                "python": platform.python_version(),
                **{name: version(name).split("+")[0] for name in ("numpy", "scipy", "torch")},
            },
            "rows": [_rounded(row) for row in self.rows],
        }
        text = json.dumps(dict(sorted(stored.items())), indent=1, ensure_ascii=False)
        RESULTS.write_text(text + "\n", "utf-8")


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.3g}") if isinstance(value, float) else value
