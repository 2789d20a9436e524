"""Write the committed file of CPU times or of seed robustness: ``record.py times|robustness``.

``times`` runs every chapter once and stores its CPU seconds (user and system, kernel start
included). ``robustness`` runs every chapter with the seed offsets of ``tools/seed_offsets.txt``
and stores in how many of them each claim and limit held. Exit code 1 if a verdict failed.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from learnmech.compare.ledger import Ledger, load_ledger, unmoved
from learnmech.compare.notebooks import ChapterFailed, check, for_each, run_seconds
from learnmech.compare.pairs import find_chapters
from learnmech.compare.record import record_path, robustness_table, save_section

ROOT = Path(__file__).resolve().parents[1]
_OFFSETS = ROOT / "tools" / "seed_offsets.txt"
_AT_A_TIME = 2


def read_offsets(path: Path) -> list[int]:
    """Return the offsets of a file, one a line; lines that begin with # are words."""
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    return [int(line) for line in lines if line and not line.startswith("#")]


def times() -> int:
    """Measure and store the CPU seconds of every chapter."""
    seconds = {}
    for files in find_chapters(ROOT):
        seconds[files.slug] = round(run_seconds(files), 1)
        print(f"{files.slug}: {seconds[files.slug]} CPU seconds")
    save_section(ROOT, "times", {"cpu_seconds": seconds})
    return 0


def robustness() -> int:
    """Run every chapter with other seeds and store in how many sets each claim held."""
    offsets = read_offsets(_OFFSETS)
    claims, complaints = {}, []
    for files in find_chapters(ROOT):
        results = for_each(offsets, partial(check, files), jobs=_AT_A_TIME)
        for result in results:
            if isinstance(result, ChapterFailed):
                raise result
        ledgers = [result for result in results if isinstance(result, Ledger)]
        claims[files.slug] = robustness_table(ledgers)
        committed = load_ledger(files.ledger)
        complaints += [line for ledger in ledgers for line in unmoved(committed, ledger)]
        for name, row in claims[files.slug].items():
            print(
                f"{files.slug}: {name}: held in {row['held']} of {row['of']}, "
                f"largest share of its room {row['largest_share']:.2f}"
            )
    save_section(ROOT, "robustness", {"offsets": offsets, "claims": claims})
    for line in sorted(set(complaints)):
        print(f"fails: {line}")
    rows = [row for table in claims.values() for row in table.values()]
    return int(bool(complaints) or any(row["held"] < row["of"] for row in rows))


def main(arguments: list[str]) -> int:
    """Run the section named on the command line."""
    sections = {"times": times, "robustness": robustness}
    if len(arguments) != 1 or arguments[0] not in sections:
        print("record.py: say what to record: times or robustness", file=sys.stderr)
        return 2
    try:
        status = sections[arguments[0]]()
    except ChapterFailed as error:
        print(f"record.py: {error}", file=sys.stderr)
        return 2
    print(f"wrote {record_path(ROOT).relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
