"""A chapter's ledger: its claims, limits, checks and observations with their verdicts, as JSON.

The file is deterministic: fields in a fixed order, numbers to six significant digits, no times
and no names of machines. Two runs on one machine give the same bytes; on another machine the
numbers may differ in the last places, so ledgers are compared by :func:`differences`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "BREAKS",
    "FAILS",
    "HOLDS",
    "OBSERVED",
    "PILLARS",
    "Ledger",
    "differences",
    "load_ledger",
    "load_ledgers",
    "other_claims",
    "pillar_order",
    "rounded",
    "unmoved",
]

HOLDS = "holds"
BREAKS = "breaks as predicted"
FAILS = "fails"
OBSERVED = "observed"

PILLARS = (
    "solvable-settings",
    "tractable-limits",
    "simple-laws",
    "hyperparameters",
    "universal-behaviours",
)
"""The five pillars, in the order of the book."""

Entry = dict[str, Any]

_DIGITS = 6
_RELATIVE = 1e-5
_SHARE_OF_TOLERANCE = 0.05


def rounded(value: Any) -> Any:
    """Round every number inside a JSON-like value to six significant digits.

    Examples:
        >>> rounded({"eta": 0.30000000000000004, "modes": [1.0, 2 / 3]})
        {'eta': 0.3, 'modes': [1.0, 0.666667]}
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a ledger holds finite numbers only, got {value}")
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [rounded(item) for item in value]
    raise TypeError(f"a ledger cannot hold {type(value).__name__}")


@dataclass(frozen=True)
class Ledger:
    """The claims and verdicts of one chapter."""

    chapter: str
    pillar: str
    title: str
    claims: tuple[Entry, ...]

    def to_json(self) -> str:
        """Return the file's text, ending in a newline."""
        body = {
            "chapter": self.chapter,
            "pillar": self.pillar,
            "title": self.title,
            "claims": [rounded(entry) for entry in self.claims],
        }
        return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        """Return the entries of one kind: claim, limit, check or observation."""
        return tuple(entry for entry in self.claims if entry["kind"] == kind)

    @property
    def verdicts(self) -> dict[str, str]:
        """Return the verdict of every entry, in order, by name."""
        return {entry["id"]: entry["verdict"] for entry in self.claims}

    @property
    def failed(self) -> tuple[Entry, ...]:
        """Return the entries whose verdict is ``fails``."""
        return tuple(entry for entry in self.claims if entry["verdict"] == FAILS)


def load_ledger(path: Path) -> Ledger:
    """Read one ledger.

    Raises:
        ValueError: if the file is not a ledger; the sentence names the file.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return Ledger(body["chapter"], body["pillar"], body["title"], tuple(body["claims"]))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a ledger ({error!r}); regenerate it with 'learnmech run'"
        ) from None


def load_ledgers(folder: Path) -> list[Ledger]:
    """Read every ledger of a folder, in the order of the pillars and then of the file names."""
    ledgers = [load_ledger(path) for path in sorted(folder.glob("*.json"))]
    return sorted(ledgers, key=lambda ledger: pillar_order(ledger.pillar))


def pillar_order(pillar: str) -> int:
    """Return a pillar's place in the book; chapters of no pillar come last.

    Examples:
        >>> pillar_order("tractable-limits"), pillar_order("own")
        (1, 5)
    """
    return PILLARS.index(pillar) if pillar in PILLARS else len(PILLARS)


def _number_differs(old: float, new: float, slack: float) -> bool:
    return abs(new - old) > max(_RELATIVE * max(abs(old), abs(new)), slack)


def _entry_differences(old: Any, new: Any, slack: float, where: str) -> list[str]:
    if isinstance(old, bool) or isinstance(new, bool):
        return [] if old == new else [f"{where}: {old!r} became {new!r}"]
    if isinstance(old, int | float) and isinstance(new, int | float):
        return [f"{where}: {old} became {new}"] if _number_differs(old, new, slack) else []
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        return [
            line
            for key in old
            for line in _entry_differences(old[key], new[key], slack, f"{where}.{key}")
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for index, pair in enumerate(zip(old, new, strict=True))
            for line in _entry_differences(*pair, slack, f"{where}[{index}]")
        ]
    return [] if old == new else [f"{where}: {old!r} became {new!r}"]


def differences(old: Ledger, new: Ledger) -> list[str]:
    """List where two ledgers differ, a line each; empty if they agree.

    Words and verdicts must be equal. Numbers must agree to 1e-5, or, for an entry with a
    tolerance, to a twentieth of that tolerance times the size of the theory value: what is left
    of a chaotic run's rounding on another machine is far inside its claim's tolerance.
    """
    lines = []
    for field in ("chapter", "pillar", "title"):
        if getattr(old, field) != getattr(new, field):
            lines.append(f"{field}: {getattr(old, field)!r} became {getattr(new, field)!r}")
    before = {entry["id"]: entry for entry in old.claims}
    after = {entry["id"]: entry for entry in new.claims}
    lines += [f"{name} is gone" for name in before if name not in after]
    lines += [f"{name} is new" for name in after if name not in before]
    for name, entry in before.items():
        if name not in after:
            continue
        tolerance = entry.get("tolerance") or 0.0
        theory = entry.get("theory")
        size = max(1.0, abs(theory)) if isinstance(theory, int | float) else 1.0
        slack = _SHARE_OF_TOLERANCE * tolerance * size
        recomputed = json.loads(json.dumps(rounded(after[name])))
        lines += _entry_differences(entry, recomputed, slack, name)
    if not lines and [e["id"] for e in old.claims] != [e["id"] for e in new.claims]:
        lines.append("the entries stand in another order")
    return lines


def unmoved(committed: Ledger, other_seeds: Ledger) -> list[str]:
    """List the claims and limits whose relation to the seeds is not what they say.

    A claim about random things whose measurement is the same under other seeds does not test what
    it says; a claim that names no seeds but moves with them hides its randomness.
    """
    before = {entry["id"]: entry for entry in committed.claims}
    lines = []
    for entry in other_seeds.claims:
        old = before.get(entry["id"])
        if old is None or entry["kind"] not in ("claim", "limit"):
            continue
        new = json.loads(json.dumps(rounded(entry)))
        keys = ("measured", "discrepancy", "discrepancies")
        moved = any(
            bool(_entry_differences(old.get(key), new.get(key), 0.0, key))
            for key in keys
            if not isinstance(old.get(key), str)
        )
        if entry.get("seeds") and not moved:
            lines.append(f"{entry['id']}: names seeds, but nothing measured moves with them")
        elif not entry.get("seeds") and moved:
            lines.append(f"{entry['id']}: names no seeds, but its measurement moves with them")
    return lines


def other_claims(committed: Ledger, other_scale: Ledger) -> list[str]:
    """List the entries that only one of two ledgers has; a scale changes sizes, and no claim."""
    before = {entry["id"] for entry in committed.claims}
    after = {entry["id"] for entry in other_scale.claims}
    return [
        f"{name}: stands in the book, but not at this scale" for name in sorted(before - after)
    ] + [f"{name}: stands at this scale, but not in the book" for name in sorted(after - before)]
