"""The book's bibliography: which sources exist, how they are named, where they are found."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pybtex.database import Entry, parse_file

from learnmech.compare.measures import ClaimError

__all__ = ["Source", "load_bibliography", "require_sources"]

_PACKAGED = Path(__file__).with_name("references.bib")


@dataclass(frozen=True)
class Source:
    """One entry of the bibliography, as a page needs it."""

    key: str
    label: str
    """Author and year, such as ``Saxe et al. (2014)``."""
    title: str
    url: str
    """DOI or arXiv address, empty if the entry has neither."""


def bibliography_path(root: Path | None) -> Path:
    """Return the bibliography of a checkout, or the copy that ships with the package."""
    if root is not None and (root / "book" / "references.bib").is_file():
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
    """Return every source by its key, in the order of the file."""
    path = bibliography_path(root)
    return _parse(path, path.stat().st_mtime_ns)


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
            raise ClaimError(f"{where}: the source '{key}' is not in book/references.bib; {hint}")
