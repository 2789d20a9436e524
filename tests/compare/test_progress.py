"""What a person sees of long cells, and that nobody else does."""

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from learnmech.compare import Chapter, progress
from learnmech.compare import reproducibility as repro
from learnmech.compare.notebooks import _ThisPython
from learnmech.numerics.progress import counted, tracked, watch
from learnmech.practice import mlp, sweep
from learnmech.practice.training import gradient_descent


class Notes:
    """A watcher that writes down what it is told."""

    def __init__(self):
        self.lines = []

    def begin(self, words, total):
        self.lines.append((words, total))

    def advance(self):
        self.lines.append("round")

    def end(self):
        self.lines.append("end")


@pytest.fixture
def notes():
    watcher = Notes()
    watch(watcher)
    yield watcher
    watch(None)


class TestLoops:
    def test_nobody_watches_and_the_items_are_untouched(self):
        items = range(5)
        assert tracked(items, "item") is items
        with counted("item", 3) as advance:
            assert advance() is None

    def test_a_watcher_is_told_of_every_round(self, notes):
        assert list(tracked("ab", "letter")) == ["a", "b"]
        assert notes.lines == [("letter", 2), "round", "round", "end"]

    def test_a_length_that_nobody_knows_is_0(self, notes):
        assert list(tracked((n for n in range(1)), "item")) == [0]
        assert notes.lines == [("item", 0), "round", "end"]

    def test_a_loop_that_is_left_ends(self, notes):
        for _ in tracked(range(9), "item"):
            break
        with pytest.raises(ZeroDivisionError):
            [1 // n for n in tracked(range(9), "item")]
        assert notes.lines == [("item", 9), "end"] * 2

    def test_training_is_the_same_to_the_last_bit_when_watched(self, notes):
        def weights():
            net = mlp((3, 4, 1), generator=torch.Generator().manual_seed(0))
            x = torch.linspace(-1, 1, 15, dtype=torch.float64).view(5, 3)
            gradient_descent(
                net, x, x[:, :1], learning_rate=0.1, steps=7, probes={}, probe_steps=[7]
            )
            return [p.detach().clone() for p in net.parameters()]

        watched = weights()
        assert notes.lines == [("step", 8), *["round"] * 7, "end"]
        watch(None)
        assert all(torch.equal(a, b) for a, b in zip(watched, weights(), strict=True))

    @pytest.mark.parametrize(("wanted", "told"), [(None, 4), (False, 0)])
    def test_a_sweep_tells_unless_it_is_to_be_silent(self, notes, wanted, told):
        sweep(square, {"x": [1, 2, 3, 4]}, cache=False, progress=wanted)
        assert notes.lines.count("round") == told


def square(x):
    return x * x


class Display:
    """Stands for IPython's display and its handle."""

    def __init__(self):
        self.shown = []

    def __call__(self, bundle, *, raw, display_id):
        self.update(bundle, raw=raw)
        return self

    def update(self, bundle, *, raw):
        self.shown.append(bundle)

    @property
    def words(self):
        return [bundle["text/plain"] for bundle in self.shown]


class Events:
    def __init__(self):
        self.waiting = []

    def register(self, name, call):
        self.waiting.append(call)

    def unregister(self, name, call):
        self.waiting.remove(call)

    def cell_is_done(self):
        for call in list(self.waiting):
            call(None)


@pytest.fixture
def screen(monkeypatch):
    """A notebook's screen and events, where a second passes with every look at the clock."""
    display, events, clock = Display(), Events(), iter(range(10**6))
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    watch(progress.CellLine(events))
    yield display, events
    watch(None)


class TestLine:
    def test_it_appears_after_a_while_and_goes_with_its_cell(self, screen):
        display, events = screen
        list(tracked(range(1), "step"))
        events.cell_is_done()
        list(tracked(range(3), "<step>"))
        assert display.words == ["<step> 2 of 3", "<step> 3 of 3"]
        assert display.shown[0]["text/html"] == (
            '<progress max="3" value="2"></progress> &lt;step&gt; 2 of 3'
        )
        events.cell_is_done()
        assert display.shown[-1] == {"text/plain": "", "text/html": ""}
        assert events.waiting == []

    def test_it_counts_the_loops_of_a_cell_and_shows_loops_in_loops(self, screen):
        display, events = screen
        for _ in range(2):
            list(tracked(iter(range(2)), "step"))
        for _ in tracked(range(1), "seed"):
            list(tracked(range(1), "step"))
        assert display.words == [
            "step 2 of 2",
            "run 2 of this cell: step 1 of 2",
            "run 2 of this cell: step 2 of 2",
            "run 3 of this cell: seed 0 of 1, step 1 of 1",
            "run 3 of this cell: seed 1 of 1",
        ]
        events.cell_is_done()
        list(tracked(range(3), "step"))
        assert display.words[-1] == "step 3 of 3"

    def test_a_loop_that_was_interrupted_leaves_nothing_behind(self, screen):
        display, events = screen
        loop = iter(tracked(range(9), "step"))
        for _ in range(4):
            next(loop)
        events.cell_is_done()
        next(loop)
        loop.close()
        list(tracked(range(3), "seed"))
        assert display.words[-2:] == ["seed 2 of 3", "seed 3 of 3"]


CELLS = (
    "from learnmech.compare import Chapter, progress\n"
    "progress._PATIENCE = progress._BETWEEN = 0.0\n"
    "chapter = Chapter('toy')",
    "for n in chapter.progress(range(3), 'round'):\n    print(n)",
)


class TestWhoSeesIt:
    @pytest.mark.parametrize(
        "set_by_runs", [{repro.MODE: "run"}, {repro.MODE: "check"}, {repro.PROGRESS: "0"}]
    )
    def test_no_run_whose_outputs_are_stored_or_compared(self, monkeypatch, set_by_runs):
        monkeypatch.delenv(repro.PROGRESS, raising=False)
        monkeypatch.setattr(progress, "_notebook", lambda: type("Shell", (), {"events": Events()}))
        assert progress.show_progress()
        for name, value in set_by_runs.items():
            monkeypatch.setenv(name, value)
        assert not progress.show_progress()
        assert tracked((), "item") == ()

    def test_every_pinned_kernel_and_nbval_is_told_to_be_silent(self):
        assert repro.kernel_environment()[repro.PROGRESS] == "0"

    def test_nobody_outside_a_notebook(self, book, monkeypatch):
        monkeypatch.delenv(repro.PROGRESS, raising=False)
        Chapter("toy")
        assert tracked((), "item") == ()

    def test_a_notebook_shows_one_line_which_is_empty_in_the_end(self, book, monkeypatch):
        monkeypatch.delenv(repro.PROGRESS, raising=False)
        cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
        notebook = nbformat.v4.new_notebook(cells=cells)
        NotebookClient(notebook, kernel_manager_class=_ThisPython, timeout=60).execute()
        outputs = notebook.cells[1].outputs
        printed = "".join(o.text for o in outputs if o.output_type == "stream")
        assert printed == "0\n1\n2\n"
        lines = [o.data for o in outputs if o.output_type == "display_data"]
        assert lines == [{"text/plain": "", "text/html": ""}]
