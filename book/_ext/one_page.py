"""Sphinx extension: the whole book as one page of HTML, from which the PDF is printed.

Sphinx looks for the way to write a node under the builder's name first, and only if nobody uses
that name under ``html``. sphinx-exercise uses the name ``singlehtml`` for its own nodes, and so
hides what all other extensions offer; here the two are put together.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def share_handlers(app: Sphinx) -> None:
    """Let the builder of one page write every node that the builder of many pages can write."""
    handlers = app.registry.translation_handlers
    handlers["singlehtml"] = {**handlers.get("html", {}), **handlers.get("singlehtml", {})}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("builder-inited", share_handlers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
