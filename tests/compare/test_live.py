"""Live figures: what their frames may hold, how they reach a page, and that they cannot lie."""

import asyncio
import copy
import json
import shutil

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from test_regeneration import NOTEBOOK, TEXT, change, nbval, red

from learnmech.compare import Axis, Chapter, ClaimError, Curve, Frame, Points, live_picture
from learnmech.compare.figures import MIME, figure_problems, plotted_series
from learnmech.compare.live import LIVE, LiveFigure
from learnmech.compare.live_page import controls_html, numbers_html
from learnmech.compare.notebooks import regenerate
from learnmech.compare.pairs import chapter_files
from learnmech.compare.style import use_book_style

X = np.geomspace(0.1, 10.0, 30)
RUNS = np.stack([X**0.5, 1.2 * X**0.5])


@pytest.fixture(autouse=True)
def style():
    use_book_style()
    yield
    plt.close("all")


def frame(value, *, choice="", **changes):
    parts = {
        "label": f"σ = {value:g}",
        "finding": f"Off by {value:g} at most.",
        "theory": [Curve(X, value * X**0.5)],
        "measured": [Points(X[::2], value * RUNS[:, ::2])],
    }
    return Frame(value, choice=choice, **{**parts, **changes})


def live(frames=None, **changes):
    given = {
        "name": "fig-toy-sizes",
        "knob": "size of the start, σ",
        "x": Axis("time", "log"),
        "y": Axis("strength"),
        "choice": "",
    }
    return LiveFigure(frames=frames or [frame(0.1), frame(1), frame(2)], **{**given, **changes})


BOTH = [frame(value, choice=choice) for choice in ("muP", "standard") for value in (1, 2)]
UPRIGHT = Curve([3.0, 3.0], [0.0, 5.0], "optimum")


class TestBadInput:
    @pytest.mark.parametrize(
        ("frames", "changes", "words"),
        [
            ([frame(1)], {}, "give 2 to 12 values of the knob, got 1"),
            ([frame(1), frame(1)], {}, "must increase"),
            ([frame(2), frame(1)], {}, "must increase"),
            ([frame(1), frame(np.nan)], {}, "not finite"),
            ([frame(k + 1) for k in range(13)], {}, "got 13"),
            (None, {"knob": " "}, "the knob has no words"),
            ([frame(1), frame(2, label="")], {}, r"the frame at 2 \(label\) has no words"),
            ([frame(1), frame(2, finding="")], {}, r"the frame at 2 \(finding\) has no words"),
            (None, {"x": Axis("time $t$")}, "holds a formula"),
            (None, {"y": Axis("strength", "logarithmic")}, "linear or log, not 'logarithmic'"),
            ([frame(1), frame(2, theory=[])], {}, "theory and measurement together"),
            ([frame(1), frame(2, measured=[])], {}, "theory and measurement together"),
            ([frame(1), frame(2, theory=[Curve(X, X[:-1])])], {}, r"shapes \(30,\) and \(29,\)"),
            ([frame(1), frame(2, theory=[Curve([], [])])], {}, "have shapes"),
            ([frame(1), frame(2, measured=[Points(X, np.nan * X)])], {}, "NaN or infinity"),
            ([frame(1), frame(2, theory=[Curve(X - 1, X)])], {}, "x is not positive"),
            (
                [frame(1), frame(2, theory=[Curve(range(1, 62), range(61))])],
                {},
                "61 points; thin it to 60",
            ),
            ([frame(1), frame(2, theory=[Curve(X, X), Curve(X, -X)])], {}, "curves of one label"),
            (None, {"choice": "parametrisation"}, "two or more choices"),
            (BOTH, {}, "two or more choices"),
            ([*BOTH, frame(3, choice="muP")], {"choice": "rule"}, "the same values of the knob"),
        ],
    )
    def test_it_is_refused_in_one_sentence(self, frames, changes, words):
        with pytest.raises(ClaimError, match=f"live figure 'fig-toy-sizes': .*{words}") as caught:
            live(frames, **changes)
        assert "\n" not in str(caught.value)

    def test_frames_too_heavy_for_a_page_are_refused(self):
        many = [Points(X, X * (1 + k), f"mode {k}") for k in range(20)]
        heavy = [frame(k + 1, measured=many) for k in range(12)]
        with pytest.raises(ClaimError, match="fewer frames, or fewer points"):
            live(heavy).payload()

    def test_more_frames_in_a_panel_than_there_are_markers_are_refused(self):
        frames = [frame(k + 1) for k in range(9)]
        with pytest.raises(ClaimError, match="apart=True"):
            live_picture.draw(live(frames), apart=False)
        live_picture.draw(live(frames), apart=True)


class TestFrames:
    def test_the_payload_holds_the_frames_as_rounded_text(self):
        payload = live().payload()
        first = payload["frames"][0]
        assert [one["value"] for one in payload["frames"]] == ["0.1", "1", "2"]
        assert first["theory"][0]["label"] == "theory"
        drawn = np.array(first["theory"][0]["y"].split(), float)
        np.testing.assert_allclose(drawn, 0.1 * X**0.5, rtol=1e-4)
        points = first["measured"][0]
        for key, runs in {"y": RUNS.mean(0), "low": RUNS.min(0), "high": RUNS.max(0)}.items():
            np.testing.assert_allclose(
                np.array(points[key].split(), float), 0.1 * runs[::2], rtol=1e-4
            )
        assert all(len(number) <= 12 for number in points["y"].split())

    def test_one_run_has_no_spread(self):
        assert set(Points(X, X).arrays()) == set(Points(X, X[None]).arrays()) == {"x", "y"}

    def test_the_axes_hold_all_frames_and_do_not_move(self):
        drawn = live()
        low, high = drawn.limits("y")
        assert low < 0.1 * RUNS.min()
        assert high > 2 * RUNS[:, ::2].max()
        assert live(y=Axis("strength", limits=(0.0, 9.0))).limits("y") == (0.0, 9.0)
        assert drawn.ticks("y") == []
        assert drawn.ticks("x") == [0.1, 1, 10]
        assert live(x=Axis("time", "log", limits=(0.9, 11))).ticks("x") == [1, 2, 5, 10]
        assert live(x=Axis("time", "log", ticks=(1, 3, 50))).ticks("x") == [1, 3]

    @pytest.mark.parametrize("apart", [True, False])
    def test_the_picture_draws_every_number_of_every_frame(self, apart):
        series = plotted_series(live_picture.draw(live(), apart=apart))
        drawn = {tuple(np.round(values, 6)) for values in series.values()}
        for one in live().frames:
            for part in (one.theory[0].arrays()["y"], one.measured[0].arrays()["y"]):
                assert tuple(np.round(part, 6)) in drawn

    def test_a_second_knob_has_a_panel_for_each_choice(self):
        drawing = live_picture.draw(live(BOTH, choice="rule"), apart=False)
        assert [axes.get_title() for axes in drawing.axes] == ["muP", "standard"]
        drawing = live_picture.draw(live(BOTH, choice="rule"), apart=True)
        titles = [axes.get_title() for axes in drawing.axes]
        assert titles == ["muP, σ = 1", "standard, σ = 1", "muP, σ = 2", "standard, σ = 2"]


class TestPage:
    def test_the_slider_is_native_labelled_and_says_the_first_frame(self):
        html = controls_html(live().payload())
        assert '<label for="fig-toy-sizes-knob">size of the start, σ</label>' in html
        assert 'type="range" id="fig-toy-sizes-knob" min="0" max="2" step="1"' in html
        assert 'aria-valuetext="σ = 0.1"' in html
        assert '<p class="lm-live-finding" role="status">Off by 0.1 at most.</p>' in html
        assert "<select" not in html
        assert html.startswith('<div class="lm-live" id="fig-toy-sizes-live" hidden>')

    def test_a_second_knob_is_a_native_list(self):
        html = controls_html(live(BOTH, choice="rule").payload())
        assert 'max="1"' in html
        assert '<label for="fig-toy-sizes-choice">rule</label>' in html
        assert "<option>muP</option><option>standard</option>" in html

    def test_words_cannot_end_the_data_or_open_a_tag(self):
        bad = "</script><b>&"
        html = controls_html(live([frame(1, finding=bad), frame(2)]).payload())
        assert html.count("</script>") == 1
        assert "<b>" not in html
        data = html.partition('<script type="application/json">')[2].partition("</script>")[0]
        assert json.loads(data)["frames"][0]["finding"] == bad

    def test_the_tables_hold_theory_beside_measurement_at_the_same_places(self):
        html = numbers_html(live().payload())
        assert html.count("<table>") == 3
        assert "<caption><span>σ = 0.1. Off by 0.1 at most.</span></caption>" in html
        heads = '<th scope="col">time</th><th scope="col">theory</th><th scope="col">training</th>'
        assert heads in html
        first = html.partition("<tbody>")[2].partition("</tr>")[0]
        assert first == (
            '<tr><th scope="row">0.1</th><td>0.0316</td><td>0.0348 (0.0316 to 0.0379)</td>'
        )
        assert html.count('<th scope="row">') == 3 * 12

    def test_curves_of_one_label_are_named_with_their_points(self):
        two = [Points(X, X, "mode 1"), Points(X, 2 * X, "mode 2")]
        curves = [Curve(X, X), Curve(X, 2 * X)]
        html = numbers_html(live([frame(k, theory=curves, measured=two) for k in (1, 2)]).payload())
        assert '<th scope="col">theory, mode 2</th><th scope="col">mode 2</th>' in html

    def test_theory_is_blank_outside_its_line_and_a_range_on_an_upright_one(self):
        short = Curve(X[10:], X[10:], "line")
        points = [Points(X, X)]
        frames = [frame(k, theory=[short, UPRIGHT], measured=points) for k in (1, 2)]
        html = numbers_html(live(frames).payload())
        assert '<tr><th scope="row">0.1</th><td></td><td></td><td>0.1</td></tr>' in html
        upright = html.partition('<tr><th scope="row">3</th>')[2].partition("</tr>")[0]
        assert upright.endswith("<td>0 to 5</td><td></td>")


class TestChapter:
    def publish(self, chapter, frames=None, **changes):
        words = {
            "name": "sizes",
            "knob": "size of the start, σ",
            "x": Axis("time", "log"),
            "y": Axis("strength"),
            "alt": "Curves rise higher for larger starts, up to 2.",
            "caption": "Three starts.",
        }
        chapter.live_figure(frames or [frame(1), frame(2)], **{**words, **changes})

    def test_it_is_published_like_every_figure(self, book):
        chapter = Chapter("toy", root=book)
        self.publish(chapter)
        assert chapter._figures == ["sizes"]
        (data,) = chapter._folder.rglob("sizes.json")
        assert json.loads(data.read_text())["figure"] == "fig-toy-sizes"
        with pytest.raises(ClaimError, match="used already"):
            self.publish(chapter)
        with pytest.raises(ClaimError, match="give an alt text"):
            self.publish(chapter, name="other", alt="")

    def test_bad_frames_leave_nothing_behind(self, book):
        chapter = Chapter("toy", root=book)
        with pytest.raises(ClaimError, match="got 1"):
            self.publish(chapter, [frame(1)])
        assert chapter._figures == []
        assert list(chapter._folder.rglob("*.json")) == []


TOY_FIGURE = """
from learnmech.compare import Axis, Curve, Frame, Points
chapter.live_figure(
    [Frame(k, f"factor {k}", f"At {k} the line is off by {abs(k * runs - line).max():.2f}.",
           [Curve(x, line)], [Points(x, k * runs)]) for k in (1, 2, 4)],
    name="factors", knob="factor", x=Axis("input"), y=Axis("output"),
    alt="Points leave the black line by up to 3 as the factor grows.", caption="Three factors.")
chapter.close()"""


def live_output(notebook):
    outputs = (o for cell in notebook.cells for o in cell.get("outputs", []))
    return next(o["data"] for o in outputs if LIVE in o.get("data", {}))


def change_frame(notebook):
    points = live_output(notebook)[LIVE]["frames"][1]["measured"][0]
    numbers = points["y"].split()
    numbers[3] = f"{float(numbers[3]) * 1.01:.5g}"
    points["y"] = " ".join(numbers)


def change_finding(notebook):
    first = live_output(notebook)[LIVE]["frames"][0]
    first["finding"] = first["finding"].replace("off by", "right to")


@pytest.fixture(scope="module")
def staged(generated, tmp_path_factory):
    """One nbval session over a good notebook with a live figure and a lying one."""
    root = tmp_path_factory.mktemp("live") / "checkout"
    shutil.copytree(generated, root)
    text = root / TEXT
    text.write_text(text.read_text().replace("\nchapter.close()", TOY_FIGURE))
    asyncio.run(regenerate(chapter_files(root, "toy")))
    change(root, "defaced", lambda notebook: (change_frame(notebook), change_finding(notebook)))
    return root, nbval(root, "data", workers="2")


class TestNbval:
    def test_a_good_live_figure_is_green(self, staged):
        root, (_, outcomes) = staged
        assert LIVE in live_output(nbformat.read(root / NOTEBOOK, as_version=4))
        assert any("toy.ipynb" in name for name in outcomes)
        assert not red(outcomes, "toy.ipynb")

    @pytest.mark.parametrize(
        "words", ["live frames, frames 1 measured 0 y[3]", "live frames, frames 0 finding"]
    )
    def test_a_defaced_frame_goes_red(self, staged, words):
        found = red(staged[1][1], "defaced")
        assert any(words in text for text in found), found

    def test_frames_that_are_gone_or_new_are_named(self, staged):
        with_frames = live_output(nbformat.read(staged[0] / NOTEBOOK, as_version=4))
        without = {key: value for key, value in with_frames.items() if key != LIVE}
        for stored, fresh in ((with_frames, without), (without, with_frames)):
            (problem,) = figure_problems(stored, fresh, same_machine=False)
            assert "do not have the same parts" in problem

    def test_a_number_may_differ_by_its_last_digit_and_no_more(self, staged):
        stored = live_output(nbformat.read(staged[0] / NOTEBOOK, as_version=4))
        for factor, count in ((1 + 5e-5, 0), (1 + 1e-3, 1)):
            fresh = copy.deepcopy(stored)
            curve = fresh[LIVE]["frames"][0]["theory"][0]
            curve["y"] = " ".join(f"{float(y) * factor:.5g}" for y in curve["y"].split())
            problems = figure_problems(stored, fresh, same_machine=False)
            assert len(problems) == count
        assert stored[MIME]["sha256"]
