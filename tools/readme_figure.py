"""Copy the picture that the README shows out of its chapter's notebook.

The README is read where nothing is built, so its picture is a file of its own; a test says that
its bytes are those of the figure that the chapter published.
"""

from __future__ import annotations

import sys
from pathlib import Path

from learnmech.compare.pairs import chapter_files

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))

from landing_page import published_figure  # noqa: E402

PICTURE = ROOT / "book" / "_static" / "stages.png"


def published_picture() -> bytes:
    """Return the PNG of the figure as the notebook holds it."""
    return published_figure(chapter_files(ROOT, "deep-linear-networks"), "stages")[0]


if __name__ == "__main__":
    try:
        PICTURE.write_bytes(published_picture())
    except ValueError as error:
        raise SystemExit(f"readme_figure.py: {error}") from None
