"""Sphinx extension: the scorecard's page.

* ``{scorecard}``: the totals, and every verdict of the book as a table that sorts and chooses;
* ``{robustness}``: under how many other sets of seeds the claims of each chapter held;
* ``{cite-scorecard}``: how to cite it.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from book_ledgers import LedgerDirective
from citing import load_citation
from docutils import nodes
from scorecard_table import scorecard_html
from sphinx.application import Sphinx

from learnmech.compare.bibliography import load_bibliography
from learnmech.compare.ledger import Ledger
from learnmech.compare.record import held_often, load_record
from learnmech.compare.scorecard import totals_words


def _page(ledger: Ledger) -> str:
    return f"../notebooks/{ledger.pillar}/{ledger.chapter}.html"


class Scorecard(LedgerDirective):
    """The totals and the table of all verdicts."""

    def run(self) -> list[nodes.Node]:
        """Return both."""
        ledgers = self.ledgers()
        tried = load_record(self.root).get("robustness", {}).get("claims", {})
        pages = {ledger.chapter: _page(ledger) for ledger in ledgers}
        table = scorecard_html(ledgers, load_bibliography(self.root), tried, pages)
        return [nodes.paragraph(text=totals_words(ledgers)), nodes.raw("", table, format="html")]


def days_words(section: Mapping[str, Any]) -> str:
    """Return on which day, or from which to which, a section of the record was measured."""
    first, last = min(section["dates"].values()), max(section["dates"].values())
    return f"on {first}" if first == last else f"from {first} to {last}"


def robustness_html(ledgers: list[Ledger], claims: Mapping[str, Mapping[str, Any]]) -> str:
    """Return, for each chapter, how many claims and limits held under all or most other seeds."""
    rows = []
    for ledger in ledgers:
        tried = list(claims.get(ledger.chapter, {}).values())
        if not tried:
            continue
        always = sum(row["held"] == row["of"] for row in tried)
        rows.append(
            f"<tr><th scope='row'>{escape(ledger.title)}</th><td>{len(tried)}</td>"
            f"<td>{always}</td><td>{sum(map(held_often, tried))}</td>"
            f"<td>{max(row['largest_share'] for row in tried):.2f}</td></tr>"
        )
    return (
        '<div class="lm-verdicts" tabindex="0" role="region" aria-label="Seed robustness">'
        "<table><caption>Verdicts under other seeds</caption><thead><tr>"
        "<th scope='col'>Chapter</th><th scope='col'>Claims and limits tried</th>"
        "<th scope='col'>Held under all</th><th scope='col'>Held under 19 of 20</th>"
        "<th scope='col'>Largest share of a claim's room</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


class Robustness(LedgerDirective):
    """How the claims of each chapter fared under other seeds."""

    def run(self) -> list[nodes.Node]:
        """Return the table, or a sentence where nothing was measured yet."""
        ledgers = self.ledgers()
        record = load_record(self.root).get("robustness")
        if record is None:
            return [nodes.paragraph(text="Not measured yet: run 'make robustness'.")]
        versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
        words = (
            f"Each chapter was run with {len(record['offsets'])} other sets of seeds "
            f"({days_words(record)}; {versions}). The last column of the scorecard says under how "
            "many of them each claim and limit held, and which share of its room it used at most: "
            "for a claim the discrepancy over the tolerance, for a limit the bound over the "
            "discrepancy; more than 1 fails. By chapter:"
        )
        table = robustness_html(ledgers, record["claims"])
        return [nodes.paragraph(text=words), nodes.raw("", table, format="html")]


class CiteScorecard(LedgerDirective):
    """How to cite the scorecard and a row of it."""

    def run(self) -> list[nodes.Node]:
        """Return a sentence, a BibTeX entry, and how a row is named."""
        ledger = self.ledgers()[0]
        self.env.note_dependency(str(self.root / "CITATION.cff"))
        citation = load_citation(self.root)
        row = nodes.paragraph(
            text="To cite one verdict, add the name of its row. The # below its chapter's name "
            "leads to the row's own address, and the name is the end of it, as in "
        )
        row += nodes.literal(text=f"{ledger.chapter}-{ledger.claims[0]['id']}")
        row += nodes.Text(".")
        entry = citation.bibtex("learningmechanics-scorecard", "Scorecard")
        return [
            nodes.paragraph(text=citation.sentence("Scorecard")),
            nodes.literal_block(entry, entry, language="bibtex"),
            row,
        ]


def add_script(app: Sphinx, page: str, *_: Any) -> None:
    """Load the script on the scorecard's page alone."""
    if page == "book/scorecard":
        app.add_js_file("scorecard.js")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("scorecard", Scorecard)
    app.add_directive("robustness", Robustness)
    app.add_directive("cite-scorecard", CiteScorecard)
    app.add_css_file("pages.css")
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
