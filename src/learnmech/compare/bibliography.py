"""The book's bibliography: which sources exist, how they are named, where they are found."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

from pybtex.database import Entry, parse_file
from pybtex.exceptions import PybtexError

from learnmech.compare.measures import ClaimError

__all__ = ["Source", "load_bibliography", "require_sources"]

_PACKAGED = Path(__file__).with_name("references.bib")
_OWN = Path("references.bib")


@dataclass(frozen=True)
class Source:
    """One entry of the bibliography, as a page needs it."""

    key: str
    label: str
    """Author and year, such as ``Saxe et al. (2014)``."""
    title: str
    url: str
    """DOI or arXiv address, empty if the entry has neither."""


def _in_book(root: Path | None) -> TypeGuard[Path]:
    return root is not None and (root / "book" / "references.bib").is_file()


def bibliography_path(root: Path | None) -> Path:
    """Return the bibliography of a checkout, or the copy that ships with the package."""
    if _in_book(root):
        return root / "book" / "references.bib"
    if _PACKAGED.is_file():
        return _PACKAGED
    return Path(__file__).parents[3] / "book" / "references.bib"


def _source(key: str, entry: Entry) -> Source:
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [" ".join([*p.prelast_names, *p.last_names]).strip("{}") for p in people]
    if not names:
        who = entry.fields.get("title", key)
    elif len(names) == 1:
        who = names[0]
    elif len(names) == 2:
        who = f"{names[0]} and {names[1]}"
    else:
        who = f"{names[0]} et al."
    fields = entry.fields
    if "doi" in fields:
        url = f"https://doi.org/{fields['doi']}"
    elif "eprint" in fields:
        url = f"https://arxiv.org/abs/{fields['eprint']}"
    else:
        url = fields.get("url", "")
    title = fields.get("title", "").replace("{", "").replace("}", "")
    return Source(key, f"{who} ({fields.get('year', 'n.d.')})", title, url)


@cache
def _parse(path: Path, _modified: int) -> dict[str, Source]:
    entries = parse_file(str(path)).entries
    return {key: _source(key, entry) for key, entry in entries.items()}


def load_bibliography(root: Path | None = None) -> dict[str, Source]:
    """Return every source by its key, in the order of the file.

    A project outside a checkout may have sources of its own: those of a file ``references.bib``
    beside the notebook come after the book's.

    Raises:
        ClaimError: if that file is not BibTeX.
    """
    path = bibliography_path(root)
    known = _parse(path, path.stat().st_mtime_ns)
    if _in_book(root) or not _OWN.is_file():
        return known
    own = _OWN.resolve()
    try:
        return known | _parse(own, own.stat().st_mtime_ns)
    except (PybtexError, UnicodeDecodeError) as error:
        raise ClaimError(f"{own} is not BibTeX ({error}); mend that entry") from None


def require_sources(keys: tuple[str, ...], root: Path | None, where: str) -> None:
    """Raise :class:`ClaimError` unless every key stands in the bibliography."""
    known = load_bibliography(root)
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3)
            hint = (
                f"did you mean {', '.join(near)}?"
                if near
                else "add it there, with a DOI or arXiv number, or correct the key"
            )
            place = (
                "not in book/references.bib"
                if _in_book(root)
                else "neither in the book's bibliography nor in a references.bib beside you"
            )
            raise ClaimError(f"{where}: the source '{key}' is {place}; {hint}")
