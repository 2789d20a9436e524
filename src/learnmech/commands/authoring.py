"""Writing and teaching: ``learnmech new``, ``learnmech seal`` and ``learnmech editions``."""

from __future__ import annotations

from pathlib import Path

import click

from learnmech.commands.common import book_root, chosen_chapters, stop
from learnmech.sentences import candidates

__all__ = ["editions", "new", "seal"]


@click.command()
@click.argument("where", metavar="PILLAR/CHAPTER")
@click.option("--title", required=True, help="The chapter's title, one line.")
def new(where: str, title: str) -> None:
    """Write a new chapter, whole and small, to be replaced.

    It runs as it is, and is listed in the table of contents and on its pillar's page. All of it is
    written or nothing.
    """
    root = book_root()
    from learnmech.compare.skeleton import SkeletonError, new_chapter  # noqa: PLC0415

    try:
        written = new_chapter(root, where, title)
    except SkeletonError as error:
        raise stop(str(error)) from None
    slug = written[0].stem
    click.echo(f"{slug}: wrote {', '.join(str(path.relative_to(root)) for path in written)}")
    click.echo(f"Next: learnmech seal {slug} && learnmech run {slug}")


@click.command()
@click.argument("chapters", nargs=-1)
def seal(chapters: tuple[str, ...]) -> None:
    """Lock the answers of exercises into keys that can be shipped.

    A reader's answer is checked against these keys. Answers are worked out from the exercise cells
    of the texts, without running the chapters. What has not changed keeps its salt; nothing is
    written if any exercise is not whole.
    """
    root = book_root()
    chosen = chosen_chapters(root, chapters)
    from learnmech.teaching.exercises import MalformedExercise  # noqa: PLC0415 - needs the extra
    from learnmech.teaching.sealing import seal_chapters  # noqa: PLC0415

    try:
        results = seal_chapters(root, chosen)
    except MalformedExercise as error:
        raise stop(str(error)) from None
    for sealed in results:
        click.echo(sealed.summary)


@click.command()
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
    root = book_root()
    chosen_chapters(root, ())
    from learnmech.teaching.building import BuildFailed, write_editions  # noqa: PLC0415
    from learnmech.teaching.editions import EDITIONS  # noqa: PLC0415 - needs the extra
    from learnmech.teaching.exercises import MalformedExercise  # noqa: PLC0415

    if unknown := [name for name in names if name not in EDITIONS]:
        raise stop(f"no edition is called '{unknown[0]}'; {candidates(unknown[0], EDITIONS)}")
    try:
        written = write_editions(
            root,
            target or root / "_build" / "editions",
            names or tuple(EDITIONS),
            html=not no_html,
            tell=lambda line: click.echo(line, err=True),
        )
    except (BuildFailed, MalformedExercise) as error:
        raise stop(f"{error}; no edition was written") from None
    for folder in written:
        click.echo(f"{folder.name}: {folder}")
