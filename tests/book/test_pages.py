"""The built pages: links, alt texts, headings, figures, and nothing loaded from outside."""

import hashlib
import json

import nbformat
import pytest
from page_checks import caption_pattern, page_paths, plain_words, read_page, site_problems

from learnmech.compare.figures import MIME, stored_picture_problem
from learnmech.compare.pairs import find_chapters

HEAD = '<html lang="en"><head><title>More</title></head>'


def _published(files):
    """Yield data and words of every figure that a chapter's notebook published."""
    notebook = nbformat.read(files.notebook, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                yield output["data"], output["metadata"]["learnmech"]


def _all_published(root):
    return [(f, data, words) for f in find_chapters(root) for data, words in _published(f)]


def _page_of(pages, files):
    return read_page(pages / "notebooks" / files.pillar / f"{files.slug}.html")


def _data_of(files, words):
    name = words["name"].removeprefix(f"fig-{files.slug}-")
    return json.loads((files.figures / f"{name}.json").read_text("utf-8"))


def test_links_anchors_pictures_headings_and_sources_of_every_page_are_sound(pages):
    assert site_problems(pages) == []


def test_every_page_of_the_table_of_contents_was_looked_at(root, pages):
    from sphinx_external_toc.parsing import parse_toc_yaml

    built = {path.relative_to(pages).as_posix() for path in page_paths(pages)}
    named = {f"{name}.html" for name in parse_toc_yaml(root / "_toc.yml")}
    assert named - built == set()


def test_every_published_figure_is_numbered_and_shows_its_own_words(root, pages):
    for files, _, words in _all_published(root):
        shown = {figure.identifier: figure for figure in _page_of(pages, files).figures}
        figure = shown[words["name"]]
        assert figure.number.split()[:1] == ["Fig."], words["name"]
        assert figure.alt == words["alt"]
        assert caption_pattern(words["caption"]).fullmatch(plain_words(figure.caption)), (
            f"{words['name']}: the page says {figure.caption!r}"
        )


def test_no_two_figures_of_the_book_share_a_number(root, pages):
    published = _all_published(root)
    figures = [figure for files in find_chapters(root) for figure in _page_of(pages, files).figures]
    numbers = [figure.number for figure in figures]
    assert len(set(numbers)) == len(numbers) >= len(published)


def test_every_published_picture_reaches_its_page_unchanged(root, pages):
    for files, data, words in _all_published(root):
        assert stored_picture_problem(data) is None
        page = _page_of(pages, files)
        figure = next(f for f in page.figures if f.identifier == words["name"])
        picture = (page.path.parent / figure.source).read_bytes()
        assert hashlib.sha256(picture).hexdigest() == data[MIME]["sha256"], words["name"]


def test_the_data_files_hold_the_numbers_and_words_of_the_notebook(root):
    for files, data, words in _all_published(root):
        stored = _data_of(files, words)
        series = {k: [float(x) for x in v.split()] for k, v in data[MIME]["series"].items()}
        assert stored["series"] == series, words["name"]
        assert stored["rtol"] == data[MIME]["rtol"]
        assert {"name": stored["figure"], "alt": stored["alt"], "caption": stored["caption"]} == (
            dict(words)
        )


# The same function on small folders in which one thing is wrong on purpose.


def test_a_sound_page_passes(tiny):
    assert site_problems(tiny()) == []


def test_an_external_link_is_allowed(tiny):
    assert site_problems(tiny(body='<a href="https://example.org/x.html#y">far</a>')) == []


@pytest.mark.parametrize(
    "head",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<script src="//cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="https://example.org/x.css">',
        '<link rel="icon" href="https://example.org/x.svg">',
        '<link rel="preload" as="font" href="https://example.org/x.woff2">',
        '<link rel="preconnect" href="https://example.org">',
        "<style>@import 'https://example.org/x.css';</style>",
        "<style>body { background: url(https://example.org/x.png) }</style>",
    ],
)
def test_a_page_that_loads_from_outside_in_its_head_is_caught(tiny, head):
    (problem,) = site_problems(tiny(head=head))
    assert "from outside" in problem


@pytest.mark.parametrize(
    "body",
    [
        '<img src="https://example.org/x.png" alt="A picture">',
        '<img src="dot.svg" srcset="dot.svg 1x, https://example.org/x.png 2x" alt="A picture">',
        '<iframe src="https://example.org"></iframe>',
        '<audio src="https://example.org/x.ogg"></audio>',
        '<video><source src="https://example.org/x.webm"></video>',
        "<p style=\"background: url('https://example.org/x.png')\">x</p>",
    ],
)
def test_a_page_that_loads_from_outside_in_its_body_is_caught(tiny, body):
    (problem,) = site_problems(tiny(body=body))
    assert "from outside" in problem


def test_an_external_import_in_a_style_sheet_is_caught(tiny):
    (problem,) = site_problems(tiny(css='@import "https://example.org/x.css";\n'))
    assert "https://example.org/x.css from outside (styles of style.css)" in problem


def test_an_external_address_in_an_imported_style_sheet_is_caught(tiny):
    folder = tiny(css="@import url(more.css);\n")
    (folder / "more.css").write_text("p { background: url(//example.org/x.png) }\n")
    (problem,) = site_problems(folder)
    assert "styles of more.css" in problem


def test_a_commented_out_address_in_a_style_sheet_is_no_problem(tiny):
    assert site_problems(tiny(css="/* url(https://example.org/x.png) */\n")) == []


def test_a_content_network_in_an_inline_script_is_caught(tiny):
    (problem,) = site_problems(tiny(head="<script>const x = 'unpkg.com/thebe'</script>"))
    assert "content network" in problem


def test_a_local_script_that_is_not_there_is_caught(tiny):
    (problem,) = site_problems(tiny(head='<script src="gone.js"></script>'))
    assert "loads gone.js, which is not there" in problem


@pytest.mark.parametrize("attribute", ["", 'alt=""', 'alt="  "'])
def test_a_missing_or_empty_alt_text_is_caught(tiny, attribute):
    (problem,) = site_problems(tiny(body=f'<img src="dot.svg" {attribute}>'))
    assert "dot.svg has no alt text" in problem


def test_a_broken_relative_link_is_caught(tiny):
    (problem,) = site_problems(tiny(body='<a href="gone.html">gone</a>'))
    assert "links to gone.html, which is not there" in problem


@pytest.mark.parametrize("address", ["#gone", "other.html#gone"])
def test_a_missing_anchor_is_caught(tiny, address):
    (problem,) = site_problems(tiny(body=f'<a href="{address}">gone</a>'))
    assert f"links to {address}, but no id of that page is 'gone'" in problem


def test_a_forwarding_page_to_nowhere_is_caught(tiny):
    folder = tiny()
    (folder / "old.html").write_text('<meta http-equiv="Refresh" content="0; url=gone.html" />')
    (problem,) = site_problems(folder)
    assert problem == "old.html: links to gone.html, which is not there"


def test_a_skipped_heading_is_caught(tiny):
    (problem,) = site_problems(tiny(body="<h2>Two</h2><h4>Four</h4>"))
    assert "'Four' skips from level 2 to 4" in problem


@pytest.mark.parametrize("number", [0, 2])
def test_a_page_without_a_title_or_with_two_is_caught(tiny, number):
    folder = tiny()
    (folder / "more.html").write_text(HEAD + number * "<h1>T</h1>")
    (problem,) = site_problems(folder)
    assert f"more.html: has {number} headings of the first level" in problem


def test_a_page_without_a_language_is_caught(tiny):
    folder = tiny()
    (folder / "more.html").write_text("<head><title>More</title></head><h1>T</h1>")
    assert site_problems(folder) == ["more.html: does not say its language"]


@pytest.mark.parametrize(
    ("title", "problem"),
    [
        ("", "more.html: has no title"),
        ("<title>A\n page</title>", "has the title 'A page', which is also that of index.html"),
    ],
)
def test_a_page_without_a_title_of_its_own_is_caught(tiny, title, problem):
    folder = tiny()
    (folder / "more.html").write_text(f'<html lang="en"><head>{title}</head><h1>T</h1></html>')
    (found,) = site_problems(folder)
    assert found.endswith(problem)


@pytest.mark.parametrize(
    ("caption", "shown", "same"),
    [
        ("Loss of *three* runs, $a^2$.", r"Loss of three runs, \(a^2\).", True),
        ("After {cite:t}`someone`.", "After Someone et al. [2014].", True),
        ("Theory's line -- `black`.", "Theory’s line – black.", True),
        ("Loss of three runs.", "Loss of four runs.", False),
        ("A line, $y=x$.", r"A line, \(y=2x\).", False),
        ("A line.", "A line. And more.", False),
    ],
)
def test_captions_are_compared_as_pages_show_them(caption, shown, same):
    assert bool(caption_pattern(caption).fullmatch(plain_words(shown))) is same


def test_the_readme_shows_the_figure_that_the_chapter_published(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tools"))
    import readme_figure

    shown = root / "book" / "_static" / "stages.png"
    assert shown.read_bytes() == readme_figure.published_picture(), "run 'make notebooks'"
    assert "book/_static/stages.png" in (root / "README.md").read_text()
