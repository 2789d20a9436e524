"""Running chapters: text in, executed notebook, ledger and figure data out, or nothing at all.

The text (``.md``, MyST) is the source. :func:`regenerate` executes it in a fresh kernel into a
temporary folder, checks the result, and only then moves notebook, ledger and figure data into
place, so that an interrupted or failing run leaves everything as it was. Cell ids are fixed, no
times are stored, and what a machine is called goes nowhere: two runs give the same bytes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from learnmech.compare import reproducibility as repro
from learnmech.compare.guards import notebook_problems
from learnmech.compare.ledger import Ledger, load_ledger
from learnmech.compare.pairs import ChapterFiles, output_problems, read_text, sources_hash
from learnmech.pins import THREADS

__all__ = [
    "ChapterFailed",
    "FullScale",
    "check",
    "execute",
    "for_each",
    "regenerate",
    "run_seconds",
]

Progress = Callable[[int, int], None]
"""Called with (code cells begun, code cells in all)."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_CELL_SECONDS = 600
_CELL_SECONDS_IN_FULL = 7 * 24 * 3600


class ChapterFailed(RuntimeError):
    """A chapter could not be executed; nothing was written."""


@dataclass(frozen=True)
class FullScale:
    """How a run at full scale is made."""

    workers: str = ""  # where sweeps compute, as `learnmech.practice.sweep` takes it
    threads: int = 1  # of the linear-algebra libraries

    def environment(self) -> dict[str, str]:
        """Return what differs from the environment of the book's own runs."""
        workers = self.workers or os.environ.get(repro.WORKERS) or repro.PINNED[repro.WORKERS]
        threads = dict.fromkeys(THREADS, str(self.threads))
        return {repro.SCALE: repro.FULL, repro.WORKERS: workers, **threads}


class _ThisPython(AsyncKernelManager):
    """A kernel of the Python that runs this, whatever kernels the user has registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


async def execute(
    files: ChapterFiles,
    stage: Path,
    *,
    mode: str,
    seed_offset: int = 0,
    full: FullScale | None = None,
    progress: Progress | None = None,
) -> NotebookNode:
    """Execute a chapter's text in a fresh kernel; ledger and figure data go to ``stage``.

    Args:
        files: the chapter.
        stage: an empty folder.
        mode: ``run`` or ``check``.
        seed_offset: the K of other seeds.
        full: how a run at full scale is made; None for the book's own scale.
        progress: called before each code cell.

    Raises:
        ChapterFailed: if the code breaks a rule of :mod:`learnmech.compare.guards`, a cell fails,
            or a cell writes to stderr.
    """
    notebook = read_text(files)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    if problems := notebook_problems(code):
        raise ChapterFailed(f"{files.slug}: {problems[0]}")
    numbers = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def report(cell: NotebookNode, cell_index: int) -> None:
        _hand_interrupts_back()
        if progress is not None and cell.cell_type == "code":
            progress(numbers.index(cell_index), len(numbers))

    client = NotebookClient(
        notebook,
        timeout=_CELL_SECONDS if full is None else _CELL_SECONDS_IN_FULL,
        record_timing=False,
        kernel_manager_class=_ThisPython,
        resources={"metadata": {"path": str(files.text.parent)}},
        on_cell_start=report,
    )
    environment = repro.kernel_environment(
        **{
            repro.MODE: mode,
            repro.STAGE: str(stage),
            repro.SEED_OFFSET: str(seed_offset),
            "IPYTHONDIR": str(stage / "ipython"),
            **({} if full is None else full.environment()),
        }
    )
    with (stage / "kernel.log").open("w") as log:
        try:
            await client.async_execute(env=environment, stderr=log)
        except CellExecutionError as error:
            raise ChapterFailed(f"{files.slug}: {_failed_cell(notebook, error)}") from None
        except (DeadKernelError, TimeoutError) as error:
            raise ChapterFailed(f"{files.slug}: the kernel stopped: {error}") from None
    notebook.metadata.pop("language_info", None)
    if problems := output_problems(notebook):
        raise ChapterFailed(f"{files.slug}: {problems[0]}")
    return notebook


def _hand_interrupts_back() -> None:
    """Undo nbclient's own signal handlers, which shut the kernel down twice and loudly."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(number)


def _failed_cell(notebook: NotebookNode, error: CellExecutionError) -> str:
    for number, cell in enumerate(notebook.cells):
        if any(o.output_type == "error" for o in cell.get("outputs", [])):
            return f"cell {number} ({cell['id']}) ended in {error.ename}: {error.evalue}"
    return f"{error.ename}: {error.evalue}"


@contextmanager
def _stage() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="learnmech-run-") as folder:
        yield Path(folder)


def _with_record(notebook: NotebookNode, fingerprint: str) -> str:
    notebook.metadata["learnmech"] = {
        "fingerprint": fingerprint,
        "sources": sources_hash(notebook),
    }
    text: str = nbformat.writes(notebook, version=4)
    return text + "\n"


def _edited_by_hand(files: ChapterFiles) -> bool:
    """Say whether the notebook holds sources that the text never held."""
    if not files.notebook.is_file():
        return False
    notebook = nbformat.read(files.notebook, as_version=4)
    generated = notebook.metadata.get("learnmech", {}).get("sources")
    now = sources_hash(notebook)
    return generated not in (None, now) and now != sources_hash(read_text(files))


async def regenerate(
    files: ChapterFiles, *, progress: Progress | None = None, overwrite: bool = False
) -> list[Path]:
    """Run a chapter from its text and put notebook, ledger and figure data in place.

    Args:
        files: the chapter.
        progress: called before each code cell.
        overwrite: replace a notebook even if somebody edited it by hand.

    Returns:
        The files whose bytes changed.

    Raises:
        ChapterFailed: if anything goes wrong; nothing was changed.
    """
    if _edited_by_hand(files) and not overwrite:
        raise ChapterFailed(
            f"{files.slug}: {files.notebook.name} was edited after it was generated, and a run "
            f"would lose that; bring the edit into {files.text.name} with 'jupytext --to md:myst "
            f"{files.notebook.name}', or run again with --overwrite"
        )
    with _stage() as stage:
        notebook = await execute(files, stage, mode=repro.RUN, progress=progress)
        ledger = stage / "_ledger" / f"{files.slug}.json"
        if not ledger.is_file():
            raise ChapterFailed(f"{files.slug}: the chapter never calls chapter.close()")
        new = {files.ledger: ledger.read_text(encoding="utf-8")}
        for data in sorted((stage / "_figures" / files.slug).glob("*.json")):
            new[files.figures / data.name] = data.read_text(encoding="utf-8")
        new[files.notebook] = _notebook_text(files, notebook)
        return _put_in_place(files, new)


def _notebook_text(files: ChapterFiles, notebook: NotebookNode) -> str:
    """Return the notebook's text, keeping the stored fingerprint where nothing else changed."""
    if files.notebook.is_file():
        old = nbformat.read(files.notebook, as_version=4)
        kept = old.metadata.get("learnmech", {}).get("fingerprint", "")
        text = _with_record(notebook, kept)
        if text == files.notebook.read_text(encoding="utf-8"):
            return text
    return _with_record(notebook, repro.fingerprint())


def _put_in_place(files: ChapterFiles, new: dict[Path, str]) -> list[Path]:
    changed = [p for p, t in new.items() if not p.is_file() or p.read_text("utf-8") != t]
    parts = {}
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        parts[path] = path.with_name(path.name + ".part")
        parts[path].write_text(new[path], encoding="utf-8")
    for path, part in parts.items():
        os.replace(part, path)
    stale = [p for p in sorted(files.figures.glob("*.json")) if p not in new]
    for path in stale:
        path.unlink()
    return changed + stale


async def check(
    files: ChapterFiles,
    seed_offset: int,
    *,
    full: FullScale | None = None,
    progress: Progress | None = None,
) -> Ledger:
    """Run a chapter with other seeds or at full scale, and return its ledger.

    Nothing is written into the tree.

    Raises:
        ChapterFailed: if the run itself breaks; a failing verdict does not raise.
    """
    with _stage() as stage:
        await execute(
            files,
            stage,
            mode=repro.CHECK,
            seed_offset=seed_offset,
            full=full,
            progress=progress,
        )
        return load_ledger(stage / "_ledger" / f"{files.slug}.json")


def for_each(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], *, jobs: int
) -> list[Result | ChapterFailed]:
    """Do the work for every item, ``jobs`` at a time, in one event loop.

    Returns:
        For each item its result, or the :class:`ChapterFailed` that it raised. An interrupt
        shuts down all kernels before it is passed on.
    """

    async def all_of_them() -> list[Result | ChapterFailed]:
        turn = asyncio.Semaphore(jobs)

        async def attempt(item: Item) -> Result | ChapterFailed:
            async with turn:
                try:
                    return await work(item)
                except ChapterFailed as error:
                    return error

        return await asyncio.gather(*(attempt(item) for item in items))

    return asyncio.run(all_of_them())


def run_seconds(files: ChapterFiles) -> float:
    """Return the CPU seconds (user and system, kernel start included) of one run of a chapter.

    The chapter runs in a process of its own, whose children's times the system adds up.
    """
    program = (
        "import asyncio, pathlib, resource, sys, tempfile\n"
        "from learnmech.compare import notebooks, pairs\n"
        "files = pairs.chapter_files(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
        "with tempfile.TemporaryDirectory() as stage:\n"
        "    asyncio.run(notebooks.execute(files, pathlib.Path(stage), mode='run'))\n"
        "use = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(use.ru_utime + use.ru_stime)\n"
    )
    command = [sys.executable, "-c", program, str(files.root), files.slug]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChapterFailed(f"{files.slug}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])
