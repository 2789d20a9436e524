"""What the book's own Sphinx extensions share: the ledgers, and that pages depend on them."""

from __future__ import annotations

from pathlib import Path

from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from learnmech.compare.ledger import Ledger, load_ledgers
from learnmech.compare.record import record_path


def book_ledgers(root: Path) -> list[Ledger]:
    """Return the ledgers of the book at ``root``, in the order of its pillars."""
    return load_ledgers(root / "book" / "_ledger")


def depend_on_ledgers(env: BuildEnvironment, root: Path) -> None:
    """Let the page that is being read be built again when a ledger or the record changes."""
    for path in sorted((root / "book" / "_ledger").glob("*.json")):
        env.note_dependency(str(path))
    env.note_dependency(str(record_path(root)))


def chapter_of_page(root: Path, docname: str) -> Ledger | None:
    """Return the ledger of the chapter that stands on a page, or None for any other page."""
    if not docname.startswith("notebooks/"):
        return None
    slug = docname.rpartition("/")[2]
    return next((ledger for ledger in book_ledgers(root) if ledger.chapter == slug), None)


class LedgerDirective(SphinxDirective):
    """A directive whose content is worked out from the ledgers."""

    @property
    def root(self) -> Path:
        """The checkout."""
        return Path(self.env.srcdir)

    def ledgers(self) -> list[Ledger]:
        """Return the ledgers, and let the page depend on them."""
        depend_on_ledgers(self.env, self.root)
        return book_ledgers(self.root)
