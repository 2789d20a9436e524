"""What the commands share: how one ends, the book they work on, the chapters that are meant."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from learnmech.compare.repository import load_repository
from learnmech.compare.reproducibility import find_root
from learnmech.sentences import candidates

if TYPE_CHECKING:
    from learnmech.compare.pairs import ChapterFiles

__all__ = ["ERROR", "VERDICT_FAILS", "book_root", "chosen_chapters", "console", "stop"]

VERDICT_FAILS = 1
ERROR = 2


def stop(sentence: str) -> click.exceptions.Exit:
    """Say why a command ends, and return what ends it."""
    click.echo(f"learnmech: {sentence}", err=True)
    return click.exceptions.Exit(ERROR)


def book_root() -> Path:
    """Return the checkout around the working folder, or end the command."""
    root = find_root()
    if root is None:
        raise stop(
            "no book here; change into a checkout of Learning Mechanics, Measured (a folder with "
            "_toc.yml and notebooks/) and try again"
        )
    return root


def console() -> Console:
    """Return a console as wide as the terminal, or wide enough for a file."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def chosen_chapters(root: Path, names: Sequence[str]) -> list[ChapterFiles]:
    """Return the chapters of these names, or all; an unknown name ends the command."""
    try:
        from learnmech.compare.pairs import find_chapters  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        raise stop(
            f"running chapters needs the book's packages ({error.name} is missing); install them "
            "with: pip install -c constraints.txt -e '.[book]'"
        ) from None
    try:
        load_repository(root)
    except ValueError as error:
        raise stop(str(error)) from None
    found = {files.slug: files for files in find_chapters(root)}
    if not names:
        return list(found.values())
    chosen = []
    for name in names:
        if name not in found:
            stem = Path(name).stem  # what a shell completes is the path of the text
            raise stop(f"no chapter is called '{name}'; {candidates(stem, found)}")
        chosen.append(found[name])
    return chosen
