"""The built pages of this checkout and its chapters, and the browser that opens them."""

import os
from pathlib import Path

import pytest
from browser_checks import find_browser, open_browser

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


@pytest.fixture(scope="module")
def browser():
    """Chromium; where there is none the test is skipped and says so, but in CI it fails."""
    path, named = find_browser(), os.environ.get("LEARNMECH_BROWSER")
    if path is None and named:
        pytest.fail(f"LEARNMECH_BROWSER is '{named}', which is no program here", pytrace=False)
    if path is None:
        advice = (
            "no Chromium was found, so the pages were not looked at in a browser: install it "
            "('apt-get install chromium', 'brew install --cask chromium') or name yours in "
            "LEARNMECH_BROWSER"
        )
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(advice, pytrace=False)
        pytest.skip(advice)
    with open_browser(path) as opened:
        yield opened


@pytest.fixture
def tiny(tmp_path):
    """A function that writes a one-page book, sound but for what its arguments put in."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "style.css").write_text("p { color: black }\n")
    (folder / "script.js").write_text("document.title = 'A page';\n")
    (folder / "other.html").write_text(
        '<html lang="en"><title>Another page</title><h1 id="other">Other</h1></html>'
    )
    (folder / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>')

    def write(*, head="", body="", css=""):
        (folder / "index.html").write_text(
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="stylesheet" href="style.css"><script src="script.js"></script>{head}'
            '</head><body><main><h1 id="top">A page</h1><p><a href="other.html#other">Other</a></p>'
            '<p><a href="https://example.org">Outside</a></p><p><a href="#top">Up</a></p>'
            f'<p><img src="dot.svg" alt="A dot"></p>{body}</main></body></html>',
            encoding="utf-8",
        )
        if css:
            (folder / "style.css").write_text(css)
        return folder

    return write
