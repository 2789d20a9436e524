"""Sphinx extension: what pages show of ledgers and measured times.

* ``{scorecard}``: every verdict of the book as a table, with the totals;
* ``{robustness}``: in how many sets of other seeds each claim held;
* ``{verdicts} CHAPTER``: the claims and limits of one chapter as a list of plain sentences;
* ``{tally}`WHAT``` and ``{tally}`WHAT of PILLAR```: how many claims, limits, ... there are;
* ``{ledger}`CHAPTER CLAIM FIELD```: one number of a ledger, so that no page repeats it by hand;
* below each chapter's title: its verdicts counted, its CPU time, and when it was last verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole

from learnmech.compare.bibliography import load_bibliography
from learnmech.compare.ledger import Ledger, load_ledgers
from learnmech.compare.record import held_often, load_record, record_path
from learnmech.compare.scorecard import SYMBOL, claim_words, scorecard_html, totals, totals_words

_REPEATED = {"exercise-content", "solution-content", "proof-content"}
_ENDS = {"first": 0, "last": -1}


def _ledgers(root: Path) -> list[Ledger]:
    return load_ledgers(root / "book" / "_ledger")


def _depend_on_ledgers(env: BuildEnvironment, root: Path) -> None:
    for path in sorted((root / "book" / "_ledger").glob("*.json")):
        env.note_dependency(str(path))
    env.note_dependency(str(record_path(root)))


class _RootDirective(SphinxDirective):
    @property
    def root(self) -> Path:
        return Path(self.env.srcdir)

    def depend_on_ledgers(self) -> None:
        _depend_on_ledgers(self.env, self.root)


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
            f"({_days(record)}; {versions}). The last column is the largest share of its room "
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


def _days(section: Mapping[str, Any]) -> str:
    first, last = min(section["dates"].values()), max(section["dates"].values())
    return f"on {first}" if first == last else f"from {first} to {last}"


def _chosen(ledgers: list[Ledger], name: str) -> list[Ledger]:
    chosen = [ledger for ledger in ledgers if name in (ledger.chapter, ledger.pillar)]
    if not chosen:
        raise ValueError(f"no chapter or pillar with a ledger is called '{name}'")
    return chosen


def robustness_counts(record: Mapping[str, Any]) -> dict[str, int]:
    """Count seed sets, the claims and limits tried with them, and those that held in 19 of 20."""
    section = record.get("robustness", {"offsets": [], "claims": {}})
    rows = [row for table in section["claims"].values() for row in table.values()]
    return {
        "seed_sets": len(section["offsets"]),
        "tried": len(rows),
        "robust": sum(map(held_often, rows)),
    }


def tally(ledgers: list[Ledger], record: Mapping[str, Any], words: str) -> str:
    """Return a count such as ``claims_hold``, or ``limits of edge-of-stability``.

    Beside the counts of `totals` there are, for the whole book, those of `robustness_counts`.

    Raises:
        ValueError: for a count, chapter or pillar that is not there.
    """
    what, _, where = words.partition(" of ")
    count = totals(_chosen(ledgers, where.strip()) if where else ledgers)
    if not where:
        count |= robustness_counts(record)
    if what.strip() not in count:
        raise ValueError(f"there is no count '{what.strip()}'; there are {', '.join(count)}")
    return str(count[what.strip()])


def ledger_number(ledgers: list[Ledger], _record: Mapping[str, Any], words: str) -> str:
    """Return one number of a ledger: ``CHAPTER CLAIM FIELD``, with ``%`` behind it as a percentage.

    The field is the name of a number in the ledger; of a list (a limit's discrepancies, theory or
    measurement along its knob) ``first`` or ``last`` behind the field chooses one.

    Raises:
        ValueError: for a chapter, claim or field that is not there, or is no single number.
    """
    if len(parts := words.split()) < 3:
        raise ValueError(f"say chapter, claim and field, not '{words}'")
    chapter, claim, field, *rest = parts
    (ledger,) = _chosen(ledgers, chapter)
    entries = {entry["id"]: entry for entry in ledger.claims}
    if claim not in entries:
        raise ValueError(f"'{chapter}' has no claim '{claim}'; it has {', '.join(entries)}")
    value = entries[claim].get(field)
    if isinstance(value, list) and rest and rest[0] in _ENDS:
        value = value[_ENDS[rest.pop(0)]]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"'{field}' of '{claim}' in '{chapter}' is no number: {value!r}")
    if rest not in ([], ["%"]):
        raise ValueError("after chapter, claim and field only 'first', 'last' and '%' may stand")
    return f"{100 * value:.2g} %" if rest else f"{value:.3g}"


class _LedgerRole(SphinxRole):
    """A role whose text is worked out from the ledgers."""

    def __init__(self, function: Callable[[list[Ledger], Mapping[str, Any], str], str]) -> None:
        self.function = function

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number as text, or a warning that says what is not there."""
        root = Path(self.env.srcdir)
        _depend_on_ledgers(self.env, root)
        try:
            return [nodes.Text(self.function(_ledgers(root), load_record(root), self.text))], []
        except ValueError as error:
            message = self.inliner.reporter.warning(f"{self.name}: {error}", line=self.lineno)
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]


class Verdicts(_RootDirective):
    """The claims and limits of one chapter, a plain sentence each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        self.depend_on_ledgers()
        try:
            (ledger,) = _chosen(_ledgers(self.root), self.arguments[0])
        except ValueError as error:
            raise self.error(str(error)) from None
        items = nodes.bullet_list(classes=["lm-verdict-list"])
        for entry in ledger.claims:
            if entry["kind"] not in ("claim", "limit"):
                continue
            said = nodes.paragraph()
            said += nodes.strong(text=f"{SYMBOL[entry['verdict']]} {entry['verdict']}: ")
            said += nodes.Text(f"{entry['statement']} ({claim_words(entry)})")
            items += nodes.list_item("", said)
        return [items]


def _facts(root: Path, ledger: Ledger) -> str:
    count = totals([ledger])
    sentence = (
        f"{count['claims_hold']} of {count['claims']} claims hold, "
        f"{count['limits_met']} of {count['limits']} limits break as predicted."
    )
    times = load_record(root).get("times", {})
    seconds = times.get("cpu_seconds", {}).get(ledger.chapter)
    if seconds is not None:
        versions, date = times["versions"], times["dates"][ledger.chapter]
        sentence += (
            f" Runs in {seconds:.0f} seconds on one CPU core. Last verified {date} with "
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
    app.add_directive("verdicts", Verdicts)
    app.add_role("tally", _LedgerRole(tally))
    app.add_role("ledger", _LedgerRole(ledger_number))
    app.connect("doctree-read", add_chapter_facts)
    app.connect("doctree-resolved", drop_repeated_ids)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
