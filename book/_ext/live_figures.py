"""Sphinx extension: live figures, a slider over finished runs, on the pages that have one.

A live figure's output holds its picture and its frames, and MyST-NB would show the picture alone.
Before it chooses, the slider is put under the picture and the table of numbers below the figure.
Pages with a live figure load ``live.js``, which fetches Plotly when the figure comes near; Plotly
is copied out of the PyPI package ``plotly``, so nothing comes from the network.
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

from learnmech.compare.live import LIVE

_PLOTLY = "plotly/package_data/plotly.min.js"


def _is_live(node: nodes.Node) -> bool:
    return isinstance(node, nodes.raw) and "lm-live-part" in node["classes"]


class PlaceLiveParts(SphinxPostTransform):
    """Put the slider of a live figure under its picture and the numbers below the figure."""

    default_priority = 3  # before MyST-NB selects a representation, at 4

    def run(self, **_: Any) -> None:
        """Place the parts of every live figure of the document."""
        for parts in list(self.document.findall(self._holds_frames)):
            controls, numbers = parts.children
            for figure in parts.parent.findall(nodes.figure):
                figure.insert(1, controls.deepcopy())
                place = figure.parent.index(figure)
                figure.parent.insert(place + 1, numbers.deepcopy())
            parts.parent.remove(parts)

    @staticmethod
    def _holds_frames(node: nodes.Node) -> bool:
        return isinstance(node, nodes.container) and node.get("mime_type") == LIVE


def load_script(app: Sphinx, _page: str, _template: str, _context: Any, doctree: Any) -> None:
    """Let a page load the script and styles of live figures if it has one."""
    if doctree is not None and any(doctree.findall(_is_live)):
        app.add_js_file("live.js", loading_method="defer")
        app.add_css_file("live.css")


def copy_plotly(app: Sphinx, error: Exception | None) -> None:
    """Copy Plotly into the built pages."""
    if error is not None or app.builder.format != "html":
        return
    try:
        source = Path(str(distribution("plotly").locate_file(_PLOTLY)))
    except PackageNotFoundError:
        raise ExtensionError(
            "plotly is not installed, so live figures could not be shown offline; run 'make env'"
        ) from None
    target = Path(app.outdir) / "_static" / "plotly" / "plotly.min.js"
    if not target.is_file() or target.stat().st_size != source.stat().st_size:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_post_transform(PlaceLiveParts)
    app.connect("html-page-context", load_script)
    app.connect("build-finished", copy_plotly)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
