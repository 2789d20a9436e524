"""How long a page takes to read: the one rule, for readers and for the number on each chapter."""

from __future__ import annotations

import math

from docutils import nodes

WORDS_A_MINUTE = 150
SECONDS_A_FORMULA = 60
SECONDS_A_FIGURE = 20

RULE = (
    f"{WORDS_A_MINUTE} words a minute, {SECONDS_A_FORMULA} seconds for each displayed formula and "
    f"{SECONDS_A_FIGURE} for each figure, rounded up to five minutes; code, outputs, folded "
    "parts and exercises are not counted"
)
_LEFT_OUT = {"dropdown", "toggle", "exercise", "solution", "cell_input", "lm-header"}
_PROSE = (nodes.paragraph, nodes.title, nodes.term)


def _counts(node: nodes.Node | None) -> bool:
    """Say whether somebody who reads the text, and no more, reads this node."""
    while node is not None:
        if isinstance(node, nodes.figure | nodes.literal_block | nodes.raw):
            return False
        if isinstance(node, nodes.Element) and _LEFT_OUT.intersection(node.get("classes", [])):
            return False
        node = node.parent
    return True


def reading_minutes(doctree: nodes.document) -> int:
    """Return the minutes that a page takes to read, by the rule of this module."""
    prose = [node for kind in _PROSE for node in doctree.findall(kind) if _counts(node)]
    words = sum(len(node.astext().split()) for node in prose)
    formulas = sum(map(_counts, doctree.findall(nodes.math_block)))
    figures = len(list(doctree.findall(nodes.figure)))
    seconds = formulas * SECONDS_A_FORMULA + figures * SECONDS_A_FIGURE
    return 5 * math.ceil((words / WORDS_A_MINUTE + seconds / 60) / 5)
