"""A small book in a temporary folder, with one toy chapter that takes a second to run."""

import asyncio
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def settings_restored():
    """Undo what opening a chapter sets in this process, for the tests of other folders."""
    import numpy as np
    import torch

    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    deterministic, printing = torch.are_deterministic_algorithms_enabled(), np.get_printoptions()
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_printoptions(profile="default")
    np.set_printoptions(**printing)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """An empty checkout with the toy chapter's text, as the working directory."""
    root = tmp_path / "checkout"
    pillar = root / "notebooks" / "solvable-settings"
    pillar.mkdir(parents=True)
    (root / "book").mkdir()
    shutil.copy(REPOSITORY / "_toc.yml", root)
    shutil.copy(REPOSITORY / "jupytext.toml", root)
    shutil.copy(REPOSITORY / "conftest.py", root)
    shutil.copy(REPOSITORY / "book" / "references.bib", root / "book")
    shutil.copy(REPOSITORY / "tests" / "compare" / "data" / "toy.md", pillar / "toy.md")
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """A checkout whose toy chapter was run once; copy it before changing it."""
    from learnmech.compare.notebooks import regenerate
    from learnmech.compare.pairs import chapter_files

    root = tmp_path_factory.mktemp("generated") / "checkout"
    pillar = root / "notebooks" / "solvable-settings"
    pillar.mkdir(parents=True)
    (root / "book").mkdir()
    for name in ("_toc.yml", "jupytext.toml", "conftest.py"):
        shutil.copy(REPOSITORY / name, root)
    shutil.copy(REPOSITORY / "book" / "references.bib", root / "book")
    shutil.copy(REPOSITORY / "tests" / "compare" / "data" / "toy.md", pillar / "toy.md")
    asyncio.run(regenerate(chapter_files(root, "toy")))
    return root


@pytest.fixture
def copy(generated, tmp_path, monkeypatch):
    """A fresh copy of the generated checkout, as the working directory."""
    root = tmp_path / "copy"
    shutil.copytree(generated, root)
    monkeypatch.chdir(root)
    return root
