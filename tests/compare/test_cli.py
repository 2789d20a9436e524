"""The command line as a person uses it: words, exit codes, no traceback."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from learnmech.cli import main


def call(*arguments):
    return CliRunner().invoke(main, arguments)


def test_list_and_scorecard_read_the_ledgers(copy):
    listed = call("list")
    assert listed.exit_code == 0
    assert "toy" in listed.output
    assert "solvable-settings" in listed.output
    shown = call("scorecard")
    assert "1 of 1 claims hold" in shown.output
    entries = json.loads(call("scorecard", "--json").output)
    assert [entry["kind"] for entry in entries] == ["claim", "limit"]


def test_a_failing_verdict_in_the_ledger_is_exit_code_one(copy):
    path = copy / "book" / "_ledger" / "toy.json"
    path.write_text(path.read_text().replace('"verdict": "holds"', '"verdict": "fails"'))
    assert call("scorecard").exit_code == 1


def test_check_prints_margins_and_its_exit_code_says_what_happened(copy):
    done = call("check", "toy", "--seed-offset", "5")
    assert done.exit_code == 0
    assert "share of its room" in done.output
    text = copy / "notebooks" / "solvable-settings" / "toy.md"
    text.write_text(text.read_text().replace("tolerance=0.1", "tolerance=0.001"))
    done = call("check", "toy", "--seed-offset", "5")
    assert done.exit_code == 1
    assert "fails" in done.output
    text.write_text(text.read_text().replace("runs = np.stack", "runs = np.stock"))
    done = call("check", "toy", "--seed-offset", "5")
    assert done.exit_code == 2
    assert "AttributeError" in done.output


def test_check_fails_a_random_claim_that_does_not_move_with_the_seeds(copy):
    text = copy / "notebooks" / "solvable-settings" / "toy.md"
    same = "torch.randn(20, generator=generator)"
    assert same in text.read_text()
    text.write_text(text.read_text().replace(same, "torch.cos(100 * inputs)"))
    assert call("run").exit_code == 0
    done = call("check", "--seed-offset", "5")
    assert done.exit_code == 1
    assert "line-holds: names seeds, but nothing measured moves with them" in done.output


@pytest.mark.parametrize("command", [["run"], ["check", "--seed-offset", "3"]])
def test_an_unknown_chapter_names_the_nearest(copy, command):
    for name, words in {
        "tyo": "the nearest is: toy",
        "notebooks/solvable-settings/toy.md": "the nearest is: toy",
        "zzz": "there are: toy",
    }.items():
        done = call(*command, name)
        assert done.exit_code == 2
        assert f"no chapter is called '{name}'; {words}\n" in done.output


@pytest.mark.parametrize("offset", ["0", "-1", "many"])
def test_an_offset_is_a_positive_number(copy, offset):
    done = call("check", "--seed-offset", offset)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_outside_a_book_it_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["list"], ["run"], ["check", "--seed-offset", "1"], ["scorecard"]):
        done = call(*command)
        assert done.exit_code == 2
        assert "change into a checkout" in done.output


def test_the_list_of_commands_shows_whole_sentences():
    words = call("--help").output.partition("Commands:")[2]
    assert "scorecard" in words
    assert "..." not in words


def test_an_interrupt_at_any_moment_is_no_failing_verdict(copy, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("learnmech.commands.common.find_root", interrupt)
    done = call("check", "toy", "--seed-offset", "5")
    assert done.exit_code == 2
    assert done.output == "learnmech: interrupted\n"


def test_an_interrupted_run_leaves_everything_as_it_was(copy, tmp_path):
    """Ctrl-C in the middle of a cell, as a terminal sends it."""
    begun = tmp_path / "begun"
    stall = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(300)\n"
    text = copy / "notebooks" / "solvable-settings" / "toy.md"
    text.write_text(text.read_text().replace("runs = np.stack", stall + "runs = np.stack"))
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    process = subprocess.Popen(
        [sys.executable, "-m", "learnmech.cli", "run", "toy"],
        cwd=copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 90
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert begun.exists()
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 2
    assert "interrupted; what was running wrote nothing" in error
    assert "Traceback" not in error
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before
