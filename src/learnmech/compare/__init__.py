"""How theory and practice are held together: chapters, claims, figures and the scorecard."""

from learnmech.compare.chapter import Chapter, LedgerDiffers
from learnmech.compare.docket import Docket
from learnmech.compare.entries import ClaimFailed
from learnmech.compare.live import Axis, Curve, Frame, Points
from learnmech.compare.measures import (
    ClaimError,
    Measure,
    largest_deviation,
    largest_distance,
    ratio,
    relative_error,
    relative_norm,
    slope_difference,
)
from learnmech.compare.style import (
    COLOURS,
    figure,
    figure_with_residual,
    log_axis,
    measured_points,
    reference_line,
    theory_line,
)

__all__ = [
    "COLOURS",
    "Axis",
    "Chapter",
    "ClaimError",
    "ClaimFailed",
    "Curve",
    "Docket",
    "Frame",
    "LedgerDiffers",
    "Measure",
    "Points",
    "figure",
    "figure_with_residual",
    "largest_deviation",
    "largest_distance",
    "log_axis",
    "measured_points",
    "ratio",
    "reference_line",
    "relative_error",
    "relative_norm",
    "slope_difference",
    "theory_line",
]
