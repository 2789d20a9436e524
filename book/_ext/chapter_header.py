"""Sphinx extension: what stands below the title of each chapter.

Its verdicts counted, the time to read and to run it, when and with what it was last verified, what
to know beforehand (the chapter's own line "Before you start."), for the hurried its figures and its
rows of the scorecard, the chapter as files to keep, links to Colab, Binder and the sources where
the book has a repository, and how to cite it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from book_ledgers import book_ledgers, chapter_of_page
from citing import load_citation
from docutils import nodes
from reading_time import RULE, reading_minutes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from verdict_pages import verdict_words

from learnmech.compare.ledger import Ledger
from learnmech.compare.pairs import find_chapters
from learnmech.compare.record import load_record, record_path
from learnmech.compare.repository import Repository, load_repository

PREREQUISITES = "Before you start."
_FILES = "_downloads"
_FIGURES = "theory-over-practice"
_TOLD = {"python": "Python", "torch": "PyTorch", "numpy": "NumPy", "scipy": "SciPy"}


def facts(ledger: Ledger, record: Mapping[str, Any], minutes: int) -> dict[str, str]:
    """Return what a chapter's header lists, by its heading."""
    told = {
        "Verdicts": verdict_words(ledger),
        "Time to read": f"about {minutes} minutes",
    }
    times = record.get("times", {})
    seconds = times.get("cpu_seconds", {}).get(ledger.chapter)
    if seconds is not None:
        versions = (f"{name} {times['versions'][key]}" for key, name in _TOLD.items())
        told["Time to run"] = f"{seconds:.0f} seconds on one CPU core"
        told["Last verified"] = f"{times['dates'][ledger.chapter]} with {', '.join(versions)}"
    return told


def links(ledger: Ledger, repository: Repository | None) -> dict[str, str]:
    """Return the addresses that a chapter's header offers, by their words."""
    path = f"notebooks/{ledger.pillar}/{ledger.chapter}"
    rows = urlencode({"pillar": ledger.pillar.replace("-", " ")})
    offered = {
        "Skip to the figures": f"#{_FIGURES}",
        "Its verdicts in the scorecard": f"../../book/scorecard.html?{rows}",
        "Notebook (.ipynb)": f"../../{_FILES}/{ledger.chapter}.ipynb",
        "Text (.md)": f"../../{_FILES}/{ledger.chapter}.md",
    }
    if repository is not None:
        offered |= {
            "Open in Colab": repository.colab(f"{path}.ipynb"),
            "Open in Binder": repository.binder(f"{path}.ipynb"),
            "Source": repository.file(f"{path}.md"),
            "Report a mistake": repository.issues,
        }
    return offered


def _facts_html(told: Mapping[str, str]) -> str:
    rows = (f"<div><dt>{name}</dt><dd>{escape(words)}</dd></div>" for name, words in told.items())
    return f"<dl>{''.join(rows)}</dl>"


def _links_html(offered: Mapping[str, str]) -> str:
    items = "".join(
        f'<li><a href="{escape(address, quote=True)}"{" download" if _FILES in address else ""}>'
        f"{escape(words)}</a></li>"
        for words, address in offered.items()
    )
    return f'<ul class="lm-links" aria-label="Ways on">{items}</ul>'


def _citation(root: Path, ledger: Ledger) -> list[nodes.Node]:
    citation = load_citation(root, ledger.chapter)
    entry = citation.bibtex(f"learningmechanics-{ledger.chapter}", ledger.title)
    return [
        nodes.raw("", "<details><summary>How to cite this chapter</summary>", format="html"),
        nodes.paragraph(text=citation.sentence(ledger.title)),
        nodes.literal_block(entry, entry, language="bibtex"),
        nodes.raw("", "</details>", format="html"),
    ]


def add_chapter_header(app: Sphinx, doctree: nodes.document) -> None:
    """Put the header below a chapter's title, its line of prerequisites included."""
    root = Path(app.srcdir)
    ledger = chapter_of_page(root, app.env.docname)
    title = next(iter(doctree.findall(nodes.title)), None)
    if ledger is None or title is None or title.parent is None:
        return
    ledger_file = root / "book" / "_ledger" / f"{ledger.chapter}.json"
    for path in (ledger_file, record_path(root), root / "CITATION.cff", root / "_config.yml"):
        app.env.note_dependency(str(path))
    told = facts(ledger, load_record(root), reading_minutes(doctree))
    header = nodes.container(classes=["lm-header"])
    header += nodes.raw("", _facts_html(told), format="html")
    below = title.parent[title.parent.index(title) + 1]
    if isinstance(below, nodes.paragraph) and below.astext().startswith(PREREQUISITES):
        title.parent.remove(below)
        header += below
    header += nodes.raw("", _links_html(links(ledger, load_repository(root))), format="html")
    header += _citation(root, ledger)
    title.parent.insert(title.parent.index(title) + 1, header)


def copy_chapters(app: Sphinx, error: Exception | None) -> None:
    """Copy each chapter's notebook and text to where its header links to."""
    if error is not None or app.builder.format != "html":
        return
    root, folder = Path(app.srcdir), Path(app.outdir) / _FILES
    folder.mkdir(exist_ok=True)
    built = {ledger.chapter for ledger in book_ledgers(root)}
    for files in find_chapters(root):
        if files.slug in built:
            shutil.copyfile(files.notebook, folder / files.notebook.name)
            shutil.copyfile(files.text, folder / files.text.name)


class ReadingTime(SphinxDirective):
    """The rule behind the time to read that stands on each chapter."""

    def run(self) -> list[nodes.Node]:
        """Return it as a sentence."""
        return [
            nodes.paragraph(text=f"The time to read that stands on each chapter counts {RULE}.")
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("reading-time", ReadingTime)
    app.connect("doctree-read", add_chapter_header, priority=600)
    app.connect("build-finished", copy_chapters)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
