"""Writing the editions: notebooks, homework and the HTML book, each edition in a folder of its own.

The HTML of an edition is built by the book's own tools from a generated copy of the checkout, in
which the chapters are the edition's. So what an edition leaves out never comes near Sphinx: it is
in no page, in no copied source, in no download and not in the search index.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from learnmech import __version__
from learnmech.compare.pairs import ChapterFiles, chapter_files, find_chapters, pair_problems
from learnmech.compare.repository import load_repository
from learnmech.compare.setup_cell import is_setup_cell, needed_modules, setup_cell
from learnmech.teaching.editions import EDITIONS, Edition, edition_cells
from learnmech.teaching.exercises import IMPORTS, Exercise
from learnmech.teaching.homework import NBGRADER_CONFIG, homework
from learnmech.teaching.leaks import OpenText, Secrets, chapter_secrets, leaks, open_words
from learnmech.teaching.sealing import chapter_exercises

__all__ = ["PACKAGE", "BuildFailed", "book_secrets", "write_editions", "write_homework"]

# What students install instead of a checkout, which has the solutions in it.
PACKAGE = f"learnmech-{__version__}-py3-none-any.whl"

# What the HTML build does not read, or reads in the edition's own version.
_NOT_COPIED = {"_build", "build", "dist", "notebooks", "src", "tests"}
_NOT_COPIED_INSIDE = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_ADDRESS = re.compile(r"^(repository:\n(?: +#.*\n)*  url:).*$", re.MULTILINE)


class BuildFailed(RuntimeError):
    """An edition could not be made; the message is one sentence."""


@dataclass(frozen=True)
class _Chapter:
    files: ChapterFiles
    exercises: list[Exercise]
    notebook: NotebookNode  # executed
    text: NotebookNode

    @property
    def place(self) -> str:
        return f"notebooks/{self.files.pillar}/{self.files.slug}"


def _read(files: ChapterFiles) -> _Chapter:
    exercises = chapter_exercises(files)
    if problems := pair_problems(files):
        raise BuildFailed(
            f"{files.slug}: the notebook is not its text ({problems[0]}); run 'learnmech run "
            f"{files.slug}' first"
        )
    notebook = nbformat.read(files.notebook, as_version=4)
    text = jupytext.read(files.text, fmt="md:myst")
    return _Chapter(files, exercises, notebook, text)


def book_secrets(root: Path) -> list[Secrets]:
    """Return what the students' edition of a checkout must not hold.

    Raises:
        MalformedExercise: if an exercise is not whole.
        BuildFailed: if a notebook is not its text.
    """
    return _secrets(root, [_read(files) for files in find_chapters(root)])


def _secrets(root: Path, chapters: Sequence[_Chapter]) -> list[Secrets]:
    package = Path(__file__).parents[1]
    paths = [p for p in sorted((root / "book").rglob("*")) if p.suffix in {".md", ".bib", ".json"}]
    paths += sorted(package.rglob("*.py"))
    said = [path.read_text("utf-8") for path in paths]
    said += [open_words(c.notebook.cells, c.exercises) for c in chapters]
    openly = OpenText.of("\n".join(said))
    return [chapter_secrets(c.place, c.exercises, openly) for c in chapters]


def write_editions(
    root: Path,
    target: Path,
    names: Sequence[str] = tuple(EDITIONS),
    *,
    html: bool = True,
    tell: Callable[[str], object] = lambda _: None,
) -> list[Path]:
    """Write editions of the book, each as a folder of `target`; all of them or none.

    Args:
        root: the checkout.
        target: where the folders go; an edition that is there is replaced.
        names: which editions.
        html: whether to build the HTML book too, which takes most of the time.
        tell: called with a line for each step.

    Raises:
        MalformedExercise: if an exercise is not whole.
        BuildFailed: if a notebook is not its text, the HTML build fails, or the students' edition
            would give something away; nothing was written.
    """
    chapters = [_read(files) for files in find_chapters(root)]
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".editions-", dir=target) as folder:
        stage = Path(folder)
        for name in names:
            tell(f"{name}: notebooks and homework" + (", HTML" if html else ""))
            _write_edition(root, stage, chapters, EDITIONS[name], html=html)
        for name in names:
            if (target / name).exists():
                shutil.rmtree(target / name)
            (stage / name).rename(target / name)
    return [target / name for name in names]


def _write_edition(
    root: Path, stage: Path, chapters: Sequence[_Chapter], edition: Edition, *, html: bool
) -> None:
    folder = stage / edition.name
    for chapter in chapters:
        _write_chapter(folder, chapter, edition)
    with_exercises = [chapter.files.slug for chapter in chapters if chapter.exercises]
    write_homework(root, folder / "homework", edition.name, with_exercises)
    if html:
        _build_html(root, folder, edition)
    if not edition.solutions and (found := leaks(folder, _secrets(root, chapters))):
        raise BuildFailed(f"the {edition.name}' edition gives something away: {found[0]}")


def _write_chapter(folder: Path, chapter: _Chapter, edition: Edition) -> None:
    notebook, text = (
        NotebookNode({**whole, "cells": edition_cells(whole.cells, chapter.exercises, edition)})
        for whole in (chapter.notebook, chapter.text)
    )
    if edition.name == "students":
        notebook.cells = [
            _set_up_outside(chapter) if is_setup_cell(cell) else cell for cell in notebook.cells
        ]
    if edition.name != "public":
        notebook.metadata = NotebookNode(kernelspec=notebook.metadata["kernelspec"])
    path = folder / f"{chapter.place}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_notebook(path, notebook)
    path.with_suffix(".md").write_text(jupytext.writes(text, fmt="md:myst"), encoding="utf-8")


def _set_up_outside(chapter: _Chapter) -> NotebookNode:
    """Return the first cell for who has the package's file and no checkout."""
    modules = needed_modules(c.source for c in chapter.notebook.cells if c.cell_type == "code")
    repository = load_repository(chapter.files.root)
    return setup_cell(chapter.files.slug, modules, repository, package=PACKAGE)


def _write_notebook(path: Path, notebook: NotebookNode) -> None:
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")


def write_homework(root: Path, folder: Path, name: str, chapters: Sequence[str]) -> None:
    """Write the homework of chapters for one edition, from their texts alone.

    Args:
        root: the checkout.
        folder: where to; the instructors' edition makes it a course folder for nbgrader.
        name: the edition's.
        chapters: their names.

    Raises:
        MalformedExercise: if an exercise is not whole.
    """
    edition = EDITIONS[name]
    modules, repository = needed_modules([IMPORTS]), load_repository(root)
    for slug in chapters:
        files = chapter_files(root, slug)
        exercises = chapter_exercises(files)
        setup = setup_cell(slug, modules, repository, package="" if name == "public" else PACKAGE)
        notebook = homework(slug, _title(files), setup, exercises, edition)
        path = (folder / "source" if edition.notes else folder) / slug / f"{slug}.ipynb"
        path.parent.mkdir(parents=True)
        _write_notebook(path, notebook)
    if edition.notes:
        (folder / "nbgrader_config.py").write_text(NBGRADER_CONFIG, encoding="utf-8")


def _title(files: ChapterFiles) -> str:
    heading = re.search(r"^# (.+)$", files.text.read_text("utf-8"), re.MULTILINE)
    return heading[1].strip() if heading else files.slug


def _build_html(root: Path, folder: Path, edition: Edition) -> None:
    with tempfile.TemporaryDirectory(prefix="learnmech-edition-") as place:
        tree = Path(place) / "book"
        _copy_tree(root, tree, folder / "notebooks", edition)
        program = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
        options = ["build", str(tree), "-W", "-n", "--keep-going", "-q"]
        done = subprocess.run(
            [sys.executable, "-c", program, *options], capture_output=True, text=True, check=False
        )
        built = tree / "_build" / "html"
        if done.returncode or not (built / "index.html").is_file():
            said = _first_complaint(done.stderr).replace(f"{tree}/", "")
            raise BuildFailed(f"the HTML of the {edition.name} edition could not be built: {said}")
        shutil.move(built, folder / "html")


def _first_complaint(said: str) -> str:
    lines = [line.strip() for line in _COLOUR.sub("", said).splitlines()]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if "WARNING" in line or "rror" in line:
            return f"{line} {following}" if line.endswith(":") else line
    return "jupyter-book does not say why"


def _copy_tree(root: Path, tree: Path, notebooks: Path, edition: Edition) -> None:
    """Copy what the HTML is built from, with the edition's chapters in place of the book's."""
    tree.mkdir()
    for path in root.iterdir():
        if path.name in _NOT_COPIED or path.name.startswith("."):
            continue
        if path.is_dir():
            shutil.copytree(path, tree / path.name, ignore=_NOT_COPIED_INSIDE)
        else:
            shutil.copy2(path, tree)
    shutil.copytree(notebooks, tree / "notebooks")
    if not edition.solutions:
        # The repository has the solutions: a students' page does not lead there.
        config = tree / "_config.yml"
        config.write_text(_ADDRESS.sub(r'\1 ""', config.read_text("utf-8")), encoding="utf-8")
