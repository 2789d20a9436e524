"""Running chapters: ``learnmech run`` and ``learnmech check``."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from learnmech.commands.common import (
    ERROR,
    VERDICT_FAILS,
    book_root,
    chosen_chapters,
    console,
    stop,
)
from learnmech.compare.ledger import Ledger, load_ledger, other_claims, unmoved
from learnmech.compare.record import share_used
from learnmech.compare.reproducibility import FULL, LAPTOP, SCALES
from learnmech.compare.scorecard import claim_words

if TYPE_CHECKING:
    from learnmech.compare.notebooks import FullScale
    from learnmech.compare.pairs import ChapterFiles

__all__ = ["check", "run"]

T = TypeVar("T")


@contextmanager
def _progress(chapters: Sequence[ChapterFiles]) -> Iterator[Callable[[str], Any]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("cell {task.completed:.0f} of {task.total:.0f}"),
        TimeElapsedColumn(),
    )
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as bars:
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
        raise stop("interrupted; what was running wrote nothing") from None
    return list(zip(chapters, results, strict=True))


@click.command()
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
    root = book_root()
    chosen = chosen_chapters(root, chapters)
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
        raise click.exceptions.Exit(ERROR)


@click.command()
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
        raise stop("say which other seeds, such as --seed-offset 7, or --scale full")
    if full is None and workers:
        raise stop("--workers is for --scale full; at laptop scale one process computes all")
    root = book_root()
    chosen = chosen_chapters(root, chapters)
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
        raise click.exceptions.Exit(ERROR)
    if fails:
        raise click.exceptions.Exit(VERDICT_FAILS)


def _full_scale(workers: str, jobs: int) -> FullScale:
    from learnmech.compare.notebooks import FullScale  # noqa: PLC0415 - needs the extra
    from learnmech.practice.sweeps.pools import pool_for  # noqa: PLC0415 - imports PyTorch

    try:
        pool_for(int(workers) if workers.removeprefix("-").isdecimal() else workers or 1)
    except ValueError as error:
        raise stop(str(error)) from None
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
    console().print(table)
