"""Sphinx extension: homework sets, read from the exercises of the chapters.

``{homework} CHAPTER`` lists the exercises of a chapter, each with its kind, its points and its
minutes, as the homework says them, so that a page never names an exercise that is not there. The
students' edition has neither in its chapters, and there the list has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from learnmech.compare.pairs import chapter_files
from learnmech.teaching.exercises import Block, blocks

_WORTH = ("points", "minutes")
_KIND = re.compile(r"\*\*(.+?)[.:?]?\*\*")


def exercise_list(root: Path, chapter: str) -> list[tuple[Block, Mapping[str, int]]]:
    """Return the exercises of a chapter in their order, each with its points and its minutes.

    Raises:
        KeyError: if there is no such chapter.
    """
    cells = nbformat.read(chapter_files(root, chapter).notebook, as_version=4).cells
    told = [cell.metadata["exercise"] for cell in cells if "exercise" in cell.metadata]
    worth = {said["label"]: {key: said[key] for key in _WORTH if key in said} for said in told}
    found = [
        block for cell in cells if cell.cell_type == "markdown" for block in blocks(cell.source)
    ]
    return [(b, worth.get(b.label, {})) for b in found if b.name == "exercise"]


def _kind(block: Block) -> str:
    match = _KIND.match(block.body)
    return match[1] if match else "Exercise"


def _row(cells: Sequence[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def _table(head: Sequence[str], rows: Sequence[Sequence[nodes.Node]]) -> nodes.table:
    columns = [nodes.colspec(colwidth=1) for _ in head]
    top = nodes.thead("", _row([nodes.paragraph(text=word) for word in head]))
    body = nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", nodes.tgroup("", *columns, top, body, cols=len(head)))


class Homework(SphinxDirective):
    """The exercises of one chapter as a homework set."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the set as a table, with its points and minutes in all."""
        root, chapter = Path(self.env.srcdir), self.arguments[0]
        try:
            found = exercise_list(root, chapter)
        except KeyError:
            raise self.error(f"homework: no chapter is called '{chapter}'") from None
        self.env.note_dependency(str(chapter_files(root, chapter).notebook))
        if not found:
            raise self.error(f"homework: the chapter '{chapter}' has no exercise")
        known = [key for key in _WORTH if all(key in worth for _, worth in found)]
        rows = [self._row(block, [worth[key] for key in known]) for block, worth in found]
        table = _table(["Exercise", "Kind", *(key.capitalize() for key in known)], rows)
        if not known:
            return [table]
        sums = [f"{sum(worth[key] for _, worth in found)} {key}" for key in known]
        total = f"{len(found)} exercises, {', about '.join(sums)} in all."
        return [table, nodes.paragraph(text=total)]

    def _row(self, block: Block, worth: Sequence[int]) -> list[nodes.Node]:
        link = addnodes.pending_xref(
            "",
            nodes.literal(text=block.label),
            refdomain="std",
            reftype="ref",
            reftarget=block.label,
            refexplicit=True,
            refdoc=self.env.docname,
            refwarn=True,
        )
        return [
            nodes.paragraph("", "", link),
            nodes.paragraph(text=_kind(block)),
            *(nodes.paragraph(text=str(number)) for number in worth),
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("homework", Homework)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
