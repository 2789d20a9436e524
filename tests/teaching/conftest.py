"""A tiny checkout with one chapter that has exercises."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from learnmech.compare.pairs import ChapterFiles, read_text
from learnmech.teaching import locks
from learnmech.teaching.sealing import key_path, seal_chapters

HERE = Path(__file__).parent


def _checkout(root):
    text = root / "notebooks" / "solvable-settings" / "growth.md"
    text.parent.mkdir(parents=True)
    shutil.copy(HERE / "data" / "growth.md", text)
    (root / "_toc.yml").write_text("format: jb-book\nroot: notebooks/solvable-settings/growth\n")
    (root / "_config.yml").write_text("title: A toy\n")
    return ChapterFiles(root, "growth", "solvable-settings")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The files of the toy chapter in a checkout of its own, which is the working folder."""
    files = _checkout(tmp_path / "checkout")
    monkeypatch.chdir(files.root)
    return files


@pytest.fixture(scope="session")
def sealed_keys(tmp_path_factory):
    """The toy's keys, sealed once."""
    files = _checkout(tmp_path_factory.mktemp("sealed") / "checkout")
    seal_chapters(files.root, [files])
    return key_path(files.root, "growth")


@pytest.fixture
def toy_keys(toy, sealed_keys, monkeypatch):
    """The toy's keys, which are the ones that `check` reads."""
    path = key_path(toy.root, "growth")
    path.parent.mkdir(parents=True)
    shutil.copy(sealed_keys, path)
    monkeypatch.setattr(locks, "key_folder", lambda: path.parent)
    return locks.load_keys()


@pytest.fixture
def executed(toy):
    """The toy with a notebook as a run leaves it."""
    notebook = read_text(toy)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.execution_count = number
        if said := {'print("doubling")': "doubling\n", 'print("done")': "done\n"}.get(
            cell.source.splitlines()[-1], ""
        ):
            cell.outputs = [v4.new_output("stream", name="stdout", text=said)]
    toy.notebook.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")
    return toy
