"""A chapter's homework through the real nbgrader: released, handed in, graded.

nbgrader runs as a program of its own, as a teacher runs it, since it is noisy in-process.
"""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from learnmech.compare.pairs import chapter_files
from learnmech.teaching.building import write_homework
from learnmech.teaching.sealing import chapter_exercises

ROOT = Path(__file__).resolve().parents[2]
SLUG = "deep-linear-networks"


@pytest.fixture(scope="module")
def exercises():
    return {e.label: e for e in chapter_exercises(chapter_files(ROOT, SLUG))}


@pytest.fixture(scope="module")
def nbgrader(tmp_path_factory):
    """A function that runs nbgrader in a course folder which the instructors' edition gave."""
    course = tmp_path_factory.mktemp("course")
    home = tmp_path_factory.mktemp("home")
    write_homework(ROOT, course, "instructors", [SLUG])
    environment = {
        **os.environ,
        "HOME": str(home),
        "IPYTHONDIR": str(home),
        "JUPYTER_CONFIG_DIR": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def run(*arguments):
        command = [sys.executable, "-m", "nbgrader", *arguments]
        done = subprocess.run(
            command, cwd=course, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return course

    return run


@pytest.fixture(scope="module")
def released(nbgrader):
    course = nbgrader("generate_assignment", SLUG)
    return course / "release" / SLUG / f"{SLUG}.ipynb"


def hand_in(released, student, answers):
    notebook = nbformat.read(released, as_version=4)
    for cell in notebook.cells:
        label = cell.metadata.get("nbgrader", {}).get("grade_id", "").removesuffix("-answer")
        if label in answers:
            cell.source = f"{label.replace('-', '_')} = {answers[label]}"
    folder = released.parents[2] / "submitted" / student / SLUG
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / released.name)


def points(course):
    """Read each student's points by exercise from nbgrader's gradebook."""
    query = (
        "select student.id, cell.name, grade.auto_score from grade "
        "join base_cell cell on cell.id = grade.cell_id "
        "join submitted_notebook notebook on notebook.id = grade.notebook_id "
        "join submitted_assignment assignment on assignment.id = notebook.assignment_id "
        "join student on student.id = assignment.student_id"
    )
    with sqlite3.connect(course / "gradebook.db") as book:
        rows = book.execute(query).fetchall()
    book.close()
    found = {}
    for student, name, score in rows:
        found.setdefault(student, {})[name.removesuffix("-check")] = score
    return found


def test_the_release_has_stubs_and_no_solution(released, exercises):
    sources = [cell.source for cell in nbformat.read(released, as_version=4).cells]
    for exercise in exercises.values():
        assert f"{exercise.stub}\n" in sources
        assert exercise.check_line in sources
    everything = released.read_text("utf-8")
    assert "SOLUTION" not in everything
    for exercise in exercises.values():
        assert exercise.code not in everything
        assert exercise.solution[:40] not in everything


def test_right_wrong_and_missing_answers_get_their_points(released, nbgrader, exercises):
    first, second, third, *rest = exercises.values()
    hand_in(released, "right", {e.label: repr(e.answer) for e in exercises.values()})
    answers = {first.label: first.wrong[0].value, second.label: f"'{second.answer:.3g}'"}
    hand_in(released, "mixed", {**answers, third.label: "1 / 0"})
    course = nbgrader("autograde", SLUG)
    full = {e.label: float(e.points) for e in exercises.values()}
    assert points(course) == {
        "right": full,
        "mixed": {**dict.fromkeys(full, 0.0), second.label: full[second.label]},
    }
    assert rest, "no exercise was left unanswered"
    nbgrader("generate_feedback", SLUG)
    page = (course / "feedback" / "mixed" / SLUG / f"{SLUG}.html").read_text("utf-8")
    assert f"{first.label}: {first.wrong[0].value:.6g} is not right. Hint: " in page
    assert f"{second.label}: right." in page


def test_the_students_homework_is_what_nbgrader_releases(released, tmp_path):
    write_homework(ROOT, tmp_path, "students", [SLUG])
    ours = nbformat.read(tmp_path / SLUG / f"{SLUG}.ipynb", as_version=4)
    theirs = nbformat.read(released, as_version=4)
    assert [c.source for c in ours.cells] == [c.source.rstrip("\n") for c in theirs.cells]
    kept = ("grade_id", "grade", "locked", "solution", "points", "schema_version", "task")
    for mine, other in zip(ours.cells, theirs.cells, strict=True):
        said, wanted = (c.metadata.get("nbgrader", {}) for c in (mine, other))
        assert {k: said.get(k) for k in kept} == {k: wanted.get(k) for k in kept}
        assert mine.metadata.get("editable") == other.metadata.get("editable")
