"""The built pages with a keyboard and no mouse."""

import pytest
from browser_checks import DESK, PHONE, open_page, watched_tab
from keyboard_checks import keyboard_complaints, walk
from page_checks import page_paths

pytestmark = pytest.mark.browser

CHAPTER = "notebooks/solvable-settings/deep-linear-networks.html"
# What a walk through a chapter must come upon, by tag and class, and what it is to readers.
PARTS = {
    "a.navbar-brand": "the name of the book, which leads to its first page",
    "button.btn.search-button": "the search",
    "a.reference.internal": "the pages of the book and other links",
    "button.btn.btn-sm.nav-link.pst-navbar-icon.theme-switch-button": "the switch of the theme",
    "a.reference.internal.nav-link": "the contents of the page",
    "a.headerlink": "the address of a section",
    "button.copybtn": "a button that copies code",
    "summary": "a folded cell",
    "button.toggle-button": "a folded solution",
    "mjx-container": "a formula, which has a menu and may scroll",
    "a.left-prev": "the page before",
    "a.right-next": "the page after",
}


@pytest.fixture
def tab(browser):
    complaints = []
    with watched_tab(browser, complaints) as opened:
        yield opened
    assert complaints == []


def _focused(tab, script):
    return tab.evaluate(f"(() => {{ const e = document.activeElement; return {script}; }})()")


def test_tab_alone_reaches_all_of_a_chapter_and_shows_where_it_is(tab, pages):
    open_page(tab, pages / CHAPTER)
    found = walk(tab)
    assert (found.missed, found.unseen) == ([], [])
    for part, what in PARTS.items():
        assert any(name.startswith(part) for name in found.reached), f"not reached: {what}"


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("page", ["book/index.html", "book/scorecard.html", "search.html"])
def test_tab_alone_reaches_all_of_other_pages(tab, pages, page, width):
    open_page(tab, pages / page, width=width)
    assert keyboard_complaints(tab) == []


def test_the_first_tab_offers_to_skip_to_the_text(tab, pages):
    open_page(tab, pages / CHAPTER)
    tab.keyboard.press("Tab")
    assert _focused(tab, "e.textContent") == "Skip to main content"
    tab.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert _focused(tab, "!!e.closest('#main-content')")


def _chapter_with(pages, mark):
    return next(p for p in page_paths(pages / "notebooks") if mark in p.read_text("utf-8"))


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_key_opens_and_closes_a_folded_solution(tab, pages, key):
    open_page(tab, _chapter_with(pages, "solution dropdown admonition"))
    button = tab.locator(".solution .toggle-button").first
    answer = tab.locator(".solution.dropdown > :not(.admonition-title)").first
    assert not answer.is_visible()
    button.focus()
    tab.keyboard.press(key)
    answer.wait_for(state="visible")
    assert button.get_attribute("aria-expanded") == "true"
    tab.keyboard.press(key)
    answer.wait_for(state="hidden")
    assert button.get_attribute("aria-expanded") == "false"


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_key_opens_a_folded_cell(tab, pages, key):
    open_page(tab, _chapter_with(pages, '<details class="admonition hide'))
    fold = tab.locator("details.hide").first
    fold.locator("summary").focus()
    tab.keyboard.press(key)
    assert fold.evaluate("fold => fold.open")
    tab.keyboard.press(key)
    assert not fold.evaluate("fold => fold.open")


def test_keys_open_the_search_and_leave_it(tab, pages):
    open_page(tab, pages / CHAPTER)
    tab.keyboard.press("Control+k")
    tab.locator("#pst-search-dialog input").wait_for(state="visible")
    assert _focused(tab, "e.matches('#pst-search-dialog input')")
    tab.keyboard.press("Escape")
    tab.locator("#pst-search-dialog input").wait_for(state="hidden")


def test_a_key_changes_the_theme(tab, pages):
    open_page(tab, pages / CHAPTER)
    tab.locator(".theme-switch-button").last.focus()
    seen = set()
    for _ in range(3):
        tab.keyboard.press("Enter")
        assert _focused(tab, "e.matches('.theme-switch-button')"), "the keyboard lost its place"
        seen.add(tab.evaluate("document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}


def test_on_a_phone_the_keyboard_comes_back_from_the_search_to_its_button(tab, pages):
    open_page(tab, pages / CHAPTER, width=PHONE)
    field = tab.locator("#pst-search-dialog input")
    tab.locator(".search-button:visible").first.focus()
    for _ in range(2):
        tab.keyboard.press("Enter")
        field.wait_for(state="visible")
        tab.keyboard.press("Escape")
        field.wait_for(state="hidden")
        assert _focused(tab, "e.matches('.search-button')"), "the keyboard lost its place"


def test_on_a_phone_keys_open_and_close_the_side_bar(tab, pages):
    open_page(tab, pages / CHAPTER, width=PHONE)
    link = tab.locator(".bd-docs-nav a").first
    assert not link.is_visible()
    tab.locator("button.primary-toggle").first.focus()
    tab.keyboard.press("Enter")
    link.wait_for(state="visible")
    tab.keyboard.press("Tab")
    assert _focused(tab, "!!e.closest('#pst-primary-sidebar-modal')")
    tab.keyboard.press("Escape")
    link.wait_for(state="hidden")
    assert _focused(tab, "e.matches('.primary-toggle')"), "the keyboard lost its place"


# The same function on small pages in which one thing is wrong on purpose.


def test_a_sound_page_is_reached_throughout(tab, tiny):
    open_page(tab, tiny() / "index.html")
    found = walk(tab)
    assert [name.split()[0] for name in found.reached] == ["a", "a", "a"]
    assert keyboard_complaints(tab) == []


@pytest.mark.parametrize(
    "control",
    [
        '<button tabindex="-1">Copy</button>',
        '<div onclick="go()">Copy</div>',
        '<span role="button">Copy</span>',
    ],
)
def test_a_control_that_no_key_reaches_is_caught(tab, tiny, control):
    open_page(tab, tiny(body=control) / "index.html")
    (complaint,) = keyboard_complaints(tab)
    assert complaint.startswith("no key reaches ")
    assert "Copy" in complaint


@pytest.mark.parametrize("style", ["outline: none", "opacity: 0"])
def test_a_control_that_hides_where_the_keyboard_is_is_caught(tab, tiny, style):
    open_page(tab, tiny(body=f'<button style="{style}">Copy</button>') / "index.html")
    (complaint,) = keyboard_complaints(tab)
    assert complaint == 'nothing shows that the keyboard is at button "Copy"'
