"""What a published figure holds, and when a regenerated one counts as the same."""

import copy
import hashlib
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from learnmech.compare import figure, figure_with_residual, measured_points, theory_line
from learnmech.compare.figures import MIME, figure_problems, plotted_series, publish
from learnmech.compare.measures import ClaimError
from learnmech.compare.style import use_book_style

X = np.linspace(0.0, 1.0, 200)


@pytest.fixture(autouse=True)
def style():
    use_book_style()
    yield
    plt.close("all")


def draw(scale=1.0):
    drawing, (upper, lower) = figure_with_residual()
    theory_line(upper, X, X**2, "theory")
    measured_points(upper, X, np.stack([X**2, scale * X**2 + 0.1]), "measured")
    measured_points(lower, X, 0.1 * X, series=1)
    return drawing


def published(drawing, **changes):
    words = {
        "chapter": "toy",
        "name": "n",
        "caption": "A curve.",
        "rtol": 1e-6,
        "atol_share": 0.0,
        "alt": "Points follow the black line to within 0.1.",
    }
    return publish(drawing, **{**words, **changes})


def test_every_plotted_number_is_kept_not_a_sample():
    series = plotted_series(draw())
    np.testing.assert_allclose(series["panel 0 line 0 y"], X**2, rtol=1e-9)
    np.testing.assert_allclose(series["panel 0 line 1 y"], X**2 + 0.05, rtol=1e-9)
    assert len(series["panel 0 collection 0 segments"]) == 4 * len(X)
    assert len(series["panel 1 line 0 y"]) == len(X)


def test_bars_images_bands_and_scatters_are_kept():
    drawing, axes = figure(2, 2)
    axes[0, 0].bar([1, 2], [3.0, 4.0])
    axes[0, 1].imshow(np.arange(6.0).reshape(2, 3))
    axes[1, 0].fill_between(X, X, X + 1)
    axes[1, 1].scatter(X, X, c=X)
    names = " ".join(plotted_series(drawing))
    for part in (
        "panel 0 bars",
        "panel 1 image 0",
        "panel 2 collection 0 outline",
        "panel 3 collection 0 positions",
        "panel 3 collection 0 values",
    ):
        assert part in names


def test_hash_alt_and_data_agree():
    done = published(draw())
    assert done.payload["sha256"] == hashlib.sha256(done.png).hexdigest()
    assert done.metadata["image/png"]["alt"] == done.metadata["learnmech"]["alt"]
    data = json.loads(done.data_json)
    assert data["figure"] == "fig-toy-n"
    text = done.payload["series"]["panel 0 line 0 y"]
    assert data["series"]["panel 0 line 0 y"] == [float(number) for number in text.split()]


def test_drawing_twice_gives_the_same_bytes():
    assert published(draw()).png == published(draw()).png


def test_nan_and_nothing_are_refused():
    drawing, axes = figure()
    axes.plot([0.0, 1.0], [0.0, np.nan])
    with pytest.raises(ClaimError, match="NaN or infinity"):
        published(drawing)
    with pytest.raises(ClaimError, match="empty"):
        published(figure()[0])


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ClaimError, match="zero or positive"):
        published(draw(), rtol=-1.0)


class TestComparison:
    def test_the_same_figure_has_no_problems(self):
        one, two = published(draw()).bundle, published(draw()).bundle
        assert figure_problems(one, two, same_machine=True) == []

    def test_a_number_within_the_tolerance_passes_on_another_machine_only(self):
        one, two = published(draw()).bundle, published(draw(1 + 1e-8)).bundle
        assert figure_problems(one, two, same_machine=False) == []

    def test_a_number_outside_the_tolerance_is_named(self):
        one, two = published(draw()).bundle, published(draw(1 + 1e-4)).bundle
        problems = figure_problems(one, two, same_machine=False)
        assert any("panel 0 line 1 y[" in line for line in problems)

    def test_other_words_and_other_lengths_are_named(self):
        one = published(draw()).bundle
        two = copy.deepcopy(one)
        two[MIME]["words"] = "[]"
        two[MIME]["series"]["panel 0 line 0 y"] += " 1.0"
        text = " ".join(figure_problems(one, two, same_machine=False))
        assert "words in the figure" in text
        assert "200 numbers became 201" in text

    def test_a_loosened_tolerance_is_named(self):
        one, two = published(draw()).bundle, published(draw(), rtol=1e-2).bundle
        assert figure_problems(one, two, same_machine=False) == ["rtol: 1e-06 became 0.01"]

    def test_nan_in_the_fresh_figure_is_never_the_same(self):
        one = published(draw()).bundle
        two = copy.deepcopy(one)
        numbers = two[MIME]["series"]["panel 0 line 0 y"].split()
        two[MIME]["series"]["panel 0 line 0 y"] = " ".join(["nan", *numbers[1:]])
        assert figure_problems(one, two, same_machine=False)
