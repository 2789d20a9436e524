"""Sphinx extension: slides of every chapter, one self-contained file each, and links to them.

After the pages, ``slides/<chapter>.html`` is written for every chapter with a ledger, from the
chapter's own document: the first sentences of its sections and of its steps, its boxes, its stored
figures with their captions, the verdicts of the ledger beside the figures that show them, its
exercises and its sources. The role ``{slides}`CHAPTER``` links to the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
from book_ledgers import book_ledgers
from claim_cells import judging_cells
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from learnmech.compare.bibliography import load_bibliography
from learnmech.compare.ledger import Ledger
from learnmech.compare.pairs import chapter_files
from learnmech.teaching.slides import (
    Picture,
    Slide,
    deck_html,
    entries_html,
    formula_html,
    place_entries,
    references_html,
    section_numbers,
    stored_pictures,
    title_html,
)

_SENTENCE_ENDS = re.compile(r"[.!?][”’)]*(?=\s|$)")
_ABBREVIATED = re.compile(r"(\b(e\.g|i\.e|al|cf|vs|eq|fig)|\b[A-Z])\.$", re.IGNORECASE)
_CITED = re.compile(r"\{cite:[a-z]+\}`([^`]+)`")
_QUESTION = "The question"
_EXERCISES = "Exercises"
_SOURCES = "What each source contributes."
_STEPS_A_SLIDE = 5
_SHORT = 60
_BESIDE = 4
_VERDICTS_A_SLIDE = 6


def _text_up_to(text: str, sentences: int) -> tuple[str, int]:
    """Return the beginning of a text, and how many of the sentences are still missing."""
    for match in _SENTENCE_ENDS.finditer(text):
        if _ABBREVIATED.search(text[: match.end()]):
            continue
        sentences -= 1
        if sentences == 0:
            return text[: match.end()], 0
    return text, sentences


def _inside(paragraph: nodes.Element) -> list[Any]:
    """Return a paragraph's children without the empty ones that the parser leaves."""
    return [child for child in paragraph.children if child.astext() or child.children]


def first_sentences(paragraph: nodes.Element, sentences: int) -> tuple[nodes.paragraph, list[Any]]:
    """Return a paragraph's first sentences, and what is left behind them.

    A sentence may end inside emphasis; formulas and citations are kept whole.
    """
    kept, rest = nodes.paragraph(), []
    missing = sentences
    for child in _inside(paragraph):
        if missing == 0:
            rest.append(child.deepcopy())
        elif isinstance(child, nodes.Text):
            words, missing = _text_up_to(str(child), missing)
            kept += nodes.Text(words)
            if left := str(child)[len(words) :].lstrip():
                rest.append(nodes.Text(left))
        else:
            kept += child.deepcopy()
            emphasised = isinstance(child, nodes.emphasis | nodes.strong)
            if emphasised and len(kept.children) > 1:
                missing = _text_up_to(child.astext(), missing)[1]
    return kept, rest


def _said(paragraph: nodes.Element, following: Any, sentences: int) -> list[nodes.Node]:
    """Return a paragraph's first sentences, with the formula that ends an unfinished one."""
    kept, _ = first_sentences(paragraph, sentences)
    if _SENTENCE_ENDS.search(kept.astext()[-2:]):
        return [kept]
    if isinstance(following, nodes.math_block):
        return [kept, following]
    if isinstance(kept[-1], nodes.Text):
        kept[-1] = nodes.Text(str(kept[-1]).rstrip().rstrip(":,;") + ".")
    return [kept]


def step(paragraph: nodes.Element, following: Any) -> list[nodes.Node]:
    """Return what a slide says of a step: its first sentence, or two if that is a short one.

    "Two things are left out." says little without the sentence behind it.
    """
    kept, _ = first_sentences(paragraph, 1)
    words = len(kept.astext()) - len(_inside(paragraph)[0].astext())
    return _said(paragraph, following, 2 if words < _SHORT else 1)


def _shared_out(items: list[Any], most: int) -> list[list[Any]]:
    """Return items in as few groups as can be, of about the same size, none larger than most."""
    groups = -(-len(items) // most)
    edges = [len(items) * number // max(groups, 1) for number in range(groups + 1)]
    return [items[low:high] for low, high in pairwise(edges)]


class _Renderer:
    """Turns parts of a chapter's document into HTML that needs nothing beside it."""

    def __init__(self, app: Sphinx) -> None:
        self._builder: Any = app.builder

    def html(self, *parts: nodes.Node) -> str:
        """Return nodes as HTML, formulas drawn, and links within the book as plain words."""
        holder = nodes.container("", *(part.deepcopy() for part in parts))
        for formula in list(holder.findall(nodes.math)):
            self._draw(formula, display=False)
        for formula in list(holder.findall(nodes.math_block)):
            self._draw(formula, display=True)
        for reference in list(holder.findall(nodes.reference)):
            if not reference.get("refuri", "").startswith("http"):
                reference.parent.replace(reference, reference.children)
        for named in holder.findall(nodes.Element):
            named["ids"] = []
        return "".join(
            self._builder.render_partial(part)["fragment"].strip() for part in holder.children
        )

    def inline(self, paragraph: nodes.Element) -> str:
        """Return the inside of a paragraph, title or caption as HTML."""
        whole = self.html(nodes.paragraph("", "", *(c.deepcopy() for c in paragraph.children)))
        return whole.removeprefix("<p>").removesuffix("</p>")

    @staticmethod
    def _draw(formula: nodes.Element, *, display: bool) -> None:
        drawn = formula_html(formula.astext(), display=display)
        formula.parent.replace(formula, nodes.raw("", drawn, format="html"))


class _Deck:
    """The slides of one chapter."""

    def __init__(self, app: Sphinx, ledger: Ledger, docname: str) -> None:
        self.ledger = ledger
        self.root = Path(app.srcdir)
        self.files = chapter_files(self.root, ledger.chapter)
        self.document = app.env.get_and_resolve_doctree(docname, app.builder)
        self.pictures = stored_pictures(self.files.notebook)
        notebook = nbformat.read(self.files.notebook, as_version=4)
        sections = section_numbers(notebook.cells)
        judged = judging_cells(notebook, [entry["id"] for entry in ledger.claims])
        cells = {name: (number, sections[number]) for name, number in judged.items()}
        self.points: dict[str, int] = {
            cell.metadata["exercise"]["label"]: cell.metadata["exercise"]["points"]
            for cell in notebook.cells
            if "exercise" in cell.metadata
        }
        self.placed = place_entries(ledger, cells, self.pictures)
        self.render = _Renderer(app)

    def slides(self, book: str) -> Iterator[Slide]:
        """Yield the slides in their order."""
        chapter = next(iter(self.document.findall(nodes.section)))
        yield Slide("title", self.render.inline(chapter[0]), title_html(self.ledger, book))
        for part in chapter.children:
            if isinstance(part, nodes.section):
                yield from self._section(part)
        keys = {key for entry in self.ledger.claims for key in entry["sources"]}
        for cited in _CITED.findall(self.files.text.read_text(encoding="utf-8")):
            keys.update(key.strip() for key in cited.split(","))
        body = references_html(keys, load_bibliography(self.root))
        yield Slide("references", "References", body)

    def _section(self, section: nodes.section) -> Iterator[Slide]:
        heading = self.render.inline(section[0])
        if section[0].astext() == _EXERCISES:
            yield from self._exercises(section)
            return
        yield from self._words(section, heading)
        for part in section.children:
            if isinstance(part, nodes.section):
                yield from self._section(part)
            elif isinstance(part, nodes.admonition) and "dropdown" not in part["classes"]:
                yield self._box(part)
            else:
                for figure in part.findall(nodes.figure):
                    yield from self._figure(figure)

    def _words(self, section: nodes.section, heading: str) -> Iterator[Slide]:
        """Yield what a section says: how it begins, and the steps it names in bold."""
        asked = section[0].astext() == _QUESTION
        opening: list[nodes.Node] = []
        steps: list[nodes.Node] = []
        parts = [part for part in section.children if not isinstance(part, nodes.section)]
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            inside = _inside(part) if isinstance(part, nodes.paragraph) else []
            if not inside:
                continue
            lead = inside[0]
            if not isinstance(lead, nodes.strong):
                if not steps and len(opening) < 2:
                    opening += _said(part, following, 3 if asked else 2)
            elif lead.astext() != _SOURCES and len(inside) > 1:
                steps.append(nodes.list_item("", *step(part, following)))
        for number, group in enumerate(_shared_out(steps, _STEPS_A_SLIDE) or [[]]):
            body = self.render.html(*(opening if number == 0 else ()))
            if group:
                body += self.render.html(nodes.bullet_list("", *group))
            if body:
                yield Slide("words", heading + " (continued)" * (number > 0), body)

    def _box(self, box: nodes.admonition) -> Slide:
        inside = self.render.html(*box.children[1:])
        return Slide("box", self.render.inline(box[0]), f'<div class="boxed">{inside}</div>')

    def _figure(self, figure: nodes.figure) -> Iterator[Slide]:
        prefix = f"fig-{self.ledger.chapter}-"
        names = [n.removeprefix(prefix) for n in figure["names"] if n.startswith(prefix)]
        if not names or names[0] not in self.pictures:
            return
        caption = next(iter(figure.findall(nodes.caption)))
        said, rest = first_sentences(caption, 1)
        below = self.render.inline(nodes.paragraph("", "", *rest)) if rest else ""
        picture: Picture = self.pictures[names[0]]
        drawn = picture.html() + (f"<figcaption>{below}</figcaption>" if below else "")
        heading = self.render.inline(said).removesuffix(".")
        entries = self.placed[picture.name]
        yield Slide(
            "figure tall" if picture.tall else "figure",
            heading,
            f'<div class="beside"><figure data-figure="{picture.name}">{drawn}</figure>'
            f"<div>{entries_html(entries[:_BESIDE])}</div></div>",
        )
        for group in _shared_out(entries[_BESIDE:], _VERDICTS_A_SLIDE):
            yield Slide("further", f"{heading}: further verdicts", entries_html(group))

    def _exercises(self, section: nodes.section) -> Iterator[Slide]:
        for part in section.children:
            if "exercise" in part.get("classes", []) and "label" in part:
                inside = [c for c in part.children if isinstance(c, nodes.section)]
                body = self.render.html(*(c for holder in inside for c in holder.children))
                points = self.points.get(part["label"])
                if points is not None:
                    body += f'<p class="points">{points} point{"s" * (points > 1)}</p>'
                yield Slide("exercise", f"Exercise {part['label']}", body)


def _chapters(app: Sphinx) -> Iterable[tuple[Ledger, str]]:
    for ledger in book_ledgers(Path(app.srcdir)):
        docname = f"notebooks/{ledger.pillar}/{ledger.chapter}"
        if docname in app.env.found_docs:
            yield ledger, docname


def write_slides(app: Sphinx, error: Exception | None) -> None:
    """Write the slides of every chapter into the built book."""
    if error is not None or app.builder.name != "html":
        return
    parts = Path(app.srcdir) / "book" / "_static" / "slides"
    styles = (parts / "deck.css").read_text(encoding="utf-8")
    script = (parts / "deck.js").read_text(encoding="utf-8")
    folder = Path(app.outdir) / "slides"
    folder.mkdir(exist_ok=True)
    for ledger, docname in _chapters(app):
        slides = list(_Deck(app, ledger, docname).slides(app.config.html_title))
        page = deck_html(ledger.title, slides, styles=styles, script=script)
        (folder / f"{ledger.chapter}.html").write_text(page, encoding="utf-8")


class SlidesRole(SphinxRole):
    """A link to the slides of a chapter."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the link, or a warning that there is no such chapter."""
        titles = {ledger.chapter: ledger.title for ledger in book_ledgers(Path(self.env.srcdir))}
        if self.text not in titles:
            message = self.inliner.reporter.warning(
                f"slides: no chapter with a ledger is called '{self.text}'", line=self.lineno
            )
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]
        up = "../" * self.env.docname.count("/")
        link = nodes.reference(
            "", titles[self.text], refuri=f"{up}slides/{self.text}.html", internal=False
        )
        return [link], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_role("slides", SlidesRole())
    app.connect("build-finished", write_slides)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
