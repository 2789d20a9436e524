"""``tools/record.py``: what is run, what is stored, and when it complains."""

import importlib.util
import json
from pathlib import Path

import pytest

from learnmech.compare.ledger import Ledger
from learnmech.compare.notebooks import ChapterFailed
from learnmech.compare.pairs import find_chapters
from learnmech.compare.record import load_record, save_chapter

ROOT = Path(__file__).resolve().parents[2]


def _entry(discrepancy):
    return {
        "id": "meets", "kind": "claim", "seeds": [1], "measured": discrepancy,
        "discrepancy": discrepancy, "tolerance": 1.0,
        "verdict": "holds" if discrepancy <= 1 else "fails",
    }  # fmt: skip


@pytest.fixture
def record(tmp_path, monkeypatch):
    """The script, over a book of two chapters whose claim fails at the offsets in ``failing``."""
    spec = importlib.util.spec_from_file_location("record", ROOT / "tools" / "record.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for pillar, slug in (("simple-laws", "late"), ("solvable-settings", "early")):
        folder = tmp_path / "notebooks" / pillar
        folder.mkdir(parents=True)
        (folder / f"{slug}.md").write_text(f"# {slug}\n")
    (tmp_path / "book" / "_ledger").mkdir(parents=True)
    for slug in ("early", "late"):
        ledger = Ledger(slug, "own", slug, (_entry(0.5),))
        (tmp_path / "book" / "_ledger" / f"{slug}.json").write_text(ledger.to_json())
    script.failing, script.broken, script.ran = set(), set(), []

    async def check(files, offset):
        script.ran.append((files.slug, offset))
        if files.slug in script.broken:
            raise ChapterFailed(f"{files.slug} broke")
        size = 2.0 if offset in script.failing else 0.5 + offset / 1000
        return Ledger(files.slug, files.pillar, files.slug, (_entry(size),))

    offsets = tmp_path / "offsets.txt"
    offsets.write_text("# Words.\n" + "".join(f"{k}\n" for k in range(1, 21)))
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "_OFFSETS", offsets)
    monkeypatch.setattr(script, "check", check)
    return script


def test_every_chapter_is_run_with_every_offset_in_the_order_of_the_book(record):
    assert record.main(["robustness"]) == 0
    assert record.ran == [(s, k) for s in ("early", "late") for k in range(1, 21)]
    stored = load_record(record.ROOT)["robustness"]
    assert stored["offsets"] == list(range(1, 21))
    assert stored["claims"]["late"]["meets"] == {"held": 20, "of": 20, "largest_share": 0.52}


@pytest.mark.parametrize(("failures", "status"), [(1, 0), (2, 1)])
def test_nineteen_of_twenty_will_do_and_eighteen_will_not(record, failures, status, capsys):
    record.failing = set(range(1, failures + 1))
    assert record.main(["robustness", "late"]) == status
    assert f"held in {20 - failures} of 20" in capsys.readouterr().out


def test_a_chapter_that_is_named_is_run_alone_and_the_others_keep_what_they_had(record):
    record.main(["robustness"])
    record.ran.clear()
    record.failing = {3}
    record.main(["robustness", "late"])
    assert {slug for slug, _ in record.ran} == {"late"}
    claims = load_record(record.ROOT)["robustness"]["claims"]
    assert [claims[slug]["meets"]["held"] for slug in ("early", "late")] == [20, 19]


def test_a_chapter_that_breaks_later_loses_nothing_that_was_measured_before(record, capsys):
    record.broken = {"late"}
    assert record.main(["robustness"]) == 2
    assert "record.py: late broke" in capsys.readouterr().err
    assert list(load_record(record.ROOT)["robustness"]["claims"]) == ["early"]


def test_other_offsets_begin_the_section_anew(record):
    record.main(["robustness"])
    record._OFFSETS.write_text("1\n2\n")
    record.main(["robustness", "late"])
    assert list(load_record(record.ROOT)["robustness"]["claims"]) == ["late"]


def test_what_was_measured_with_other_versions_is_dropped(tmp_path):
    (tmp_path / "book").mkdir()
    save_chapter(tmp_path, "times", "cpu_seconds", "early", 3.0)
    path = tmp_path / "book" / "_measured.json"
    stored = json.loads(path.read_text())
    save_chapter(tmp_path, "times", "cpu_seconds", "late", 4.0)
    assert load_record(tmp_path)["times"]["cpu_seconds"] == {"early": 3.0, "late": 4.0}
    stored["times"]["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(stored))
    save_chapter(tmp_path, "times", "cpu_seconds", "late", 4.0)
    assert load_record(tmp_path)["times"]["cpu_seconds"] == {"late": 4.0}


@pytest.mark.parametrize("arguments", [[], ["time"], ["times", "erly"]])
def test_a_wrong_word_is_exit_code_two_and_a_sentence(record, arguments, capsys):
    assert record.main(arguments) == 2
    assert capsys.readouterr().err.startswith("record.py: ")


def test_the_committed_offsets_are_twenty_or_more_different_positive_numbers(record):
    offsets = record.read_offsets(ROOT / "tools" / "seed_offsets.txt")
    assert len(set(offsets)) == len(offsets) >= 20
    assert min(offsets) > 0


def test_the_book_finds_its_chapters_in_the_order_of_its_pillars(record):
    assert [files.slug for files in find_chapters(record.ROOT)] == ["early", "late"]
