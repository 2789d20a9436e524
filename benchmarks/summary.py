"""Write ``RESULTS.md``, the table of all benchmarks, from ``results.json``, and print it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
TABLE = HERE / "RESULTS.md"

_HEAD = """# Benchmarks

The same work done by learnmech and by a peer, in turns within one run, on one thread: CPU seconds,
medians over the pairs. The ratio is the peer's time over ours, so more than one is faster; a
target is the least it has to be, or the most an error may be. Ratios travel between machines,
seconds do not. `make bench` measures all of it again and writes this page.

"""


def facts_in_words(facts: Mapping[str, float | int]) -> str:
    """Say the facts of a run: ``{"error": 1e-9, "products": 14}`` is "error 1e-09, products 14"."""
    return ", ".join(
        f"{name.replace('_', ' ')} {number:.2g}"
        if isinstance(number, float)
        else f"{name.replace('_', ' ')} {number}"
        for name, number in facts.items()
    )


def row_in_words(row: Mapping[str, Any]) -> tuple[str, str, str, str, str, str]:
    """Return work, ours, peer, ratio or value, target, and whether the target is met."""
    met = "yes" if row["met"] else "**no**"
    if "value" in row:
        return row["work"], "", "", f"{row['value']:.2g}", f"at most {row['at_most']:g}", met

    def side(seconds: float, facts: Mapping[str, float | int]) -> str:
        words = facts_in_words(facts)
        return f"{seconds:.2g} s" + (f"; {words}" if words else "")

    untargeted = row["at_least"] is None
    return (
        row["work"],
        side(row["ours_seconds"], row["ours"]),
        f"{row['peer']}: {side(row['peer_seconds'], row['peer_facts'])}",
        f"{row['times_faster']:.3g} ×",
        "" if untargeted else f"at least {row['at_least']:.3g} ×",
        "" if untargeted else met,
    )


def table(results: Mapping[str, Any]) -> str:
    """Return the page's markdown."""
    parts = [_HEAD]
    for name, measured in results.items():
        versions = ", ".join(f"{key} {number}" for key, number in measured["versions"].items())
        parts.append(f"## {name.replace('_', ' ')}\n\n")
        parts.append("| work | learnmech | peer | measured | target | met |\n")
        parts.append("|---|---|---|---|---|---|\n")
        parts += ["| " + " | ".join(row_in_words(row)) + " |\n" for row in measured["rows"]]
        parts.append(f"\nMeasured {measured['date']}, {measured['processor']}; {versions}.\n\n")
    return "".join(parts).rstrip() + "\n"


def main() -> None:
    """Write the page and print it."""
    text = table(json.loads(RESULTS.read_text("utf-8")))
    TABLE.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
