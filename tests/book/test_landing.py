"""The first page: the claim, its picture and numbers in one screen, three doors, the chapters."""

import hashlib
import re
from html import unescape

import pytest
from browser_checks import find_browser, open_browser, watched_tab
from landing_page import chapter_opening, published_figure
from page_checks import read_page

from learnmech.compare.ledger import load_ledgers
from learnmech.compare.pairs import chapter_files, find_chapters
from learnmech.compare.scorecard import totals

DOORS = ("Read", "Run", "Teach")


@pytest.fixture(scope="module")
def front(pages):
    return read_page(pages / "book" / "index.html")


def test_the_first_page_of_the_book_forwards_to_it(pages):
    assert read_page(pages / "index.html").links == ["book/index.html"]


def test_the_picture_is_the_published_one_with_its_own_words(root, front):
    picture, alt = published_figure(chapter_files(root, "deep-linear-networks"), "stages")
    ((source, shown),) = [pair for pair in front.pictures if "_images" in pair[0]]
    assert shown == alt
    stored = (front.path.parent / source).read_bytes()
    assert hashlib.sha256(stored).digest() == hashlib.sha256(picture).digest()


def test_the_numbers_are_those_of_the_ledgers_and_lead_to_their_rows(root, front):
    count = totals(load_ledgers(root / "book" / "_ledger"))
    text = front.path.read_text("utf-8")
    numbers = dict(re.findall(r'<li><a href="(scorecard[^"]*)"><strong>(\d+)<', text))
    assert numbers["scorecard.html?kind=claim&amp;verdict=holds"] == str(count["claims_hold"])
    assert numbers["scorecard.html?kind=limit&amp;verdict=breaks+as+predicted"] == str(
        count["limits_met"]
    )


def test_the_three_doors_stand_open(front):
    assert [words for _, words in front.headings][1:4] == list(DOORS)
    for page in ("preface", "use-it", "teaching", "scorecard"):
        assert f"{page}.html" in front.links, page
    text = re.sub("<[^>]*>", "", front.path.read_text("utf-8"))
    assert "make book" in text
    assert "make test" in text


def _words(text):
    """Return what is left of a text without its tags, formulas and emphasis."""
    bare = re.sub(r"<[^>]*>|\$[^$]*\$|\\\(.*?\\\)|\*", "", unescape(text))
    return " ".join(bare.replace("’", "'").split())


def test_every_chapter_is_listed_with_question_answer_and_verdicts(root, front):
    text = _words(front.path.read_text("utf-8"))
    ledgers = {ledger.chapter: ledger for ledger in load_ledgers(root / "book" / "_ledger")}
    for files in find_chapters(root):
        assert f"../notebooks/{files.pillar}/{files.slug}.html" in front.links
        rows = f"scorecard.html?pillar={files.pillar.replace('-', '+')}"
        assert rows in front.links
        for part in chapter_opening(files.text.read_text("utf-8")):
            assert _words(part) in text
        count = totals([ledgers[files.slug]])
        assert f"{count['claims_hold']} of {count['claims']} claims hold" in text


def test_a_figure_that_is_not_published_is_said_in_a_sentence(root):
    files = chapter_files(root, "deep-linear-networks")
    with pytest.raises(ValueError, match="'deep-linear-networks' publishes no figure 'stairs'"):
        published_figure(files, "stairs")


OPENING = """# A chapter

## The question

% One naive sentence.

A *word*, and
**bold?**. *Does it
work?*

Yes, by $1.5$ at least. So we say. And more.

## What theory says
"""


def test_a_chapter_opens_with_a_question_in_italics_and_the_answer():
    question, answer = chapter_opening(OPENING)
    assert question == "A *word*, and **bold?**. *Does it work?*"
    assert answer == "Yes, by $1.5$ at least. So we say."
    assert chapter_opening(OPENING.replace("So", "This chapter"))[1] == "Yes, by $1.5$ at least."


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("*Does it\nwork?*", "Does it work?"), ("## The", "## A"), ("Yes", "## Yes")],
)
def test_a_chapter_that_opens_otherwise_is_an_error(right, wrong):
    with pytest.raises(ValueError, match="a paragraph must end in a question in italics"):
        chapter_opening(OPENING.replace(right, wrong))


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium was found, so the first page was not looked at in a browser")
    with open_browser(path) as opened:
        yield opened


@pytest.mark.browser
@pytest.mark.parametrize(
    ("width", "height", "seen"),
    [
        (1400, 900, ["h1", ".lm-numbers", ".lm-published", *(f"#{d.lower()}" for d in DOORS)]),
        (390, 844, ["h1", ".lm-numbers"]),
    ],
)
def test_the_case_is_made_in_the_first_screen(browser, front, width, height, seen):
    complaints = []
    with watched_tab(browser, complaints) as tab:
        tab.set_viewport_size({"width": width, "height": height})
        tab.goto(front.path.as_uri())
        for what in seen:
            box = tab.locator(f"article {what}").first.bounding_box()
            assert box["y"] + box["height"] <= height, what
            assert box["x"] + box["width"] <= width, what
    assert complaints == []
