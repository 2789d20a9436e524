"""Sphinx extension: what the first page of the book shows of its chapters.

* ``{published-figure} CHAPTER FIGURE``: a figure as a chapter published it, with its alt text;
* ``{front-numbers}``: the scorecard's totals, large, each a link to what it counts;
* ``{chapter-list}``: every chapter by its finding: its question, the answer, and its verdicts.
"""

from __future__ import annotations

import base64
import os
import re
from html import escape
from itertools import islice, takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import nbformat
from book_ledgers import LedgerDirective
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from verdict_pages import tally, verdict_words

from learnmech.compare.figures import MIME
from learnmech.compare.ledger import BREAKS, HOLDS
from learnmech.compare.pairs import ChapterFiles, chapter_files, find_chapters
from learnmech.compare.record import load_record

_OPENING = re.compile(
    r"^## The question\n+"
    r"(?:%.*\n+)*"  # what the author of a chapter is told
    r"(?P<question>(?:.+\n)*?.*\?\*)\n\n"
    r"(?P<answer>(?!#)(?:.+\n)+)",
    re.MULTILINE,
)
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z*])")


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


def chapter_opening(text: str) -> tuple[str, str]:
    """Return what a chapter asks and what it answers, as its text has them.

    Under "The question" a first paragraph ends in the question, in italics; the next begins with
    the answer. Of that this gives two sentences at most, and none from "This chapter" on.

    Raises:
        ValueError: if the chapter does not open so.
    """
    if (match := _OPENING.search(text)) is None:
        raise ValueError(
            "under 'The question' a paragraph must end in a question in italics, and the next one "
            "begin with the answer"
        )
    question, answer = (" ".join(match[part].split()) for part in ("question", "answer"))
    said = takewhile(lambda words: not words.startswith("This chapter"), _SENTENCE.split(answer))
    return question, " ".join(islice(said, 2))


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

        def number(what: str, of: str, words: str, place: str = "", **chosen: str) -> str:
            address = "scorecard.html" + (f"?{urlencode(chosen)}" if chosen else place)
            return (
                f'<li><a href="{escape(address, quote=True)}">'
                f"<strong>{tally(ledgers, record, what)}<span> of {tally(ledgers, record, of)}"
                f"</span></strong> {words}</a></li>"
            )

        sets = tally(ledgers, record, "seed_sets")
        numbers = (
            number("claims_hold", "claims", "claims hold", kind="claim", verdict=HOLDS),
            number(
                "headline",
                "claims",
                "predicted from setting or start alone, nothing fitted",
                kind="claim",
            ),
            number(
                "limits_met", "limits", "limits break as predicted", kind="limit", verdict=BREAKS
            ),
            number(
                "robust",
                "tried",
                f"hold under at least 19 of {sets} other sets of seeds",
                "#do-the-claims-depend-on-their-seeds",
            ),
        )
        content = f'<ul class="lm-numbers" aria-label="The scorecard">{"".join(numbers)}</ul>'
        return [nodes.raw("", content, format="html")]


class ChapterList(LedgerDirective):
    """The chapters, by what they found."""

    def _paragraph(self, text: str) -> nodes.paragraph:
        words, messages = self.state.inline_text(text, self.lineno)
        return nodes.paragraph("", "", *words, *messages)

    def _opening(self, files: ChapterFiles) -> list[nodes.Node]:
        self.env.note_dependency(str(files.text))
        try:
            opening = chapter_opening(files.text.read_text("utf-8"))
        except ValueError as error:
            raise self.error(f"{files.slug}: {error}") from None
        return [self._paragraph(text) for text in opening]

    def run(self) -> list[nodes.Node]:
        """Return a list: pillar, finding as a link, question, answer, and verdicts as a link."""
        ledgers = {ledger.chapter: ledger for ledger in self.ledgers()}
        chapters = nodes.enumerated_list(classes=["lm-chapters"], enumtype="upperroman")
        chapters["prefix"], chapters["suffix"] = "", "."
        for files in find_chapters(self.root):
            if (ledger := ledgers.get(files.slug)) is None:
                continue
            link = addnodes.pending_xref(
                "",
                nodes.inline(text=ledger.title),
                refdomain="std",
                reftype="doc",
                refexplicit=True,
                reftarget=f"/notebooks/{files.pillar}/{files.slug}",
                refdoc=self.env.docname,
                refwarn=True,
            )
            name = files.pillar.replace("-", " ")
            pillar = nodes.inline(text=name, classes=["lm-pillar"])
            line = nodes.paragraph("", "", pillar, nodes.Text(" "), nodes.strong("", "", link))
            rows = f"scorecard.html?{urlencode({'pillar': name})}"
            verdicts = nodes.reference("", verdict_words(ledger), refuri=rows, internal=True)
            counted = nodes.paragraph("", "", verdicts, classes=["lm-counted"])
            chapters += nodes.list_item("", line, *self._opening(files), counted)
        return [chapters]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("published-figure", PublishedFigure)
    app.add_directive("front-numbers", FrontNumbers)
    app.add_directive("chapter-list", ChapterList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
