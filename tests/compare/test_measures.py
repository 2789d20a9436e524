"""Discrepancies: values by hand, and everything that must be refused."""

import numpy as np
import pytest

from learnmech.compare import (
    ClaimError,
    largest_deviation,
    largest_distance,
    ratio,
    relative_error,
    relative_norm,
    slope_difference,
)

X = np.array([1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize(
    ("measure", "predicted", "measured", "discrepancy"),
    [
        (relative_error(), 2.0, 2.5, 0.25),
        (relative_error(), [2.0, 4.0], [2.0, 3.0], 0.25),
        (largest_deviation(4.0), [0.0, 1.0], [1.0, 3.0], 0.5),
        (largest_deviation([1.0, 4.0]), [0.0, 1.0], [0.25, 3.0], 0.5),
        (relative_norm(), [[3.0, 4.0]], [[3.0, 4.5]], 0.1),
        (largest_distance(2.0), [[0.0, 0.0], [1.0, 1.0]], [[0.3, 0.0], [4.0, 5.0]], 2.5),
        (ratio(), [1.0, 2.0], [0.5, 3.0], 1.0),
        (slope_difference(X), -1.5, 7.0 * X**-2.0, 0.5),
    ],
)
def test_discrepancy_by_hand(measure, predicted, measured, discrepancy):
    assert measure(np.asarray(predicted), np.asarray(measured)) == pytest.approx(discrepancy)


@pytest.mark.parametrize(
    ("measure", "predicted", "measured", "words"),
    [
        (relative_error(), [0.0, 1.0], [0.0, 1.0], "nowhere zero"),
        (relative_norm(), [0.0], [1.0], "not all zero"),
        (largest_distance(1.0), [1.0], [1.0], "time on its first axis"),
        (ratio(), [1.0], [-1.0], "positive"),
        (slope_difference(X), [1.0, 2.0], X, "one predicted exponent"),
        (slope_difference(X), 1.0, -X, "positive"),
        (slope_difference(X), 1.0, X[:3], "equal length"),
        (largest_deviation(1.0), [1.0, 2.0], [1.0, 2.0, 3.0], "same grid"),
        (largest_deviation(1.0), [1.0], [1.0, 2.0, 3.0], "same grid"),
        (largest_deviation(1.0), [[1.0], [2.0]], [[1.0, 2.0]], "same grid"),
    ],
)
def test_what_cannot_be_compared_is_refused(measure, predicted, measured, words):
    with pytest.raises(ClaimError, match=words):
        measure(np.asarray(predicted), np.asarray(measured))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_must_be_positive(scale):
    with pytest.raises(ClaimError, match="positive and finite"):
        largest_deviation(scale)
    with pytest.raises(ClaimError, match="positive and finite"):
        largest_distance(scale)
