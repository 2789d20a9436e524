"""Reading what was found: ``learnmech list`` and ``learnmech scorecard``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from learnmech.commands.common import VERDICT_FAILS, book_root, chosen_chapters, console
from learnmech.compare.ledger import FAILS, load_ledger, load_ledgers
from learnmech.compare.record import load_record
from learnmech.compare.scorecard import claim_words, number_words, scorecard_rows, totals_words

__all__ = ["list_chapters", "scorecard"]

_COLUMNS = {
    "verdict": 10, "kind, fed": 14, "statement, reason": None, "theory": 12, "measured": 12,
    "discrepancy": 16,
}  # fmt: skip


@click.command("list")
def list_chapters() -> None:
    """List chapters with their pillar, verdicts and CPU seconds."""
    root = book_root()
    seconds = load_record(root).get("times", {}).get("cpu_seconds", {})
    table = Table(box=None, header_style="bold")
    for column, justify in (("chapter", "left"), ("pillar", "left"), ("claims", "right"),
                            ("limits", "right"), ("CPU seconds", "right")):  # fmt: skip
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for files in chosen_chapters(root, ()):
        ledger = load_ledger(files.ledger) if files.ledger.is_file() else None
        counts = [len(ledger.of_kind(k)) if ledger else "-" for k in ("claim", "limit")]
        took = seconds.get(files.slug)
        time = f"{took:.0f}" if took is not None else "-"
        table.add_row(files.slug, files.pillar, *map(str, counts), time)
    console().print(table)


def _scorecard_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    word = {"claim": "Tolerance", "limit": "Bound"}.get(entry["kind"], "Why")
    return (
        entry["verdict"],
        ", ".join(entry[key] for key in ("kind", "fed") if key in entry),
        f"{escape(entry['statement'])}\n[dim]{word}: {escape(entry['because'])}[/dim]",
        number_words(entry.get("theory")),
        number_words(entry.get("measured")),
        claim_words(entry),
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all entries as JSON.")
def scorecard(as_json: bool) -> None:
    """Print the verdicts of all chapters from their ledgers."""
    ledgers = load_ledgers(book_root() / "book" / "_ledger")
    if as_json:
        click.echo(json.dumps(scorecard_rows(ledgers), indent=1, ensure_ascii=False))
    else:
        terminal = console()
        for ledger in ledgers:
            table = Table(box=None, header_style="bold", title_justify="left", padding=(0, 1, 1, 0),
                          title=f"{ledger.title} ({ledger.pillar})")  # fmt: skip
            for column, width in _COLUMNS.items():
                table.add_column(column, overflow="fold", width=width, ratio=None if width else 1)
            for entry in ledger.claims:
                table.add_row(*_scorecard_row(entry))
            terminal.print(table)
        terminal.print(totals_words(ledgers))
    if any(entry["verdict"] == FAILS for ledger in ledgers for entry in ledger.claims):
        raise click.exceptions.Exit(VERDICT_FAILS)
