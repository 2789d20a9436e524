"""Slides of a chapter: one HTML file that holds everything, pictures and formulas included.

Nothing on a slide is written by hand. The words are sentences of the chapter, the pictures its
stored figures, and every verdict stands beside the figure that shows it, with the numbers of the
ledger. Formulas are drawn when the file is made, so that it needs no script, font or network; a
script turns the long page into slides where there is one.
"""

from __future__ import annotations

import json
import re
import struct
import warnings
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnmech.compare.bibliography import Source
from learnmech.compare.ledger import Ledger
from learnmech.compare.scorecard import SYMBOL, claim_words, number_words, totals

if TYPE_CHECKING:
    from ziamath.zmath import Latex

__all__ = [
    "Picture",
    "Slide",
    "deck_html",
    "entries_html",
    "formula_html",
    "place_entries",
    "references_html",
    "section_numbers",
    "stored_pictures",
    "title_html",
]

_POINTS = 20.0
_WIDE = 1.3
_SECTION = re.compile(r"^#{2,3} ", re.MULTILINE)
_BARE_ALPHABET = re.compile(r"\\(mathbb|mathcal|mathrm|mathbf)\s+([A-Za-z])")


@dataclass(frozen=True)
class Picture:
    """One stored figure of a notebook."""

    name: str
    """Its short name, such as ``stages``."""
    cell: int
    """The number of its cell."""
    section: int
    """How many sections have begun before it."""
    png: str
    """The picture, base64."""
    alt: str

    @property
    def tall(self) -> bool:
        """Whether it is too tall to stand below a heading and above a caption, and be read."""
        # A PNG file says its width and height at once, within the first 24 bytes.
        width, height = struct.unpack(">II", b64decode(self.png[:32])[16:24])
        return bool(width < _WIDE * height)

    def html(self) -> str:
        """Return the picture as an element that holds its own bytes."""
        return f'<img src="data:image/png;base64,{self.png}" alt="{escape(self.alt, quote=True)}">'


@dataclass(frozen=True)
class Slide:
    """One slide; heading and parts are HTML."""

    kind: str
    """What it shows, as a class for its style: ``title``, ``words``, ``box``, ``figure``, ..."""
    heading: str
    body: str


@cache
def _typesetter() -> type[Latex]:
    """Return what draws formulas: glyphs as outlines, so that no two formulas share anything."""
    with warnings.catch_warnings():
        # It finds its font in a way that some versions of Python call outdated.
        warnings.simplefilter("ignore", DeprecationWarning)
        from ziamath.config import config  # noqa: PLC0415 - only who builds the book needs it
        from ziamath.zmath import Latex  # noqa: PLC0415
    config.svg2 = False
    return Latex


def formula_html(tex: str, *, display: bool) -> str:
    r"""Return a formula as a picture that scales with the text around it.

    Args:
        tex: the formula, without dollar signs.
        display: whether it stands on a line of its own.

    Raises:
        ValueError: if it cannot be drawn.

    Examples:
        >>> formula_html(r"x^2", display=False)[:36]
        '<svg role="img" aria-label="x^2" xml'
    """
    text = _BARE_ALPHABET.sub(r"\\\1{\2}", tex.strip())
    try:
        drawn = _typesetter()(text, size=_POINTS, inline=not display, color="currentColor")
    except Exception as error:
        raise ValueError(f"the formula {tex!r} cannot be drawn; is it whole?") from error
    element = drawn.svgxml()
    for side in ("width", "height"):
        element.set(side, f"{float(element.get(side, '0')) / _POINTS:.3f}em")
    element.set("class", "formula")
    if not display:
        element.set("style", f"vertical-align:{drawn.getyofst() / _POINTS:.3f}em")
    picture: str = ET.tostring(element, encoding="unicode")
    picture = re.sub(r"(\d\.\d{3})\d+", r"\1", picture)
    label = escape(" ".join(tex.split()), quote=True)
    picture = picture.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    if not display:
        return picture
    # A wide formula scrolls in its box, which a keyboard has to reach.
    return f'<span class="display" tabindex="0" role="group" aria-label="formula">{picture}</span>'


def stored_pictures(notebook: Path) -> dict[str, Picture]:
    """Return the figures that a notebook stores, by name, in their order."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found = {}
    sections = section_numbers(cells)
    for number, cell in enumerate(cells):
        for output in cell.get("outputs", []):
            words = output.get("metadata", {}).get("learnmech")
            if words is None or "image/png" not in output.get("data", {}):
                continue
            name = words["name"].removeprefix(f"fig-{notebook.stem}-")
            png = "".join(output["data"]["image/png"]).replace("\n", "")
            found[name] = Picture(name, number, sections[number], png, words["alt"])
    return found


def section_numbers(cells: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return, for each cell of a notebook, how many sections have begun up to its end."""
    return list(
        accumulate(
            len(_SECTION.findall("".join(cell["source"]))) if cell["cell_type"] == "markdown" else 0
            for cell in cells
        )
    )


def place_entries(
    ledger: Ledger, cells: Mapping[str, tuple[int, int]], pictures: Mapping[str, Picture]
) -> dict[str, list[dict[str, Any]]]:
    """Say beside which figure each entry of a ledger belongs.

    An entry that names a figure's data belongs to that figure, any other to the figure nearest to
    the cell that judges it, of its own section if there is one; of two that are as near, to the
    later one.

    Args:
        ledger: the chapter's ledger.
        cells: the number and the section of the cell that judges each entry.
        pictures: the chapter's figures in their order; there is at least one.
    """
    order = list(pictures.values())
    placed: dict[str, list[dict[str, Any]]] = {picture.name: [] for picture in order}
    for entry in ledger.claims:
        named = {
            Path(entry[key]).stem
            for key in ("theory", "measured")
            if isinstance(entry.get(key), str)
        }
        near = min(order, key=partial(_distance, cells[entry["id"]]))
        placed[next(iter(named & set(placed)), near.name)].append(entry)
    return placed


def _distance(place: tuple[int, int], picture: Picture) -> tuple[bool, int, bool]:
    cell, section = place
    return picture.section != section, abs(picture.cell - cell), picture.cell < cell


def _numbers(entry: Mapping[str, Any]) -> str:
    """Say theory, measurement and discrepancy as far as the ledger has them as numbers."""
    parts = [
        f"{key} {number_words(entry[key])}"
        for key in ("theory", "measured")
        if isinstance(entry.get(key), int | float | list)
    ]
    edge = {"claim": ", the tolerance", "limit": ", the bound"}.get(entry["kind"])
    parts.append(f"discrepancy {claim_words(entry)}{edge}" if edge else claim_words(entry))
    return "; ".join(parts)


def entries_html(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return verdicts as a list: symbol and word, the statement, and the ledger's numbers."""
    items = []
    for entry in entries:
        word = entry["verdict"] if entry["kind"] != "check" else f"check {entry['verdict']}"
        items.append(
            f'<li data-entry="{escape(entry["id"], quote=True)}">'
            f'<strong class="{entry["verdict"].split()[0]}">{SYMBOL[entry["verdict"]]} '
            f"{escape(word)}:</strong> {escape(entry['statement'])} "
            f"<small>{escape(_numbers(entry))}</small></li>"
        )
    return f'<ul class="verdicts">{"".join(items)}</ul>' if items else ""


def title_html(ledger: Ledger, book: str) -> str:
    """Return what stands below a deck's title: the pillar, the verdicts counted, the licence."""
    count = totals([ledger])
    pillar = ledger.pillar.replace("-", " ").capitalize()
    return (
        f'<p class="pillar">{escape(pillar)}</p>'
        f"<p><strong>{count['claims_hold']} of {count['claims']}</strong> claims hold, "
        f"<strong>{count['limits_met']} of {count['limits']}</strong> limits break as "
        "predicted.</p>"
        f'<p class="book">Slides of a chapter of <cite>{escape(book)}</cite>, made from its text, '
        "its figures and its ledger. Text and figures: CC BY 4.0.</p>"
    )


def references_html(keys: Iterable[str], sources: Mapping[str, Source]) -> str:
    """Return a chapter's sources as a list in the order of their names."""
    chosen = sorted({sources[key] for key in keys}, key=lambda source: source.label.lower())
    items = []
    for source in chosen:
        title = escape(source.title)
        if source.url:
            title = f'<a href="{escape(source.url, quote=True)}">{title}</a>'
        items.append(f"<li>{escape(source.label)}. {title}.</li>")
    return f'<ul class="sources">{"".join(items)}</ul>'


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: slides</title>
<style>
{styles}</style>
</head>
<body>
<main>
{slides}
</main>
<nav aria-label="Slides">
<button type="button" id="first">First</button>
<button type="button" id="back">Back</button>
<p id="place" aria-live="polite"></p>
<button type="button" id="next">Next</button>
<button type="button" id="last">Last</button>
<button type="button" id="theme">Dark or light</button>
</nav>
<script>
{script}</script>
</body>
</html>
"""


def deck_html(title: str, slides: Sequence[Slide], *, styles: str, script: str) -> str:
    """Return the whole file.

    Args:
        title: the chapter's title, plain text.
        slides: the slides; the first is the title slide.
        styles: the style sheet, put into the file.
        script: the script, put into the file.

    Examples:
        >>> page = deck_html("Two", [Slide("title", "Two", "<p>a</p>")], styles="", script="")
        >>> "<h1>Two</h1>" in page
        True
    """
    parts = []
    for number, slide in enumerate(slides, start=1):
        level = "h1" if number == 1 else "h2"
        parts.append(
            f'<section class="slide {slide.kind}" id="s{number}">\n<div class="fit">\n'
            f"<{level}>{slide.heading}</{level}>\n"
            f"{slide.body}\n</div>\n</section>"
        )
    return _PAGE.format(title=escape(title), styles=styles, script=script, slides="\n".join(parts))
