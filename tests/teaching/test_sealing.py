"""From a chapter's text to its keys: what is kept, what is reported, what is refused."""

import pytest
from click.testing import CliRunner

from learnmech.cli import main
from learnmech.teaching import WrongAnswer, check
from learnmech.teaching.exercises import MalformedExercise
from learnmech.teaching.sealing import chapter_exercises, key_path, seal_chapters


def call(*arguments):
    return CliRunner().invoke(main, arguments)


def edit(toy, old, new):
    text = toy.text.read_text("utf-8")
    assert old in text
    toy.text.write_text(text.replace(old, new), encoding="utf-8")


def test_exercises_are_read_with_their_answers_worked_out(toy):
    odds, count = chapter_exercises(toy)
    assert (odds.label, odds.title, odds.points, odds.digits) == ("toy-odds", "Odds", 2, 3)
    assert odds.answer == pytest.approx(6.2778, abs=1e-4)
    assert odds.code == "toy_odds = np.log(81) / (2 * 0.35)"
    assert odds.statement.startswith("**Derive.**")
    assert odds.solution.startswith("Taking logarithms")
    assert odds.wrong[0].value == pytest.approx(2 * odds.answer)
    assert odds.wrong[0].hint == "The odds grow as e^{2st}, not as e^{st}."
    assert (count.answer, count.exact, count.stub) == (12, True, "toy_count = ...  # your number")


def test_sealing_twice_writes_the_same_bytes_and_says_so(toy):
    assert call("seal").output == "growth: 2 exercises; added toy-odds, toy-count\n"
    path = key_path(toy.root, "growth")
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert call("seal", "growth").output == "growth: 2 exercises; unchanged\n"
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_changed_answer_gets_a_new_salt_and_a_changed_hint_does_not(toy, toy_keys):
    edit(toy, "not the posts", "not the fences")
    edit(toy, "(2 * 0.35)\n", "(2 * 0.34)\n")
    (sealed,) = seal_chapters(toy.root, [toy])
    assert sealed.changed == ("toy-odds", "toy-count")
    new = {key.label: key for key in sealed.keys}
    assert new["toy-odds"].salt != toy_keys["toy-odds"].salt
    assert new["toy-count"].salt == toy_keys["toy-count"].salt
    assert new["toy-count"].answer == toy_keys["toy-count"].answer
    check("toy-odds", 6.46)
    with pytest.raises(WrongAnswer, match="not the fences"):
        check("toy-count", 13)


def test_an_exercise_that_goes_is_reported_and_an_empty_chapter_keeps_no_file(toy, toy_keys):
    text = toy.text.read_text("utf-8")
    start, end = text.index("```{exercise}\n:label: toy-count"), text.index("+++")
    toy.text.write_text(text[:start] + text[end:], encoding="utf-8")
    assert call("seal").output == "growth: 1 exercise; removed toy-count\n"
    toy.text.write_text(text[: text.index("## Exercises")], encoding="utf-8")
    assert call("seal").output == "growth: 0 exercises; removed toy-odds\n"
    assert not key_path(toy.root, "growth").exists()


def test_the_keys_of_a_chapter_that_is_no_more_go(toy, toy_keys):
    toy.text.rename(toy.text.with_name("decay.md"))
    done = call("seal")
    assert done.output.splitlines() == [
        "growth: 0 exercises; removed toy-odds, toy-count",
        "decay: 2 exercises; added toy-odds, toy-count",
    ]
    assert not key_path(toy.root, "growth").exists()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("  points: 2\n", "", "exercise 'toy-odds': 'points' is missing; give a whole number"),
        ("  digits: 3\n", "", "'digits' is missing"),
        ("  digits: 3\n", "  digits: three\n", "'digits' is 'three'"),
        ("  digits: 3\n", "  digits: 1\n", "one digit is too few"),
        ("  label: toy-odds\n", "", "has the label None; use small letters"),
        ("  label: toy-odds\n", "  label: toy_odds\n", "has the label 'toy_odds'"),
        ("  label: toy-odds\n", "  label: toy-other\n", "'toy-other' has no {exercise} block"),
        ("  points: 2\n", "  points: 2\n  marks: 2\n", "there is no key 'marks'"),
        ("{exercise} Odds", "{note} Odds", "the code cell 'toy-odds' has no {exercise} block"),
        ("{solution} toy-odds", "{note} toy-odds", "'toy-odds' has no {solution} block"),
        (":label: toy-odds\n", "", "an {exercise} block has no label"),
        ("toy-count", "toy-odds", "the label 'toy-odds' has two {exercise} blocks"),
        ("  label: toy-count\n", "  label: toy-odds\n", "'toy-odds' has two code cells"),
        ("exercise:\n  label: toy-count\n  points: 1\n  digits: 2\n  wrong:\n    - value: 13\n"
         "      hint: Count the steps, not the posts.\n", "", "'toy-count' has no code cell whose"),
        ("```{solution} toy-odds", "a\n\n    ```{solution} toy-odds", "is not a block of its own"),
        ("```{solution} toy-odds", ":::{solution} toy-odds", "is not a block of its own"),
        ("np.log(81) / (2 * 0.35)\n", "nd.log(81)\n", "its code ends in NameError: name 'nd'"),
        ("np.log(81) / (2 * 0.35)\n", "np.log(\n", "its cell is not Python"),
        ("np.log(81) / (2 * 0.35)\n", "np.nan\n", "its answer cannot be used: the answer is nan"),
        ("np.log(81) / (2 * 0.35)\n", "np.ones(2)\n", "an array of shape (2,)"),
        ("np.log(81) / (2 * 0.35)\n", "0.0\n", "the answer is 0, which has no significant digits"),
        ("Give three", "It is 6.28. Give three", "its text tells the answer, 6.28"),
        ("toy_odds = np", "odds = np", "there is no answer yet"),
        ('check("toy-odds", toy_odds)', 'check("toy-odds", 6)', "the last line of its cell has"),
        ('check("toy-odds", toy_odds)', "toy_odds", "the last line of its cell has to be check("),
        ("toy_odds = np.log(81) / (2 * 0.35)\n", "", "no line of its cell computes toy_odds"),
        ("      hint: The odds grow as e^{2st}, not as e^{st}.\n", "", "a 'value' and a 'hint'"),
        ("hint: The odds grow as e^{2st}, not as e^{st}.", "hint: ''", "is missing"),
        ("value: 13", "value: thirteen", "the wrong answer thirteen ends in NameError"),
        ("value: 13", "value: np.inf", "the wrong answer np.inf cannot be used"),
        ("value: np.log(81) / 0.35", "value: 6.285", "would pass for the right one"),
    ],
)  # fmt: skip
def test_an_exercise_that_is_not_whole_is_one_sentence_and_nothing_is_written(
    toy, old, new, sentence
):
    edit(toy, old, new)
    done = call("seal")
    assert done.exit_code == 2
    assert done.output.startswith("learnmech: growth: ")
    assert sentence in done.output
    assert len(done.output.splitlines()) == 1
    assert not key_path(toy.root, "growth").exists()


def test_a_label_belongs_to_one_chapter(toy, toy_keys):
    other = toy.text.with_name("second.md")
    other.write_text(toy.text.read_text("utf-8"), encoding="utf-8")
    done = call("seal", "second")
    assert done.exit_code == 2
    assert "second: the label 'toy-odds' is taken by the chapter 'growth'" in done.output
    assert "the label 'toy-odds' is taken by" in call("seal").output
    with pytest.raises(MalformedExercise, match="is taken by the chapter 'growth'"):
        seal_chapters(toy.root, [type(toy)(toy.root, "second", toy.pillar)])
