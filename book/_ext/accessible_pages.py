"""Sphinx extension: what the theme and docutils leave to mend before everybody can use a page.

- The bibliography is a list whose entries have a role that is deprecated and no list may hold;
  they become items of a list.
- Boxes that scroll sideways are made reachable by keyboard when the page opens, but not those
  that lay folded then: ``keyboard.js`` has it done again whenever something is opened.

The name of the book in the side bar stands in no landmark in the theme's own template; the one in
``book/_templates`` replaces it. What is a matter of looks, the visible focus above all, is mended
in ``book.css``.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

_ENTRY, _ITEM = 'role="doc-biblioentry"', 'role="listitem"'


def mend_bibliography(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], *_: Any
) -> None:
    """Make the entries of a bibliography items of its list."""
    if "body" in context:
        context["body"] = context["body"].replace(_ENTRY, _ITEM)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_js_file("keyboard.js")
    app.connect("html-page-context", mend_bibliography)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
