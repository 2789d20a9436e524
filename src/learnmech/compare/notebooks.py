"""Chapters as files: text in, executed notebook, ledger and figure data out, or nothing at all.

The text (``.md``, MyST) is the source. :func:`regenerate` executes it in a fresh kernel into a
temporary folder, checks the result, and only then moves notebook, ledger and figure data into
place, so that an interrupted or failing run leaves everything as it was. Cell ids are fixed, no
times are stored, and what a machine is called goes nowhere: two runs give the same bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
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

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from learnmech.compare import reproducibility as repro
from learnmech.compare.guards import notebook_problems
from learnmech.compare.ledger import Ledger, load_ledger

__all__ = [
    "ChapterFailed",
    "ChapterFiles",
    "chapter_files",
    "check",
    "execute",
    "find_chapters",
    "for_each",
    "pair_problems",
    "read_text",
    "regenerate",
    "run_seconds",
]

Progress = Callable[[int, int], None]
"""Called with (code cells begun, code cells in all)."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_CELL_SECONDS = 600


class ChapterFailed(RuntimeError):
    """A chapter could not be executed; nothing was written."""


@dataclass(frozen=True)
class ChapterFiles:
    """Where one chapter's files are."""

    root: Path
    slug: str
    pillar: str

    @property
    def text(self) -> Path:
        """The source, MyST markdown."""
        return self.root / "notebooks" / self.pillar / f"{self.slug}.md"

    @property
    def notebook(self) -> Path:
        """The executed notebook beside it."""
        return self.text.with_suffix(".ipynb")

    @property
    def ledger(self) -> Path:
        """The committed ledger."""
        return self.root / "book" / "_ledger" / f"{self.slug}.json"

    @property
    def figures(self) -> Path:
        """The folder of plotted data."""
        return self.root / "book" / "_figures" / self.slug


def find_chapters(root: Path) -> list[ChapterFiles]:
    """Return every chapter of a checkout, by pillar and name."""
    texts = sorted(root.glob("notebooks/*/*.md"))
    return [ChapterFiles(root, text.stem, text.parent.name) for text in texts]


def chapter_files(root: Path, slug: str) -> ChapterFiles:
    """Return one chapter's files.

    Raises:
        KeyError: if there is no such chapter.
    """
    for files in find_chapters(root):
        if files.slug == slug:
            return files
    raise KeyError(slug)


def read_text(files: ChapterFiles) -> NotebookNode:
    """Read a chapter's text as an unexecuted notebook with fixed cell ids."""
    notebook: NotebookNode = jupytext.read(files.text, fmt="md:myst")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{files.slug}-{number:03d}"
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _sources_hash(notebook: NotebookNode) -> str:
    parts = [[cell.cell_type, cell.source, cell.metadata] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def pair_problems(files: ChapterFiles) -> list[str]:
    """List how a notebook differs from its text, or was not run; empty for a good pair."""
    if not files.notebook.is_file():
        return [f"{files.notebook.name} is missing; run 'learnmech run {files.slug}'"]
    text, notebook = read_text(files), nbformat.read(files.notebook, as_version=4)
    problems = []
    if len(text.cells) != len(notebook.cells):
        problems.append(f"the text has {len(text.cells)} cells, the notebook {len(notebook.cells)}")
    for number, (source, cell) in enumerate(zip(text.cells, notebook.cells, strict=False)):
        where = f"cell {number} ({source['id']})"
        if (source.cell_type, source.source) != (cell.cell_type, cell.source):
            problems.append(f"{where}: text and notebook differ")
        elif source.metadata != cell.metadata or source["id"] != cell["id"]:
            problems.append(f"{where}: the cell's metadata or id differs from the text's")
    problems += _output_problems(notebook)
    return problems


def _output_problems(notebook: NotebookNode) -> list[str]:
    problems = []
    count = 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        count += 1
        if cell.execution_count != count:
            problems.append(f"cell {number}: not run in order (count {cell.execution_count})")
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(f"cell {number}: ends in {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr":
                problems.append(f"cell {number}: writes to stderr: {output.text.strip()[:200]}")
    return problems


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
    progress: Progress | None = None,
) -> NotebookNode:
    """Execute a chapter's text in a fresh kernel; ledger and figure data go to ``stage``.

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
        timeout=_CELL_SECONDS,
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
    if problems := _output_problems(notebook):
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
        "sources": _sources_hash(notebook),
    }
    text: str = nbformat.writes(notebook, version=4)
    return text + "\n"


def _edited_by_hand(files: ChapterFiles) -> bool:
    """Say whether the notebook holds sources that the text never held."""
    if not files.notebook.is_file():
        return False
    notebook = nbformat.read(files.notebook, as_version=4)
    generated = notebook.metadata.get("learnmech", {}).get("sources")
    now = _sources_hash(notebook)
    return generated not in (None, now) and now != _sources_hash(read_text(files))


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
    files: ChapterFiles, seed_offset: int, *, progress: Progress | None = None
) -> Ledger:
    """Run a chapter with other seeds, write nothing into the tree, and return its ledger.

    Raises:
        ChapterFailed: if the run itself breaks; a failing verdict does not raise.
    """
    with _stage() as stage:
        await execute(files, stage, mode=repro.CHECK, seed_offset=seed_offset, progress=progress)
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
        "from learnmech.compare import notebooks\n"
        "files = notebooks.chapter_files(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
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
