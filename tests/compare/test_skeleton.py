"""A new chapter's skeleton: where it is written, what is refused, and that it is a chapter."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from book.chapter_checks import exercise_problems, frame_problems
from click.testing import CliRunner

from learnmech.cli import main
from learnmech.compare import skeleton
from learnmech.compare.guards import notebook_problems
from learnmech.compare.ledger import load_ledger
from learnmech.compare.pairs import chapter_files, pair_problems, read_text
from learnmech.compare.scorecard import totals
from learnmech.compare.skeleton import SkeletonError, new_chapter

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_COPIED = (".git", ".venv*", "_build", "dist", "shared", "__pycache__", ".*_cache")


@pytest.fixture
def checkout(book):
    """The small book with its pillars' pages."""
    shutil.copytree(REPOSITORY / "book" / "pillars", book / "book" / "pillars")
    return book


def _everything(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _refusal(root, where, title="A title"):
    before = _everything(root)
    with pytest.raises(SkeletonError) as caught:
        new_chapter(root, where, title)
    assert _everything(root) == before
    return str(caught.value)


def test_the_text_is_written_and_listed_last_under_its_pillar(checkout):
    text, contents, page = new_chapter(checkout, "simple-laws/price-of-a-weight", "What it costs")
    words = text.read_text("utf-8")
    assert "\n# What it costs\n" in words
    assert not re.search("@[A-Z]+@", words)
    assert frame_problems(words) == []
    assert exercise_problems(words) == []
    cells = read_text(chapter_files(checkout, "price-of-a-weight")).cells
    assert notebook_problems([c.source for c in cells if c.cell_type == "code"]) == []
    parts = yaml.safe_load(contents.read_text("utf-8"))["parts"]
    (files,) = [f for p in parts if "book/pillars/simple-laws" in (f := _files(p))]
    assert files[-1] == "notebooks/simple-laws/price-of-a-weight"
    assert page.read_text("utf-8").endswith("```{verdicts} price-of-a-weight\n```\n")


def _files(part):
    return [chapter["file"] for chapter in part["chapters"]]


def test_two_new_chapters_stand_one_behind_the_other(checkout):
    new_chapter(checkout, "simple-laws/first", "First")
    new_chapter(checkout, "simple-laws/second", "Second")
    lines = (checkout / "_toc.yml").read_text("utf-8").splitlines()
    place = lines.index("      - file: notebooks/simple-laws/first")
    assert lines[place + 1] == "      - file: notebooks/simple-laws/second"


def test_an_unknown_pillar_names_the_nearest(checkout):
    assert "the nearest is: simple-laws" in _refusal(checkout, "simple-law/mine")
    assert "there are: solvable-settings, tractable-limits" in _refusal(checkout, "zzz/mine")


@pytest.mark.parametrize(
    "name", ["", "/", "/My", "/a/b", "/2-layers", "/../mine", "/a b", "/mine.md"]
)
def test_a_bad_name_is_refused_with_an_example(checkout, name):
    assert "such as 'simple-laws/my-chapter'" in _refusal(checkout, f"simple-laws{name}")


@pytest.mark.parametrize("title", ["", "  ", "Two\nlines", "x" * 101, "# Heading", "@SLUG@"])
def test_a_title_is_one_line_of_plain_words(checkout, title):
    assert "a title is" in _refusal(checkout, "simple-laws/mine", title)


@pytest.mark.parametrize(
    "left",
    [
        "notebooks/tractable-limits/mine.md",
        "notebooks/simple-laws/mine.ipynb",
        "book/_ledger/mine.json",
        "book/_figures/mine/figure.json",
        "src/learnmech/teaching/keys/mine.json",
    ],
)
def test_what_is_left_of_a_chapter_of_that_name_is_refused(checkout, left):
    (checkout / left).parent.mkdir(parents=True, exist_ok=True)
    (checkout / left).write_text("old")
    assert "'mine' is there already" in _refusal(checkout, "simple-laws/mine")


@pytest.mark.parametrize("page", ["_toc.yml", "book/pillars/tractable-limits.md"])
def test_a_page_that_names_the_chapter_already_is_refused(checkout, page):
    with (checkout / page).open("a") as file:
        file.write("\n# notebooks/simple-laws/mine\n")
    assert f"{page} names 'mine' already" in _refusal(checkout, "simple-laws/mine")
    assert new_chapter(checkout, "simple-laws/mine-too", "Another")


def test_contents_without_the_pillar_are_refused(checkout):
    contents = checkout / "_toc.yml"
    contents.write_text(contents.read_text().replace("book/pillars/simple-laws", "book/other"))
    assert "put it back first" in _refusal(checkout, "simple-laws/mine")


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_write_that_fails_half_way_leaves_everything_as_it_was(checkout, monkeypatch, failing):
    calls = []

    def replace(source, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError("the disk is full")
        Path(source).rename(target)

    monkeypatch.setattr(skeleton.os, "replace", replace)
    assert _refusal(checkout, "simple-laws/mine") == "nothing was written: the disk is full"


def test_the_command_says_what_it_wrote_what_comes_next_and_what_is_wrong(checkout):
    made = CliRunner().invoke(main, ["new", "simple-laws/mine", "--title", "Mine"])
    assert made.exit_code == 0
    assert "mine: wrote notebooks/simple-laws/mine.md, _toc.yml, book/pillars/simple-laws.md" in (
        made.output
    )
    assert "Next: learnmech seal mine && learnmech run mine" in made.output
    again = CliRunner().invoke(main, ["new", "simple-laws/mine", "--title", "Mine"])
    assert again.exit_code == 2
    assert "learnmech: 'mine' is there already" in again.output
    assert "Traceback" not in again.output


def test_a_new_chapter_seals_runs_holds_under_other_seeds_and_reaches_the_book(tmp_path):
    """The whole way that CONTRIBUTING describes, in a copy of this checkout."""
    root = tmp_path / "checkout"
    shutil.copytree(REPOSITORY, root, ignore=shutil.ignore_patterns(*NOT_COPIED))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEARNMECH_")}

    def call(*command):
        done = subprocess.run(
            [str(Path(sys.executable).with_name(command[0])), *command[1:]],
            cwd=root,
            env={**kept, "PYTHONPATH": str(root / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    call("learnmech", "new", "simple-laws/price-of-a-weight", "--title", "What a weight costs")
    assert "added price-of-a-weight-derive" in call("learnmech", "seal", "price-of-a-weight")
    call("learnmech", "run", "price-of-a-weight")
    shown = call("learnmech", "check", "price-of-a-weight", "--seed-offset", "7")
    assert "fails" not in shown
    files = chapter_files(root, "price-of-a-weight")
    assert pair_problems(files) == []
    ledger = load_ledger(files.ledger)
    assert ledger.failed == ()
    count = totals([ledger])
    assert (count["headline"], count["limits_met"]) == (2, 1)
    call("jupyter-book", "build", ".", "-W", "-n", "--keep-going", "-q")
    built = root / "_build" / "html"
    page = built / "notebooks" / "simple-laws" / "price-of-a-weight.html"
    assert "What a weight costs" in page.read_text("utf-8")
    assert "Replace it part by" not in page.read_text("utf-8").partition("<article")[2]
    pillar = (built / "book" / "pillars" / "simple-laws.html").read_text("utf-8")
    assert ledger.claims[0]["statement"] in pillar
    assert (built / "slides" / "price-of-a-weight.html").is_file()
