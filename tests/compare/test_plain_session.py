"""A chapter in a plain Jupyter session: other threads, no pins, and the same numbers."""

import json
import os

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from learnmech.compare import reproducibility as repro
from learnmech.compare.figures import MIME, figure_problems
from learnmech.compare.notebooks import _ThisPython
from learnmech.compare.pairs import chapter_files

NOTEBOOK = "notebooks/solvable-settings/toy.ipynb"


@pytest.fixture
def plain_kernel(monkeypatch):
    """The environment of a kernel that Jupyter starts: nothing that this book sets."""
    for name in repro.PINNED:
        monkeypatch.delenv(name, raising=False)
    assert not [name for name in os.environ if name.startswith("LEARNMECH_")]


def run_by_hand(root):
    """Open the notebook, run all its cells and return it, as Jupyter has it in memory."""
    notebook = nbformat.read(root / NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str((root / NOTEBOOK).parent)}}
    NotebookClient(
        notebook, kernel_manager_class=_ThisPython, timeout=120, resources=folder
    ).execute()
    return notebook


def figures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"] for output in outputs if MIME in output.get("data", {})]


def printed(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["text"] for output in outputs if output.output_type == "stream"]


@pytest.mark.usefixtures("plain_kernel")
class TestPlainSession:
    def test_it_gives_the_stored_numbers_and_writes_nothing(self, copy):
        before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
        stored, fresh = nbformat.read(copy / NOTEBOOK, as_version=4), run_by_hand(copy)
        pairs = list(zip(figures(stored), figures(fresh), strict=True))
        assert [figure_problems(*pair, same_machine=False) for pair in pairs] == [[]]
        assert printed(fresh) == printed(stored)
        assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before

    def test_other_numbers_are_said_and_another_verdict_stops_the_run(self, copy):
        path = chapter_files(copy, "toy").ledger
        ledger = json.loads(path.read_text())
        ledger["claims"][0]["discrepancy"] *= 1.5
        path.write_text(json.dumps(ledger))
        (words,) = (w for w in printed(run_by_hand(copy)) if "All verdicts are those" in w)
        assert "not all numbers (differences: 1, the first is line-holds.discrepancy: " in words
        ledger["claims"][0]["verdict"] = "fails"
        path.write_text(json.dumps(ledger))
        with pytest.raises(CellExecutionError, match="this run's ledger is not the committed one"):
            run_by_hand(copy)
