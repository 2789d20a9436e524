"""One chapter at two scales: the same claims, and nothing of the larger one in the book."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from practice.clusters import dask_cluster
from practice.image_files import cifar_members, mnist_files, sha256, tar

from learnmech.cli import main
from learnmech.compare import Chapter, ClaimError, LedgerDiffers, relative_error
from learnmech.compare import reproducibility as repro
from learnmech.compare.notebooks import FullScale

HERE = Path(__file__).resolve().parent


def call(*arguments):
    return CliRunner().invoke(main, arguments)


def snapshot(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


class TestChapter:
    @pytest.mark.parametrize(("words", "scale"), [(None, "laptop"), ("", "laptop"), ("full",) * 2])
    def test_a_value_follows_the_scale(self, book, monkeypatch, words, scale):
        monkeypatch.delenv(repro.SCALE, raising=False)
        if words is not None:
            monkeypatch.setenv(repro.SCALE, words)
        chapter = Chapter("toy")
        assert chapter.scale == scale
        assert chapter.scaled(laptop=[32, 64], full=[32, 4096])[1] == {"laptop": 64}.get(
            scale, 4096
        )

    def test_another_word_is_refused(self, book, monkeypatch):
        monkeypatch.setenv(repro.SCALE, "huge")
        with pytest.raises(ClaimError, match=r"^LEARNMECH_SCALE must be laptop or full, got 'huge"):
            Chapter("toy")

    @pytest.mark.parametrize(
        ("scale", "there_is_one", "device"),
        [("laptop", True, "cpu"), ("full", True, "cuda"), ("full", False, "cpu")],
    )
    def test_a_gpu_is_for_full_scale(self, book, monkeypatch, scale, there_is_one, device):
        monkeypatch.setenv(repro.SCALE, scale)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: there_is_one)
        assert Chapter("toy").device == device

    def test_a_ledger_of_full_scale_is_not_held_against_the_book(self, book, monkeypatch):
        (book / "book" / "_ledger").mkdir()
        committed = {"chapter": "toy", "pillar": "own", "title": "toy", "claims": []}
        (book / "book" / "_ledger" / "toy.json").write_text(json.dumps(committed))
        before = snapshot(book)
        for scale in ("full", "laptop"):
            monkeypatch.setenv(repro.SCALE, scale)
            chapter = Chapter("toy")
            chapter.predict("one", 1.0, fed="setting")
            chapter.claim(
                "is-one",
                "It is one.",
                prediction="one",
                measured=1.0,
                measure=relative_error(),
                error=0.1,
                tolerance=0.1,
                because="rounding",
                sources=["saxe2014exact"],
            )
            if scale == "full":
                chapter.close()
            else:
                with pytest.raises(LedgerDiffers):
                    chapter.close()
        assert snapshot(book) == before


class TestKernels:
    def test_the_books_own_runs_are_at_laptop_scale_whatever_the_shell_says(self, monkeypatch):
        for name in (repro.SCALE, repro.WORKERS, "OMP_NUM_THREADS"):
            monkeypatch.setenv(name, "full")
        environment = repro.kernel_environment()
        assert environment[repro.SCALE] == "laptop"
        assert environment[repro.WORKERS] == environment["OMP_NUM_THREADS"] == "1"

    def test_a_full_run_has_threads_and_workers(self, monkeypatch):
        monkeypatch.setenv(repro.WORKERS, "ray")
        own = repro.kernel_environment(**FullScale("dask", threads=8).environment())
        assert [own[n] for n in (repro.SCALE, repro.WORKERS, "OMP_NUM_THREADS")] == [
            "full",
            "dask",
            "8",
        ]
        assert FullScale().environment()[repro.WORKERS] == "ray"


@pytest.fixture
def scaled(book, tmp_path, monkeypatch):
    """The text of a chapter of two scales in a book, and few images in the loaders' cache."""
    (book / "notebooks" / "solvable-settings" / "toy.md").unlink()
    text = book / "notebooks" / "solvable-settings" / "scaled.md"
    cache = tmp_path / "images"
    files = {"mnist": mnist_files(0), "cifar-10": {"cifar-10-binary.tar.gz": tar(cifar_members(2))}}
    sums = {}
    for name, contents in files.items():
        (cache / name).mkdir(parents=True)
        for file, content in contents.items():
            (cache / name / file).write_bytes(content)
        sums[name] = {file: sha256(content) for file, content in contents.items()}
    stand_in = (
        "from learnmech.practice.data import download\n\n"
        f"for name, sums in {sums!r}.items():\n"
        "    download.SOURCES[name] = download.Source('http://127.0.0.1:1/', sums)\n"
    )
    words = (HERE / "data" / "scaled.md").read_text()
    text.write_text(words.replace("chapter = Chapter", stand_in + "chapter = Chapter"))
    monkeypatch.setenv("LEARNMECH_DATA", str(cache))
    return text


def demand(text, condition):
    """Let a chapter's run end in an error unless something holds."""
    end = "chapter.close()"
    text.write_text(text.read_text().replace(end, f"assert {condition}\n{end}"))


def full_ledgers(monkeypatch):
    """Catch the ledgers that the command line prints the margins of."""
    from learnmech.commands import running

    seen = []
    show = running._print_margins
    monkeypatch.setattr(running, "_print_margins", lambda *a: (seen.append(a[0]), show(*a)))
    return seen


class TestCommandLine:
    def test_mnist_on_a_cluster(self, scaled, book, tmp_path, monkeypatch):
        pytest.importorskip("distributed", reason="Dask is not installed")
        seen = full_ledgers(monkeypatch)
        (tmp_path / "cluster").mkdir()
        with dask_cluster(tmp_path / "cluster", workers=1) as cluster:
            there = f"set(runs['process'].to_numpy()) == {{{cluster.processes[-1].pid}}}"
            demand(scaled, f"len(images.inputs) == 20 and {there}")
            before = snapshot(book)
            done = call("check", "scaled", "--scale", "full", "--workers", cluster.address)
        assert done.exit_code == 0, done.output
        assert "scaled, full scale, seed offset 0" in done.output
        assert [entry["seeds"] for entry in seen[0].claims] == [[0, 1, 2, 3]]
        assert snapshot(book) == before

    def test_cifar_with_other_seeds(self, scaled, monkeypatch):
        scaled.write_text(scaled.read_text().replace('full="mnist"', 'full="cifar-10"'))
        demand(scaled, "len(images.inputs) == 4")
        seen = full_ledgers(monkeypatch)
        done = call("check", "--scale", "full", "--seed-offset", "3")
        assert done.exit_code == 0, done.output
        assert "scaled, full scale, seed offset 3" in done.output
        (entry,) = seen[0].claims
        assert len(entry["seeds"]) == 4
        assert not set(entry["seeds"]) & {0, 1, 2, 3}

    def test_data_that_cannot_be_fetched_is_one_sentence(self, scaled, book):
        shutil.rmtree(Path(os.environ["LEARNMECH_DATA"]) / "mnist")
        before = snapshot(book)
        done = call("check", "scaled", "--scale", "full")
        assert done.exit_code == 2
        (line,) = done.output.strip().splitlines()
        assert line.startswith("learnmech: scaled: cell 2 (scaled-001) ended in DownloadError: ")
        assert "go online once, or copy" in line
        assert snapshot(book) == before

    def test_another_claim_at_full_scale_is_a_failure(self, copy):
        text = copy / "notebooks" / "solvable-settings" / "toy.md"
        name = '"line-holds", "The line'
        other = 'chapter.scaled(laptop="line-holds", full="line-bends"), "The line'
        words = text.read_text().replace(name, other)
        limits = 'limits="line-holds"'
        text.write_text(
            words.replace(limits, 'limits=chapter.scaled(laptop="line-holds", full="line-bends")')
        )
        done = call("check", "toy", "--scale", "full")
        assert done.exit_code == 1, done.output
        assert "fails: line-holds: stands in the book, but not at this scale" in done.output
        assert "fails: line-bends: stands at this scale, but not in the book" in done.output

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ((), "say which other seeds, such as --seed-offset 7, or --scale full"),
            (("--seed-offset", "0"), "say which other seeds"),
            (("--seed-offset", "1", "--workers", "dask"), "--workers is for --scale full"),
            (("--scale", "huge"), "'huge' is not one of 'laptop', 'full'"),
            (("--scale", "full", "--workers", "threads"), "workers='threads' means nothing"),
            (("--scale", "full", "--workers", "0"), "workers=0 means nothing"),
        ],
    )
    def test_what_cannot_be_meant_is_refused_before_anything_runs(self, copy, options, words):
        done = call("check", "toy", *options)
        assert done.exit_code == 2
        assert words in done.output
        assert "Traceback" not in done.output

    def test_a_run_has_no_scale_and_says_why(self, copy):
        assert call("run", "toy", "--scale", "full").exit_code == 2
        assert "anybody's laptop must be able to write it again" in " ".join(
            call("run", "--help").output.split()
        )
