"""The first cell of every notebook: silent where all is there, one sentence where it is not."""

import importlib.util
import os
import subprocess
import sys
from contextlib import suppress
from importlib.machinery import PathFinder

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from learnmech.compare.notebooks import _ThisPython
from learnmech.compare.pairs import chapter_files, pair_problems, read_text
from learnmech.compare.repository import Repository
from learnmech.compare.setup_cell import needed_modules, setup_cell
from learnmech.pins import NUMBERS, pin

HERE = Repository("somebody", "a-book", "main")
PACKAGE = "learnmech[chapters] @ git+https://github.com/somebody/a-book@main"
TEXT = "notebooks/solvable-settings/toy.md"

HIDE = """\
import sys


class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        return None if name in {hidden} else self.finder.find_spec(name, *rest)


sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path if hasattr(finder, "find_spec")]
"""


def first_cell(root):
    return read_text(chapter_files(root, "toy")).cells[1]


def run_in_a_kernel(*sources):
    """Run cells until one fails, as "Run all" does; return them with their outputs."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with suppress(CellExecutionError):
        NotebookClient(notebook, kernel_manager_class=_ThisPython, timeout=60).execute()
    return notebook.cells


@pytest.fixture
def without(monkeypatch):
    """Hide modules from the cell in this process, until they are installed."""

    def hide(*names):
        find, hidden = importlib.util.find_spec, set(names)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in hidden else find(name)
        )
        return hidden

    return hide


@pytest.fixture
def pip(monkeypatch):
    """Commands that would have been run."""
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    return commands


class TestPlace:
    def test_it_stands_behind_the_first_words_and_pages_leave_it_out(self, book):
        cells = read_text(chapter_files(book, "toy")).cells
        assert [cell.cell_type for cell in cells[:3]] == ["markdown", "code", "code"]
        assert [cell.id for cell in cells[:3]] == ["toy-000", "toy-setup", "toy-001"]
        assert cells[1].metadata == {"tags": ["remove-cell"]}

    def test_a_text_that_was_synchronised_with_its_notebook_has_it_once(self, book):
        text = book / TEXT
        cell = first_cell(book)
        fence = f"```{{code-cell}}\n:tags: [remove-cell]\n\n{cell.source}\n```\n\n"
        before = read_text(chapter_files(book, "toy"))
        text.write_text(text.read_text().replace("```{code-cell}\n", fence + "```{code-cell}\n", 1))
        assert read_text(chapter_files(book, "toy")) == before

    def test_a_text_without_words_begins_with_it(self, book):
        (book / TEXT).write_text("```{code-cell}\n1 + 1\n```\n")
        assert [c.id for c in read_text(chapter_files(book, "toy")).cells] == [
            "toy-setup",
            "toy-000",
        ]

    def test_a_notebook_without_it_is_no_pair(self, copy):
        files = chapter_files(copy, "toy")
        notebook = nbformat.read(files.notebook, as_version=4)
        del notebook.cells[1]
        nbformat.write(notebook, files.notebook)
        assert pair_problems(files)

    def test_a_chapter_needs_what_its_code_imports_and_python_has_not(self):
        cells = [
            "import os, numpy.linalg as la\nimport zzz",
            "%magic",
            "def f():\n from a.b import c",
        ]
        assert needed_modules(cells) == ["learnmech", "a", "numpy", "zzz"]


class TestWithThePackages:
    def test_it_prints_nothing_and_pins_numbers_before_numpy_is_there(self, book, monkeypatch):
        for name in NUMBERS:
            monkeypatch.setenv(name, "4")
        look = "import os, sys\nprint([n in sys.modules for n in ('numpy', 'torch')])"
        told = f"print({{name: os.environ[name] for name in {list(NUMBERS)}}} == {NUMBERS})"
        cells = run_in_a_kernel(look, first_cell(book).source, look, told)
        assert cells[1].outputs == []
        assert [cells[i].outputs[0].text for i in (0, 2, 3)] == [
            *["[False, False]\n"] * 2,
            "True\n",
        ]

    @pytest.mark.parametrize(("scale", "threads"), [("", "1"), ("laptop", "1"), ("full", "8")])
    def test_a_full_run_keeps_its_threads(self, monkeypatch, scale, threads):
        monkeypatch.setenv("LEARNMECH_SCALE", scale)
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx512")
        pin()
        assert os.environ["OMP_NUM_THREADS"] == threads
        assert os.environ["ATEN_CPU_CAPABILITY"] == "avx2"

    def test_not_even_in_colab(self, pip, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "google.colab", object())
        exec(setup_cell("toy", ["learnmech"], HERE).source, {})
        assert pip == []
        assert capsys.readouterr() == ("", "")


class TestWithoutThePackages:
    def test_the_run_stops_with_one_sentence_that_says_what_to_type(self, book):
        hide = HIDE.replace("{hidden}", "{'learnmech'}")
        _, cell, after = run_in_a_kernel(hide, first_cell(book).source, "print('went on')")
        (output,) = cell.outputs
        assert output.traceback == [
            'This chapter needs learnmech: type  pip install -e ".[book]"  in the folder of the '
            "book and the environment of this notebook, then restart the kernel and run all cells."
        ]
        assert after.outputs == []

    def test_a_checkout_installed_under_a_running_kernel_is_not_there_yet(
        self, monkeypatch, tmp_path
    ):
        """Its path is read when Python starts; till then only its data files are found."""
        (tmp_path / "learnmech" / "compare").mkdir(parents=True)
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: PathFinder.find_spec(name, sys.path)
        )
        with pytest.raises(ImportError, match=r"needs learnmech: .* restart the kernel"):
            exec(setup_cell("toy", ["learnmech"], None).source, {})

    def test_a_package_of_one_chapter_is_named(self, book, without):
        text = book / TEXT
        text.write_text(text.read_text().replace("import torch\n", "import torch, optuna\n"))
        without("optuna")
        with pytest.raises(ImportError, match=r"^This chapter needs optuna: type  pip install -e"):
            exec(first_cell(book).source, {})

    @pytest.mark.parametrize("colab", [True, False])
    def test_without_a_repository_nothing_is_installed_and_no_address_is_named(
        self, book, without, pip, monkeypatch, colab
    ):
        if colab:
            monkeypatch.setitem(sys.modules, "google.colab", object())
        without("learnmech", "numpy")
        source = first_cell(book).source
        with pytest.raises(ImportError, match=r"needs learnmech, numpy: type  pip install -e"):
            exec(source, {})
        assert pip == []
        assert "http" not in source

    def test_elsewhere_than_in_colab_the_repository_is_only_named(self, book, without, pip):
        (book / "_config.yml").write_text(f"repository: {{url: {HERE.url}}}\n")
        without("learnmech")
        with pytest.raises(ImportError) as stop:
            exec(first_cell(book).source, {})
        assert f'type  pip install "{PACKAGE}"  in the environment' in str(stop.value)
        assert pip == []

    def test_colab_installs_from_the_repository_and_goes_on(
        self, book, without, pip, monkeypatch, capsys
    ):
        (book / "_config.yml").write_text(f"repository: {{url: {HERE.url}}}\n")
        monkeypatch.setitem(sys.modules, "google.colab", object())
        hidden = without("learnmech", "optuna")

        def install(command, *, check):
            pip.append(command)
            hidden.clear()

        monkeypatch.setattr(subprocess, "run", install)
        exec(first_cell(book).source, {})
        assert pip == [[sys.executable, "-m", "pip", "install", "--quiet", PACKAGE]]
        assert capsys.readouterr().out == (
            "Installing the book's package; this takes about a minute.\n"
        )

    def test_an_installation_that_fails_stops_the_run(self, without, pip, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "google.colab", object())
        without("learnmech")
        with pytest.raises(ImportError, match="This chapter needs learnmech: type  pip install"):
            exec(setup_cell("toy", ["learnmech"], HERE).source, {})
        assert len(pip) == 1
        assert capsys.readouterr().err == ""


def test_a_repository_that_is_none_is_one_sentence(copy):
    from click.testing import CliRunner

    from learnmech.cli import main

    (copy / "_config.yml").write_text("repository: {url: 'my server'}\n")
    done = CliRunner().invoke(main, ["run"])
    assert done.exit_code == 2
    assert "'my server'" in done.output
    assert "Traceback" not in done.output
