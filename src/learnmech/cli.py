"""The command line: ``learnmech list | run | check | scorecard | seal | editions | new``.

Exit codes: 0 all is well, 1 a verdict fails, 2 an error or an unknown chapter.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from learnmech.compare.ledger import (
    FAILS,
    Ledger,
    load_ledger,
    load_ledgers,
    other_claims,
    unmoved,
)
from learnmech.compare.record import load_record, share_used
from learnmech.compare.repository import load_repository
from learnmech.compare.reproducibility import FULL, LAPTOP, SCALES, find_root
from learnmech.compare.scorecard import (
    claim_words,
    number_words,
    scorecard_rows,
    totals_words,
)
from learnmech.names import candidates

if TYPE_CHECKING:
    from learnmech.compare.notebooks import FullScale
    from learnmech.compare.pairs import ChapterFiles

__all__ = ["main"]

_VERDICT_FAILS = 1
_ERROR = 2
_COLUMNS = {
    "verdict": 10, "kind, fed": 14, "statement, reason": None, "theory": 12, "measured": 12,
    "discrepancy": 16,
}  # fmt: skip

T = TypeVar("T")


def _stop(sentence: str) -> click.exceptions.Exit:
    click.echo(f"learnmech: {sentence}", err=True)
    return click.exceptions.Exit(_ERROR)


def _root() -> Path:
    root = find_root()
    if root is None:
        raise _stop(
            "no book here; change into a checkout of Learning Mechanics, Measured (a folder with "
            "_toc.yml and notebooks/) and try again"
        )
    return root


def _console() -> Console:
    """Return a console as wide as the terminal, or wide enough for a file."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def _chapters(root: Path, names: Sequence[str]) -> list[ChapterFiles]:
    try:
        from learnmech.compare.pairs import find_chapters  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        raise _stop(
            f"running chapters needs the book's packages ({error.name} is missing); install them "
            "with: pip install -c constraints.txt -e '.[book]'"
        ) from None
    try:
        load_repository(root)
    except ValueError as error:
        raise _stop(str(error)) from None
    found = {files.slug: files for files in find_chapters(root)}
    if not names:
        return list(found.values())
    chosen = []
    for name in names:
        if name not in found:
            stem = Path(name).stem  # what a shell completes is the path of the text
            raise _stop(f"no chapter is called '{name}'; {candidates(stem, found)}")
        chosen.append(found[name])
    return chosen


class _Commands(click.Group):
    """A group that ends an interrupt as an error; click would exit with 1, a failing verdict."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _stop("interrupted") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="learnmech")
def main() -> None:
    """Learning Mechanics, Measured: run the book's chapters and read their verdicts."""


@main.command("list")
def list_chapters() -> None:
    """List chapters with their pillar, verdicts and CPU seconds."""
    root = _root()
    seconds = load_record(root).get("times", {}).get("cpu_seconds", {})
    table = Table(box=None, header_style="bold")
    for column, justify in (("chapter", "left"), ("pillar", "left"), ("claims", "right"),
                            ("limits", "right"), ("CPU seconds", "right")):  # fmt: skip
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for files in _chapters(root, ()):
        ledger = load_ledger(files.ledger) if files.ledger.is_file() else None
        counts = [len(ledger.of_kind(k)) if ledger else "-" for k in ("claim", "limit")]
        took = seconds.get(files.slug)
        time = f"{took:.0f}" if took is not None else "-"
        table.add_row(files.slug, files.pillar, *map(str, counts), time)
    _console().print(table)


@contextmanager
def _progress(chapters: Sequence[ChapterFiles]) -> Iterator[Callable[[str], Any]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("cell {task.completed:.0f} of {task.total:.0f}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {files.slug: bars.add_task(files.slug, total=1) for files in chapters}

        def reporter(slug: str) -> Callable[[int, int], None]:
            return lambda begun, total: bars.update(tasks[slug], completed=begun + 1, total=total)

        yield reporter


def _for_each(
    chapters: Sequence[ChapterFiles],
    jobs: int,
    work: Callable[[ChapterFiles, Any], Awaitable[T]],
) -> list[tuple[ChapterFiles, T | Exception]]:
    """Do the work for every chapter, ``jobs`` at a time; failures are returned, not raised."""
    from learnmech.compare.notebooks import for_each  # noqa: PLC0415 - needs the extra

    try:
        with _progress(chapters) as reporter:
            results = for_each(chapters, lambda f: work(f, reporter(f.slug)), jobs=jobs)
    except KeyboardInterrupt:
        raise _stop("interrupted; what was running wrote nothing") from None
    return list(zip(chapters, results, strict=True))


@main.command()
@click.argument("chapters", nargs=-1)
@click.option("--jobs", default=1, type=click.IntRange(1), help="Chapters to run at a time.")
@click.option("--overwrite", is_flag=True, help="Replace notebooks that were edited by hand.")
def run(chapters: tuple[str, ...], jobs: int, overwrite: bool) -> None:
    """Run chapters, all or those named, and write what they give.

    Texts become notebooks, ledgers and figure data; nothing is written for a chapter that fails or
    is interrupted. There is no --scale here: what a run writes is the book, and anybody's laptop
    must be able to write it again. A run at full scale is 'learnmech check --scale full', which
    writes nothing.
    """
    root = _root()
    chosen = _chapters(root, chapters)
    from learnmech.compare.notebooks import regenerate  # noqa: PLC0415 - needs the extra

    failed = False
    results = _for_each(
        chosen, jobs, lambda f, report: regenerate(f, progress=report, overwrite=overwrite)
    )
    for files, result in results:
        if isinstance(result, Exception):
            failed = True
            click.echo(f"learnmech: {result}", err=True)
        else:
            names = [str(path.relative_to(root)) for path in result]
            click.echo(f"{files.slug}: " + (f"wrote {', '.join(names)}" if names else "unchanged"))
    if failed:
        click.echo("learnmech: nothing was written for the chapters that failed", err=True)
        raise click.exceptions.Exit(_ERROR)


@main.command()
@click.argument("chapters", nargs=-1)
@click.option(
    "--seed-offset", type=click.IntRange(0), help="Which other seeds; 0 is the book's own."
)
@click.option("--scale", type=click.Choice(SCALES), default=LAPTOP, show_default=True,
              help="full: more widths, data and seeds, for a GPU or a cluster.")  # fmt: skip
@click.option("--workers", default="", metavar="WHERE",
              help="Where sweeps compute at full scale: a number of processes, dask, ray, or an "
              "address such as tcp://127.0.0.1:8786.")  # fmt: skip
@click.option("--jobs", default=1, type=click.IntRange(1), help="Chapters to run at a time.")
def check(
    chapters: tuple[str, ...], seed_offset: int | None, scale: str, workers: str, jobs: int
) -> None:
    """Run chapters with other seeds or at full scale; write nothing.

    Every verdict is printed with its margin, and a failing claim does not stop the run. This is
    how anybody tests that the claims are not tuned to their seeds, nor to the size of a laptop.
    """
    full = _full_scale(workers, jobs) if scale == FULL else None
    if full is None and not seed_offset:
        raise _stop("say which other seeds, such as --seed-offset 7, or --scale full")
    if full is None and workers:
        raise _stop("--workers is for --scale full; at laptop scale one process computes all")
    root = _root()
    chosen = _chapters(root, chapters)
    from learnmech.compare.notebooks import check as check_chapter  # noqa: PLC0415

    offset = seed_offset or 0
    results = _for_each(
        chosen, jobs, lambda f, report: check_chapter(f, offset, full=full, progress=report)
    )
    errors, fails = False, False
    for files, result in results:
        if isinstance(result, Exception):
            errors = True
            click.echo(f"learnmech: {result}", err=True)
            continue
        complaints = _complaints(files, result, full is not None)
        _print_margins(result, f"{scale} scale, seed offset {offset}")
        for line in complaints:
            click.echo(f"fails: {line}")
        fails = fails or bool(result.failed) or bool(complaints)
    if errors:
        raise click.exceptions.Exit(_ERROR)
    if fails:
        raise click.exceptions.Exit(_VERDICT_FAILS)


def _full_scale(workers: str, jobs: int) -> FullScale:
    from learnmech.compare.notebooks import FullScale  # noqa: PLC0415 - needs the extra
    from learnmech.practice.sweeps.pools import pool_for  # noqa: PLC0415 - imports PyTorch

    try:
        pool_for(int(workers) if workers.removeprefix("-").isdecimal() else workers or 1)
    except ValueError as error:
        raise _stop(str(error)) from None
    return FullScale(workers, threads=max(1, (os.cpu_count() or 1) // jobs))


def _complaints(files: ChapterFiles, ledger: Ledger, full: bool) -> list[str]:
    """List what is wrong with a ledger that its own verdicts do not say."""
    if not files.ledger.is_file():
        return []
    committed = load_ledger(files.ledger)
    return other_claims(committed, ledger) if full else unmoved(committed, ledger)


def _print_margins(ledger: Ledger, setting: str) -> None:
    table = Table(box=None, header_style="bold", title_justify="left",
                  title=f"{ledger.chapter}, {setting}")  # fmt: skip
    for column in ("verdict", "kind", "id", "discrepancy", "share of its room"):
        table.add_column(column, no_wrap=True)
    for entry in ledger.claims:
        share = share_used(entry)
        words = "" if share is None else f"{share:.2f}"
        table.add_row(entry["verdict"], entry["kind"], entry["id"], claim_words(entry), words)
    _console().print(table)


@main.command()
@click.argument("where", metavar="PILLAR/CHAPTER")
@click.option("--title", required=True, help="The chapter's title, one line.")
def new(where: str, title: str) -> None:
    """Write a new chapter, whole and small, to be replaced.

    It runs as it is, and is listed in the table of contents and on its pillar's page. All of it is
    written or nothing.
    """
    root = _root()
    from learnmech.compare.skeleton import SkeletonError, new_chapter  # noqa: PLC0415

    try:
        written = new_chapter(root, where, title)
    except SkeletonError as error:
        raise _stop(str(error)) from None
    slug = written[0].stem
    click.echo(f"{slug}: wrote {', '.join(str(path.relative_to(root)) for path in written)}")
    click.echo(f"Next: learnmech seal {slug} && learnmech run {slug}")


@main.command()
@click.argument("chapters", nargs=-1)
def seal(chapters: tuple[str, ...]) -> None:
    """Lock the answers of exercises into keys that can be shipped.

    A reader's answer is checked against these keys. Answers are worked out from the exercise cells
    of the texts, without running the chapters. What has not changed keeps its salt; nothing is
    written if any exercise is not whole.
    """
    root = _root()
    chosen = _chapters(root, chapters)
    from learnmech.teaching.exercises import MalformedExercise  # noqa: PLC0415 - needs the extra
    from learnmech.teaching.sealing import seal_chapters  # noqa: PLC0415

    try:
        results = seal_chapters(root, chosen)
    except MalformedExercise as error:
        raise _stop(str(error)) from None
    for sealed in results:
        click.echo(sealed.summary)


@main.command()
@click.argument("names", nargs=-1, metavar="[EDITION]...")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the editions; _build/editions by default.",
)
@click.option("--no-html", is_flag=True, help="Write notebooks and homework only.")
def editions(names: tuple[str, ...], target: Path | None, no_html: bool) -> None:
    """Write the editions for students, instructors and the public.

    All three, or those named. The students' has stubs and no solution anywhere; the instructors'
    has points, answers and common wrong answers, and its homework is a course folder for nbgrader.
    """
    root = _root()
    _chapters(root, ())
    from learnmech.teaching.building import BuildFailed, write_editions  # noqa: PLC0415
    from learnmech.teaching.editions import EDITIONS  # noqa: PLC0415 - needs the extra
    from learnmech.teaching.exercises import MalformedExercise  # noqa: PLC0415

    if unknown := [name for name in names if name not in EDITIONS]:
        raise _stop(f"no edition is called '{unknown[0]}'; there are: {', '.join(EDITIONS)}")
    try:
        written = write_editions(
            root,
            target or root / "_build" / "editions",
            names or tuple(EDITIONS),
            html=not no_html,
            tell=lambda line: click.echo(line, err=True),
        )
    except (BuildFailed, MalformedExercise) as error:
        raise _stop(f"{error}; no edition was written") from None
    for folder in written:
        click.echo(f"{folder.name}: {folder}")


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


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print all entries as JSON.")
def scorecard(as_json: bool) -> None:
    """Print the verdicts of all chapters from their ledgers."""
    ledgers = load_ledgers(_root() / "book" / "_ledger")
    if as_json:
        click.echo(json.dumps(scorecard_rows(ledgers), indent=1, ensure_ascii=False))
    else:
        console = _console()
        for ledger in ledgers:
            table = Table(box=None, header_style="bold", title_justify="left", padding=(0, 1, 1, 0),
                          title=f"{ledger.title} ({ledger.pillar})")  # fmt: skip
            for column, width in _COLUMNS.items():
                table.add_column(column, overflow="fold", width=width, ratio=None if width else 1)
            for entry in ledger.claims:
                table.add_row(*_scorecard_row(entry))
            console.print(table)
        console.print(totals_words(ledgers))
    if any(entry["verdict"] == FAILS for ledger in ledgers for entry in ledger.claims):
        raise click.exceptions.Exit(_VERDICT_FAILS)


if __name__ == "__main__":
    main()
