"""How to cite the book and its parts, from ``CITATION.cff`` and the record of verifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from learnmech.compare.record import load_record
from learnmech.compare.repository import Repository, load_repository


@dataclass(frozen=True)
class Citation:
    """What a citation of the book says."""

    title: str
    authors: tuple[str, ...]
    version: str
    verified: str
    """Day on which the last chapter was run again, empty if none was."""
    repository: Repository | None = None

    @property
    def _edition(self) -> str:
        return f"Version {self.version}" + (f", verified {self.verified}" * bool(self.verified))

    def sentence(self, part: str = "") -> str:
        """Return a line for a list of references, of the book or of one part of it."""
        named = f"“{part}”. In: " if part else ""
        where = f" {self.repository.url}" if self.repository else ""
        return f"{', '.join(self.authors)}. {named}{self.title}. {self._edition}.{where}"

    def bibtex(self, key: str, part: str = "") -> str:
        """Return a BibTeX entry of the book or of one part of it."""
        title = {"title": part, "booktitle": self.title} if part else {"title": self.title}
        fields = {"author": " and ".join(f"{{{name}}}" for name in self.authors), **title}
        if self.verified:
            fields["year"] = self.verified[:4]
        fields["note"] = self._edition
        if self.repository:
            fields["url"] = self.repository.url
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        return f"@{'incollection' if part else 'book'}{{{key},\n{lines}}}"


def _name(author: Mapping[str, Any]) -> str:
    return str(author.get("name") or f"{author['given-names']} {author['family-names']}")


def load_citation(root: Path, chapter: str = "") -> Citation:
    """Read how the book, or one chapter as it was last verified, is cited.

    Args:
        root: the checkout.
        chapter: the chapter whose day of verification stands in the citation; else the last of all.
    """
    said = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    days = load_record(root).get("times", {}).get("dates", {})
    verified = days.get(chapter, "") if chapter else max(days.values(), default="")
    authors = tuple(map(_name, said["authors"]))
    return Citation(said["title"], authors, str(said["version"]), verified, load_repository(root))
