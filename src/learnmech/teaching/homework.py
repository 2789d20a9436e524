"""A chapter's exercises as a short notebook of its own, in nbgrader's conventions.

It loads in a second, since it runs nothing but the exercises. Each exercise is three cells: the
statement (locked), the answer (a solution cell) and the check (locked, with the exercise's points).
The instructors' version is the source that ``nbgrader generate_assignment`` makes the students'
from: there the code that computes the answer stands between nbgrader's two marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from nbformat import NotebookNode, v4

from learnmech.teaching.editions import Edition
from learnmech.teaching.exercises import IMPORTS, Exercise

__all__ = ["NBGRADER_CONFIG", "homework"]

NBGRADER_CONFIG = '''"""nbgrader's settings for the homework of Learning Mechanics, Measured.

In this folder, with the book's environment active: nbgrader generate_assignment CHAPTER, later
nbgrader autograde CHAPTER and nbgrader generate_feedback CHAPTER.
"""

c = get_config()
c.CourseDirectory.course_id = "learning-mechanics"
# The line to fill in stands above each solution, so that nothing has to replace the solution.
c.ClearSolutions.code_stub = {"python": ""}
'''

_SCHEMA = 3
_ROLE = re.compile(r"\{(?P<role>[a-z:]+)\}`(?P<text>[^`<]*?) *(?:<[^`]*>)?`")
_TOLD = {"cite:t", "cite:p", "cite"}


def homework(
    slug: str, title: str, setup: NotebookNode, exercises: Sequence[Exercise], edition: Edition
) -> NotebookNode:
    """Return a chapter's homework.

    Args:
        slug: the chapter's name.
        title: the chapter's title.
        setup: the cell that looks whether the package is there.
        exercises: the chapter's exercises.
        edition: for which edition; the public one shows its solutions folded.
    """
    total = sum(exercise.points for exercise in exercises)
    words = (
        f"# Homework: {title}\n\nThese are the exercises of the chapter of this name; what they "
        "refer to stands there. Put your number, or lines that compute it, in place of the dots, "
        "and run the cell below: it says whether you are right, also without a network. "
        f"{total} points in all."
    )
    setup.metadata["jupyter"] = {"source_hidden": True}
    cells = [
        v4.new_markdown_cell(words, id=f"{slug}-homework"),
        setup,
        _managed(v4.new_code_cell(IMPORTS, id=f"{slug}-imports"), locked=True),
    ]
    for number, exercise in enumerate(exercises, start=1):
        cells += _exercise_cells(number, exercise, edition)
    notebook: NotebookNode = v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {
                "display_name": "Python 3", "language": "python", "name": "python3"
            }
        },
    )  # fmt: skip
    return notebook


def _exercise_cells(number: int, exercise: Exercise, edition: Edition) -> Iterator[NotebookNode]:
    title = f": {exercise.title}" if exercise.title else ""
    statement = f"## Exercise {number}{title} ({exercise.worth})\n\n{_plain(exercise.statement)}"
    yield _managed(v4.new_markdown_cell(statement, id=f"{exercise.label}-statement"), locked=True)
    answer = exercise.stub
    if edition.notes:
        answer += f"\n### BEGIN SOLUTION\n{exercise.code}\n### END SOLUTION"
    yield _managed(v4.new_code_cell(answer, id=f"{exercise.label}-answer"), solution=True)
    check = v4.new_code_cell(exercise.check_line, id=f"{exercise.label}-check")
    yield _managed(check, locked=True, grade=True, points=exercise.points)
    if edition.solutions and not edition.notes:
        folded = (
            "<details><summary>Solution</summary>\n\n"
            f"{_plain(exercise.solution)}\n\n```python\n{exercise.code}\n```\n\n</details>"
        )
        yield v4.new_markdown_cell(folded, id=f"{exercise.label}-solution")


def _managed(
    cell: NotebookNode,
    *,
    locked: bool = False,
    solution: bool = False,
    grade: bool = False,
    points: int | None = None,
) -> NotebookNode:
    """Give a cell the metadata by which nbgrader knows it."""
    said: dict[str, Any] = {
        "grade": grade,
        "grade_id": cell["id"],
        "locked": locked,
        "schema_version": _SCHEMA,
        "solution": solution,
        "task": False,
    }
    cell.metadata["nbgrader"] = said if points is None else {**said, "points": points}
    if locked:
        cell.metadata.update(editable=False, deletable=False)
    return cell


def _plain(markdown: str) -> str:
    """Return MyST markdown as plain Jupyter shows it: a role becomes its own words.

    >>> _plain("the {term}`sharpness`, {doc}`there <../a>` {cite:p}`saxe2014exact`")
    'the sharpness, there (saxe2014exact)'
    """
    return _ROLE.sub(lambda m: f"({m['text']})" if m["role"] in _TOLD else str(m["text"]), markdown)
