"""The benchmarks' own machinery: a missed target is said, stored and ends with exit code 1."""

import json
import sys
from pathlib import Path

import harness
import pytest
import summary

HERE = Path(__file__).resolve().parents[1] / "benchmarks"


def spend(rounds: int):
    """Return work that takes CPU time in proportion to `rounds`."""

    def work():
        total = sum(i * i for i in range(200_000 * rounds))
        return {"total": total % 7}

    return work


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results file of its own."""
    path = tmp_path / "results.json"
    monkeypatch.setattr(harness, "RESULTS", path)
    return path


def test_a_race_records_the_median_ratio_and_the_facts_of_both(results):
    with harness.Bench("toy") as bench:
        row = bench.race("add", ours=spend(1), peer=spend(4), peer_name="slow", at_least=2, pairs=3)
    assert 2 < row["times_faster"] < 8
    (stored,) = json.loads(results.read_text("utf-8"))["toy"]["rows"]
    assert stored["met"] is True
    assert stored["pairs"] == 3
    assert stored["peer_facts"] == {"total": spend(4)()["total"]}


def test_a_missed_target_is_stored_and_ends_with_exit_code_one(results, capsys):
    with pytest.raises(SystemExit, match="1"), harness.Bench("toy") as bench:
        bench.bound("an error", 2e-3, at_most=1e-3)
    assert "MISSED" in capsys.readouterr().out
    assert json.loads(results.read_text("utf-8"))["toy"]["rows"][0]["met"] is False


def test_a_value_that_is_not_a_number_misses_its_bound(results):
    with pytest.raises(SystemExit), harness.Bench("toy") as bench:
        bench.bound("an error", float("nan"), at_most=1.0)


def test_an_error_in_a_script_stores_nothing(results):
    with pytest.raises(ZeroDivisionError), harness.Bench("toy") as bench:
        bench.bound("an error", 1 / 0, at_most=1.0)
    assert not results.exists()


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """A folder of peer scripts, run with this Python."""
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "serving.py").write_text((HERE / "peers" / "serving.py").read_text())
    monkeypatch.setattr(harness, "HERE", tmp_path)
    monkeypatch.setattr(harness, "PEERS_PYTHON", Path(sys.executable))
    return tmp_path / "peers"


def test_a_peer_works_on_the_arrays_it_was_given_and_times_itself(peers):
    peers.joinpath("toy.py").write_text(
        "import serving\n"
        "x = serving.inputs()['x']\n"
        "serving.serve(lambda: (print('chatter'), {'sum': float(x.sum())})[1])\n"
    )
    with harness.PeerProcess("toy", {"x": harness.np.arange(4.0)}) as peer:
        assert peer.run()["sum"] == 6.0
        assert peer.run()["seconds"] >= 0.0


def test_a_peer_that_dies_says_so(peers):
    peers.joinpath("toy.py").write_text("raise SystemExit(3)\n")
    with harness.PeerProcess("toy", {}) as peer, pytest.raises(SystemExit, match="exit code 3"):
        peer.run()


def test_a_missing_environment_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(harness, "PEERS_PYTHON", tmp_path / "python")
    with pytest.raises(SystemExit, match="make bench"):
        harness.PeerProcess("toy", {})


def test_the_committed_table_is_that_of_the_committed_results_and_every_target_is_met():
    stored = json.loads((HERE / "results.json").read_text("utf-8"))
    assert (HERE / "RESULTS.md").read_text("utf-8") == summary.table(stored)
    scripts = {path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py")}
    assert set(stored) == scripts
    assert [row["work"] for part in stored.values() for row in part["rows"] if not row["met"]] == []


def test_the_table_shows_a_missed_target():
    row = {"work": "w", "value": 2.0, "at_most": 1.0, "met": False}
    page = {"versions": {"torch": "2"}, "date": "today", "processor": "p", "rows": [row]}
    assert "- w: 2, at most 1, **missed**" in summary.table({"toy": page})
