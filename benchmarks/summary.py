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


def race_in_words(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Return work, ratio, target, ours and peer of a race."""

    def side(seconds: float, facts: Mapping[str, float | int]) -> str:
        words = facts_in_words(facts)
        return f"{seconds:.2g} s" + (f"; {words}" if words else "")

    target = "" if row["at_least"] is None else f"at least {row['at_least']:.3g} ×"
    return (
        row["work"],
        f"{row['times_faster']:.3g} ×" + ("" if row["met"] else ", **missed**"),
        target,
        side(row["ours_seconds"], row["ours"]),
        f"{row['peer']}: {side(row['peer_seconds'], row['peer_facts'])}",
    )


def bound_in_words(row: Mapping[str, Any]) -> str:
    """Return a number and its bound as one line."""
    missed = "" if row["met"] else ", **missed**"
    return f"{row['work']}: {row['value']:.2g}, at most {row['at_most']:g}{missed}"


def table(results: Mapping[str, Any]) -> str:
    """Return the page's markdown: a table of races and a list of bounds for each script."""
    parts = [_HEAD]
    for name, measured in results.items():
        parts.append(f"## {name.replace('_', ' ').capitalize()}\n\n")
        races = [row for row in measured["rows"] if "value" not in row]
        bounds = [row for row in measured["rows"] if "value" in row]
        if races:
            parts.append("| work | times faster | target | learnmech | peer |\n")
            parts.append("|---|---|---|---|---|\n")
            parts += ["| " + " | ".join(race_in_words(row)) + " |\n" for row in races]
            parts.append("\n")
        parts += [f"- {bound_in_words(row)}\n" for row in bounds]
        versions = ", ".join(f"{key} {number}" for key, number in measured["versions"].items())
        gap = "\n" if bounds else ""
        parts.append(f"{gap}Measured {measured['date']}, {measured['processor']}; {versions}.\n\n")
    return "".join(parts).rstrip() + "\n"


def main() -> None:
    """Write the page and print it."""
    text = table(json.loads(RESULTS.read_text("utf-8")))
    TABLE.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
