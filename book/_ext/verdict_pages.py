"""Sphinx extension: what pages show of ledgers and measured times.

* ``{scorecard}``: every verdict of the book as a table, with the totals;
* ``{robustness}``: in how many sets of other seeds each claim held;
* below each chapter's title: its verdicts counted, its CPU time, and when it was last verified.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from learnmech.compare.bibliography import load_bibliography
from learnmech.compare.ledger import Ledger, load_ledgers
from learnmech.compare.record import load_record, record_path
from learnmech.compare.scorecard import scorecard_html, totals, totals_words

_REPEATED = {"exercise-content", "solution-content", "proof-content"}


def _ledgers(root: Path) -> list[Ledger]:
    return load_ledgers(root / "book" / "_ledger")


class _RootDirective(SphinxDirective):
    @property
    def root(self) -> Path:
        return Path(self.env.srcdir)

    def depend_on_ledgers(self) -> None:
        for path in sorted((self.root / "book" / "_ledger").glob("*.json")):
            self.env.note_dependency(str(path))
        self.env.note_dependency(str(record_path(self.root)))


class Scorecard(_RootDirective):
    """The table of all verdicts."""

    def run(self) -> list[nodes.Node]:
        """Return the totals and the table."""
        self.depend_on_ledgers()
        ledgers = _ledgers(self.root)

        def link(ledger: Ledger) -> str:
            return f"../notebooks/{ledger.pillar}/{ledger.chapter}.html"

        table = scorecard_html(ledgers, load_bibliography(self.root), link)
        return [
            nodes.paragraph(text=totals_words(ledgers)),
            nodes.raw("", table, format="html"),
        ]


class Robustness(_RootDirective):
    """The table of shares of other seed sets in which each claim held."""

    def run(self) -> list[nodes.Node]:
        """Return the table, or a sentence where nothing was measured yet."""
        self.depend_on_ledgers()
        record = load_record(self.root).get("robustness")
        if record is None:
            return [nodes.paragraph(text="Not measured yet: run 'make robustness'.")]
        titles = {ledger.chapter: ledger.title for ledger in _ledgers(self.root)}
        rows = [
            f"<tr><td>{escape(titles.get(chapter, chapter))}</td><td>{escape(claim)}</td>"
            f"<td>{row['held']} of {row['of']}</td><td>{row['largest_share']:.2f}</td></tr>"
            for chapter, claims in record["claims"].items()
            for claim, row in claims.items()
        ]
        versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
        words = (
            f"Each chapter was run with {len(record['offsets'])} other sets of seeds "
            f"(on {record['date']}; {versions}). The last column is the largest share of its room "
            "that a claim used in any of them; more than 1 fails."
        )
        table = (
            '<div class="lm-verdicts" tabindex="0" role="region" aria-label="Seed robustness">'
            "<table><caption>Verdicts under other seeds</caption><thead><tr>"
            "<th scope='col'>Chapter</th><th scope='col'>Claim or limit</th>"
            "<th scope='col'>Held</th><th scope='col'>Largest share of its room</th></tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )
        return [nodes.paragraph(text=words), nodes.raw("", table, format="html")]


def _facts(root: Path, ledger: Ledger) -> str:
    count = totals([ledger])
    sentence = (
        f"{count['claims_hold']} of {count['claims']} claims hold, "
        f"{count['limits_met']} of {count['limits']} limits break as predicted."
    )
    times = load_record(root).get("times", {})
    seconds = times.get("cpu_seconds", {}).get(ledger.chapter)
    if seconds is not None:
        versions = times["versions"]
        sentence += (
            f" Runs in {seconds:.0f} seconds on one CPU core. Last verified {times['date']} with "
            f"PyTorch {versions['torch']} and NumPy {versions['numpy']}."
        )
    return sentence


def add_chapter_facts(app: Sphinx, doctree: nodes.document) -> None:
    """Put a chapter's verdicts and CPU time below its title."""
    root, slug = Path(app.srcdir), Path(app.env.docname).name
    ledgers = {ledger.chapter: ledger for ledger in _ledgers(root)}
    if not app.env.docname.startswith("notebooks/") or slug not in ledgers:
        return
    app.env.note_dependency(str(root / "book" / "_ledger" / f"{slug}.json"))
    app.env.note_dependency(str(record_path(root)))
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is not None and title.parent is not None:
        facts = nodes.paragraph(text=_facts(root, ledgers[slug]), classes=["lm-facts"])
        title.parent.insert(title.parent.index(title) + 1, facts)


def drop_repeated_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Drop the ids that sphinx-exercise gives alike to the inside of every exercise."""
    for section in doctree.findall(nodes.section):
        kept = [name for name in section["ids"] if name not in _REPEATED]
        if len(kept) < len(section["ids"]):
            section["ids"] = kept


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("scorecard", Scorecard)
    app.add_directive("robustness", Robustness)
    app.connect("doctree-read", add_chapter_facts)
    app.connect("doctree-resolved", drop_repeated_ids)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
