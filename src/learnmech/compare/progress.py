"""What a person sees while a long cell runs: one line in the notebook, gone when the cell is done.

The line is an output with an identity, which is updated in place: Jupyter, VS Code and Colab all
know how, nothing is written to stderr, and no widget has to be installed. It appears only in cells
that take longer than two seconds. Runs whose outputs are stored or compared show nothing.
"""

from __future__ import annotations

import html
import os
import time
from dataclasses import dataclass
from typing import Any

from learnmech.compare import reproducibility as repro
from learnmech.numerics.progress import watch

__all__ = ["CellLine", "show_progress"]

_PATIENCE = 2.0  # seconds that a cell may take without a word
_BETWEEN = 0.25  # seconds between two updates


def show_progress() -> bool:
    """Show how far long cells are, if a person runs them in a notebook; say whether it does so."""
    shell = _notebook()
    if shell is None or os.environ.get(repro.MODE) or os.environ.get(repro.PROGRESS) == "0":
        watch(None)
        return False
    watch(CellLine(shell.events))
    return True


def _notebook() -> Any:
    """Return the shell of the kernel in which this runs, or None anywhere else."""
    try:
        from IPython import get_ipython  # noqa: PLC0415 - the core package has no IPython
    except ImportError:
        return None
    shell = get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


@dataclass
class _Loop:
    words: str
    total: int  # 0 if nobody knows
    done: int = 0


class CellLine:
    """The line of the cell that runs: what it does, and how much of that is done.

    Args:
        events: IPython's, to learn when the cell is done.
    """

    def __init__(self, events: Any) -> None:
        self._events = events
        self._loops: list[_Loop] = []  # the outermost first
        self._begun = 0  # outermost loops of this cell
        self._due = 0.0  # when the line is drawn next
        self._handle: Any = None

    def begin(self, words: str, total: int) -> None:
        """Take note that a loop begins; the first one of a cell waits for the cell's end."""
        if not self._begun:
            self._due = time.monotonic() + _PATIENCE
            self._events.register("post_run_cell", self._cell_is_done)
        self._begun += not self._loops
        self._loops.append(_Loop(words, total))

    def advance(self) -> None:
        """Take note of a round, and draw the line if it is time to."""
        if not self._loops:
            return  # a loop that its cell did not finish
        self._loops[-1].done += 1
        if time.monotonic() >= self._due:
            self._draw(self._words(), self._loops[0])
            self._due = time.monotonic() + _BETWEEN

    def end(self) -> None:
        """Take note that the innermost loop is over."""
        del self._loops[-1:]

    def _cell_is_done(self, *_: object) -> None:
        self._events.unregister("post_run_cell", self._cell_is_done)
        if self._handle is not None:
            self._draw("")
        self._loops, self._begun, self._handle = [], 0, None

    def _words(self) -> str:
        loops = ", ".join(
            f"{loop.words} {loop.done}" + (f" of {loop.total}" if loop.total else "")
            for loop in self._loops
        )
        return f"run {self._begun} of this cell: {loops}" if self._begun > 1 else loops

    def _draw(self, words: str, loop: _Loop | None = None) -> None:
        from IPython.display import display  # noqa: PLC0415 - the core package has no IPython

        bar = ""
        if loop is not None and loop.total:
            bar = f'<progress max="{loop.total}" value="{loop.done}"></progress> '
        bundle = {"text/plain": words, "text/html": bar + html.escape(words)}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
