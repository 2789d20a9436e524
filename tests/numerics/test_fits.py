"""Straight-line fits against NumPy's polyfit, which solves the normal equations by SVD."""

import numpy as np
import pytest

from learnmech.numerics import fit_line, fit_power_law


def test_slope_and_its_error_agree_with_polyfit():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 3, 40)
    y = 1.5 - 0.7 * x + 0.1 * rng.standard_normal(40)
    coefficients, covariance = np.polyfit(x, y, 1, cov=True)
    fit = fit_line(x, y)
    assert fit.slope == pytest.approx(coefficients[0], rel=1e-12)
    assert fit.intercept == pytest.approx(coefficients[1], rel=1e-12)
    assert fit.slope_standard_error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-12)


def test_the_standard_error_is_the_spread_of_repeated_fits():
    """Independent of the formula: the spread of slopes over 4000 fresh draws of the noise."""
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, 12)
    fits = [fit_line(x, 2 * x + 0.3 * rng.standard_normal(12)) for _ in range(4000)]
    spread = np.std([fit.slope for fit in fits])
    assert np.sqrt(np.mean([f.slope_standard_error**2 for f in fits])) == pytest.approx(
        spread, rel=0.05
    )


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1.0, 2.0], [1.0, 2.0], "3 points or more"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "equal length"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "coincide"),
        ([1.0, 2.0, np.nan], [1.0, 2.0, 3.0], "finite"),
    ],
)
def test_bad_lines_are_refused(x, y, words):
    with pytest.raises(ValueError, match=words):
        fit_line(x, y)


def test_a_power_law_needs_positive_numbers():
    with pytest.raises(ValueError, match="positive"):
        fit_power_law([1.0, 2.0, 3.0], [1.0, 0.0, 2.0])
