"""Where the book's repository is, read from the one key ``repository`` of ``_config.yml``.

    repository:
      url: https://github.com/OWNER/NAME
      branch: main

The address is empty until the book has one; what depends on it (links to Colab, to Binder and to
the sources, and the first cell of a notebook) is there only where it is set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Repository", "load_repository"]

_ADDRESS = re.compile(r"https://github\.com/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(?:\.git)?/?")


@dataclass(frozen=True)
class Repository:
    """A public repository on GitHub, and the branch that pages link to."""

    owner: str
    name: str
    branch: str = "main"

    @property
    def url(self) -> str:
        """The repository's own page."""
        return f"https://github.com/{self.owner}/{self.name}"

    def file(self, path: str) -> str:
        """Return the page of a file; ``path`` is relative to the top of the repository."""
        return f"{self.url}/blob/{self.branch}/{path}"

    @property
    def issues(self) -> str:
        """The page on which mistakes are reported."""
        return f"{self.url}/issues"

    def colab(self, path: str) -> str:
        """Return the address that opens a notebook in Colab."""
        place = f"{self.owner}/{self.name}/blob/{self.branch}/{path}"
        return f"https://colab.research.google.com/github/{place}"

    def binder(self, path: str) -> str:
        """Return the address that opens a notebook in JupyterLab on Binder."""
        place = f"{self.owner}/{self.name}/{self.branch}"
        return f"https://mybinder.org/v2/gh/{place}?urlpath=lab/tree/{path}"


def load_repository(root: Path) -> Repository | None:
    """Return the repository that a checkout's ``_config.yml`` names, or None if it names none.

    Raises:
        ValueError: if the key is there and names no repository on GitHub.
    """
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 - a part of the book's tools

    path = root / "_config.yml"
    settings = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else None
    given = (settings or {}).get("repository") or {}
    url = given.get("url") if isinstance(given, dict) else given
    if not url:
        return None
    match = _ADDRESS.fullmatch(str(url))
    if match is None or not isinstance(given, dict):
        raise ValueError(
            f"{path.name}: the repository is '{url}'; write https://github.com/OWNER/NAME behind "
            "'url:' below the key, or leave it empty"
        )
    return Repository(match["owner"], match["name"], str(given.get("branch") or "main"))
