"""One chapter in three editions: what is taken out of its cells, and what is put in.

* ``public``: the book as it is, its solutions folded;
* ``students``: no solution anywhere, and a stub where an answer is computed;
* ``instructors``: the book, with points, answers and the common wrong answers behind each exercise.

The same functions make an edition of an executed notebook and of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nbformat import NotebookNode, v4

from learnmech.teaching.answers import rounded
from learnmech.teaching.exercises import Exercise, blocks

__all__ = ["EDITIONS", "Edition", "answer_words", "edition_cells"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|$#~])")


@dataclass(frozen=True)
class Edition:
    """An edition, and what it holds beside the exercises."""

    name: str
    solutions: bool  # solutions, and code that computes answers
    notes: bool  # points, answers and common wrong answers


EDITIONS = {
    "students": Edition("students", solutions=False, notes=False),
    "instructors": Edition("instructors", solutions=True, notes=True),
    "public": Edition("public", solutions=True, notes=False),
}


def edition_cells(
    cells: Sequence[NotebookNode], exercises: Sequence[Exercise], edition: Edition
) -> list[NotebookNode]:
    """Return a chapter's cells as they stand in an edition; the given ones are left alone.

    Args:
        cells: of the chapter's notebook or text.
        exercises: the chapter's exercises.
        edition: which edition.
    """
    by_label = {exercise.label: exercise for exercise in exercises}
    return [new for cell in cells for new in _edited(cell, by_label, edition)]


def _edited(
    cell: NotebookNode, exercises: dict[str, Exercise], edition: Edition
) -> Iterator[NotebookNode]:
    exercise = exercises.get(cell.metadata.get("exercise", {}).get("label", ""))
    if edition.solutions:
        yield cell
    elif exercise is not None:
        yield _stub(cell, exercise)
    elif cell.cell_type != "markdown":
        yield cell
    elif source := _without_solutions(cell.source):
        yield NotebookNode({**cell, "source": source})
    if edition.notes and exercise is not None:
        yield v4.new_markdown_cell(_notes(exercise), id=f"{exercise.label}-notes")


def _without_solutions(source: str) -> str:
    lines = source.splitlines()
    for block in reversed(blocks(source)):
        if block.name == "solution":
            del lines[slice(*block.lines)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") if lines else ""


def _stub(cell: NotebookNode, exercise: Exercise) -> NotebookNode:
    metadata = {k: v for k, v in cell.metadata.items() if k not in {"exercise", "tags"}}
    if tags := [tag for tag in cell.metadata.get("tags", []) if not tag.startswith("hide-")]:
        metadata["tags"] = tags
    source = f"{exercise.stub}\n{exercise.check_line}"
    stub: NotebookNode = v4.new_code_cell(source, id=cell.id, metadata=metadata)
    return stub


def answer_words(value: float, exercise: Exercise) -> str:
    """Return a number with as many digits as the exercise asks for.

    Args:
        value: the number.
        exercise: the exercise that it answers, rightly or wrongly.
    """
    return rounded(value, exercise.digits, exact=exercise.exact)


def _notes(exercise: Exercise) -> str:
    asked = "exactly" if exercise.exact else f"to {exercise.digits} significant digits"
    answer = answer_words(exercise.answer, exercise)
    lines = [f"**For the instructor: {exercise.worth}.** The answer is {answer}, {asked}."]
    if exercise.wrong:
        lines += ["", "| Common wrong answer | Computed as | Hint shown |", "|---|---|---|"]
        lines += [
            f"| {answer_words(wrong.value, exercise)} | `{wrong.expression}` "
            f"| {_SPECIAL.sub(_escape, wrong.hint)} |"
            for wrong in exercise.wrong
        ]
    return "\n".join(lines)


def _escape(match: re.Match[str]) -> str:
    return f"\\{match.group()}"
