"""Where in a chapter each claim is judged: its cell, and an anchor before that cell on the page.

The scorecard links to the code that gave the verdict. A cell names its claim in the call that
judges it, as text or as an f-string in a loop; :func:`judging_cells` reads these calls out of a
notebook, and the anchor ``claim-<id>`` is put before the cell that holds the call.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nbformat
from book_ledgers import chapter_of_page
from docutils import nodes
from sphinx.application import Sphinx

_JUDGING = {"claim", "limit", "check", "observe"}


def claim_anchor(claim: str) -> str:
    """Return the anchor of a claim on its chapter's page."""
    return f"claim-{claim}"


def _name_pattern(argument: ast.expr) -> str | None:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return re.escape(argument.value)
    if isinstance(argument, ast.JoinedStr):
        return "".join(
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
            for part in argument.values
        )
    return None


def _judged(source: str) -> Iterable[str]:
    """Yield a pattern for the name of every claim that a cell judges."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        function = call.func
        if not isinstance(function, ast.Attribute) or function.attr not in _JUDGING:
            continue
        if isinstance(function.value, ast.Name) and function.value.id == "chapter":
            pattern = _name_pattern(call.args[0])
            if pattern is not None:
                yield pattern


def judging_cells(notebook: nbformat.NotebookNode, claims: Sequence[str]) -> dict[str, int]:
    """Return, for each claim, the index of the notebook's cell that judges it.

    Raises:
        ValueError: if no cell judges a claim.
    """
    patterns = [
        (pattern, number)
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        for pattern in _judged(cell.source)
    ]
    # A name written out says more than a pattern, so that "gain-ReLU" beside "gain-{name}" wins.
    patterns.sort(key=lambda pair: ".+" in pair[0])
    cells = {
        claim: next((number for text, number in patterns if re.fullmatch(text, claim)), None)
        for claim in claims
    }
    if homeless := [claim for claim, number in cells.items() if number is None]:
        raise ValueError(f"no cell judges {', '.join(homeless)}; run the chapter again")
    return {claim: number for claim, number in cells.items() if number is not None}


def add_claim_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Put an anchor for each claim before the cell of the page that judges it."""
    ledger = chapter_of_page(Path(app.srcdir), app.env.docname)
    if ledger is None:
        return
    notebook = nbformat.read(app.env.doc2path(app.env.docname), as_version=4)
    cells = judging_cells(notebook, [entry["id"] for entry in ledger.claims])
    shown = {
        node["cell_index"]: node
        for node in doctree.findall(nodes.container)
        if node.get("nb_element") == "cell_code"
    }
    for claim, number in cells.items():
        anchor = nodes.target("", "", ids=[claim_anchor(claim)], classes=["lm-claim-anchor"])
        node = shown[number]
        node.parent.insert(node.parent.index(node), anchor)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("doctree-read", add_claim_anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
