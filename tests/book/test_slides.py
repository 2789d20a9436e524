"""The slides: one file each that holds everything, every figure, every verdict of the ledger."""

import io
import os
import re
import struct
from base64 import b64encode
from html import escape, unescape

import nbformat
import pytest
from browser_checks import find_browser, open_browser, open_page, watched_tab
from docutils import nodes
from page_checks import Page, is_external
from slide_pages import first_sentences, step

from learnmech.compare.ledger import Ledger, load_ledgers
from learnmech.compare.pairs import find_chapters
from learnmech.compare.scorecard import claim_words, number_words
from learnmech.teaching.slides import (
    Picture,
    Slide,
    deck_html,
    entries_html,
    formula_html,
    place_entries,
    section_numbers,
    stored_pictures,
)

VERDICT = re.compile(r'<li data-entry="([^"]+)">(.*?)</li>', re.DOTALL)
PICTURE = re.compile(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">')


def deck_problems(path, ledger, pictures):
    """List what is wrong with a file of slides; empty if it is whole."""
    text, page = path.read_text("utf-8"), Page(path)
    problems = [f"loads {address}" for _, address in page.loads if not address.startswith("data:")]
    problems += [f"links to {a}" for a in page.links if not is_external(a) and a[:1] != "#"]
    if "url(" in text or "@import" in text:
        problems.append("its styles load something")
    if [level for level, _ in page.headings] != [1] + [2] * (len(page.headings) - 1):
        problems.append("its headings are not one of the first level and others of the second")
    shown = [(png, unescape(alt)) for png, alt in PICTURE.findall(text)]
    problems += [
        f"the figure '{picture.name}' is missing"
        for picture in pictures.values()
        if (picture.png, picture.alt) not in shown
    ]
    said = VERDICT.findall(text)
    for entry in ledger.claims:
        words = [html for name, html in said if name == entry["id"]]
        if len(words) != 1:
            problems.append(f"'{entry['id']}' stands there {len(words)} times")
            continue
        needed = [entry["statement"], entry["verdict"], claim_words(entry)]
        needed += [
            number_words(entry[key])
            for key in ("theory", "measured")
            if isinstance(entry.get(key), int | float | list)
        ]
        problems += [
            f"'{entry['id']}' does not say {part}"
            for part in needed
            if escape(part) not in words[0]
        ]
    return problems


@pytest.fixture(scope="module")
def chapters(root):
    """Every chapter's files, ledger and stored figures."""
    ledgers = {ledger.chapter: ledger for ledger in load_ledgers(root / "book" / "_ledger")}
    return [(f, ledgers[f.slug], stored_pictures(f.notebook)) for f in find_chapters(root)]


def test_every_chapter_has_slides_with_all_its_figures_and_verdicts(pages, chapters):
    found = {f.slug: deck_problems(pages / "slides" / f"{f.slug}.html", ledger, pictures)
             for f, ledger, pictures in chapters}  # fmt: skip
    assert found == {f.slug: [] for f, _, _ in chapters}
    assert {path.stem for path in (pages / "slides").iterdir()} == set(found)


def test_every_exercise_is_there_and_no_solution(pages, chapters):
    for files, _, _ in chapters:
        text = (pages / "slides" / f"{files.slug}.html").read_text("utf-8")
        cells = nbformat.read(files.notebook, as_version=4).cells
        labels = re.findall(r"^:label: (.+)$", "\n".join(c.source for c in cells), re.MULTILINE)
        assert labels
        assert [label for label in labels if f">Exercise {label}<" not in text] == []
        assert "solution-" not in text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("<style>", '<link rel="stylesheet" href="https://a.org/a.css"><style>'), "loads http"),
        (("<main>", '<main><a href="../index.html">Book</a>'), "links to ../index.html"),
        (("<style>", "<style>@import 'a.css';"), "its styles load something"),
        (("<h2", "<h3"), "its headings"),
        (('alt="', 'alt="Something else. '), "is missing"),
        (("<li data-entry", "<li data-other"), "stands there 0 times"),
        ((" ≤ ", " ≤ 1"), "does not say"),
    ],
)
def test_what_is_wrong_with_slides_is_caught(pages, chapters, tmp_path, change, problem):
    files, ledger, pictures = chapters[0]
    text = (pages / "slides" / f"{files.slug}.html").read_text("utf-8")
    (tmp_path / "deck.html").write_text(text.replace(*change, 1), encoding="utf-8")
    found = deck_problems(tmp_path / "deck.html", ledger, pictures)
    assert [line for line in found if problem in line]


# The parts that slides are made of.


def _paragraph(*parts):
    return nodes.paragraph("", "", *(nodes.Text(p) if isinstance(p, str) else p for p in parts))


@pytest.mark.parametrize(
    ("paragraph", "first"),
    [
        (_paragraph("One. Two. Three."), "One."),
        (_paragraph("See e.g. the third. Then stop."), "See e.g. the third."),
        (_paragraph("It is 0.5 of it. So."), "It is 0.5 of it."),
        (_paragraph("Ask: ", nodes.emphasis(text="why?"), " Because."), "Ask: why?"),
        (_paragraph(nodes.strong(text="The setting."), " A network. More."),
         "The setting. A network."),
        (_paragraph("", nodes.strong(text="Step."), " With ", nodes.math(text="a. b"), " too. No."),
         "Step. With a. b too."),
        (_paragraph("No end"), "No end"),
    ],
)  # fmt: skip
def test_a_paragraph_ends_after_its_first_sentence(paragraph, first):
    kept, rest = first_sentences(paragraph, 1)
    assert kept.astext() == first
    assert (first + " ".join(["", *(node.astext() for node in rest)])).split() == (
        paragraph.astext().split()
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("Two things are left out. The first is chance. The second is small.",
         "Two things are left out. The first is chance."),
        ("Real data are not white.", "Real data are not white."),
        (f"A sentence that says {'a lot ' * 10}alone. More.",
         f"A sentence that says {'a lot ' * 10}alone."),
    ],
)  # fmt: skip
def test_a_step_with_a_short_first_sentence_says_two(words, said):
    (kept,) = step(_paragraph("", nodes.strong(text="A name that is long by itself."), f" {words}"),
                   None)  # fmt: skip
    assert kept.astext() == f"A name that is long by itself. {said}"


def _entry(name, **more):
    return {"id": name, "kind": "claim", "verdict": "holds", "statement": name, "discrepancy": 0.1,
            "tolerance": 0.2, "theory": 1.0, "measured": 1.1, **more}  # fmt: skip


def test_an_entry_stands_beside_the_figure_it_names_or_the_nearest_one_of_its_section():
    places = (("one", 4, 1), ("two", 10, 1), ("three", 20, 2))
    pictures = {name: Picture(name, cell, part, "", name) for name, cell, part in places}
    curve = "book/_figures/chapter/one.json"
    entries = (_entry("early"), _entry("named", theory=curve, measured=curve), _entry("between"),
               _entry("late"), _entry("next"), _entry("without"))  # fmt: skip
    ledger = Ledger("chapter", "simple-laws", "Title", entries)
    cells = {"early": (1, 1), "named": (12, 1), "between": (7, 1), "late": (14, 1),
             "next": (11, 2), "without": (30, 3)}  # fmt: skip
    placed = place_entries(ledger, cells, pictures)
    names = {name: [entry["id"] for entry in there] for name, there in placed.items()}
    assert names == {
        "one": ["early", "named"],
        "two": ["between", "late"],
        "three": ["next", "without"],
    }


def test_sections_are_counted_by_their_headings():
    parts = (
        ("markdown", "# Title\n\n## One\n"),
        ("code", "## no heading"),
        ("markdown", "### Two"),
    )
    cells = [{"cell_type": kind, "source": source} for kind, source in parts]
    assert section_numbers(cells) == [1, 1, 2]


def test_words_of_a_ledger_are_escaped():
    assert "a &lt; b" in entries_html([_entry("x", statement="a < b")])


@pytest.mark.parametrize("tex", ["{", r"\frac{1}", ""])
def test_a_formula_that_is_not_whole_is_refused(tex):
    with pytest.raises(ValueError, match="cannot be drawn"):
        formula_html(tex, display=False)


def test_a_formula_has_its_own_shape_and_the_colour_of_the_text():
    small, large = (formula_html(r"\tfrac12\,\mathbb E\,x", display=d) for d in (False, True))
    assert "vertical-align" in small
    assert 'tabindex="0"' in large
    assert "currentColor" in small
    assert "<use" not in small


@pytest.mark.parametrize(("width", "height", "tall"), [(864, 604, False), (864, 950, True)])
def test_a_picture_knows_whether_it_is_tall(width, height, tall):
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height)
    assert Picture("a", 0, 0, b64encode(head).decode(), "a").tall is tall


# In a real browser, with two small slides and with the book's own.


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None and os.environ.get("CI", "").lower() == "true":
        pytest.fail("no Chromium was found, and CI has to look at the slides", pytrace=False)
    if path is None:
        pytest.skip("no Chromium was found, so the slides were not looked at")
    with open_browser(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def deck(root, tmp_path_factory):
    """A file of four slides, the third with more words than fit at first."""
    parts = root / "book" / "_static" / "slides"
    styles, script = ((parts / f"deck.{kind}").read_text("utf-8") for kind in ("css", "js"))
    bodies = ["<p>a</p>", "<p>b</p>", f"<p>{'many words ' * 250}</p>", "<p>d</p>"]
    slides = [Slide("title" if n == 1 else "words", f"Slide {n}", body)
              for n, body in enumerate(bodies, start=1)]  # fmt: skip
    path = tmp_path_factory.mktemp("slides") / "deck.html"
    path.write_text(deck_html("Four", slides, styles=styles, script=script), encoding="utf-8")
    return path


def _shown(tab):
    return tab.evaluate("[...document.querySelectorAll('.slide')].filter(s => s.checkVisibility())"
                        ".map(s => s.id)")  # fmt: skip


@pytest.mark.browser
def test_keys_and_buttons_go_from_slide_to_slide(browser, deck):
    complaints = []
    with watched_tab(browser, complaints) as tab:
        open_page(tab, deck)
        tab.wait_for_selector(".deck .here")
        assert _shown(tab) == ["s1"]
        for key, slide in (("ArrowRight", "s2"), ("End", "s4"), ("ArrowRight", "s4"),
                           ("ArrowLeft", "s3"), ("Home", "s1"), ("PageDown", "s2")):  # fmt: skip
            tab.keyboard.press(key)
            assert _shown(tab) == [slide]
        tab.get_by_role("button", name="Next").click()
        assert _shown(tab) == ["s3"]
        assert tab.locator("#place").inner_text() == "Slide 3 of 4"
        inside = tab.locator("#s3 .fit")
        assert inside.evaluate("e => e.scrollHeight <= e.clientHeight")
        tab.reload()
        tab.wait_for_selector(".deck .here")
        assert _shown(tab) == ["s3"]
    assert complaints == []


@pytest.mark.browser
def test_on_a_phone_and_without_a_script_it_is_one_long_page(browser, deck):
    complaints = []
    with watched_tab(browser, complaints) as tab:
        open_page(tab, deck, width=390)
        assert _shown(tab) == ["s1", "s2", "s3", "s4"]
        assert not tab.locator("nav").is_visible()
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": 1400, "height": 900}
    )
    tab = context.new_page()
    tab.goto(deck.as_uri())
    assert tab.locator("#s4").is_visible()
    assert not tab.locator("nav").is_visible()
    context.close()
    assert complaints == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 390])
def test_every_slide_is_one_page_on_paper(browser, deck, width):
    from pypdf import PdfReader

    with watched_tab(browser, []) as tab:
        open_page(tab, deck, width=width)
        printed = PdfReader(io.BytesIO(tab.pdf(prefer_css_page_size=True)))
    sizes = {(round(page.mediabox.width), round(page.mediabox.height)) for page in printed.pages}
    assert sizes == {(960, 540)}
    assert len(printed.pages) == 4
    assert "Slide 4" in printed.pages[3].extract_text()


@pytest.mark.browser
def test_nothing_of_the_books_slides_is_cut_off(browser, pages, chapters):
    for files, _, _ in chapters:
        complaints = []
        with watched_tab(browser, complaints) as tab:
            open_page(tab, pages / "slides" / f"{files.slug}.html")
            tab.wait_for_selector(".deck .here")
            tab.evaluate("document.documentElement.classList.add('measured')")
            cut = tab.evaluate(
                "[...document.querySelectorAll('.fit, .display')].filter(e => "
                "e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1)"
                ".map(e => e.closest('.slide').id)"
            )
            small = tab.evaluate(
                "[...document.querySelectorAll('.slide')].filter(s => "
                "s.style.getPropertyValue('--fit') < 0.6).map(s => s.id)"
            )
            # A picture fills half of the slide's width or more than half of its height.
            tiny = tab.evaluate(
                "[...document.images].filter(i => i.width < 560 && i.height < 500)"
                ".map(i => i.closest('.slide').id)"
            )
        assert (complaints, cut, small, tiny) == ([], [], [], []), files.slug
