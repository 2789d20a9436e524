"""The scorecard: a row and a cell for every verdict, a plain table, and what a script adds."""

import re
from html import unescape

import nbformat
import pytest
from browser_checks import DESK, PHONE, find_browser, open_browser, watched_tab
from claim_cells import claim_anchor, judging_cells
from page_checks import read_page
from scorecard_table import bar_html, scorecard_html

from learnmech.compare.ledger import Ledger, load_ledgers
from learnmech.compare.record import load_record
from learnmech.compare.scorecard import totals

CLAIM = {
    "id": "meets", "kind": "claim", "statement": "It is <two>.", "technical_name": "",
    "sources": [], "because": "so", "fed": "setting", "verdict": "holds",
    "theory": 2.0, "measured": 2.01,
    "discrepancy": 0.01, "tolerance": 0.04,
}  # fmt: skip
LIMIT = {**CLAIM, "id": "stops", "kind": "limit", "verdict": "breaks as predicted",
         "discrepancy": 8.0, "tolerance": 2.0}  # fmt: skip


@pytest.fixture(scope="module")
def entries(root):
    """Every entry of every ledger with its ledger."""
    ledgers = load_ledgers(root / "book" / "_ledger")
    return [(ledger, entry) for ledger in ledgers for entry in ledger.claims]


@pytest.fixture(scope="module")
def scorecard(pages):
    return read_page(pages / "book" / "scorecard.html")


def test_every_verdict_has_a_row_to_cite(entries, scorecard):
    rows = {f"{ledger.chapter}-{entry['id']}" for ledger, entry in entries}
    assert len(rows) == len(entries)
    assert rows <= scorecard.anchors
    assert {f"#{row}" for row in rows} <= set(scorecard.links)


def test_every_verdict_links_to_the_cell_that_judges_it(entries, scorecard, pages):
    for ledger, entry in entries:
        page = f"notebooks/{ledger.pillar}/{ledger.chapter}"
        anchor = claim_anchor(entry["id"])
        assert f"../{page}.html#{anchor}" in scorecard.links
        text = (pages / f"{page}.html").read_text("utf-8")
        assert text.count(f'id="{anchor}"') == 1, (ledger.chapter, anchor)
        behind = text[text.index(f'id="{anchor}"') :]
        cell = unescape(re.sub("<[^>]*>", "", behind[: behind.index("</pre>")]))
        assert re.search(r"chapter\.(claim|limit|check|observe)\(", cell), entry["id"]
        stem = entry["id"].rpartition("-")[0]
        assert f'"{entry["id"]}"' in cell or f'f"{stem}-{{' in cell, entry["id"]


def test_every_source_is_a_link_of_the_scorecard(entries, scorecard, root):
    from learnmech.compare.bibliography import load_bibliography

    sources = load_bibliography(root)
    cited = {sources[key].url for _, entry in entries for key in entry["sources"]}
    assert cited - {""} <= set(scorecard.links)


def test_the_column_of_other_seeds_is_the_record(root, scorecard):
    text = scorecard.path.read_text("utf-8")
    for chapter, claims in load_record(root)["robustness"]["claims"].items():
        for claim, row in claims.items():
            start = text.index(f'id="{chapter}-{claim}"')
            cells = text[start : text.index("</tr>", start)]
            assert f"held in {row['held']} of {row['of']}<br>" in cells, claim


def test_the_bar_of_a_claim_is_its_share_of_the_tolerance():
    bar = bar_html(CLAIM)
    assert "width: 25.0%" in bar
    assert "25 % of its tolerance" in bar


def test_the_bar_of_a_limit_goes_the_other_way_round():
    bar = bar_html(LIMIT)
    assert "lm-bar-limit" in bar
    assert "width: 25.0%" in bar
    assert "4 times its bound" in bar
    predicted = bar_html({**LIMIT, "failure_discrepancy": 0.1, "failure_tolerance": 0.2})
    assert "its size predicted, 50 % of that tolerance" in predicted


def test_what_has_no_room_has_no_bar():
    assert bar_html({**CLAIM, "kind": "observation"}) == ""


def _table(*ledgers, tried=None):
    pages = {ledger.chapter: f"{ledger.chapter}.html" for ledger in ledgers}
    return scorecard_html(ledgers, {}, tried or {}, pages)


def test_the_table_is_whole_without_a_script_and_escaped():
    html = _table(Ledger("toy", "simple-laws", "A & B", (CLAIM, LIMIT)))
    assert html.count("<tr ") == 3
    assert 'class="lm-choices" aria-label="Choose rows of the scorecard" hidden' in html
    assert "It is &lt;two&gt;." in html
    assert "A &amp; B" in html
    assert "<button" not in html


CELLS = """
first = 'chapter.claim("named-in-words")'
---
for name in ("a", "b"):
    chapter.observe(f"rate-{name}", name)
---
chapter.claim(
    "rate-c", first)
other.claim("rate-d")
"""


def _notebook():
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(part) for part in CELLS.split("---")]
    return notebook


def test_a_claim_is_found_by_the_call_that_judges_it_also_in_a_loop():
    cells = judging_cells(_notebook(), ["rate-a", "rate-b", "rate-c"])
    assert cells == {"rate-a": 1, "rate-b": 1, "rate-c": 2}


def test_a_claim_that_no_cell_judges_is_an_error():
    with pytest.raises(ValueError, match="no cell judges named-in-words; run the chapter again"):
        judging_cells(_notebook(), ["rate-a", "named-in-words"])


# In the browser.


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium was found, so the scorecard was not tried in a browser")
    with open_browser(path) as opened:
        yield opened


@pytest.fixture
def tab(browser, scorecard):
    complaints = []
    with watched_tab(browser, complaints) as opened:
        opened.goto(scorecard.path.as_uri())
        yield opened
    assert complaints == []


def _shown(tab):
    return tab.locator(".lm-scorecard tbody tr:visible").count()


@pytest.mark.browser
def test_rows_are_chosen_by_pillar_kind_and_verdict_and_counted(tab, entries):
    ledgers = list({ledger.chapter: ledger for ledger, _ in entries}.values())
    tab.get_by_label("Kind").select_option("limit")
    limits = totals(ledgers)["limits"]
    assert _shown(tab) == limits
    assert tab.get_by_role("status").inner_text() == f"{limits} of {len(entries)} shown"
    tab.get_by_label("Pillar").select_option("simple laws")
    here = totals([one for one in ledgers if one.pillar == "simple-laws"])["limits"]
    assert _shown(tab) == here
    tab.get_by_label("Verdict").select_option("holds")
    assert _shown(tab) == 0


@pytest.mark.browser
def test_rows_are_chosen_by_what_the_prediction_was_fed(tab, entries):
    shown = 0
    for fed in ("setting", "initial state", "counterfactual run", "same run"):
        if entries_fed := sum(entry.get("fed") == fed for _, entry in entries):
            tab.get_by_label("Fed").select_option(fed)
            assert _shown(tab) == entries_fed
        shown += entries_fed
    assert shown == sum("fed" in entry for _, entry in entries)


@pytest.mark.browser
def test_columns_sort_both_ways_and_say_so(tab, entries):
    button = tab.get_by_role("button", name="Discrepancy")
    column = "cells => cells.map(cell => Number(cell.dataset.order))"
    for way in ("ascending", "descending"):
        button.press("Enter")
        assert tab.locator("th[aria-sort]").get_attribute("aria-sort") == way
        orders = tab.locator(".lm-scorecard tbody td:nth-child(6)").evaluate_all(column)
        assert orders == sorted(orders, reverse=way == "descending")
        assert len(orders) == len(entries)


@pytest.mark.browser
def test_who_comes_back_to_the_page_finds_the_rows_that_were_chosen(tab, entries):
    limits = sum(entry["kind"] == "limit" for _, entry in entries)
    tab.get_by_label("Kind").select_option("limit")
    tab.get_by_role("link", name="The cell that judges it").locator("visible=true").first.click()
    tab.go_back(wait_until="load")
    assert tab.get_by_label("Kind").input_value() == "limit"
    assert _shown(tab) == limits


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_cell_that_judges_is_marked_and_its_verdicts_are_read_in_full(tab, width):
    tab.set_viewport_size({"width": width, "height": 900})
    tab.get_by_role("link", name="The cell that judges it").first.click()
    anchor = tab.locator(".lm-claim-anchor:target")
    assert anchor.bounding_box()["height"] > 0
    said = tab.locator(".lm-claim-anchor + .cell .output.stream pre")
    assert said.count() > 5
    wide = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1).length"
    assert said.evaluate_all(wide) == 0


PHONE_HEADS = """() => {
    const boxes = [...document.querySelectorAll('.lm-scorecard thead button')].map(
        button => button.getBoundingClientRect());
    const over = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom &&
        b.top < a.bottom;
    return {
        outside: boxes.filter(box => box.left < 0 || box.right > innerWidth).length,
        overlap: boxes.filter((a, n) => boxes.some((b, m) => m > n && over(a, b))).length,
    };
}"""


@pytest.mark.browser
def test_on_a_phone_no_heading_lies_over_another_or_beside_the_page(tab):
    tab.set_viewport_size({"width": PHONE, "height": 844})
    assert tab.evaluate(PHONE_HEADS) == {"outside": 0, "overlap": 0}
    tab.add_style_tag(content=".lm-verdicts.lm-scorecard thead th:nth-child(n) {width: 10%}")
    assert tab.evaluate(PHONE_HEADS) != {"outside": 0, "overlap": 0}


@pytest.mark.browser
def test_a_cited_row_is_shown_whatever_the_address_chooses(tab, scorecard, entries):
    ledger, entry = next(pair for pair in entries if pair[1]["kind"] == "claim")
    row = f"{ledger.chapter}-{entry['id']}"
    tab.goto(f"{scorecard.path.as_uri()}?kind=limit#{row}")
    assert tab.locator(f"[id='{row}']").is_visible()
    tab.goto(f"{scorecard.path.as_uri()}?kind=claim&verdict=holds")
    claims = [entry for _, entry in entries if entry["kind"] == "claim"]
    assert _shown(tab) == sum(entry["verdict"] == "holds" for entry in claims)
