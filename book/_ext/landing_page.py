"""Sphinx extension: what the first page of the book shows of its chapters.

* ``{published-figure} CHAPTER FIGURE``: a figure as a chapter published it, with its alt text;
* ``{front-numbers}``: the scorecard's totals, large, each a link to the rows that it counts;
* ``{chapter-list}``: every chapter by its finding, with the question that it asks.
"""

from __future__ import annotations

import base64
import os
import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import nbformat
from book_ledgers import LedgerDirective
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from verdict_pages import tally

from learnmech.compare.figures import MIME
from learnmech.compare.ledger import BREAKS, HOLDS
from learnmech.compare.pairs import ChapterFiles, chapter_files, find_chapters
from learnmech.compare.record import load_record

_QUESTION = re.compile(r"(?<!\*)\*([^*]+\?)\*(?!\*)")


def published_figure(files: ChapterFiles, name: str) -> tuple[bytes, str]:
    """Return the picture and the alt text of a figure as a chapter's notebook holds them.

    Raises:
        ValueError: if the chapter publishes no figure of that name.
    """
    label = f"fig-{files.slug}-{name}"
    for cell in nbformat.read(files.notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            words = output.get("metadata", {}).get("learnmech", {})
            if MIME in output.get("data", {}) and words.get("name") == label:
                return base64.b64decode(output["data"]["image/png"]), words["alt"]
    raise ValueError(f"the chapter '{files.slug}' publishes no figure '{name}'")


def chapter_question(text: str) -> str:
    """Return the question that a chapter asks: the first words in italics that end in ``?``.

    Raises:
        ValueError: if the chapter asks none.
    """
    if (match := _QUESTION.search(text)) is None:
        raise ValueError("no question stands in italics under 'The question'")
    return " ".join(match[1].split())


class PublishedFigure(LedgerDirective):
    """A figure of a chapter on another page; what stands below the directive is its caption."""

    required_arguments = 2
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return picture and caption, without a number: the figure has one in its chapter."""
        slug, name = self.arguments
        try:
            files = chapter_files(self.root, slug)
            picture, alt = published_figure(files, name)
        except KeyError:
            raise self.error(f"there is no chapter '{slug}'") from None
        except ValueError as error:
            raise self.error(str(error)) from None
        self.env.note_dependency(str(files.notebook))
        stored = Path(self.env.app.doctreedir) / "published" / f"{slug}-{name}.png"
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(picture)
        page = Path(self.env.doc2path(self.env.docname)).parent
        image = nodes.image(uri=Path(os.path.relpath(stored, page)).as_posix(), alt=alt)
        words, _ = self.state.inline_text(" ".join(self.content), self.lineno)
        shown = nodes.container(classes=["lm-published"])
        shown += [image, nodes.paragraph("", "", *words)]
        return [shown]


class FrontNumbers(LedgerDirective):
    """The totals of the scorecard, in large figures."""

    def run(self) -> list[nodes.Node]:
        """Return the numbers as links to the scorecard."""
        ledgers, record = self.ledgers(), load_record(self.root)

        def number(what: str, of: str, words: str, **chosen: str) -> str:
            address = "scorecard.html" + (f"?{urlencode(chosen)}" if chosen else "")
            return (
                f'<li><a href="{escape(address, quote=True)}">'
                f"<strong>{tally(ledgers, record, what)}<span> of {tally(ledgers, record, of)}"
                f"</span></strong> {words}</a></li>"
            )

        sets = tally(ledgers, record, "seed_sets")
        numbers = (
            number("claims_hold", "claims", "claims hold", kind="claim", verdict=HOLDS),
            number("headline", "claims", "predicted from setting or start alone, nothing fitted"),
            number(
                "limits_met", "limits", "limits break as predicted", kind="limit", verdict=BREAKS
            ),
            number("robust", "tried", f"hold under 19 of {sets} other sets of seeds, or more"),
        )
        content = f'<ul class="lm-numbers" aria-label="The scorecard">{"".join(numbers)}</ul>'
        return [nodes.raw("", content, format="html")]


class ChapterList(LedgerDirective):
    """The chapters, by what they found."""

    def run(self) -> list[nodes.Node]:
        """Return a list: pillar, finding as a link, and the question asked."""
        titles = {ledger.chapter: ledger.title for ledger in self.ledgers()}
        chapters = nodes.enumerated_list(classes=["lm-chapters"], enumtype="upperroman")
        chapters["prefix"], chapters["suffix"] = "", "."
        for files in find_chapters(self.root):
            if files.slug not in titles:
                continue
            self.env.note_dependency(str(files.text))
            words = titles[files.slug]
            link = addnodes.pending_xref(
                "",
                nodes.inline(text=words),
                refdomain="std",
                reftype="doc",
                refexplicit=True,
                reftarget=f"/notebooks/{files.pillar}/{files.slug}",
                refdoc=self.env.docname,
                refwarn=True,
            )
            pillar = nodes.inline(text=files.pillar.replace("-", " "), classes=["lm-pillar"])
            question = chapter_question(files.text.read_text("utf-8"))
            line = nodes.paragraph("", "", pillar, nodes.Text(" "), nodes.strong("", "", link))
            chapters += nodes.list_item("", line, nodes.paragraph(text=question))
        return [chapters]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("published-figure", PublishedFigure)
    app.add_directive("front-numbers", FrontNumbers)
    app.add_directive("chapter-list", ChapterList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
