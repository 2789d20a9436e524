"""Sphinx extension: the API reference, made from the docstrings as they stand in the code.

Docstrings here are written to be read in an editor: mathematics between dollar signs, code between
single backticks, |x| for a norm, formulas and tables as indented lines, and the shapes and units
of a result as comments behind its fields. Autodoc reads reStructuredText, so this extension
translates those five habits and leaves the rest to autodoc and napoleon.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
import tokenize
from io import StringIO
from typing import Any

from sphinx.application import Sphinx

# What users are promised: what the wings export, and training, which has its own door.
PUBLIC = (
    "learnmech.theory",
    "learnmech.practice",
    "learnmech.practice.training",
    "learnmech.compare",
    "learnmech.numerics",
    "learnmech.teaching",
)
# The makers of data sets are called through `load`, and their settings are documented.
_MAKERS = "learnmech.practice.data."
_OF_EVERY_MODULE = {"forward", "extra_repr"}

_PIECE = re.compile(
    r"(?P<doubled>``.+?``)"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?<![\\$\w])\$(?P<maths>[^$\n]+(?:\n[^$\n]+)?)\$"
    r"|:mod:`~?(?P<module>[\w.]+)`"
    r"|(?P<role>:[a-z:]+:`[^`]+`)"
    r"|`(?P<code>[^`<>]+(?:<[^`]*)?)`(?!_)"
    r"|(?P<bar>\|)"
    r"|(?P<emphasis>(?<![\w*])\*\*?[A-Za-z][^*]*[\w.]\*\*?(?![\w*]))"
    r"|(?P<star>\*)(?=[\w)])"
    r"|(?P<underscore>\w_)(?![\w_`])",
    re.DOTALL,
)
# Napoleon would read what stands before a colon there as a type.
_RETURNS = re.compile(r"^((?:Returns|Yields):\n +)", re.MULTILINE)


def _translate(match: re.Match[str]) -> str:
    kind, text = match.lastgroup, match.group(match.lastgroup or 0)
    if kind == "display":
        before = match.string.rfind("\n", 0, match.start()) + 1
        margin = re.match(r" *", match.string[before:])
        indent = margin.group() if margin else ""
        body = "\n".join(f"{indent}   {line.strip()}" for line in text.strip().splitlines())
        return f"\n\n{indent}.. math::\n\n{body}\n\n{indent}"
    # Markup ends only before a space or punctuation: the plural of `x` needs a mark for that.
    mark = "\\ " if match.string[match.end() : match.end() + 1].isalnum() else ""
    if kind == "maths":
        return f":math:`{' '.join(text.split())}`{mark}"
    if kind in {"code", "module"}:
        return f"``{text}``{mark}"
    if kind in {"bar", "star"}:
        return f"\\{text}"
    if kind == "underscore":
        return f"{text[:-1]}\\_"
    return text


def _paragraphs(lines: list[str]) -> list[list[str]]:
    """Split at blank lines; each paragraph keeps its lines."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            parts[-1].append(line)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _is_code(paragraph: list[str]) -> bool:
    return paragraph[0].lstrip().startswith(">>>")


def _is_formula(paragraph: list[str]) -> bool:
    return all(line.startswith("    ") for line in paragraph)


def translate(lines: list[str], *, formulas: bool = False) -> list[str]:
    """Return a docstring's lines as reStructuredText.

    Args:
        lines: the docstring, without common indentation.
        formulas: whether a paragraph indented by four is a formula or a table to be kept as it
            is (in the docstrings of modules) and not the body of a section.
    """
    result: list[str] = []
    for paragraph in _paragraphs(lines):
        if _is_code(paragraph):
            new = paragraph
        elif formulas and _is_formula(paragraph) and "$$" not in "".join(paragraph):
            new = [".. code-block:: text", "", *paragraph]
        else:
            text = _PIECE.sub(_translate, "\n".join(paragraph))
            text = _RETURNS.sub(r"\1: ", text)
            new = text.splitlines()
        result += [*new, ""]
    return result


def field_comments(kind: type) -> dict[str, str]:
    """Return what stands in comments behind or above the fields of a dataclass, by field.

    >>> field_comments(int)
    {}
    """
    if not dataclasses.is_dataclass(kind):
        return {}
    source = textwrap.dedent(inspect.getsource(kind))
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    comments: dict[int, tuple[str, bool]] = {}
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            comments[token.start[0]] = (token.string.lstrip("#: "), alone)
    found: dict[str, str] = {}
    for node in body.body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        words = [
            comments[n][0] for n in range(node.lineno, (node.end_lineno or 0) + 1) if n in comments
        ]
        line = node.lineno - 1
        while line in comments and comments[line][1]:
            words.insert(0, comments[line][0])
            line -= 1
        if words:
            found[node.target.id] = " ".join(words)
    return found


def process(_: Sphinx, what: str, *event: Any) -> None:
    """Translate one docstring in place, and add the fields of a dataclass."""
    _name, thing, _options, lines = event
    lines[:] = translate(lines, formulas=what == "module")
    if what == "class" and (fields := field_comments(thing)):
        lines += ["Fields:", ""]
        for field, comment in fields.items():
            text = " ".join(" ".join(translate([comment])).split())
            lines += [f"* **{field}**: {text}"]
        lines += [""]


def promised() -> list[tuple[str, str, Any]]:
    """Return (path, name, thing) for all that users are promised."""
    modules = [importlib.import_module(path) for path in PUBLIC]
    return [(m.__name__, name, getattr(m, name)) for m in modules for name in m.__all__]


def skip(_: Sphinx, what: str, name: str, *event: Any) -> bool | None:
    """Leave out what modules share among themselves, and methods that every network has."""
    thing, *_rest = event
    if what == "class":
        return True if name in _OF_EVERY_MODULE else None
    inner = inspect.isclass(thing) or inspect.isfunction(thing)
    if what != "module" or not inner or thing.__module__.startswith(_MAKERS):
        return None
    return None if any(thing is known for _, _, known in promised()) else True


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension; it has to see docstrings before napoleon does."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
