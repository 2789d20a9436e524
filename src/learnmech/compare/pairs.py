"""Chapters as files: where they are, how a text is read, and whether its notebook is its pair.

The text (``.md``, MyST) is the source; the executed notebook stands beside it. Cell ids are fixed,
so that reading a text twice gives the same notebook. The one cell that the text does not hold is
the set-up cell (:mod:`learnmech.compare.setup_cell`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from learnmech.compare.ledger import pillar_order
from learnmech.compare.repository import load_repository
from learnmech.compare.setup_cell import is_setup_cell, needed_modules, setup_cell

__all__ = [
    "ChapterFiles",
    "chapter_files",
    "find_chapters",
    "output_problems",
    "pair_problems",
    "read_text",
    "sources_hash",
]


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
    """Return every chapter of a checkout, in the order of the pillars and then by name."""
    texts = sorted(
        root.glob("notebooks/*/*.md"), key=lambda text: (pillar_order(text.parent.name), text)
    )
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
    """Read a chapter's text as an unexecuted notebook with fixed cell ids and the set-up cell.

    Cells are numbered by their place in the text, in which the set-up cell does not count.

    Raises:
        ValueError: if the book's configuration names a repository that is none.
    """
    notebook: NotebookNode = jupytext.read(files.text, fmt="md:myst")
    notebook.cells = [cell for cell in notebook.cells if not is_setup_cell(cell)]
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{files.slug}-{number:03d}"
    modules = needed_modules(c.source for c in notebook.cells if c.cell_type == "code")
    first = next((i for i, c in enumerate(notebook.cells, 1) if c.cell_type == "markdown"), 0)
    repository = load_repository(files.root)
    notebook.cells.insert(first, setup_cell(files.slug, modules, repository))
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def sources_hash(notebook: NotebookNode) -> str:
    """Return the SHA-256 of all cells' kinds, sources and metadata."""
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
    problems += output_problems(notebook)
    return problems


def output_problems(notebook: NotebookNode) -> list[str]:
    """List cells that were not run in order, failed, or wrote to stderr."""
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
