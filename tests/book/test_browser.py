"""The built pages in a real browser, opened from disk, in light and dark, wide and narrow."""

import shutil

import pytest
from browser_checks import THEMES, open_page, page_complaints, watched_tab
from page_checks import page_paths, read_page

pytestmark = pytest.mark.browser

WORD = "whitening"


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


@pytest.mark.parametrize("theme", THEMES)
def test_the_book_follows_the_theme_of_the_system(browser, pages, theme):
    with watched_tab(browser, []) as tab:
        open_page(tab, pages / "book" / "preface.html", theme=theme)
        assert tab.evaluate("document.documentElement.dataset.theme") == theme


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


@pytest.mark.parametrize("overflow", ["hidden", "clip"])
def test_a_box_that_cuts_off_what_it_holds_is_caught(browser, tiny, overflow):
    body = f'<p style="width: 90px; overflow: {overflow}; white-space: nowrap">{9 * "wide "}</p>'
    (complaint,) = _complaints(browser, tiny(body=body) / "index.html")
    assert complaint.startswith("p cuts off its content: wide wide")


@pytest.mark.parametrize(
    ("attribute", "number"), [("", 1), ('tabindex="-1"', 1), ('tabindex="0"', 0)]
)
def test_a_box_that_scrolls_must_be_reached_by_keys(browser, tiny, attribute, number):
    style = "width: 90px; overflow-x: auto; white-space: nowrap"
    folder = tiny(body=f'<pre {attribute} style="{style}">{9 * "wide "}</pre>')
    complaints = _complaints(browser, folder / "index.html")
    assert len(complaints) == number
    assert all(line.startswith("pre scrolls sideways") for line in complaints)


def test_a_box_inside_a_fold_is_looked_at_too(browser, tiny):
    style = "width: 90px; overflow-x: auto; white-space: nowrap"
    body = f'<details><summary>More</summary><pre style="{style}">{9 * "wide "}</pre></details>'
    (complaint,) = _complaints(browser, tiny(body=body) / "index.html")
    assert complaint.startswith("pre scrolls sideways")


@pytest.mark.parametrize(
    ("css", "number"),
    [
        ("body { background: #121212 }", 1),
        ("body { background: #121212 } img { background: #fff }", 0),
        ("body { background: #121212 } img { background: rgb(255 255 255 / 50%) }", 1),
        ("img { filter: brightness(0.8) }", 1),
    ],
)
def test_a_picture_that_is_dim_in_the_dark_is_caught(browser, tiny, css, number):
    body = '<article><img src="dot.svg" alt="A dot"></article>'
    dark = f"@media (prefers-color-scheme: dark) {{ {css} }}"
    complaints = _complaints(browser, tiny(body=body, css=dark) / "index.html")
    assert len(complaints) == number
    assert all(line.startswith("in the dark, dot.svg ") for line in complaints)
