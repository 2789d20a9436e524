"""The built pages of this checkout and its chapters."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def pages(root):
    """The folder of built pages."""
    folder = root / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.fail("the book is not built; run 'make book' first", pytrace=False)
    return folder


@pytest.fixture
def tiny(tmp_path):
    """A function that writes a one-page book, sound but for what its arguments put in."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "style.css").write_text("p { color: black }\n")
    (folder / "script.js").write_text("document.title = 'A page';\n")
    (folder / "other.html").write_text('<html lang="en"><h1 id="other">Other</h1></html>')
    (folder / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>')

    def write(*, head="", body="", css=""):
        (folder / "index.html").write_text(
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="stylesheet" href="style.css"><script src="script.js"></script>{head}'
            '</head><body><h1 id="top">A page</h1><a href="other.html#other">Other</a>'
            '<a href="https://example.org">Outside</a><a href="#top">Up</a>'
            f'<img src="dot.svg" alt="A dot">{body}</body></html>',
            encoding="utf-8",
        )
        if css:
            (folder / "style.css").write_text(css)
        return folder

    return write
