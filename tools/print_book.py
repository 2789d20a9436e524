"""Print the whole book as one PDF: ``make pdf``.

The same sources are built as one page of HTML, in a folder that is removed afterwards, and Chromium
prints that page from disk, without a network: formulas typeset, folds open, live figures as their
pictures, code and tables wrapped. The PDF has a title page with version and day of verification,
contents, numbered pages, and an outline. It is printed twice: only paper shows on which page a
chapter begins, so that the contents can say it the second time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pypdf import PdfReader

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "book"), str(ROOT / "book" / "_ext")]

from browser_checks import find_browser, open_browser  # noqa: E402
from citing import Citation, load_citation  # noqa: E402

PDF = ROOT / "_build" / "pdf" / "learning-mechanics-measured.pdf"
_HERE = Path(__file__).parent
_FOOTER = (
    '<div style="font: 8px sans-serif; width: 100%; text-align: center">'
    '<span class="pageNumber"></span></div>'
)


def build_one_page(folder: Path) -> Path:
    """Build the book as one page in ``folder``, and return the page.

    Raises:
        RuntimeError: if Sphinx warns or fails.
    """
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", str(ROOT), "--builder", "singlehtml"]
    command += ["--path-output", str(folder), "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the book could not be built:\n{done.stderr.strip()}")
    # Sphinx writes the page into the folder of the first document, with addresses from the top.
    site = folder / "_build" / "singlehtml"
    return (site / "book" / "index.html").replace(site / "index.html")


def title_page(citation: Citation) -> str:
    """Return the title page as HTML."""
    lines = [", ".join(citation.authors), f"Version {citation.version}"]
    if citation.verified:
        lines.append(f"Every chapter was last run and verified on {citation.verified}")
    lines.append("Text and figures: CC BY 4.0. Code: MIT licence.")
    below = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="lm-title-page"><h1>{escape(citation.title)}</h1>{below}</div>'


def _print(tab: Page, *, draft: bool = False) -> bytes:
    """Print a tab; a draft has the same pages, and no outline and tags, which take time."""
    return tab.pdf(
        prefer_css_page_size=True,
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=_FOOTER,
        outline=not draft,
        tagged=not draft,
    )


def _number_contents(tab: Page, printed: bytes) -> None:
    """Write behind each entry of the contents on which page of ``printed`` it begins."""
    reader = PdfReader(BytesIO(printed))
    for entry in tab.locator(".lm-contents > a").all():
        place = reader.named_destinations[entry.evaluate("link => '/' + link.hash.slice(1)")]
        number = reader.get_destination_page_number(place) + 1
        entry.locator("span").evaluate("(leaf, number) => leaf.textContent = number", number)


def print_page(browser: str, page: Path, front: str, pdf: Path) -> None:
    """Print one page of HTML to ``pdf``.

    Args:
        browser: the path of Chromium.
        page: the page, with everything that it loads beside it.
        front: the title page.
        pdf: the file to write.

    Raises:
        RuntimeError: if a formula is left untypeset; nothing is written then.
    """
    with open_browser(browser) as chromium:
        tab = chromium.new_page(color_scheme="light")
        tab.set_default_timeout(300_000)
        tab.goto(page.as_uri(), wait_until="load")
        tab.emulate_media(media="print")
        tab.add_style_tag(path=_HERE / "print_book.css")
        left = tab.evaluate((_HERE / "print_book.js").read_text("utf-8"), front)
        if left:
            raise RuntimeError(f"{left} formulas were not typeset; nothing was printed")
        _number_contents(tab, _print(tab, draft=True))
        printed = _print(tab)
    pdf.parent.mkdir(parents=True, exist_ok=True)
    pdf.write_bytes(printed)


def main() -> int:
    """Print the book, or say in a sentence why it could not be printed."""
    browser = find_browser()
    if browser is None:
        print(
            "No Chromium was found to print the book with: install it ('apt-get install chromium', "
            "'brew install --cask chromium') or name yours in LEARNMECH_BROWSER.",
            file=sys.stderr,
        )
        return 2
    try:
        with tempfile.TemporaryDirectory() as folder:
            page = build_one_page(Path(folder))
            print_page(browser, page, title_page(load_citation(ROOT)), PDF)
    except RuntimeError as error:
        print(f"print_book.py: {error}", file=sys.stderr)
        return 1
    print(f"The book is at {PDF.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
