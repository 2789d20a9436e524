"""The toy chapter in its editions: what is taken out, what is put in, and that nothing leaks."""

import json
import subprocess

import nbformat
import pytest
from click.testing import CliRunner

from learnmech.cli import main
from learnmech.teaching import building
from learnmech.teaching.building import PACKAGE, BuildFailed, book_secrets, write_editions
from learnmech.teaching.leaks import OpenText, chapter_secrets, leaks, open_words
from learnmech.teaching.sealing import chapter_exercises

SOLVED = "Taking logarithms turns the logistic equation into a straight ramp"


def call(*arguments):
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def editions(executed, tmp_path):
    """The three editions of the toy, without HTML."""
    write_editions(executed.root, tmp_path / "editions", html=False)
    return tmp_path / "editions"


def cells(path):
    return nbformat.read(path, as_version=4).cells


def chapter(editions, name):
    return cells(editions / name / "notebooks/solvable-settings/growth.ipynb")


def test_students_get_stubs_and_the_chapters_outputs_and_no_solution(editions):
    found = chapter(editions, "students")
    sources = [cell.source for cell in found]
    assert 'toy_odds = ...  # your number\ncheck("toy-odds", toy_odds)' in sources
    assert not any("{solution}" in source for source in sources)
    assert sum("{exercise}" in source for source in sources) == 2
    assert [c.outputs[0].text for c in found if c.get("outputs")] == ["doubling\n", "done\n"]
    stub = next(cell for cell in found if cell.source.startswith("toy_odds"))
    assert (stub.outputs, stub.execution_count, dict(stub.metadata)) == ([], None, {})
    text = (editions / "students/notebooks/solvable-settings/growth.md").read_text("utf-8")
    assert "toy_odds = ...  # your number" in text
    assert "wrong" not in text
    assert SOLVED not in text


def test_instructors_get_points_answers_and_common_wrong_answers(editions):
    found = chapter(editions, "instructors")
    at = next(i for i, cell in enumerate(found) if cell.source.startswith("toy_odds ="))
    notes = found[at + 1].source
    assert notes.startswith("**For the instructor: 2 points.** The answer is 6.28, to 3")
    assert "| 12.6 | `np.log(81) / 0.35` | The odds grow as e^\\{2st\\}" in notes
    assert any(SOLVED in cell.source for cell in found)


def test_the_public_edition_is_the_book_as_it_is(executed, editions):
    public = editions / "public/notebooks/solvable-settings/growth.ipynb"
    assert public.read_bytes() == executed.notebook.read_bytes()


def test_who_is_handed_a_notebook_installs_the_package_from_its_file(editions):
    def told(place):
        return next(c.source for c in cells(editions / place) if "NotInstalled" in c.source)

    chapter = "notebooks/solvable-settings/growth.ipynb"
    for place in (
        f"students/{chapter}",
        "students/homework/growth/growth.ipynb",
        "instructors/homework/source/growth/growth.ipynb",
    ):
        assert f'pip install "./{PACKAGE}[chapters]"' in told(place), place
    for place in (f"instructors/{chapter}", f"public/{chapter}"):
        assert 'pip install -e ".[book]"' in told(place), place


def test_homework_is_short_and_follows_nbgraders_conventions(editions):
    student = cells(editions / "students/homework/growth/growth.ipynb")
    teacher = cells(editions / "instructors/homework/source/growth/growth.ipynb")
    assert [c.metadata.get("nbgrader") for c in student] == [
        c.metadata.get("nbgrader") for c in teacher
    ]
    managed = {c.metadata.nbgrader["grade_id"]: c for c in teacher if "nbgrader" in c.metadata}
    assert list(managed) == [
        "growth-imports",
        *(
            f"toy-{x}-{part}"
            for x in ("odds", "count")
            for part in ("statement", "answer", "check")
        ),
    ]
    said = managed["toy-odds-check"].metadata.nbgrader
    assert (said["grade"], said["locked"], said["solution"], said["points"]) == (1, 1, 0, 2)
    said = managed["toy-odds-answer"].metadata.nbgrader
    assert (said["grade"], said["locked"], said["solution"]) == (False, False, True)
    assert managed["toy-odds-answer"].source.splitlines() == [
        "toy_odds = ...  # your number",
        "### BEGIN SOLUTION",
        "toy_odds = np.log(81) / (2 * 0.35)",
        "### END SOLUTION",
    ]
    assert "Odds (2 points)\n\n**Derive.**" in managed["toy-odds-statement"].source
    assert "(saxe2014exact)" in managed["toy-odds-statement"].source
    assert "3 points in all" in teacher[0].source


def test_the_public_homework_folds_its_solutions(editions):
    found = cells(editions / "public/homework/growth/growth.ipynb")
    folded = next(cell.source for cell in found if SOLVED in cell.source)
    assert folded.startswith("<details><summary>Solution</summary>\n\n")
    assert found[4].source == "toy_odds = ...  # your number"


def test_nothing_leaks_into_the_students_edition_and_the_others_tell_all(executed, editions):
    secrets = book_secrets(executed.root)
    assert leaks(editions / "students", secrets) == []
    public, instructors = (
        "\n".join(leaks(editions / name, secrets)) for name in ("public", "instructors")
    )
    for what in ("the solution", "the code", "a hint"):
        for label in ("toy-odds", "toy-count"):
            assert f"{what} of {label}" in public
            assert f"{what} of {label}" in instructors
    assert "the answer of toy-odds" in instructors


PAGE = (
    "<p>Taking <em>logarithms</em> turns the logistic&#32;equation into\n a straight ramp, so "
    '<span class="math">\\(t = \\ln 81/(2s)\\)</span>.</p>'
)


@pytest.mark.parametrize(
    ("where", "content", "what"),
    [
        ("html/page.html", PAGE, "the solution of toy-odds"),
        ("html/_sources/growth.ipynb", {"cells": [{"source": ["Halve it again and again until"
            " unity remains: ", "a dozen times."]}]}, "the solution of toy-count"),
        ("html/_sources/growth.md", "so t = $\\ln 81/(2s)$", None),
        ("html/_sources/growth.md", "toy_odds = np.log(81)/(2*0.35)", "the code of toy-odds"),
        ("html/slides/growth.html", "<code><span>toy_odds</span> <span>=</span> <span>np</span>"
            ".log(81) / (2 * 0.35)</code>", "the code of toy-odds"),
        ("html/_downloads/growth.ipynb", {"cells": [{"metadata": {"exercise": {"wrong": [
            {"hint": "The odds grow as e^{2st}, not as e^{st}."}]}}}]}, "a hint of toy-odds"),
        ("notebooks/growth.ipynb", {"metadata": {"note": "toy-odds: 6.28"}},
            "the answer of toy-odds"),
        ("keys.json", {"toy-odds": 6.28}, None),
        ("keys.json", {"toy-odds": "6.277784506674913"}, "the answer of toy-odds"),
        ("homework/growth.ipynb", {"cells": [{"source": "toy_count = 12"}]},
            "the answer of toy-count"),
        ("html/searchindex.js", 'Search.setIndex({"docnames": ["index", '
            '"notebooks/solvable-settings/growth"], "terms": {"logist": [0, 1], "ramp": 0}})',
            "the word 'logistic' of a solution"),
    ],
)  # fmt: skip
def test_a_leak_is_found_wherever_it_is(executed, editions, where, content, what):
    path = editions / "students" / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    found = leaks(editions / "students", book_secrets(executed.root))
    assert found == ([f"{where} holds {what}"] if what else [])


def test_an_edition_that_would_leak_is_not_written(executed, tmp_path, monkeypatch):
    plain = building.homework

    def leaky(*arguments):
        notebook = plain(*arguments)
        notebook.cells[0].metadata["comment"] = SOLVED
        return notebook

    monkeypatch.setattr(building, "homework", leaky)
    with pytest.raises(BuildFailed, match="gives something away: homework/growth"):
        write_editions(executed.root, tmp_path / "editions", html=False)
    assert list((tmp_path / "editions").iterdir()) == []


def test_the_command_writes_into_build_and_replaces_what_was_there(executed):
    done = call("editions", "--no-html")
    assert done.exit_code == 0
    folder = executed.root / "_build" / "editions"
    assert {path.name for path in folder.iterdir()} == {"students", "instructors", "public"}
    (folder / "students" / "old").touch()
    assert call("editions", "students", "--no-html").exit_code == 0
    assert not (folder / "students" / "old").exists()


def test_the_command_refuses_in_one_sentence(executed, tmp_path):
    done = call("editions", "teachers", "--no-html")
    assert done.exit_code == 2
    assert "no edition is called 'teachers'; the nearest is: instructors" in done.output
    text = executed.text.read_text("utf-8")
    executed.text.write_text(text.replace("A quantity", "Something"), encoding="utf-8")
    done = call("editions", "--no-html", "--to", str(tmp_path / "editions"))
    assert done.exit_code == 2
    assert "run 'learnmech run growth' first; no edition was written" in done.output
    executed.text.write_text(text.replace("  digits: 3\n", ""), encoding="utf-8")
    assert "'digits' is missing" in call("editions", "--no-html").output
    assert not (tmp_path / "editions").exists()


def test_html_that_cannot_be_built_is_one_sentence(executed, tmp_path, monkeypatch):
    def fails(command, **_):
        tree = command[command.index("build") + 1]
        said = f"reading\n{tree}/book/a.md:3: WARNING: what is this?\n{tree}/b.md: WARNING: that?"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(building.subprocess, "run", fails)
    done = call("editions", "students", "--to", str(tmp_path / "editions"))
    assert done.exit_code == 2
    assert done.output.splitlines()[-1] == (
        "learnmech: the HTML of the students edition could not be built: book/a.md:3: WARNING: "
        "what is this?; no edition was written"
    )


def test_what_another_chapter_says_openly_is_no_leak(executed):
    exercises = chapter_exercises(executed)
    openly = open_words(cells(executed.notebook), exercises)
    run = ("taking", "logarithms", "turns", "the", "logistic", "equation")
    assert run in chapter_secrets("growth", exercises, OpenText.of(openly)).runs
    elsewhere = nbformat.v4.new_markdown_cell(f"In another chapter: {SOLVED}.")
    openly += open_words([elsewhere], [])
    assert run not in chapter_secrets("growth", exercises, OpenText.of(openly)).runs
