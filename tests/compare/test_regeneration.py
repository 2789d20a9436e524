"""Every way a committed chapter can lie is staged here, and must go red."""

import asyncio
import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import nbformat
import numpy as np
import pytest
from PIL import Image

from learnmech.compare.figures import MIME
from learnmech.compare.notebooks import ChapterFailed, check, regenerate
from learnmech.compare.pairs import chapter_files, pair_problems, read_text

NOTEBOOK = "notebooks/solvable-settings/toy.ipynb"
TEXT = "notebooks/solvable-settings/toy.md"


def nbval(root, mode, workers="0"):
    """Run nbval over a checkout's notebooks; return the outcome and words of each test by name."""
    report = root / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "-n",
        workers,
        "--dist",
        "loadfile",
        f"--rootdir={root}",
        "-c",
        os.devnull,
        f"--confcutdir={root}",
        f"--junitxml={report}",
        "notebooks",
    ]
    environment = {**os.environ, "LEARNMECH_FIGURES": mode}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        words = "".join(failure.text or "" for failure in case.iter("failure"))
        name = f"{case.get('classname')} {case.get('name')}"
        outcomes[name] = words
    return done.returncode, outcomes


def red(outcomes, part):
    """Return the words of the failing cells of the notebook whose name holds ``part``."""
    return [words for name, words in outcomes.items() if part in name and words]


def change(root, name, edit):
    """Write a copy of the toy notebook under another name, changed by ``edit``."""
    notebook = nbformat.read(root / NOTEBOOK, as_version=4)
    edit(notebook)
    nbformat.write(notebook, (root / NOTEBOOK).with_name(f"{name}.ipynb"))


def figure_output(notebook):
    return next(
        o for c in notebook.cells for o in c.get("outputs", []) if MIME in o.get("data", {})
    )


def picture(output):
    return Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGB")


def store(output, image):
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    output["data"]["image/png"] = base64.b64encode(buffer.getvalue()).decode()


def deface(notebook):
    output = figure_output(notebook)
    image = picture(output)
    image.paste((255, 0, 0), (50, 50, 150, 150))
    store(output, image)


def redraw(notebook):
    """Another picture of the same numbers, with a hash that matches it."""
    output = figure_output(notebook)
    image = picture(output)
    image.paste((250, 250, 250), (0, 0, 2, 2))
    store(output, image)
    png = base64.b64decode(output["data"]["image/png"])
    output["data"][MIME]["sha256"] = hashlib.sha256(png).hexdigest()


def change_number(notebook):
    series = figure_output(notebook)["data"][MIME]["series"]
    numbers = series["panel 0 line 0 y"].split()
    numbers[7] = repr(float(numbers[7]) * 1.001)
    series["panel 0 line 0 y"] = " ".join(numbers)


def strip(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def edit_source(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("lr=0.5", "lr=0.4").replace("range(60)", "range(9)")


def unpublished_picture(notebook):
    output = figure_output(notebook)
    del output["data"][MIME]


@pytest.fixture(scope="module")
def staged(generated, tmp_path_factory):
    """One nbval session, as on another machine, over a good notebook and five lying ones."""
    root = tmp_path_factory.mktemp("staged") / "checkout"
    shutil.copytree(generated, root)
    for edit in (deface, change_number, strip, edit_source, unpublished_picture):
        change(root, f"bad-{edit.__name__}", edit)
    return nbval(root, "data", workers="2")


class TestNbval:
    def test_the_good_notebook_is_green_beside_the_bad_ones(self, staged):
        status, outcomes = staged
        assert status == 1
        assert any("toy" in name for name in outcomes)
        assert not red(outcomes, "toy.ipynb")

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("bad-deface", "image/png: the stored picture does not match its own sha256"),
            ("bad-change_number", "plotted numbers: panel 0 line 0 y[7]"),
            ("bad-strip", "this cell was never run"),
            ("bad-edit_source", "Cell outputs differ"),
            ("bad-unpublished_picture", "without chapter.figure"),
        ],
    )
    def test_a_lying_notebook_goes_red_on_any_machine(self, staged, name, words):
        found = red(staged[1], name)
        assert any(words in text for text in found), found

    def test_a_picture_redrawn_with_its_hash_goes_red_only_where_bytes_are_promised(self, copy):
        notebook = nbformat.read(copy / NOTEBOOK, as_version=4)
        redraw(notebook)
        nbformat.write(notebook, copy / NOTEBOOK)
        assert nbval(copy, "data")[0] == 0
        status, outcomes = nbval(copy, "exact")
        assert status == 1
        assert "image/png: the regenerated picture has other bytes" in red(outcomes, "toy")[0]

    def test_a_ledger_that_differs_from_a_fresh_run_goes_red(self, copy):
        path = copy / "book" / "_ledger" / "toy.json"
        ledger = json.loads(path.read_text())
        ledger["claims"][0]["discrepancy"] *= 1.5
        path.write_text(json.dumps(ledger))
        status, outcomes = nbval(copy, "data")
        assert status == 1
        assert "not the committed one" in red(outcomes, "toy")[0]


class TestPairs:
    def test_a_generated_pair_is_clean(self, copy):
        assert pair_problems(chapter_files(copy, "toy")) == []

    def test_a_text_that_differs_from_its_notebook(self, copy):
        text = (copy / TEXT).read_text()
        (copy / TEXT).write_text(text.replace("Some words.", "Other words."))
        assert "text and notebook differ" in pair_problems(chapter_files(copy, "toy"))[0]

    @pytest.mark.parametrize("edit", [strip, edit_source])
    def test_a_notebook_that_differs_from_its_text(self, copy, edit):
        notebook = nbformat.read(copy / NOTEBOOK, as_version=4)
        edit(notebook)
        nbformat.write(notebook, copy / NOTEBOOK)
        assert pair_problems(chapter_files(copy, "toy"))

    def test_a_missing_notebook(self, copy):
        (copy / NOTEBOOK).unlink()
        assert "missing" in pair_problems(chapter_files(copy, "toy"))[0]


class TestRun:
    def test_a_second_run_changes_no_byte(self, copy):
        before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
        assert asyncio.run(regenerate(chapter_files(copy, "toy"))) == []
        assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before

    def test_the_fingerprint_of_another_machine_alone_does_not_dirty_the_tree(self, copy):
        notebook = nbformat.read(copy / NOTEBOOK, as_version=4)
        notebook.metadata["learnmech"]["fingerprint"] = "elsewhere"
        (copy / NOTEBOOK).write_text(nbformat.writes(notebook) + "\n")
        assert asyncio.run(regenerate(chapter_files(copy, "toy"))) == []

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("tolerance=0.1", "tolerance=0.001", "line-holds fails"),
            (
                'sources=["saxe2014exact"]',
                'sources=["saxe2014exakt"]',
                "did you mean saxe2014exact",
            ),
            ('alt=f"', 'alt="" and f"', "give an alt text"),
            ("chapter.close()", "pass", "never calls chapter.close()"),
            (
                "runs = np.stack",
                "import sys; print('x', file=sys.stderr)\nruns = np.stack",
                "writes to stderr",
            ),
            ("chapter.generator(seed)", "chapter.generator(3)", "literal seed"),
            ("torch.randn(20, generator=generator)", "torch.randn(20)", "global random state"),
        ],
    )
    def test_a_run_that_fails_leaves_everything_as_it_was(self, copy, old, new, words):
        text = (copy / TEXT).read_text()
        assert old in text
        (copy / TEXT).write_text(text.replace(old, new))
        before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
        with pytest.raises(ChapterFailed, match=words):
            asyncio.run(regenerate(chapter_files(copy, "toy")))
        assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before

    def test_an_edit_in_the_notebook_is_not_lost(self, copy):
        notebook = nbformat.read(copy / NOTEBOOK, as_version=4)
        edit_source(notebook)
        nbformat.write(notebook, copy / NOTEBOOK)
        with pytest.raises(ChapterFailed, match="edited after it was generated"):
            asyncio.run(regenerate(chapter_files(copy, "toy")))
        assert asyncio.run(regenerate(chapter_files(copy, "toy"), overwrite=True))

    def test_a_figure_that_is_no_longer_drawn_loses_its_data(self, copy):
        stale = copy / "book" / "_figures" / "toy" / "old.json"
        stale.write_text("{}")
        assert stale in asyncio.run(regenerate(chapter_files(copy, "toy")))
        assert not stale.exists()

    def test_cell_ids_are_fixed(self, copy):
        ids = [cell["id"] for cell in read_text(chapter_files(copy, "toy")).cells]
        assert ids[:3] == ["toy-000", "toy-setup", "toy-001"]


class TestOtherSeeds:
    def test_check_writes_nothing_and_uses_other_seeds(self, copy):
        before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
        ledger = asyncio.run(check(chapter_files(copy, "toy"), 5))
        assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before
        committed = json.loads((copy / "book" / "_ledger" / "toy.json").read_text())["claims"][0]
        assert not np.isclose(ledger.claims[0]["discrepancy"], committed["discrepancy"])
        assert not ledger.failed

    def test_check_goes_on_past_a_failing_claim(self, copy):
        text = (copy / TEXT).read_text()
        (copy / TEXT).write_text(text.replace("tolerance=0.1", "tolerance=0.001"))
        ledger = asyncio.run(check(chapter_files(copy, "toy"), 5))
        assert [entry["verdict"] for entry in ledger.claims] == ["fails", "breaks as predicted"]
