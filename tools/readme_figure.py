"""Copy the picture that the README shows out of its chapter's notebook.

The README is read where nothing is built, so its picture is a file of its own; a test says that
its bytes are those of the figure that the chapter published.
"""

from __future__ import annotations

import base64
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "solvable-settings" / "deep-linear-networks.ipynb"
FIGURE = "fig-deep-linear-networks-stages"
PICTURE = ROOT / "book" / "_static" / "stages.png"


def published_picture() -> bytes:
    """Return the PNG of the figure as the notebook holds it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("learnmech", {}).get("name") == FIGURE:
                return base64.b64decode(output.data["image/png"])
    raise SystemExit(f"readme_figure.py: {NOTEBOOK.name} publishes no figure called {FIGURE}")


if __name__ == "__main__":
    PICTURE.write_bytes(published_picture())
