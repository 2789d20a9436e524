"""Write the committed file of measured facts: ``record.py times|robustness [CHAPTER ...]``.

``times`` runs every chapter once and stores its CPU seconds (user and system, kernel start
included). ``robustness`` runs every chapter, or those that are named, with the seed offsets of
``tools/seed_offsets.txt`` and stores in how many of them each claim and limit held, chapter by
chapter, so that an interrupted run keeps what it has measured. Exit code 1 if a claim or limit held
in fewer than 19 of 20 sets, or did not move with its seeds; 2 for an error.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from learnmech.compare.ledger import Ledger, load_ledger, unmoved
from learnmech.compare.notebooks import ChapterFailed, check, for_each, run_seconds
from learnmech.compare.pairs import ChapterFiles, find_chapters
from learnmech.compare.record import held_often, record_path, robustness_table, save_chapter

ROOT = Path(__file__).resolve().parents[1]
_OFFSETS = ROOT / "tools" / "seed_offsets.txt"
_AT_A_TIME = 2


def read_offsets(path: Path) -> list[int]:
    """Return the offsets of a file, one a line; lines that begin with # are words."""
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    return [int(line) for line in lines if line and not line.startswith("#")]


def chosen_chapters(names: list[str]) -> list[ChapterFiles]:
    """Return the chapters that are named, all of them if none is."""
    chapters = find_chapters(ROOT)
    known = [files.slug for files in chapters]
    if unknown := sorted(set(names) - set(known)):
        raise ChapterFailed(
            f"there is no chapter '{unknown[0]}'; the chapters are {', '.join(known)}"
        )
    return [files for files in chapters if files.slug in names or not names]


def times(names: list[str]) -> int:
    """Measure and store the CPU seconds of the chapters."""
    for files in chosen_chapters(names):
        seconds = round(run_seconds(files), 1)
        print(f"{files.slug}: {seconds} CPU seconds", flush=True)
        save_chapter(ROOT, "times", "cpu_seconds", files.slug, seconds)
    return 0


def robustness(names: list[str]) -> int:
    """Run the chapters with other seeds and store in how many sets each claim held."""
    offsets = read_offsets(_OFFSETS)
    complaints: list[str] = []
    for files in chosen_chapters(names):
        results = for_each(offsets, partial(check, files), jobs=_AT_A_TIME)
        for result in results:
            if isinstance(result, ChapterFailed):
                raise result
        ledgers = [result for result in results if isinstance(result, Ledger)]
        table = robustness_table(ledgers)
        save_chapter(ROOT, "robustness", "claims", files.slug, table, offsets=offsets)
        committed = load_ledger(files.ledger)
        complaints += [line for ledger in ledgers for line in unmoved(committed, ledger)]
        for name, row in table.items():
            line = (
                f"{files.slug}: {name}: held in {row['held']} of {row['of']}, "
                f"largest share of its room {row['largest_share']:.2f}"
            )
            print(line, flush=True)
            complaints += [] if held_often(row) else [line]
    for line in sorted(set(complaints)):
        print(f"fails: {line}")
    return int(bool(complaints))


def main(arguments: list[str]) -> int:
    """Record the section named on the command line."""
    sections = {"times": times, "robustness": robustness}
    if not arguments or arguments[0] not in sections:
        print("record.py: say what to record: times or robustness", file=sys.stderr)
        return 2
    try:
        status = sections[arguments[0]](arguments[1:])
    except ChapterFailed as error:
        print(f"record.py: {error}", file=sys.stderr)
        return 2
    print(f"wrote {record_path(ROOT).relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
