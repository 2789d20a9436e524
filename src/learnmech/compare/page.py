"""How a published figure reaches a page: numbered, with its own alt text and caption.

MyST-NB takes alt text and caption from cell metadata, which is written before anything is
computed. Our figures carry words with numbers computed from their data, so this renderer (entry
point ``myst_nb.mime_renderers``) turns their output into a numbered figure that other pages can
refer to as ``{numref}`fig-<chapter>-<name>```.

The frames of a live figure become two blocks of HTML, its slider and its tables of numbers. MyST-NB
shows one representation of an output, so the book's extension ``live_figures`` moves them beside
the picture; without that extension the picture stands alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from learnmech.compare.live import LIVE
from learnmech.compare.live_page import controls_html, numbers_html

if TYPE_CHECKING:
    from docutils.nodes import Element
    from myst_nb.core.render import MimeData, NbElementRenderer

__all__ = ["FigureRenderer"]


class FigureRenderer:
    """A MIME renderer of MyST-NB for pictures whose output metadata names them a figure."""

    mime_priority_overrides: ClassVar[list[tuple[str, str, int | None]]] = []

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[Element] | None:
        """Return a numbered figure or the parts of a live one, or None for what is not ours."""
        from docutils import nodes  # noqa: PLC0415 - the package works without docutils

        if data.mime_type == LIVE and not inline:
            live: Any = data.content
            parts = (controls_html(live), numbers_html(live))
            return [nodes.raw("", html, format="html", classes=["lm-live-part"]) for html in parts]
        words: dict[str, Any] | None = data.output_metadata.get("learnmech")
        if inline or data.mime_type != "image/png" or words is None:
            return None
        images = renderer.render_image(data)
        image = images[0]
        image["alt"] = words["alt"]
        label = nodes.fully_normalize_name(words["name"])
        figure = nodes.figure("", image, classes=["lm-figure"], names=[label])
        caption = nodes.caption(words["caption"], "")
        with renderer.renderer.current_node_context(caption):
            renderer.renderer.nested_render_text(words["caption"], data.line or 0, inline=True)
        figure += caption
        renderer.renderer.document.note_explicit_target(figure, figure)
        return [figure]
