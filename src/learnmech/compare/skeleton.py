"""A new chapter's skeleton: a whole small chapter that runs, and its places in the book.

The skeleton (``skeleton.md`` beside this module) has a prediction, two claims, a limit, a figure
and an exercise, so that there is something to run, check and look at before anything is written.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from learnmech.compare.ledger import PILLARS
from learnmech.sentences import candidates

__all__ = ["SkeletonError", "new_chapter"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_TITLE = 100


class SkeletonError(ValueError):
    """A chapter of this name cannot be made here; the message is one sentence."""


def new_chapter(root: Path, where: str, title: str) -> list[Path]:
    """Write a new chapter's text and its entries in the contents and on its pillar's page.

    Args:
        root: the checkout.
        where: pillar and name, such as ``simple-laws/my-chapter``.
        title: the chapter's title, one line.

    Returns:
        The files that were written, the text first.

    Raises:
        SkeletonError: for a pillar, name or title that will not do, or if anything of that name is
            there already; nothing was written.
    """
    pillar, slug = _split(where)
    title = _checked_title(title)
    text = root / "notebooks" / pillar / f"{slug}.md"
    contents, page = root / "_toc.yml", root / "book" / "pillars" / f"{pillar}.md"
    _refuse_remains(root, slug, [contents, *sorted(page.parent.glob("*.md"))])
    skeleton = Path(__file__).with_name("skeleton.md").read_text(encoding="utf-8")
    for mark, words in (
        ("@TITLE@", title), ("@SLUG@", slug), ("@VARIABLE@", slug.replace("-", "_"))
    ):  # fmt: skip
        skeleton = skeleton.replace(mark, words)
    new = {
        text: skeleton,
        contents: _listed(contents.read_text(encoding="utf-8"), pillar, slug),
        page: _presented(page.read_text(encoding="utf-8"), pillar, slug),
    }
    _write_all(new)
    return list(new)


def _split(where: str) -> tuple[str, str]:
    pillar, _, slug = where.partition("/")
    if pillar not in PILLARS:
        raise SkeletonError(f"no pillar is called '{pillar}'; {candidates(pillar, PILLARS)}")
    if not _NAME.fullmatch(slug):
        raise SkeletonError(
            f"a chapter's name is small letters, digits and hyphens and begins with a letter, such "
            f"as '{pillar}/my-chapter'; got '{where}'"
        )
    return pillar, slug


def _checked_title(title: str) -> str:
    words = title.strip()
    if not words or len(words.splitlines()) > 1 or len(words) > _LONGEST_TITLE:
        raise SkeletonError(
            f"a title is one line of at most {_LONGEST_TITLE} characters; got {title!r}"
        )
    if words.startswith(("#", "-", ">", "`")) or "@" in words:
        raise SkeletonError(f"a title is plain words, without marks of Markdown; got {title!r}")
    return words


def _refuse_remains(root: Path, slug: str, pages: list[Path]) -> None:
    """Refuse a name of which anything is there: a chapter, or what is left of one."""
    places = [
        *sorted(root.glob(f"notebooks/*/{slug}.*")),
        root / "book" / "_ledger" / f"{slug}.json",
        root / "book" / "_figures" / slug,
        root / "src" / "learnmech" / "teaching" / "keys" / f"{slug}.json",
    ]
    for path in places:
        if path.exists():
            raise SkeletonError(
                f"'{slug}' is there already ({path.relative_to(root)}); choose another name, or "
                "remove what is left of the old chapter"
            )
    mentioned = re.compile(rf"notebooks/[a-z-]+/{slug}(?![\w-])|\{{verdicts\}} {slug}\s")
    for path in pages:
        if path.is_file() and mentioned.search(path.read_text(encoding="utf-8")):
            raise SkeletonError(
                f"{path.relative_to(root)} names '{slug}' already, but there is no such chapter; "
                "take it out there first, or choose another name"
            )


def _listed(contents: str, pillar: str, slug: str) -> str:
    """Return the table of contents with the chapter at the end of its pillar."""
    entries = rf"^( +)- file: book/pillars/{pillar}\n(?:\1- file: .*\n)*"
    found = re.search(entries, contents, re.MULTILINE)
    if found is None:
        raise SkeletonError(
            f"_toc.yml does not list book/pillars/{pillar} in a part of its own; put it back first"
        )
    line = f"{found[1]}- file: notebooks/{pillar}/{slug}\n"
    return contents[: found.end()] + line + contents[found.end() :]


def _presented(page: str, pillar: str, slug: str) -> str:
    """Return a pillar's page with the chapter's claims and limits at its end."""
    verdicts = (
        f"The verdicts of {{doc}}`/notebooks/{pillar}/{slug}`:\n\n```{{verdicts}} {slug}\n```"
    )
    return page.rstrip("\n") + f"\n\n{verdicts}\n"


def _write_all(new: dict[Path, str]) -> None:
    """Write all files or none."""
    old = {path: path.read_bytes() for path in new if path.is_file()}
    parts = {path: path.with_name(path.name + ".part") for path in new}
    try:
        for path, part in parts.items():
            part.parent.mkdir(exist_ok=True)
            part.write_text(new[path], encoding="utf-8")
        for path, part in parts.items():
            os.replace(part, path)
    except OSError as error:
        for path, part in parts.items():
            part.unlink(missing_ok=True)
            if path in old:
                path.write_bytes(old[path])
            else:
                path.unlink(missing_ok=True)
        raise SkeletonError(f"nothing was written: {error}") from None
