"""What a reader meets: `check` says right, or one sentence."""

import json
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from learnmech.teaching import CannotCheck, WrongAnswer, check
from learnmech.teaching.answers import grid_place, grid_texts, to_number

RIGHT = np.log(81) / 0.7  # 6.2778


@pytest.mark.parametrize(
    "answer",
    [
        RIGHT, "6.28", " 6.28 ", 6.28, 6.27, 6.29, 6.2850, np.float32(6.28), np.array(6.28),
        torch.tensor(6.28), torch.tensor(6.28, requires_grad=True), Decimal("6.278"), 6.28 + 0j,
    ],
)  # fmt: skip
def test_the_answer_its_roundings_and_their_neighbours_are_right(toy_keys, capsys, answer):
    check("toy-odds", answer)
    assert capsys.readouterr().out == "toy-odds: right.\n"


@pytest.mark.parametrize("answer", [6.26, 6.30, -6.28, 62.8, 0.628, 0, 1e300, 1e-300, "6.3"])
def test_what_is_further_off_is_wrong_in_one_sentence(toy_keys, answer):
    with pytest.raises(WrongAnswer, match=r"is not right. It is wanted to 3 significant digits\."):
        check("toy-odds", answer)


@pytest.mark.parametrize("answer", [12, 12.0, "12", np.int64(12), torch.tensor(12)])
def test_a_whole_number_is_right_in_every_type(toy_keys, answer):
    check("toy-count", answer)


@pytest.mark.parametrize("answer", [11, 11.5, 12.5])
def test_a_whole_number_has_to_be_exact(toy_keys, answer):
    with pytest.raises(WrongAnswer, match="It is wanted exactly"):
        check("toy-count", answer)


@pytest.mark.parametrize("answer", [12.6, 2 * RIGHT, "12.5", 12.57])
def test_a_common_wrong_answer_is_met_with_its_hint(toy_keys, answer):
    with pytest.raises(WrongAnswer) as caught:
        check("toy-odds", answer)
    assert str(caught.value).endswith("Hint: The odds grow as e^{2st}, not as e^{st}.")


def test_a_hint_of_a_whole_number_is_for_that_number_only(toy_keys):
    with pytest.raises(WrongAnswer, match="not the posts"):
        check("toy-count", 13)
    with pytest.raises(WrongAnswer, match="wanted exactly"):
        check("toy-count", 14)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (..., "no answer yet"),
        (None, "no answer yet"),
        (float("nan"), "the answer is nan; give a finite number"),
        (np.inf, "the answer is inf; give a finite number"),
        (10**400, "too large"),
        ("six", "'six' is not a number"),
        ("", "'' is not a number"),
        (True, "the answer is True; give a number"),
        (1 + 2j, "is complex"),
        (np.ones(2), r"an array of shape \(2,\); give one number"),
        (torch.ones(1), r"an array of shape \(1,\)"),
        ([6.28], "a list; give one number"),
        (object, "is not a number"),
    ],
)
def test_what_is_no_number_is_refused_in_one_sentence(toy_keys, answer, reason):
    with pytest.raises(CannotCheck, match=reason) as caught:
        check("toy-odds", answer)
    assert str(caught.value).startswith("toy-odds: ")
    assert "\n" not in str(caught.value)


def test_jupyter_shows_lines_that_nbgraders_feedback_does_not_cut_off(toy_keys):
    with pytest.raises(WrongAnswer) as wrong:
        check("toy-odds", 7)
    with pytest.raises(CannotCheck) as other:
        check("toy-odds", np.ones((1,) * 30))
    for error in (wrong.value, other.value):
        lines = error._render_traceback_()
        assert max(map(len, lines)) <= 88
        assert " ".join(lines) == str(error)
    assert len(lines) > 1


def test_an_unknown_label_names_the_nearest(toy_keys):
    with pytest.raises(CannotCheck, match=r"no exercise is called 'toy-ods'; .*: toy-odds"):
        check("toy-ods", 1)


def test_jupyter_shows_the_sentence_alone(toy_keys, capsys):
    shell = InteractiveShell()
    shell.run_cell("from learnmech.teaching import check\ncheck('toy-odds', 12.6)")
    shown = capsys.readouterr().out.strip()
    assert shown == "toy-odds: 12.6 is not right. Hint: The odds grow as e^{2st}, not as e^{st}."


def test_plain_python_ends_in_the_sentence_and_needs_no_wing():
    program = "import learnmech.teaching, sys\n" + (
        "wings = {'learnmech.theory', 'learnmech.practice', 'learnmech.compare', 'numpy'}\n"
        "assert not wings & set(sys.modules), wings & set(sys.modules)\n"
        "learnmech.teaching.check('no-such', 1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "CannotCheck: no exercise is called 'no-such'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("value", "place", "texts"),
    [
        (9.996, -2, ("1E+1", "9.99", "10.01")),
        (-0.004, -2, ("0", "-0.01", "0.01")),
        (12345.6, 2, ("1.23E+4", "1.22E+4", "1.24E+4")),
        (1e-12, -14, ("1E-12", "9.9E-13", "1.01E-12")),
    ],
)
def test_a_grid_point_is_written_in_one_way(value, place, texts):
    assert grid_texts(value, place) == texts
    assert grid_place(value, 3) in (place, place - 1, place - 3)


def test_a_number_is_read_from_what_a_person_types():
    assert [to_number(x) for x in ("1e4", "-0.5", 3)] == [1e4, -0.5, 3.0]


def test_what_is_kept_holds_no_answer_and_no_hint(toy, toy_keys):
    path = toy.root / "src/learnmech/teaching/keys/growth.json"
    stored = path.read_text("utf-8")
    for word in ("6.2", "12.5", "odds grow", "posts", "log"):
        assert word not in stored
    assert set(json.loads(stored)["exercises"]) == {"toy-odds", "toy-count"}
