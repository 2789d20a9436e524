"""Opening and closing a chapter: seeds, process settings, where things are written."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from learnmech.compare import Chapter, ClaimError, LedgerDiffers, relative_error
from learnmech.compare import reproducibility as repro

ALT = "A black line and one point that lies on it, 0.01 away."


def claim(chapter, tolerance=0.02, sources=("saxe2014exact",)):
    chapter.predict("two", 2.0, fed="setting")
    chapter.claim(
        "it-is-two",
        "It is two.",
        prediction="two",
        measured=2.02,
        measure=relative_error(),
        tolerance=tolerance,
        error=0.01,
        because="the Euler step errs by 1 %",
        sources=sources,
    )


def drawing():
    made, axes = plt.subplots()
    axes.plot([0.0, 1.0], [0.0, 1.0])
    return made


class TestSeeds:
    def test_the_book_counts_from_zero(self, book):
        assert Chapter("toy").seeds(3) == [0, 1, 2]

    def test_seed_sets_never_meet(self, book, monkeypatch):
        seen = set(range(50))
        for offset in range(1, 60):
            monkeypatch.setenv(repro.SEED_OFFSET, str(offset))
            seeds = Chapter("toy").seeds(50)
            assert seen.isdisjoint(seeds)
            assert Chapter("toy").seeds(3) == seeds[:3]
            seen |= set(seeds)

    def test_purposes_are_independent_streams_that_repeat(self, book):
        chapter = Chapter("toy")
        first = torch.rand(4, generator=chapter.generator(0, "weights"))
        again = torch.rand(4, generator=chapter.generator(0, "weights"))
        other = torch.rand(4, generator=chapter.generator(0, "data"))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert chapter.rng(0, "a").random() == chapter.rng(0, "a").random()
        assert chapter.rng(0, "a").random() != chapter.rng(1, "a").random()

    def test_bad_counts_and_offsets_are_refused(self, book, monkeypatch):
        with pytest.raises(ClaimError, match="one seed or more"):
            Chapter("toy").seeds(0)
        monkeypatch.setenv(repro.SEED_OFFSET, "-3")
        with pytest.raises(ClaimError, match="whole number"):
            Chapter("toy")


class TestOpening:
    def test_it_sets_threads_dtype_and_knows_its_pillar(self, book):
        chapter = Chapter("toy")
        assert (chapter.pillar, chapter.title) == ("solvable-settings", "A toy chapter")
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_num_threads() == 1

    def test_a_bad_name_is_refused(self, book):
        with pytest.raises(ClaimError, match="lower case with hyphens"):
            Chapter("My Chapter")


class TestFigures:
    def test_words_are_required_and_differ(self, book):
        chapter = Chapter("toy")
        for alt, caption, words in [
            ("", "A caption.", "give an alt text"),
            ("Short.", "A caption.", "only 6 characters"),
            (ALT, "", "give a caption"),
            (ALT, ALT.upper(), "repeats the caption"),
            (ALT, f"Figure. {ALT} And more.", "repeats the caption"),
        ]:
            with pytest.raises(ClaimError, match=words):
                chapter.figure(drawing(), name="line", alt=alt, caption=caption)
        plt.close("all")

    def test_names_are_unique_slugs(self, book):
        chapter = Chapter("toy")
        chapter.figure(drawing(), name="line", alt=ALT, caption="A line.")
        with pytest.raises(ClaimError, match="used already"):
            chapter.figure(drawing(), name="line", alt=ALT, caption="A line.")
        with pytest.raises(ClaimError, match="lower case"):
            chapter.figure(drawing(), name="A Line", alt=ALT, caption="A line.")
        plt.close("all")


class TestClosing:
    def test_outside_a_checkout_it_writes_beside_you(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        chapter = Chapter("my-question")
        claim(chapter)
        chapter.figure(drawing(), name="line", alt=ALT, caption="A line.")
        chapter.close()
        folder = tmp_path / "learnmech-chapters"
        ledger = json.loads((folder / "_ledger" / "my-question.json").read_text())
        assert ledger["claims"][0]["verdict"] == "holds"
        figure = json.loads((folder / "_figures" / "my-question" / "line.json").read_text())
        assert figure["series"]["panel 0 line 0 y"] == [0.0, 1.0]

    def test_a_folder_of_your_own(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        chapter = Chapter("my-question", root=tmp_path / "project")
        claim(chapter)
        chapter.close()
        assert (tmp_path / "project" / "_ledger" / "my-question.json").is_file()

    def test_outside_a_checkout_it_cites_sources_of_its_own_too(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        mine, own = ["saxe2014exact", "me2026mine"], tmp_path / "references.bib"
        with pytest.raises(ClaimError, match=r"nor in a references\.bib beside you; add it there"):
            claim(Chapter("my-question"), sources=mine)
        own.write_text("@misc{me2026mine, title = {Mine")
        with pytest.raises(ClaimError, match=r"references\.bib is not BibTeX"):
            claim(Chapter("my-question"), sources=mine)
        own.write_text("@misc{me2026mine, author = {Me, Ann}, title = {Mine}, year = 2026}\n")
        chapter = Chapter("my-question")
        claim(chapter, sources=mine)
        chapter.close()

    def test_a_plain_run_in_a_checkout_writes_nothing_into_it(self, book):
        before = sorted(book.rglob("*"))
        chapter = Chapter("toy")
        claim(chapter)
        chapter.close()
        assert sorted(book.rglob("*")) == before

    def test_a_committed_ledger_that_differs_is_named(self, book):
        chapter = Chapter("toy")
        claim(chapter)
        path = book / "book" / "_ledger" / "toy.json"
        path.parent.mkdir()
        path.write_text(
            chapter.ledger().to_json().replace('"tolerance": 0.02', '"tolerance": 0.03')
        )
        with pytest.raises(LedgerDiffers, match=r"it-is-two\.tolerance: 0\.03 became 0\.02"):
            chapter.close()

    def test_nothing_can_be_added_after_it(self, book):
        chapter = Chapter("toy")
        claim(chapter)
        chapter.close()
        with pytest.raises(ClaimError, match="closed already"):
            chapter.close()
        with pytest.raises(ClaimError, match="move the call above"):
            chapter.observe("x", "X.", value=1.0, interval=(0.0, 2.0), because="seeds")
        with pytest.raises(ClaimError, match="draw it before"):
            chapter.figure(drawing(), name="line", alt=ALT, caption="A line.")
        plt.close("all")

    def test_a_chapter_without_a_claim_is_refused(self, book):
        with pytest.raises(ClaimError, match="at least one claim"):
            Chapter("toy").close()

    def test_a_curve_must_have_been_drawn(self, book):
        from learnmech.compare import largest_deviation

        chapter = Chapter("toy")
        chapter.predict("line", np.arange(3.0), fed="setting")
        chapter.claim(
            "line",
            "A line.",
            prediction="line",
            measured=np.arange(3.0),
            measure=largest_deviation(1.0),
            tolerance=0.1,
            error=0.05,
            because="rounding",
            sources=["saxe2014exact"],
            figure="never-drawn",
        )
        with pytest.raises(ClaimError, match="'never-drawn', which was not drawn"):
            chapter.close()
