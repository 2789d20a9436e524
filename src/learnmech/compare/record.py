"""The one committed file of measured facts about the book: times and seed robustness.

``book/_measured.json`` is written by ``make times`` and ``make robustness`` and read by pages::

    {"times": {"dates": {"<chapter>": "2026-01-01"}, "versions": {...},
               "cpu_seconds": {"<chapter>": 12.3}},
     "robustness": {"dates": {...}, "versions": {...}, "offsets": [...],
                    "claims": {"<chapter>": {"<claim>": {"held": 20, "of": 20,
                                                         "largest_share": 0.61}}}}}

All chapters of a section were measured with the same versions and offsets: a chapter measured with
others replaces the whole section.
"""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from learnmech.compare.ledger import FAILS, Ledger

__all__ = [
    "held_often",
    "load_record",
    "record_path",
    "robustness_table",
    "save_chapter",
    "share_used",
]

_VERSIONS = ("learnmech", "torch", "numpy", "scipy", "scikit-learn", "matplotlib")


def record_path(root: Path) -> Path:
    """Return the committed file of times and robustness."""
    return root / "book" / "_measured.json"


def load_record(root: Path) -> dict[str, Any]:
    """Read the record, empty if nothing was measured yet."""
    path = record_path(root)
    record: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return record


def save_chapter(
    root: Path, section: str, field: str, chapter: str, value: Any, **conditions: Any
) -> None:
    """Store what was measured of one chapter, with today's date.

    Args:
        root: folder of the book.
        section: ``times`` or ``robustness``.
        field: name of the table in that section.
        chapter: the chapter's slug.
        value: what was measured.
        conditions: what all chapters of the section have in common beside the versions; a section
            that was measured under other conditions is begun anew.
    """
    versions = {"python": platform.python_version()}
    versions |= {name: version(name).split("+")[0] for name in _VERSIONS}
    conditions = {"versions": versions, **conditions}
    record = load_record(root)
    old = record.get(section, {})
    same = all(old.get(name) == content for name, content in conditions.items())
    dates, table = (old.get("dates", {}), old.get(field, {})) if same else ({}, {})
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    record[section] = {
        **conditions,
        "dates": {**dates, chapter: today},
        field: {**table, chapter: value},
    }
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    part = record_path(root).with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(record_path(root))


def share_used(entry: Mapping[str, Any]) -> float | None:
    """Return which share of its room an entry uses: 1 or less holds.

    For a claim discrepancy / tolerance; for a limit bound / discrepancy, or the share of the
    failure's own tolerance if that is larger; None for checks and observations.
    """
    if entry["kind"] == "claim":
        return float(entry["discrepancy"] / entry["tolerance"])
    if entry["kind"] == "limit":
        shares = [entry["tolerance"] / entry["discrepancy"]]
        if entry.get("failure_tolerance"):
            shares.append(entry["failure_discrepancy"] / entry["failure_tolerance"])
        return float(max(shares))
    return None


def robustness_table(ledgers: Sequence[Ledger]) -> dict[str, dict[str, Any]]:
    """Count, over runs of one chapter with other seeds, how often each claim and limit held."""
    table: dict[str, dict[str, Any]] = {}
    for ledger in ledgers:
        for entry in ledger.claims:
            share = share_used(entry)
            if share is None:
                continue
            row = table.setdefault(entry["id"], {"held": 0, "of": 0, "largest_share": 0.0})
            row["of"] += 1
            row["held"] += entry["verdict"] != FAILS
            row["largest_share"] = round(max(row["largest_share"], share), 3)
    return table


def held_often(row: Mapping[str, Any]) -> bool:
    """Say whether a claim or limit held in at least 19 of 20 seed sets.

    Examples:
        >>> held_often({"held": 19, "of": 20}), held_often({"held": 9, "of": 10})
        (True, False)
    """
    return bool(20 * row["held"] >= 19 * row["of"])
