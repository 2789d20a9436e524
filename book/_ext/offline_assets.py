"""Sphinx extension: pages load nothing from the network.

MathJax is copied out of the PyPI package ``sphinx-mathjax-offline``: the one script and what it
may load later (fonts, TeX extensions, its menu and speech rules). Jupyter Book always loads
sphinx-thebe, which adds an address on a content network to every page and is not used here, so
its handlers are removed. The search shows an excerpt of each page it finds, which a browser lets
it read from a server but not from disk, so pages opened from disk list titles only.
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_NEEDED = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions", "a11y", "ui", "sre")
_THEBE = {"init_thebe_core", "update_thebe_context"}
_NO_EXCERPTS_FROM_DISK = (
    "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"
)


def _mathjax_folder() -> Path:
    try:
        package = distribution("sphinx-mathjax-offline")
    except PackageNotFoundError:
        raise ExtensionError(
            "sphinx-mathjax-offline is not installed, so formulas could not be shown offline; "
            "run 'make env'"
        ) from None
    return Path(str(package.locate_file("sphinx-mathjax-offline/static/mathjax")))


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy MathJax into the built pages."""
    if error is not None or app.builder.format != "html":
        return
    source, target = _mathjax_folder(), Path(app.outdir) / "_static" / "mathjax"
    for name in _NEEDED:
        here, there = source / name, target / name
        if here.is_dir() and not there.exists():
            shutil.copytree(here, there)
        elif here.is_file() and not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here, there)


def remove_thebe(app: Sphinx, *_: Any) -> None:
    """Disconnect the handlers with which sphinx-thebe adds remote addresses to pages."""
    for listeners in app.events.listeners.values():
        listeners[:] = [
            item for item in listeners if getattr(item.handler, "__name__", "") not in _THEBE
        ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_js_file(None, body=_NO_EXCERPTS_FROM_DISK)
    app.connect("builder-inited", remove_thebe, priority=1)
    app.connect("build-finished", copy_mathjax)
    app.connect("config-inited", lambda _, c: setattr(c, "mathjax_path", "mathjax/tex-chtml.js"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
