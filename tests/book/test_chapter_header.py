"""The header of each chapter: facts, prerequisites, files, links to a repository, citation."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from chapter_header import PREREQUISITES, facts, links
from citing import Citation, load_citation
from docutils import nodes
from docutils.utils import new_document
from page_checks import read_page
from reading_time import reading_minutes

from learnmech.compare.ledger import Ledger, load_ledgers
from learnmech.compare.pairs import find_chapters
from learnmech.compare.repository import Repository, load_repository

DUMMY = Repository("someone", "a-book", "main")
LEDGER = Ledger(
    "toy", "own", "Toy", ({"kind": "claim", "verdict": "holds", "fed": "setting",
                           "fitted_parameters": 0},)
)  # fmt: skip


def _header(page):
    text = page.read_text("utf-8")
    start = text.index('<div class="lm-header')
    return text[start : text.index("<section", start)]


def _paths(addresses):
    """Return the files of the repository that addresses of Colab, Binder and GitHub name."""
    for address in addresses:
        parts = urlsplit(address)
        if parts.netloc == "mybinder.org":
            assert parts.path == "/v2/gh/someone/a-book/main"
            yield parse_qs(parts.query)["urlpath"][0].removeprefix("lab/tree/")
        elif "/blob/" in address:
            assert "/someone/a-book/blob/main/" in address
            yield address.partition("/blob/main/")[2]


def test_every_chapter_says_under_its_title_what_to_know_beforehand(root):
    for files in find_chapters(root):
        lines = files.text.read_text("utf-8").split("\n# ", 1)[1].splitlines()
        assert lines[2].startswith(f"**{PREREQUISITES}** You need "), files.slug


def test_the_header_stands_on_every_chapter_with_its_prerequisites(root, pages):
    for files in find_chapters(root):
        header = _header(pages / files.text.relative_to(root).with_suffix(".html"))
        for words in ("claims hold", "minutes", "on one CPU core", "with Python", PREREQUISITES):
            assert words in header, (files.slug, words)
        assert "@incollection{learningmechanics-" in re.sub("<[^>]*>", "", header)


def test_the_files_to_keep_are_the_chapter_as_it_is_committed(root, pages):
    for files in find_chapters(root):
        page = pages / files.text.relative_to(root).with_suffix(".html")
        offered = re.findall(r'href="([^"]*)" download>', _header(page))
        assert [name.rpartition("/")[2] for name in offered] == [
            files.notebook.name,
            files.text.name,
        ]
        for address, source in zip(offered, (files.notebook, files.text), strict=True):
            assert (page.parent / address).read_bytes() == source.read_bytes()


def test_the_hurried_are_led_to_the_figures_and_to_the_rows_of_the_scorecard(root, pages):
    for files in find_chapters(root):
        page = read_page(pages / files.text.relative_to(root).with_suffix(".html"))
        assert "#theory-over-practice" in page.links
        assert "theory-over-practice" in page.anchors
        pillar = files.pillar.replace("-", "+")
        assert f"../../book/scorecard.html?pillar={pillar}" in page.links


def test_without_a_repository_no_page_offers_to_launch_anything(root, pages):
    if load_repository(root) is not None:
        pytest.skip("the book has a repository")
    for files in find_chapters(root):
        page = read_page(pages / files.text.relative_to(root).with_suffix(".html"))
        assert not [a for a in page.links if "colab" in a or "mybinder" in a]


def test_every_path_of_a_repository_is_a_file_of_the_checkout(root):
    for ledger in load_ledgers(root / "book" / "_ledger"):
        paths = list(_paths(links(ledger, DUMMY).values()))
        assert len(paths) == 3
        assert sum(path.endswith(".ipynb") for path in paths) == 2
        assert all((root / path).is_file() for path in paths), paths
        if (root / ".git").exists():
            subprocess.run(["git", "ls-files", "--error-unmatch", *paths], cwd=root, check=True)


def test_a_book_with_a_repository_shows_its_links(root, tmp_path):
    files = find_chapters(root)[0]
    for name in ("book/_ext", "book/_static", "book/_ledger"):
        shutil.copytree(root / name, tmp_path / name)
    for name in ("book/_measured.json", "book/references.bib", "CITATION.cff"):
        shutil.copy(root / name, tmp_path / name)
    files_here = tmp_path / files.text.relative_to(root)
    files_here.parent.mkdir(parents=True)
    shutil.copy(files.text, files_here)
    shutil.copy(files.notebook, files_here.parent)
    settings = yaml.safe_load((root / "_config.yml").read_text("utf-8"))
    settings["repository"] = {"url": DUMMY.url, "branch": DUMMY.branch}
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(settings))
    page = f"notebooks/{files.pillar}/{files.slug}"
    (tmp_path / "_toc.yml").write_text(f"format: jb-book\nroot: {page}\n")
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(tmp_path), "-q"]
    subprocess.run(command, check=True, capture_output=True)
    built = read_page(tmp_path / "_build" / "html" / f"{page}.html")
    paths = sorted(set(_paths(built.links)))
    assert paths == [f"{page}.ipynb", f"{page}.md"]
    assert f"{DUMMY.url}/issues" in built.links
    assert f"url = {{{DUMMY.url}}}" in re.sub("<[^>]*>", "", _header(built.path))


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("title: A book\n", None),
        ("repository:\n  url: ''\n  branch: main\n", None),
        ("repository:\n  url: https://github.com/someone/a-book\n", DUMMY),
        ("repository:\n  url: https://github.com/someone/a-book.git\n  branch: main\n", DUMMY),
    ],
)
def test_the_repository_is_read_from_one_key(tmp_path, text, repository):
    (tmp_path / "_config.yml").write_text(text)
    assert load_repository(tmp_path) == repository


@pytest.mark.parametrize(
    "text",
    [
        "repository:\n  url: https://example.org/someone/a-book\n",
        "repository: https://github.com/someone/a-book\n",
    ],
)
def test_an_address_that_is_no_repository_is_a_sentence(tmp_path, text):
    (tmp_path / "_config.yml").write_text(text)
    with pytest.raises(ValueError, match=r"write https://github\.com/OWNER/NAME behind 'url:'"):
        load_repository(tmp_path)


def test_what_was_not_measured_is_left_out_of_the_header():
    assert list(facts(LEDGER, {}, 20)) == ["Verdicts", "Time to read"]
    record = {
        "times": {
            "cpu_seconds": {"toy": 28.6},
            "dates": {"toy": "2026-01-02"},
            "versions": {"python": "3.12", "torch": "2.9", "numpy": "2.3", "scipy": "1.16"},
        }
    }
    told = facts(LEDGER, record, 20)
    assert told["Time to run"] == "29 seconds on one CPU core"
    assert (
        told["Last verified"] == "2026-01-02 with Python 3.12, PyTorch 2.9, NumPy 2.3, SciPy 1.16"
    )


def test_a_citation_names_authors_part_version_and_day_and_an_address_only_where_there_is_one():
    here = Citation("A Book", ("A. Author", "The Others"), "1.2", "2026-01-02")
    assert here.sentence("A Part") == (
        "A. Author, The Others. “A Part”. In: A Book. Version 1.2, verified 2026-01-02."
    )
    entry = here.bibtex("key", "A Part")
    assert entry.startswith("@incollection{key,\n  author = {{A. Author} and {The Others}},")
    assert "url" not in entry
    assert "year = {2026}" in entry
    assert DUMMY.url in Citation("A Book", ("A",), "1", "", DUMMY).bibtex("key")


def test_the_citation_is_that_of_the_citation_file(root):
    said = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    citation = load_citation(root)
    assert (citation.title, citation.version) == (said["title"], said["version"])


def _page(*children):
    document = new_document("page")
    document += list(children)
    return document


def test_words_formulas_and_figures_count_and_code_and_folds_do_not():
    words = nodes.paragraph(text="word " * 1500)
    assert reading_minutes(_page(words)) == 10
    assert reading_minutes(_page(words.deepcopy(), nodes.math_block("x", "x"))) == 15
    fold = nodes.container(classes=["dropdown"])
    fold += words.deepcopy()
    code = nodes.literal_block("x", "word " * 3000)
    assert reading_minutes(_page(words.deepcopy(), fold, code)) == 10
