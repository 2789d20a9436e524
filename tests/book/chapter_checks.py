"""What a chapter's text must have, read without running it.

Each function takes the text of a chapter and returns a sentence for each thing that is missing, so
the same functions judge the book's chapters and texts in which something is wrong on purpose.
"""

import re
from dataclasses import dataclass

FRAME = (
    "The question",
    "What theory says",
    "The prediction, before anything is trained",
    "The experiment",
    "Theory over practice",
    "Where it breaks",
    "On your own model",
    "Exercises",
    "Open question",
)

_FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,}|:{3,})(?P<info>.*)$")
_DIRECTIVE = re.compile(r"^\{(?P<name>[\w:-]+)\} *(?P<argument>.*)$")
_OPTION = re.compile(r"^:(?P<key>[\w-]+): *(?P<value>.*)$")


@dataclass(frozen=True)
class Directive:
    """A MyST directive: its name, argument, options and the lines below them."""

    name: str
    argument: str
    options: dict
    body: str


def _fenced(text):
    """Yield (line, None) outside fences, and (opening, lines inside) for each outermost fence."""
    lines = iter(text.splitlines())
    for line in lines:
        opening = _FENCE.match(line)
        if opening is None:
            yield line, None
            continue
        inside = []
        for inner in lines:
            closing = inner.rstrip()
            if set(closing) == {line[0]} and len(closing) >= len(opening["fence"]):
                break
            inside.append(inner)
        yield line, inside


def headings(text, level=2):
    """Return the headings of one level, in order; what stands in fences does not count."""
    mark = "#" * level + " "
    return [
        line.removeprefix(mark).strip()
        for line, inside in _fenced(text)
        if inside is None and line.startswith(mark)
    ]


def directives(text):
    """Return the outermost directives of a text, in order."""
    found = []
    for line, inside in _fenced(text):
        match = inside is not None and _DIRECTIVE.match(_FENCE.match(line)["info"].strip())
        if not match:
            continue
        options = {}
        rest = iter(inside)
        body = []
        for inner in rest:
            option = _OPTION.match(inner)
            if option is None:
                body = [inner, *rest]
                break
            options[option["key"]] = option["value"].strip()
        words = "\n".join(body).strip()
        found.append(Directive(match["name"], match["argument"].strip(), options, words))
    return found


def frame_problems(text):
    """List which parts of a chapter's frame are missing or stand in another place."""
    there = headings(text)
    place = 0
    problems = []
    for name in FRAME:
        if name not in there:
            problems.append(f"the part '{name}' is missing")
        elif name not in there[place:]:
            problems.append(f"the part '{name}' stands too early")
        else:
            place = there.index(name, place) + 1
    return problems


def exercise_problems(text):
    """List exercises without a folded solution, and solutions of no exercise.

    An exercise whose solution holds code cells is written with ``exercise-start`` and
    ``solution-start``.
    """
    found = directives(text)
    exercises = [d for d in found if d.name in {"exercise", "exercise-start"}]
    solutions = [d for d in found if d.name in {"solution", "solution-start"}]
    labels = [d.options.get("label", "") for d in exercises]
    problems = [] if exercises else ["has no exercise"]
    problems += [
        f"the exercise '{d.argument}' has no label" for d in exercises if not d.options.get("label")
    ]
    problems += [
        f"the label '{x}' is given twice" for x in sorted(set(labels)) if x and labels.count(x) > 1
    ]
    solved = {d.argument for d in solutions}
    problems += [f"the exercise '{x}' has no solution" for x in labels if x and x not in solved]
    for solution in solutions:
        if solution.argument not in labels:
            problems.append(f"the solution '{solution.argument}' belongs to no exercise")
        if "dropdown" not in solution.options.get("class", "").split():
            problems.append(f"the solution '{solution.argument}' is not folded")
        if solution.name == "solution" and not solution.body:
            problems.append(f"the solution '{solution.argument}' is empty")
    return problems
