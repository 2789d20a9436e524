"""The exercises of a chapter, read from its text without running it.

In the text an exercise is three things in a row: an ``{exercise}`` block with a label, a
``{solution}`` block, and one code cell whose metadata has an ``exercise``:

    label: dln-derive           the block's label; the variable is the same with underscores
    points: 2
    digits: 3                   significant digits that are asked for
    minutes: 10                 how long it takes (may be left out)
    wrong:                      common wrong answers
      - value: np.log(81)       an expression, worked out where the cell's code is
        hint: what to think of

The cell computes the answer, from nothing but `IMPORTS`, and its last line is
``check("dln-derive", dln_derive)``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from nbformat import NotebookNode

from learnmech.teaching.answers import rounded, to_number

__all__ = ["IMPORTS", "Block", "Exercise", "MalformedExercise", "Wrong", "blocks", "read_exercises"]

IMPORTS = """import numpy as np

from learnmech import theory
from learnmech.teaching import check"""
"""What an exercise's code may count on."""

_LABEL = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_DIRECTIVE = re.compile(r"\{(?P<name>exercise|solution)\} *(?P<argument>.*)")
_OPTION = re.compile(r":(?P<key>[\w-]+): *(?P<value>.*)")
_ANY_BLOCK = re.compile(r"^ *[`:~]{3,} *\{(?:exercise|solution)\b", re.MULTILINE)
_KEYS = {"label", "points", "digits", "minutes", "wrong"}


class MalformedExercise(ValueError):
    """An exercise of a chapter is not whole; the message is one sentence."""


@dataclass(frozen=True)
class Block:
    """An ``{exercise}`` or ``{solution}`` block in a markdown cell."""

    name: str
    label: str
    title: str
    body: str
    lines: tuple[int, int]  # in its cell, from the first up to and without the last


@dataclass(frozen=True)
class Wrong:
    """A common wrong answer."""

    expression: str
    value: float
    hint: str


@dataclass(frozen=True)
class Exercise:
    """One exercise, with its answer worked out."""

    label: str
    title: str
    points: int
    digits: int
    minutes: int | None
    exact: bool  # whether the answer is a whole number
    statement: str  # markdown
    solution: str  # markdown
    code: str  # computes the answer
    answer: float
    wrong: tuple[Wrong, ...]

    @property
    def variable(self) -> str:
        """The name that the code gives to the answer."""
        return self.label.replace("-", "_")

    @property
    def worth(self) -> str:
        """Points and time, in words."""
        points = f"{self.points} point" + ("" if self.points == 1 else "s")
        return points if self.minutes is None else f"{points}, about {self.minutes} minutes"

    @property
    def check_line(self) -> str:
        """The line that checks the answer."""
        return f'check("{self.label}", {self.variable})'

    @property
    def stub(self) -> str:
        """The line that a student fills in."""
        return f"{self.variable} = ...  # your number"


def blocks(source: str) -> list[Block]:
    """Return the exercise and solution blocks of a markdown cell, in order."""
    found = []
    for token in MarkdownIt("commonmark").parse(source):
        match = token.type == "fence" and _DIRECTIVE.fullmatch(token.info.strip())
        if not match or token.map is None:
            continue
        lines = token.content.splitlines()
        options = {}
        while lines and (option := _OPTION.fullmatch(lines[0].strip())):
            options[option["key"]] = option["value"]
            lines.pop(0)
        argument = match["argument"].strip()
        is_exercise = match["name"] == "exercise"
        label = options.get("label", "") if is_exercise else argument
        title = argument if is_exercise else ""
        body = "\n".join(lines).strip()
        found.append(Block(match["name"], label, title, body, (token.map[0], token.map[1])))
    return found


def _blocks_of(cells: Sequence[NotebookNode], name: str) -> dict[str, tuple[int, Block]]:
    """Return the blocks of one kind by label, each with the number of its cell."""
    found: dict[str, tuple[int, Block]] = {}
    for number, cell in enumerate(cells):
        for block in blocks(cell.source) if cell.cell_type == "markdown" else ():
            if block.name != name:
                continue
            if not block.label:
                raise MalformedExercise(f"an {{{name}}} block has no label; give it one")
            if block.label in found:
                raise MalformedExercise(f"the label '{block.label}' has two {{{name}}} blocks")
            found[block.label] = (number, block)
    return found


def _refuse_hidden_blocks(cells: Sequence[NotebookNode]) -> None:
    for cell in cells:
        if cell.cell_type == "markdown" and (
            len(blocks(cell.source)) != len(_ANY_BLOCK.findall(cell.source))
        ):
            raise MalformedExercise(
                "an exercise or solution is not a block of its own between backticks; write it as "
                "```{exercise} or ```{solution}, inside nothing else"
            )


def read_exercises(cells: Sequence[NotebookNode]) -> list[Exercise]:
    """Return a chapter's exercises with their answers, from the cells of its text.

    Raises:
        MalformedExercise: for the first exercise that is not whole.
    """
    _refuse_hidden_blocks(cells)
    statements, solutions = _blocks_of(cells, "exercise"), _blocks_of(cells, "solution")
    found: dict[str, Exercise] = {}
    for number, cell in enumerate(cells):
        if cell.cell_type != "code" or "exercise" not in cell.metadata:
            continue
        label = _label(cell.metadata["exercise"])
        if label in found:
            raise MalformedExercise(f"the exercise '{label}' has two code cells; keep one")
        for name, there in (("exercise", statements), ("solution", solutions)):
            if label not in there:
                raise MalformedExercise(f"the code cell '{label}' has no {{{name}}} block")
        if solutions[label][0] != number - 1:
            raise MalformedExercise(
                f"the code cell of '{label}' does not stand right behind its solution"
            )
        found[label] = _exercise(cell, statements[label][1], solutions[label][1])
    for label in (*statements, *solutions):
        if label not in found:
            raise MalformedExercise(
                f"the label '{label}' has no code cell whose metadata says 'exercise: label: "
                f"{label}'"
            )
    return list(found.values())


def _label(metadata: Any) -> str:
    label = metadata.get("label") if isinstance(metadata, dict) else None
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise MalformedExercise(
            f"an exercise cell has the label {label!r}; use small letters, digits and hyphens"
        )
    return label


def _whole(metadata: dict[str, Any], name: str, low: int, high: int) -> int:
    value = metadata.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        words = "is missing" if value is None else f"is {value!r}"
        raise MalformedExercise(
            f"exercise '{metadata['label']}': '{name}' {words}; give a whole number from {low} "
            f"to {high}"
        )
    return value


def _exercise(cell: NotebookNode, statement: Block, solution: Block) -> Exercise:
    metadata = cell.metadata["exercise"]
    label = metadata["label"]
    where = f"exercise '{label}'"
    if unknown := sorted(set(metadata) - _KEYS):
        raise MalformedExercise(f"{where}: there is no key '{unknown[0]}'; use {sorted(_KEYS)}")
    points, digits = _whole(metadata, "points", 1, 100), _whole(metadata, "digits", 1, 10)
    minutes = _whole(metadata, "minutes", 1, 240) if "minutes" in metadata else None
    if not statement.body or not solution.body:
        empty = statement if not statement.body else solution
        raise MalformedExercise(f"{where}: its {{{empty.name}}} block is empty")
    code = _code(cell.source, label)
    namespace = _run(code, where)
    answer = namespace.get(label.replace("-", "_"))
    value = _number(answer, where, "its answer")
    exact = isinstance(answer, int)
    if value == 0:
        raise MalformedExercise(
            f"{where}: the answer is 0, which has no significant digits; ask for another number"
        )
    if digits == 1 and not exact:
        raise MalformedExercise(
            f"{where}: one digit is too few to tell right from wrong; ask for two or more"
        )
    told = re.escape(rounded(value, digits, exact=exact))
    if digits >= 3 and re.search(rf"(?<![\d.]){told}(?!\d)", statement.body):
        raise MalformedExercise(f"{where}: its text tells the answer, {rounded(value, digits)}")
    wrong = tuple(_wrong(entry, namespace, where) for entry in metadata.get("wrong") or ())
    return Exercise(
        label, statement.title, points, digits, minutes, exact, statement.body, solution.body, code,
        value, wrong,
    )  # fmt: skip


def _code(source: str, label: str) -> str:
    """Return the lines that compute the answer: all but the last one, which checks it."""
    where, variable = f"exercise '{label}'", label.replace("-", "_")
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise MalformedExercise(f"{where}: its cell is not Python: {error.msg}") from None
    wanted = f'check("{label}", {variable})'
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "check"
    ]
    last = tree.body[-1] if tree.body else None
    if len(calls) != 1 or last is None or ast.unparse(last) != ast.unparse(ast.parse(wanted)):
        raise MalformedExercise(f"{where}: the last line of its cell has to be {wanted}")
    code = "\n".join(source.splitlines()[: last.lineno - 1]).strip()
    if not code:
        raise MalformedExercise(f"{where}: no line of its cell computes {variable}")
    return code


def _run(code: str, where: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "exercise"}
    try:
        exec(f"{IMPORTS}\n{code}", namespace)
    except Exception as error:
        raise MalformedExercise(
            f"{where}: its code ends in {type(error).__name__}: {error}"
        ) from None
    return namespace


def _number(value: object, where: str, what: str) -> float:
    try:
        return to_number(value)
    except ValueError as error:
        raise MalformedExercise(f"{where}: {what} cannot be used: {error}") from None


def _wrong(entry: Any, namespace: dict[str, Any], where: str) -> Wrong:
    if not isinstance(entry, dict) or set(entry) != {"value", "hint"}:
        raise MalformedExercise(f"{where}: a wrong answer needs a 'value' and a 'hint'")
    expression, hint = str(entry["value"]), entry["hint"]
    if not isinstance(hint, str) or not hint.strip():
        raise MalformedExercise(f"{where}: the hint for {expression} is missing")
    try:
        value = eval(expression, dict(namespace))
    except Exception as error:
        raise MalformedExercise(
            f"{where}: the wrong answer {expression} ends in {type(error).__name__}: {error}"
        ) from None
    return Wrong(expression, _number(value, where, f"the wrong answer {expression}"), hint.strip())
