"""Sphinx extension: numbers and verdicts of the ledgers in the text of any page.

* ``{verdicts} CHAPTER``: the claims and limits of one chapter as a list of plain sentences;
* ``{tally}`WHAT``` and ``{tally}`WHAT of PILLAR```: how many claims, limits, ... there are;
* ``{ledger}`CHAPTER CLAIM FIELD```: one number of a ledger, so that no page repeats it by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from book_ledgers import LedgerDirective, book_ledgers, depend_on_ledgers
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from learnmech.compare.ledger import Ledger
from learnmech.compare.record import held_often, load_record
from learnmech.compare.scorecard import SYMBOL, claim_words, totals

_REPEATED = {"exercise-content", "solution-content", "proof-content"}
_ENDS = {"first": 0, "last": -1}


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


def verdict_words(ledger: Ledger) -> str:
    """Return how many claims and limits of one chapter were met, in words."""
    count = totals([ledger])
    return (
        f"{count['claims_hold']} of {count['claims']} claims hold, "
        f"{count['limits_met']} of {count['limits']} limits break as predicted"
    )


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
        depend_on_ledgers(self.env, root)
        try:
            number = self.function(book_ledgers(root), load_record(root), self.text)
            return [nodes.Text(number)], []
        except ValueError as error:
            message = self.inliner.reporter.warning(f"{self.name}: {error}", line=self.lineno)
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]


class Verdicts(LedgerDirective):
    """The claims and limits of one chapter, a plain sentence each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        try:
            (ledger,) = _chosen(self.ledgers(), self.arguments[0])
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


def drop_repeated_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Drop the ids that sphinx-exercise gives alike to the inside of every exercise."""
    for section in doctree.findall(nodes.section):
        kept = [name for name in section["ids"] if name not in _REPEATED]
        if len(kept) < len(section["ids"]):
            section["ids"] = kept


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("verdicts", Verdicts)
    app.add_role("tally", _LedgerRole(tally))
    app.add_role("ledger", _LedgerRole(ledger_number))
    app.connect("doctree-resolved", drop_repeated_ids)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
