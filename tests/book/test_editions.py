"""Every exercise of the book: its key, its stub, its solution, its hints, and its editions."""

import json

import nbformat
import pytest

from learnmech.compare.pairs import find_chapters
from learnmech.teaching import CannotCheck, WrongAnswer, check
from learnmech.teaching.building import book_secrets, write_editions
from learnmech.teaching.checking import hint_for
from learnmech.teaching.exercises import IMPORTS
from learnmech.teaching.leaks import leaks
from learnmech.teaching.locks import load_keys, read_keys
from learnmech.teaching.sealing import chapter_exercises, key_path, seal


@pytest.fixture(scope="session")
def exercises(root):
    """Each chapter's exercises, by its name."""
    return {files.slug: chapter_exercises(files) for files in find_chapters(root)}


@pytest.fixture(scope="session")
def students(root, tmp_path_factory):
    """The students' edition of the whole book, HTML included."""
    (folder,) = write_editions(root, tmp_path_factory.mktemp("editions"), ["students"])
    return folder


@pytest.fixture(scope="session")
def secrets(root):
    """What no students' edition holds."""
    return book_secrets(root)


def test_every_chapter_has_exercises_and_the_keys_are_those_of_its_text(root, exercises):
    for slug, found in exercises.items():
        assert found, slug
        path = key_path(root, slug)
        assert seal(slug, found, read_keys(path)).text == path.read_text("utf-8"), (
            f"the keys of {slug} are stale; run 'learnmech seal {slug}'"
        )


def test_a_stale_key_goes_red(root, exercises):
    slug, (first, *others) = next(iter(exercises.items()))
    keys = read_keys(key_path(root, slug))
    label = first.label
    object.__setattr__(keys[label], "answer", keys[others[0].label].answer)
    assert seal(slug, [first, *others], keys).changed == (label,)


def test_no_key_is_without_an_exercise(exercises):
    labels = [exercise.label for found in exercises.values() for exercise in found]
    assert sorted(labels) == sorted(load_keys())


def test_every_solution_passes_and_every_stub_fails(exercises, capsys):
    for exercise in (e for found in exercises.values() for e in found):
        namespace = {}
        exec(f"{IMPORTS}\n{exercise.code}\n{exercise.check_line}", namespace)
        assert capsys.readouterr().out == f"{exercise.label}: right.\n"
        with pytest.raises(CannotCheck, match=f"^{exercise.label}: there is no answer yet"):
            exec(f"{exercise.stub}\n{exercise.check_line}", namespace)


def test_every_common_mistake_gets_its_hint(exercises):
    keys = load_keys()
    for found in exercises.values():
        for exercise in found:
            for wrong in exercise.wrong:
                said = hint_for(keys[exercise.label], wrong.value)
                assert said == wrong.hint, f"{exercise.label}: {wrong.expression}"
        with pytest.raises(WrongAnswer) as caught:
            check(exercise.label, wrong.value)
        assert str(caught.value).endswith(f"is not right. Hint: {wrong.hint}")


def test_the_key_files_hold_no_answer_and_no_hint(root, exercises):
    for slug, found in exercises.items():
        stored = key_path(root, slug).read_text("utf-8")
        kept = json.loads(stored)["exercises"]
        for exercise in found:
            assert repr(exercise.answer) not in stored
            assert set(kept[exercise.label]) == {
                "digits", "exact", "place", "salt", "answer", "hints"
            }  # fmt: skip
            for wrong in exercise.wrong:
                assert wrong.hint not in stored
                assert wrong.expression not in stored


def test_the_students_book_is_whole_and_gives_nothing_away(root, students, exercises, secrets):
    for part in ("html/_sources", "html/searchindex.js", "notebooks", "homework"):
        assert (students / part).exists(), part
    assert leaks(students, secrets) == []
    for files in find_chapters(root):
        page = (students / f"html/notebooks/{files.pillar}/{files.slug}.html").read_text("utf-8")
        source = students / f"html/_sources/notebooks/{files.pillar}/{files.slug}.ipynb"
        stubs = [cell.source for cell in nbformat.read(source, as_version=4).cells]
        for exercise in exercises[files.slug]:
            assert exercise.stub in "\n".join(stubs)
            assert f'id="{exercise.label}"' in page
        assert 'class="solution' not in page


def test_a_solution_on_a_students_page_goes_red(root, students, exercises, secrets, tmp_path):
    files = find_chapters(root)[0]
    first = exercises[files.slug][0]
    page = (students / f"html/notebooks/{files.pillar}/{files.slug}.html").read_text("utf-8")
    (tmp_path / "page.html").write_text(
        page.replace("</main>", f"<p>{first.solution}</p></main>"), encoding="utf-8"
    )
    assert leaks(tmp_path, secrets) == [f"page.html holds the solution of {first.label}"]
