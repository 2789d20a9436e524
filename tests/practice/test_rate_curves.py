"""The best rate of curves whose minimum is known, and the count of operations of a run."""

import numpy as np
import pytest
from torch import nn

from learnmech.practice import best_rate, training_operations

RATES = np.arange(-5.0, 2.1, 0.5)


@pytest.mark.parametrize("place", [-3.9, -2.0, 0.3])
def test_a_parabola_in_logarithms_is_read_off_exactly(place):
    fit = best_rate(RATES, 0.2 * np.exp(0.7 * (RATES - place) ** 2), cap=1e9)
    assert fit.log2_rate == pytest.approx(place, abs=1e-9)
    assert fit.log_loss == pytest.approx(np.log(0.2), abs=1e-9)
    assert fit.curvature == pytest.approx(1.4, rel=1e-9)
    assert not fit.at_edge


def test_runs_that_diverged_count_as_the_cap():
    losses = np.exp((RATES + 2) ** 2)
    capped = best_rate(RATES, np.minimum(losses, 3.0), cap=3.0)
    broken = best_rate(RATES, np.where(losses > 3.0, np.nan, losses), cap=3.0)
    assert broken == capped


def test_a_curve_without_a_minimum_inside_says_so_and_goes_no_further_than_half_the_reach():
    falling = best_rate(RATES, np.exp(-RATES), cap=1e9)
    assert falling.at_edge
    assert falling.log2_rate == pytest.approx(RATES[-3] + 0.5)
    concave = best_rate(RATES, np.exp(-(RATES**2)), cap=1e9)
    assert concave.curvature < 0
    assert concave.at_edge


@pytest.mark.parametrize(
    ("rates", "losses", "options", "words"),
    [
        (RATES[:4], np.ones(4), {"cap": 1.0}, "at least 5"),
        (RATES[::-1], np.ones(15), {"cap": 1.0}, "even steps"),
        (RATES**2, np.ones(15), {"cap": 1.0}, "even steps"),
        (RATES, np.zeros(15), {"cap": 1.0}, "positive"),
        (RATES, np.ones(15), {"cap": 0.0}, "positive"),
    ],
)
def test_curves_that_cannot_be_read_are_refused(rates, losses, options, words):
    with pytest.raises(ValueError, match=words):
        best_rate(rates, losses, **options)


def test_operations_count_matrices_once_forward_and_twice_backward():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert training_operations(net, batch_size=5, steps=7) == 6 * (12 + 8) * 5 * 7
    with pytest.raises(ValueError, match="needs weights"):
        training_operations(nn.ReLU(), batch_size=5, steps=7)
