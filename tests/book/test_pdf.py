"""The book on paper: what ``make pdf`` prints, and what it says where it cannot."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from browser_checks import find_browser

from learnmech.compare.ledger import load_ledgers

ROOT = Path(__file__).resolve().parents[2]
FRONT = '<div class="lm-title-page"><h1>A Book</h1><p>Version 7</p></div>'
PAGE = r"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A Book</title>
<script defer src="mathjax/tex-chtml.js"></script></head>
<body><nav class="bd-links">Navigation<p class="caption">Part I</p></nav>
<article class="bd-article"><section id="a-book"><h1>A Book</h1><p>First words.</p>
<p><a href="two.html#there">To the second page</a> <a href="gone.html">Nowhere</a></p>
<div class="toctree-wrapper"><span id="document-book/one"></span><section id="one"><h2>One</h2>
<p>Here <span class="math">\(\frac{1}{2}\)</span> is typeset.</p>
<details><summary>Why</summary><p id="there">A folded reason.</p></details>
<pre>wide = "WIDE"</pre></section>
<span id="document-book/two"></span><section id="two">
<h2>Two<a class="headerlink" href="#two">#</a></h2>
<p id="there">The second there.</p></section></div></section></article></body></html>"""


def _script():
    spec = importlib.util.spec_from_file_location("print_book", ROOT / "tools" / "print_book.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def _words(reader):
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def _titles(outline):
    for item in outline:
        yield from _titles(item) if isinstance(item, list) else [item.title]


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium was found, so nothing was printed")
    return path


@pytest.fixture(scope="module")
def printed(browser, pages, tmp_path_factory):
    """A small page of HTML on paper, with a line of code that is wider than the paper."""
    from pypdf import PdfReader

    folder = tmp_path_factory.mktemp("paper")
    shutil.copytree(pages / "_static" / "mathjax", folder / "mathjax")
    wide = "+".join(f"word{n}" for n in range(60))
    (folder / "index.html").write_text(PAGE.replace("WIDE", wide), encoding="utf-8")
    _script().print_page(browser, folder / "index.html", FRONT, folder / "paper.pdf")
    return PdfReader(folder / "paper.pdf")


@pytest.mark.browser
def test_paper_has_a_title_page_numbers_and_an_outline_and_no_navigation(printed):
    words = _words(printed)
    assert len(words) == 5
    assert words[0] == "A Book Version 7 1"
    assert [text.rpartition(" ")[2] for text in words] == ["1", "2", "3", "4", "5"]
    assert list(_titles(printed.outline)) == ["A Book", "Contents", "One", "Two"]
    assert "Navigation" not in " ".join(words)


@pytest.mark.browser
def test_the_contents_say_on_which_page_each_part_begins(printed):
    words = _words(printed)
    assert words[1] == "Contents Part I One 4 Two 5 2"
    assert words[3].startswith("One ")
    assert words[4].startswith("Two ")


@pytest.mark.browser
def test_folds_are_open_formulas_typeset_and_wide_code_is_wrapped(printed):
    words = " ".join(_words(printed))
    assert "A folded reason." in words
    assert "frac" not in words
    code = words.replace(" ", "")
    assert all(f"word{n}" in code for n in range(60))


@pytest.mark.browser
def test_links_between_pages_lead_to_places_in_the_pdf(printed):
    links = [note.get_object() for note in printed.pages[2].get("/Annots", [])]
    assert [link.get("/A", {}).get("/URI") for link in links] == [None]
    assert (
        printed.get_destination_page_number(printed.named_destinations[str(links[0]["/Dest"])]) == 4
    )


@pytest.mark.browser
def test_a_formula_that_is_not_typeset_stops_the_print(browser, tmp_path):
    script, page = _script(), tmp_path / "index.html"
    page.write_text(PAGE.replace("mathjax/tex-chtml.js", "own.js"), encoding="utf-8")
    (tmp_path / "own.js").write_text("window.MathJax = {startup: {promise: Promise.resolve()}};")
    with pytest.raises(RuntimeError, match="1 formulas were not typeset; nothing was printed"):
        script.print_page(browser, page, FRONT, tmp_path / "paper.pdf")
    assert not (tmp_path / "paper.pdf").exists()


def test_without_a_browser_there_is_one_sentence(monkeypatch, capsys):
    script = _script()
    monkeypatch.setattr(script, "find_browser", lambda: None)
    assert script.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("No Chromium was found to print the book with")
    assert said.count("\n") == 1


@pytest.mark.browser
def test_the_whole_book_is_printed(browser, root, tmp_path):
    from pypdf import PdfReader

    script = _script()
    page = script.build_one_page(tmp_path)
    script.print_page(browser, page, script.title_page(script.load_citation(root)), tmp_path / "b")
    reader = PdfReader(tmp_path / "b")
    words, titles = _words(reader), list(_titles(reader.outline))
    assert len(words) > 150
    for ledger in load_ledgers(root / "book" / "_ledger"):
        assert ledger.title in titles, ledger.title
    whole = " ".join(words)
    assert r"\frac" not in whole
    assert r"\(" not in whole
    empty = [n + 1 for n, text in enumerate(words) if len(text) < 10 and not reader.pages[n].images]
    assert empty == []
