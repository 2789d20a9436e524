"""Ledgers in words and tables: totals, rows, and the verdicts of a chapter as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from learnmech.compare.bibliography import Source
from learnmech.compare.ledger import BREAKS, FAILS, HOLDS, OBSERVED, Ledger

__all__ = [
    "HEADLINE",
    "SYMBOL",
    "claim_words",
    "ledger_table_html",
    "number_words",
    "scorecard_rows",
    "sources_html",
    "totals",
    "totals_words",
]

HEADLINE = ("setting", "initial state")
"""What a prediction may be fed to count in the headline."""

SYMBOL = {HOLDS: "✓", BREAKS: "◆", FAILS: "✗", OBSERVED: "○"}
"""What stands before a verdict in tables, so that no table relies on colour alone."""


def totals(ledgers: Sequence[Ledger]) -> dict[str, int]:
    """Count claims that hold, limits that are met, checks and observations, and failures.

    ``headline`` counts the claims that hold and were fed by the setting or the initial state
    alone, with no fitted parameter.
    """
    entries = [entry for ledger in ledgers for entry in ledger.claims]
    claims = [e for e in entries if e["kind"] == "claim"]
    return {
        "chapters": len(ledgers),
        "claims": len(claims),
        "claims_hold": sum(e["verdict"] == HOLDS for e in claims),
        "headline": sum(
            e["verdict"] == HOLDS and e["fed"] in HEADLINE and e["fitted_parameters"] == 0
            for e in claims
        ),
        "limits": sum(e["kind"] == "limit" for e in entries),
        "limits_met": sum(e["verdict"] == BREAKS for e in entries),
        "checks": sum(e["kind"] == "check" for e in entries),
        "observations": sum(e["kind"] == "observation" for e in entries),
        "fails": sum(e["verdict"] == FAILS for e in entries),
    }


def totals_words(ledgers: Sequence[Ledger]) -> str:
    """Return the totals as one sentence."""
    count = totals(ledgers)
    return (
        f"{count['claims_hold']} of {count['claims']} claims hold, {count['headline']} of them "
        "predicted from the setting or the initial state with no fitted parameter; "
        f"{count['limits_met']} of {count['limits']} limits break as predicted; "
        f"{_plural(count['checks'], 'check')} and {_plural(count['observations'], 'observation')} "
        "counted apart."
    )


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def scorecard_rows(ledgers: Sequence[Ledger]) -> list[dict[str, Any]]:
    """Return every entry of every ledger with its chapter and pillar."""
    return [
        {"chapter": ledger.chapter, "pillar": ledger.pillar, **entry}
        for ledger in ledgers
        for entry in ledger.claims
    ]


def number_words(value: Any) -> str:
    """Return a ledger's number for a table: three digits, lists with commas, else ``curve``."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(number_words(item) for item in value)
    return "curve"


def claim_words(entry: Mapping[str, Any]) -> str:
    """Say in a few words how far an entry is from its edge."""
    if entry["kind"] == "observation":
        low, high = entry["interval"]
        return f"in [{number_words(low)}, {number_words(high)}]"
    if entry["kind"] == "check":
        return f"identity, to {entry['tolerance']:.2g}"
    sign = "≤" if entry["kind"] == "claim" else ">"
    met = entry["verdict"] != FAILS
    relation = sign if met else {"≤": ">", ">": "≤"}[sign]
    return f"{number_words(entry['discrepancy'])} {relation} {entry['tolerance']:.2g}"


def sources_html(entry: Mapping[str, Any], sources: Mapping[str, Source]) -> str:
    """Return an entry's sources as links, by author and year."""
    links = []
    for key in entry["sources"]:
        source = sources[key]
        title = escape(source.title, quote=True)
        label = escape(source.label)
        links.append(
            f'<a href="{escape(source.url, quote=True)}" title="{title}">{label}</a>'
            if source.url
            else label
        )
    return ", ".join(links)


def _statement_html(entry: Mapping[str, Any], sources: Mapping[str, Source]) -> str:
    parts = [escape(entry["statement"])]
    if entry["technical_name"]:
        parts.append(f"<em>({escape(entry['technical_name'])})</em>")
    cited = sources_html(entry, sources)
    if cited:
        parts.append(f"<small>{cited}</small>")
    because = escape(entry["because"])
    word = {"claim": "Why this tolerance", "limit": "Why this bound"}.get(entry["kind"], "Why")
    parts.append(f"<details><summary>{word}</summary>{because}</details>")
    return " ".join(parts)


def _cells(entry: Mapping[str, Any], sources: Mapping[str, Source]) -> str:
    verdict = entry["verdict"]
    kind = entry["kind"]
    fed = f"<br><small>{kind}, fed {escape(entry['fed'])}</small>" if "fed" in entry else ""
    plain = f"<br><small>{kind}</small>" if not fed else ""
    return (
        f'<td><span class="lm-{verdict.split()[0]}">{SYMBOL[verdict]} {escape(verdict)}</span>'
        f"{fed}{plain}</td>"
        f"<td>{_statement_html(entry, sources)}</td>"
        f"<td>{number_words(entry.get('theory'))}</td>"
        f"<td>{number_words(entry.get('measured'))}</td>"
        f"<td>{escape(claim_words(entry))}"
        f"<br><small>{escape(entry.get('measure', ''))}</small></td>"
    )


_HEAD = (
    "<thead><tr><th scope='col'>Verdict</th><th scope='col'>What is said</th>"
    "<th scope='col'>Theory</th><th scope='col'>Measured</th>"
    "<th scope='col'>Discrepancy against tolerance or bound</th></tr></thead>"
)


def _table(caption: str, rows: Sequence[str]) -> str:
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        '<div class="lm-verdicts" tabindex="0" role="region" '
        f'aria-label="{escape(caption, quote=True)}">\n<table>\n'
        f"<caption>{escape(caption)}</caption>\n{_HEAD}\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def ledger_table_html(ledger: Ledger, sources: Mapping[str, Source]) -> str:
    """Return a chapter's verdicts as an HTML table with the source of each claim."""
    rows = [_cells(entry, sources) for entry in ledger.claims]
    return _table(f"Verdicts: {ledger.title}", rows)
