"""Every chapter of the book: a good pair, a ledger that tests something, the whole frame."""

from pathlib import Path

import nbformat
import pytest
import yaml
from chapter_checks import FRAME, exercise_problems, frame_problems

from learnmech.compare.figures import MIME
from learnmech.compare.guards import notebook_problems
from learnmech.compare.ledger import load_ledger
from learnmech.compare.pairs import find_chapters, pair_problems, read_text
from learnmech.compare.scorecard import totals

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = find_chapters(ROOT)

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda files: files.slug)


def _figure_files(chapter):
    """Return the data files of the figures that a chapter's notebook published."""
    notebook = nbformat.read(chapter.notebook, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    names = [
        output["metadata"]["learnmech"]["name"].removeprefix(f"fig-{chapter.slug}-")
        for output in outputs
        if MIME in output.get("data", {})
    ]
    return {chapter.figures / f"{name}.json" for name in names}


def test_the_book_has_a_chapter():
    assert CHAPTERS, "no file matches notebooks/*/*.md"


@each_chapter
def test_the_notebook_is_its_text_executed_in_order(chapter):
    assert pair_problems(chapter) == []


@each_chapter
def test_the_page_leaves_out_the_set_up_cell_of_the_notebook(chapter, pages):
    notebook = nbformat.read(chapter.notebook, as_version=4)
    assert notebook.cells[1].id == f"{chapter.slug}-setup"
    page = pages / "notebooks" / chapter.pillar / f"{chapter.slug}.html"
    assert "NotInstalled" not in page.read_text("utf-8")


@each_chapter
def test_the_code_predicts_before_it_trains_and_has_no_literal_seed(chapter):
    cells = read_text(chapter).cells
    assert notebook_problems([c.source for c in cells if c.cell_type == "code"]) == []


@each_chapter
def test_the_ledger_names_its_chapter_and_no_verdict_fails(chapter):
    ledger = load_ledger(chapter.ledger)
    assert (ledger.chapter, ledger.pillar) == (chapter.slug, chapter.pillar)
    assert [entry["id"] for entry in ledger.failed] == []


@each_chapter
def test_two_claims_are_predicted_without_a_fit_and_one_limit_is_met(chapter):
    count = totals([load_ledger(chapter.ledger)])
    assert count["headline"] >= 2
    assert count["limits_met"] >= 1


@each_chapter
def test_the_figures_of_the_notebook_and_the_data_files_are_the_same_ones(chapter):
    assert _figure_files(chapter), "the chapter publishes no figure"
    assert set(chapter.figures.glob("[!.]*")) == _figure_files(chapter)


def test_every_ledger_and_every_folder_of_figures_belongs_to_a_chapter():
    ledgers = {chapter.ledger for chapter in CHAPTERS}
    folders = {chapter.figures for chapter in CHAPTERS if _figure_files(chapter)}
    assert set((ROOT / "book" / "_ledger").glob("[!.]*")) == ledgers
    assert set((ROOT / "book" / "_figures").glob("[!.]*")) == folders


@each_chapter
def test_the_table_of_contents_lists_the_chapter_under_its_pillar(chapter):
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    parts = [{page["file"] for page in part["chapters"]} for part in contents["parts"]]
    (part,) = [part for part in parts if f"book/pillars/{chapter.pillar}" in part]
    assert f"notebooks/{chapter.pillar}/{chapter.slug}" in part


@each_chapter
def test_the_text_follows_the_frame_of_a_chapter(chapter):
    assert frame_problems(chapter.text.read_text("utf-8")) == []


@each_chapter
def test_every_exercise_has_a_folded_solution(chapter):
    assert exercise_problems(chapter.text.read_text("utf-8")) == []


# The same functions on texts in which one thing is wrong on purpose.

GOOD_FRAME = "# Title\n\n" + "\n\nWords.\n\n".join(f"## {name}" for name in FRAME)
GOOD_EXERCISE = """\
```{exercise} Half-time
:label: half-time

How long?
```

````{solution} half-time
:class: dropdown

Five.

```python
5
```
````
"""


def test_a_whole_frame_passes_with_other_parts_between_its_own():
    text = GOOD_FRAME.replace("## Where it breaks", "## Greedy rank\n\n## Where it breaks")
    assert frame_problems(text) == []


@pytest.mark.parametrize("name", FRAME)
def test_a_missing_part_of_the_frame_is_caught(name):
    assert frame_problems(GOOD_FRAME.replace(f"## {name}\n", "").removesuffix(f"## {name}")) == [
        f"the part '{name}' is missing"
    ]


def test_a_part_in_the_wrong_place_is_caught():
    text = GOOD_FRAME.replace("## The experiment", "").replace(
        "## The question", "## The experiment\n\n## The question"
    )
    assert frame_problems(text) == ["the part 'The experiment' stands too early"]


def test_a_heading_inside_code_is_no_part_of_the_frame():
    text = GOOD_FRAME.replace("## Open question", "```\n## Open question\n```")
    assert frame_problems(text) == ["the part 'Open question' is missing"]


def test_an_exercise_with_a_folded_solution_passes():
    assert exercise_problems(GOOD_EXERCISE) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ((GOOD_EXERCISE, "Words."), "has no exercise"),
        ((":label: half-time\n", ""), "the exercise 'Half-time' has no label"),
        (("```{exercise}", "```{note}"), "the solution 'half-time' belongs to no exercise"),
        (("````{solution}", "````{note}"), "the exercise 'half-time' has no solution"),
        (("solution} half-time", "solution} other"), "the exercise 'half-time' has no solution"),
        ((":class: dropdown", ":hidden:"), "the solution 'half-time' is not folded"),
        (("Five.\n\n```python\n5\n```\n", ""), "the solution 'half-time' is empty"),
        ((GOOD_EXERCISE, 2 * GOOD_EXERCISE), "the label 'half-time' is given twice"),
    ],
)
def test_an_exercise_that_is_not_whole_is_caught(change, problem):
    assert problem in exercise_problems(GOOD_EXERCISE.replace(*change))
