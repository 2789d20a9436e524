"""The scorecard's table: every verdict of the book as a row of HTML, whole without a script.

``scorecard.js`` adds what a script can: columns that sort and rows that are chosen. It reads the
``data-`` attributes of rows and cells; a row's ``id``, ``<chapter>-<claim>``, is for citing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from claim_cells import claim_anchor

from learnmech.compare.bibliography import Source
from learnmech.compare.ledger import Ledger
from learnmech.compare.record import share_used
from learnmech.compare.scorecard import SYMBOL, claim_words, number_words, sources_html

COLUMNS = (
    "Chapter",
    "Verdict",
    "What is said",
    "Theory",
    "Measured",
    "Discrepancy against tolerance or bound",
    "Other seeds",
)
_WHY = {"claim": "Why this tolerance", "limit": "Why this bound"}


def _cell(label: str, content: str, order: Any = None) -> str:
    key = "" if order is None else f' data-order="{escape(str(order), quote=True)}"'
    return f'<td role="cell" data-label="{escape(label, quote=True)}"{key}>{content}</td>'


def bar_html(entry: Mapping[str, Any]) -> str:
    """Return a claim's or a limit's discrepancy as a bar with its words, empty for other kinds.

    The whole bar is a claim's tolerance, and the filled part, from the left, what the discrepancy
    uses of it. For a limit the whole bar is the discrepancy, the mark is the bound, and the hatched
    part, to the right of the mark, is by how much the bound is exceeded.
    """
    if entry["kind"] == "claim":
        share = entry["discrepancy"] / entry["tolerance"]
        words = f"{100 * share:.0f} % of its tolerance"
    elif entry["kind"] == "limit":
        share = entry["tolerance"] / entry["discrepancy"]
        words = f"{1 / share:.3g} times its bound"
        if entry.get("failure_tolerance"):
            used = entry["failure_discrepancy"] / entry["failure_tolerance"]
            words += f"; its size predicted, {100 * used:.0f} % of that tolerance"
    else:
        return ""
    return (
        f'<span class="lm-bar lm-bar-{entry["kind"]}" aria-hidden="true">'
        f'<span style="width: {100 * min(share, 1):.1f}%"></span></span><small>{words}</small>'
    )


def _statement(entry: Mapping[str, Any], sources: Mapping[str, Source], page: str) -> str:
    name = f" <em>({escape(entry['technical_name'])})</em>" if entry["technical_name"] else ""
    why = _WHY.get(entry["kind"], "Why")
    cited = sources_html(entry, sources)
    address = escape(f"{page}#{claim_anchor(entry['id'])}", quote=True)
    cell = f'<a href="{address}">The cell that judges it</a>'
    return (
        f"{escape(entry['statement'])}{name} "
        f"<details><summary>{why}</summary>{escape(entry['because'])}</details> "
        f"<small>{cell}{'. Source: ' + cited if cited else ''}</small>"
    )


def _seeds(row: Mapping[str, Any] | None) -> tuple[str, float]:
    if row is None:
        return "<small>not tried</small>", -1.0
    words = (
        f"held in {row['held']} of {row['of']}<br>"
        f"<small>at most {row['largest_share']:.2f} of its room</small>"
    )
    return words, row["held"] / row["of"] - row["largest_share"] / 1000


def _row(
    ledger: Ledger,
    entry: Mapping[str, Any],
    sources: Mapping[str, Source],
    tried: Mapping[str, Any],
    page: str,
) -> str:
    name = f"{ledger.chapter}-{entry['id']}"
    pillar, verdict, kind = ledger.pillar.replace("-", " "), entry["verdict"], entry["kind"]
    fed = f", fed {escape(entry['fed'])}" if "fed" in entry else ""
    share = share_used(entry)
    seeds, often = _seeds(tried.get(entry["id"]))
    discrepancy = (
        f"{escape(claim_words(entry))} {bar_html(entry)}"
        f"<br><small>{escape(entry.get('measure', ''))}</small>"
    )
    cells = (
        f'<a href="{escape(page, quote=True)}">{escape(ledger.title)}</a> <small>{pillar}</small> '
        f'<a class="lm-row-link" href="#{name}" aria-label="Link to this row">#</a>',
        f'<span class="lm-{verdict.split()[0]}">{SYMBOL[verdict]} {escape(verdict)}</span>'
        f"<br><small>{kind}{fed}</small>",
        _statement(entry, sources, page),
        number_words(entry.get("theory")),
        number_words(entry.get("measured")),
        discrepancy,
        seeds,
    )
    orders = (
        None,
        f"{verdict} {kind}",
        entry["statement"].lower(),
        _first(entry.get("theory")),
        _first(entry.get("measured")),
        -1 if share is None else share,
        often,
    )
    body = "".join(map(_cell, COLUMNS, cells, orders))
    return (
        f'<tr role="row" id="{name}" data-pillar="{pillar}" data-kind="{kind}" '
        f'data-verdict="{escape(verdict, quote=True)}" '
        f'data-fed="{escape(entry.get("fed", ""), quote=True)}">{body}</tr>'
    )


def _first(value: Any) -> float | str:
    """Return what a column of numbers is sorted by; what is no number comes last."""
    value = value[0] if isinstance(value, list) else value
    return value if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _choices(name: str, values: Sequence[str]) -> str:
    options = "".join(f"<option>{escape(value)}</option>" for value in dict.fromkeys(values))
    return (
        f'<div><label for="lm-choose-{name}">{name.capitalize()}</label>'
        f'<select id="lm-choose-{name}" name="{name}">'
        f'<option value="">all</option>{options}</select></div>'
    )


def scorecard_html(
    ledgers: Sequence[Ledger],
    sources: Mapping[str, Source],
    tried: Mapping[str, Mapping[str, Any]],
    pages: Mapping[str, str],
) -> str:
    """Return the verdicts of all chapters as one table, below the choices that a script offers.

    Args:
        ledgers: the book's ledgers.
        sources: the bibliography.
        tried: by chapter and claim, how often it held under other seeds.
        pages: the address of each chapter's page.
    """
    entries = [(ledger, entry) for ledger in ledgers for entry in ledger.claims]
    rows = "\n".join(
        _row(ledger, entry, sources, tried.get(ledger.chapter, {}), pages[ledger.chapter])
        for ledger, entry in entries
    )
    head = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in COLUMNS)
    choices = (
        _choices("pillar", [ledger.pillar.replace("-", " ") for ledger in ledgers])
        + _choices("kind", [entry["kind"] for _, entry in entries])
        + _choices("verdict", [entry["verdict"] for _, entry in entries])
        + _choices("fed", [entry["fed"] for _, entry in entries if "fed" in entry])
    )
    return (
        f'<form class="lm-choices" aria-label="Choose rows of the scorecard" hidden>{choices}'
        f'<output class="lm-shown">{len(entries)} of {len(entries)} shown</output></form>\n'
        '<div class="lm-verdicts lm-scorecard" tabindex="0" role="region" aria-label="Scorecard">\n'
        '<table role="table"><caption>Scorecard: every verdict of the book</caption>\n'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{rows}\n</tbody></table>\n</div>'
    )
