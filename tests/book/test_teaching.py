"""What a teacher gets: homework lists that follow the chapters, and a project that runs."""

import importlib.util
import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from page_checks import read_page
from teaching_pages import exercise_list
from test_package import installed, wheel  # noqa: F401 - fixtures

from learnmech.compare.guards import notebook_problems
from learnmech.compare.pairs import find_chapters, output_problems
from learnmech.teaching.sealing import chapter_exercises

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates"
PREDICTION = "np.log(tenfold) / step_sizes[0]"


@pytest.fixture(scope="module")
def templates():
    """The module that runs the template."""
    spec = importlib.util.spec_from_file_location("execute", TEMPLATES / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(templates, installed, tmp_path):  # noqa: F811
    """A function that runs a text as the template, with the installed wheel in an empty folder."""

    def run(text, **environment):
        notebook = templates.read_template(text)
        guard = (
            "import learnmech, pathlib\n"
            f"assert pathlib.Path(learnmech.__file__).is_relative_to({str(installed)!r})"
        )
        where = [cell.cell_type for cell in notebook.cells].index("code")
        notebook.cells.insert(where, nbformat.v4.new_code_cell(guard, id="guard"))
        templates.execute(notebook, tmp_path, PYTHONPATH=str(installed), **environment)
        del notebook.cells[where]
        return notebook

    return run


@pytest.fixture(scope="module")
def text():
    return (TEMPLATES / "final-project.md").read_text("utf-8")


def _printed(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def test_the_template_runs_alone_and_its_notebook_is_what_that_gives(run, text, tmp_path):
    notebook = run(text)
    stored = nbformat.read(TEMPLATES / "final-project.ipynb", as_version=4)
    assert [(c.id, c.source) for c in stored.cells] == [(c.id, c.source) for c in notebook.cells]
    assert _printed(stored) == _printed(notebook)
    assert output_problems(stored) == []
    folder = tmp_path / "learnmech-chapters"
    ledger = json.loads((folder / "_ledger" / "final-project.json").read_text("utf-8"))
    assert [(e["kind"], e["verdict"]) for e in ledger["claims"]] == [
        ("claim", "holds"),
        ("limit", "breaks as predicted"),
    ]
    assert (folder / "_figures" / "final-project" / "extra-steps.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["learnmech-chapters"]


def test_a_wrong_prediction_in_the_template_goes_red(run, text, tmp_path):
    assert text.count(PREDICTION) == 1
    with pytest.raises(CellExecutionError, match="a-smaller-start-costs-a-fixed-wait fails"):
        run(text.replace(PREDICTION, "np.log(20) / step_sizes[0]"))
    assert not (tmp_path / "learnmech-chapters" / "_ledger").exists()


def test_the_template_holds_with_other_seeds(run, text):
    assert "holds: a-smaller-start" in _printed(run(text, LEARNMECH_SEED_OFFSET="7"))


def test_the_template_obeys_the_rules_for_chapters(templates, text):
    cells = templates.read_template(text).cells
    assert notebook_problems([c.source for c in cells if c.cell_type == "code"]) == []


def test_the_template_says_where_to_change_it_and_how_it_is_graded(text):
    assert text.count("**Change this:**") >= 8
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    assert sum(int(row[2]) for row in rows if row[2].strip().isdigit()) == 20


def test_the_page_lists_every_exercise_of_every_chapter_as_the_homework_has_it(root, pages):
    text = (pages / "book" / "teaching.html").read_text("utf-8")
    for files in find_chapters(root):
        found = exercise_list(root, files.slug)
        assert found
        assert [
            block.label for block, _ in found if f"{files.slug}.html#{block.label}" not in text
        ] == []
        exercises = chapter_exercises(files)
        points = sum(exercise.points for exercise in exercises)
        assert None not in [exercise.minutes for exercise in exercises]
        minutes = sum(exercise.minutes for exercise in exercises)
        total = f"{len(exercises)} exercises, {points} points, about {minutes} minutes in all."
        assert total in text


def test_exercises_of_an_unknown_chapter_are_refused(root):
    with pytest.raises(KeyError):
        exercise_list(root, "no-such-chapter")


def test_the_page_links_to_the_slides_and_hands_out_the_template(root, pages):
    links = read_page(pages / "book" / "teaching.html").links
    for files in find_chapters(root):
        assert f"../slides/{files.slug}.html" in links
    for kind in ("ipynb", "md"):
        (address,) = {a for a in links if os.path.basename(a) == f"final-project.{kind}"}
        assert (pages / "book" / address).read_bytes() == (
            TEMPLATES / f"final-project.{kind}"
        ).read_bytes()
