r"""`sweep`: one function on every cell of a grid, computed once and kept, on a core or a cluster.

For a grid of $k$ named lists with $n_1, \dots, n_k$ values, the function is called with keywords at
each of the $n_1 \cdots n_k$ combinations. Every result is stored as it arrives, under a key made
of the function's source, its arguments, PyTorch's settings and the versions of Python, learnmech,
NumPy and torch; a sweep that was stopped, or whose grid has grown, computes what is missing.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from learnmech.numerics.progress import counted
from learnmech.practice.sweeps.backends import compute
from learnmech.practice.sweeps.cache import Cache, DamagedEntry, user_folder
from learnmech.practice.sweeps.cells import Arrays, Job, Outcome, Task, settings, versions
from learnmech.practice.sweeps.fingerprints import fingerprint, node
from learnmech.practice.sweeps.grids import Grid, describe, expand
from learnmech.practice.sweeps.shipping import pack
from learnmech.practice.sweeps.tables import table

if TYPE_CHECKING:
    import xarray

__all__ = ["Failure", "SweepFailed", "SweepResult", "sweep"]


@dataclass(frozen=True)
class Failure:
    """A cell whose function raised."""

    parameters: Mapping[str, Any]  # as they were handed over
    index: tuple[int, ...]  # position along each dimension of the grid
    error: str  # type and message, on one line
    traceback: str  # as Python prints it


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep."""

    data: xarray.Dataset  # one dimension a name of the grid; failed cells are NaN
    failures: tuple[Failure, ...]  # in the order of the grid
    computed: int  # number of cells that this call computed, the failed ones too
    reused: int  # number of cells read from the cache
    damaged: tuple[Mapping[str, Any], ...]  # cells whose stored result was spoilt and recomputed


class SweepFailed(RuntimeError):
    """Some cells failed; everything else is in `result`."""

    def __init__(self, message: str, result: SweepResult) -> None:
        super().__init__(message)
        self.result = result


@dataclass
class _Ledger:
    """What is known of every cell while a sweep runs."""

    results: list[Arrays | None]
    damaged: list[int] = field(default_factory=list)
    failed: dict[int, Outcome] = field(default_factory=dict)
    unwritten: list[OSError] = field(default_factory=list)

    def missing(self) -> list[int]:
        """Return the cells that have neither a result nor a failure."""
        return [
            cell
            for cell, arrays in enumerate(self.results)
            if arrays is None and cell not in self.failed
        ]


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Any],
    *,
    fixed: Mapping[str, Any] | None = None,
    workers: object = None,
    cache: str | os.PathLike[str] | bool = True,
    version: str = "",
    dims: Mapping[str, Sequence[str]] | None = None,
    raise_failures: bool = False,
    progress: bool | None = None,
) -> SweepResult:
    r"""Compute a function on every combination of named values.

    Results are identical to the last bit wherever they are computed on the same kind of
    processor: every cell runs on one thread, with this process's settings of PyTorch and with
    global random states that descend from its arguments. The function should depend on nothing
    else and change nothing.

    A result is stored when it arrives, so a sweep that is interrupted or killed loses only the
    cells under way, and the next call goes on from there. What a stored result depends on: the
    function's source as compiled, its defaults, the values it closes over, the functions, classes
    and data of your own that it reaches by name, its arguments, the default dtype, precision and
    determinism set in PyTorch, and the versions of Python (minor), learnmech, NumPy, torch and of
    every installed package that the function names. What it cannot see (files, environment
    variables, names computed at run time) belongs into `version`. Failed cells are not stored and
    are tried again by the next call. Sweeps that run at the same time may share a folder.

    Args:
        function: called with the names of `grid` and `fixed` as keywords; returns a number, an
            array or tensor, or a mapping of names to those.
        grid: name -> sequence of values: numbers, strings, tuples, arrays, functions, classes.
            NumPy scalars, and the entries of an array of one dimension, arrive as Python numbers.
        fixed: arguments that are the same in every cell.
        workers: 1, this process; a number of processes, or -1 for one a core; "dask", the
            current client of Dask, or else a cluster on this machine for this sweep; the address
            of a Dask scheduler ("tcp://127.0.0.1:8786") or a client; "ray", the current or a
            running cluster of Ray (`RAY_ADDRESS` may name it), or else one on this machine for
            this sweep; the address of a Ray client server ("ray://127.0.0.1:10001", for which
            Ray itself wants `pip install "ray[client]"`). A process computes one cell at a time.
            Machines of a cluster need the same versions of these packages, and no code of yours.
        cache: True for the environment variable `LEARNMECH_CACHE` or the user's cache folder; a
            folder; False to store nothing.
        version: any text; another text is another function. If given, objects in `fixed` or used
            by the function whose content cannot be compared are accepted, and count by their type.
        dims: name of a result -> names for the dimensions of its arrays, such as
            `{"loss": ["step"]}`; without, `loss_0`, `loss_1`. Equal names are one dimension.
        raise_failures: what to do when all cells are computed and some have failed: True raises,
            False warns.
        progress: whether to show a bar; None, only if stderr is a terminal, or if who watches
            this process's loops (`learnmech.numerics.progress`) shows one.

    Returns:
        `data`, a data set with one dimension for each name of the grid, in order, and one
        variable for each name in what the function returns ("value" if it has none), in which
        failed cells are NaN; the failures with their arguments; and how many cells were computed
        and how many read from the cache. Cells whose stored result was damaged are recomputed and
        listed.

    Raises:
        ValueError: On a grid that does not fit the function, arguments whose content cannot be
            compared or sent, a folder that cannot be written, `workers` that mean nothing, and
            cells that return different names or shapes (their results stay stored).
        SweepFailed: If cells failed and `raise_failures` is True; its `result` holds the others.
        ImportError: If Dask or Ray is asked for and not installed.
        ConnectionError: If no cluster answers at the address, or it goes away.

    >>> def triangle(n, sign):
    ...     return sign * n * (n + 1) / 2
    >>> result = sweep(triangle, {"n": [1, 2, 3], "sign": [1, -1]}, cache=False)
    >>> result.data["value"].sel(n=3, sign=-1).item()
    -6.0
    """
    constants = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in (fixed or {}).items()
    }
    cells = expand(function, grid, constants)
    parameters = list(cells.cells())
    job = Job(function, constants, settings(), versions())
    marks = _marks(cells, constants, vouched=bool(version))
    ledger = _Ledger([None] * len(parameters))
    store, keys = None, [""] * len(parameters)
    if cache is not False:
        base = user_folder() if cache is True else Path(cache).expanduser()
        keys = _keys(job, version, marks)
        store = Cache.open(base, _name(function))
        _read(store, keys, ledger)
    reused = len(parameters) - len(ledger.missing())
    tasks = [
        Task(cell, pack(parameters[cell]), int.from_bytes(marks[cell][:8], "big"))
        for cell in ledger.missing()
    ]
    with _bar(progress, _name(function), reused, len(parameters)) as advance:

        def write(outcome: Outcome, arrays: Arrays) -> None:
            if store is not None:
                text = describe({**constants, **parameters[outcome.cell]})
                try:
                    store.write(keys[outcome.cell], text, arrays)
                except OSError as error:
                    ledger.unwritten.append(error)

        _compute(
            workers, job, tasks, ledger, write=write, advance=advance, cached=store is not None
        )
    if ledger.unwritten:
        warnings.warn(
            f"{len(ledger.unwritten)} results could not be cached ({ledger.unwritten[0]}); "
            "they are only in what this call returns.",
            RuntimeWarning,
            stacklevel=2,
        )
    data = table(cells, ledger.results, dims or {})
    data.attrs["function"] = _name(function)
    failures = tuple(
        Failure(
            parameters[cell],
            tuple(int(i) for i in np.unravel_index(cell, cells.shape)),
            outcome.error,
            outcome.traceback,
        )
        for cell, outcome in sorted(ledger.failed.items())
    )
    result = SweepResult(
        data, failures, len(tasks), reused, tuple(parameters[cell] for cell in ledger.damaged)
    )
    if failures:
        message = (
            f"{len(failures)} of {len(parameters)} cells failed; the first is "
            f"{describe(failures[0].parameters)}: {failures[0].error}"
        )
        if raise_failures:
            raise SweepFailed(message, result)
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return result


def _default_workers() -> object:
    words = os.environ.get("LEARNMECH_WORKERS") or "1"
    return int(words) if words.removeprefix("-").isdecimal() else words


def _marks(cells: Grid, constants: Mapping[str, Any], *, vouched: bool) -> list[bytes]:
    """Return a digest of the arguments of every cell, whichever of them are fixed."""
    fixed = {
        name: fingerprint(value, f"fixed[{name!r}]", vouched=vouched)
        for name, value in constants.items()
    }
    digests = []
    for varied in cells.marks():
        parts = sorted({**fixed, **varied}.items())
        digests.append(
            node("arguments", *(p for name, mark in parts for p in (name.encode(), mark)))
        )
    return digests


def _keys(job: Job, version: str, marks: Sequence[bytes]) -> list[str]:
    code = fingerprint(job.function, "the function", vouched=bool(version))
    around = fingerprint([version, dict(job.settings), dict(job.versions)], "the versions")
    return [node("cell", code, around, mark).hex() for mark in marks]


def _name(function: Callable[..., Any]) -> str:
    inner = getattr(function, "func", function)  # of functools.partial
    module = getattr(inner, "__module__", None) or "__main__"
    name = getattr(inner, "__qualname__", type(inner).__qualname__)
    return name if module == "__main__" else f"{module}.{name}"


def _read(store: Cache, keys: Sequence[str], ledger: _Ledger) -> None:
    for cell, key in enumerate(keys):
        try:
            ledger.results[cell] = store.read(key)
        except DamagedEntry:
            ledger.damaged.append(cell)


def _compute(
    workers: object,
    job: Job,
    tasks: Sequence[Task],
    ledger: _Ledger,
    *,
    write: Callable[[Outcome, Arrays], None],
    advance: Callable[[], None],
    cached: bool,
) -> None:
    """Compute the missing cells and enter each outcome when it arrives, from whatever thread."""
    lock = threading.Lock()

    def arrived(outcome: Outcome) -> None:
        with lock:
            if outcome.arrays is None:
                ledger.failed[outcome.cell] = outcome
            else:
                ledger.results[outcome.cell] = outcome.arrays
                write(outcome, outcome.arrays)
            advance()

    try:
        compute(_default_workers() if workers is None else workers, job, tasks, arrived)
        if lost := ledger.missing():
            raise RuntimeError(f"{len(lost)} cells came back without an outcome.")
    except BaseException as error:
        with lock:
            count = len(tasks) - len(ledger.missing())
        kept = "stored, and the next call goes on from there" if cached else "lost (cache=False)"
        error.add_note(f"The sweep stopped with {count} of {len(tasks)} cells computed; {kept}.")
        raise


@contextmanager
def _bar(wanted: bool | None, name: str, done: int, total: int) -> Iterator[Callable[[], None]]:
    if done == total or wanted is False:
        yield lambda: None
        return
    if not (wanted or sys.stderr.isatty()):
        with counted(name, total - done) as advance:
            yield advance
        return
    columns = [TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=console.is_terminal) as bar:
        row = bar.add_task("", total=total, completed=done)
        yield lambda: bar.advance(row)
