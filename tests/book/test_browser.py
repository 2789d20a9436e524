"""The built pages in a real browser, opened from disk: nothing leaves, formulas, width, search."""

import os
import shutil

import pytest
from browser_checks import find_browser, open_browser, page_complaints, watched_tab
from page_checks import page_paths, read_page

pytestmark = pytest.mark.browser

WORD = "whitening"


@pytest.fixture(scope="module")
def browser():
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


def _complaints(browser, path):
    return page_complaints(browser, [path]).get(path, [])


def test_every_page_opens_from_disk_typeset_without_errors_requests_or_sideways_scroll(
    browser, pages
):
    paths = [path for path in page_paths(pages) if not read_page(path).forwards]
    assert page_complaints(browser, paths) == {}


def test_the_front_page_forwards_to_the_first_page_of_the_book(browser, pages):
    complaints = []
    with watched_tab(browser, complaints) as tab:
        tab.goto((pages / "index.html").as_uri())
        tab.wait_for_url("**/book/*.html")
        tab.wait_for_selector("article h1")
    assert complaints == []


def test_the_search_finds_a_page_from_disk(browser, pages):
    with_word = {
        path.name for path in page_paths(pages / "book") if WORD in path.read_text("utf-8").lower()
    }
    complaints = []
    with watched_tab(browser, complaints) as tab:
        tab.goto(f"{(pages / 'search.html').as_uri()}?q={WORD}")
        hits = tab.locator("#search-results li a")
        hits.first.wait_for()
        tab.get_by_text("Search finished").wait_for()
        found = {
            address.partition("#")[0].rpartition("/")[2].partition("?")[0]
            for address in hits.evaluate_all("links => links.map(link => link.href)")
        }
        hits.first.click()
        tab.wait_for_selector("article h1")
    assert found & with_word
    assert complaints == []


# The same function on small pages in which one thing is wrong on purpose.


def test_a_sound_page_has_no_complaints(browser, tiny):
    assert _complaints(browser, tiny() / "index.html") == []


def test_a_remote_script_is_caught(browser, tiny):
    folder = tiny(head='<script src="https://cdn.example.org/x.js"></script>')
    assert "asks for https://cdn.example.org/x.js" in _complaints(browser, folder / "index.html")


def test_a_request_that_a_script_makes_later_is_caught(browser, tiny):
    folder = tiny(body="<script>new Image().src = 'https://example.org/x.png'</script>")
    assert "asks for https://example.org/x.png" in _complaints(browser, folder / "index.html")


def test_a_page_that_overflows_a_phone_is_caught(browser, tiny):
    folder = tiny(body='<div style="width: 600px">wide</div>')
    (complaint,) = _complaints(browser, folder / "index.html")
    assert complaint.endswith("pixels wide in a window of 390")


def test_a_page_that_overflows_a_desk_is_caught(browser, tiny):
    folder = tiny(body='<div style="width: 2000px">wide</div>')
    complaints = _complaints(browser, folder / "index.html")
    assert [line.rpartition(" ")[2] for line in complaints] == ["1400", "390"]


def test_a_script_that_fails_is_caught(browser, tiny):
    folder = tiny(body="<script>nothing.here()</script>")
    (complaint,) = _complaints(browser, folder / "index.html")
    assert complaint.startswith("script error: ")
    assert "nothing is not defined" in complaint


def test_a_missing_local_script_is_caught(browser, tiny):
    folder = tiny(head='<script src="gone.js"></script>')
    (complaint,) = _complaints(browser, folder / "index.html")
    assert complaint.startswith("could not load file://")


def test_a_formula_that_nothing_typesets_is_caught(browser, tiny):
    folder = tiny(body='<span class="math">a^2</span>')
    assert _complaints(browser, folder / "index.html") == ["a formula is not typeset: a^2"]


def test_a_formula_with_an_error_is_caught(browser, tiny, pages):
    folder = tiny(
        head='<script defer src="mathjax/tex-chtml.js"></script>',
        body=r'<p class="math">\(\frac{1}\)</p>',
    )
    shutil.copytree(pages / "_static" / "mathjax", folder / "mathjax")
    (complaint,) = _complaints(browser, folder / "index.html")
    assert complaint.startswith("a formula has an error")
