"""Sphinx extension: homework sets, read from the exercises of the chapters.

``{homework} CHAPTER`` lists the exercises of a chapter, each with its kind, its points and the
minutes to plan for it, so that a page never names an exercise that is not there. The students'
edition has no points in its chapters, and there the list has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from learnmech.compare.pairs import chapter_files
from learnmech.teaching.exercises import Block, blocks

MINUTES_A_POINT = 10
_KIND = re.compile(r"\*\*(.+?)[.:?]?\*\*")


def exercise_list(root: Path, chapter: str) -> list[tuple[Block, int | None]]:
    """Return the exercises of a chapter with their points, in their order.

    Raises:
        KeyError: if there is no such chapter.
    """
    cells = nbformat.read(chapter_files(root, chapter).notebook, as_version=4).cells
    points = {
        cell.metadata["exercise"]["label"]: int(cell.metadata["exercise"]["points"])
        for cell in cells
        if "exercise" in cell.metadata
    }
    found = [
        block for cell in cells if cell.cell_type == "markdown" for block in blocks(cell.source)
    ]
    return [(b, points.get(b.label)) for b in found if b.name == "exercise"]


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
        known = [points for _, points in found if points is not None]
        graded = len(known) == len(found)
        rows = [self._row(block, points if graded else None) for block, points in found]
        if not graded:
            return [_table(["Exercise", "Kind"], rows)]
        minutes = MINUTES_A_POINT * sum(known)
        total = f"{len(found)} exercises, {sum(known)} points, about {minutes} minutes in all."
        head = ["Exercise", "Kind", "Points", "Minutes"]
        return [_table(head, rows), nodes.paragraph(text=total)]

    def _row(self, block: Block, points: int | None) -> list[nodes.Node]:
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
        row: list[nodes.Node] = [
            nodes.paragraph("", "", link),
            nodes.paragraph(text=_kind(block)),
        ]
        if points is not None:
            row += [
                nodes.paragraph(text=str(points)),
                nodes.paragraph(text=str(MINUTES_A_POINT * points)),
            ]
        return row


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("homework", Homework)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
