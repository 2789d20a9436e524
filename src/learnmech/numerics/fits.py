r"""Straight-line fits with standard errors, in plain and in log-log coordinates.

Ordinary least squares of $y = c + m x$ over $n$ points:

$$ m = \frac{\sum_i (x_i-\bar x)(y_i-\bar y)}{\sum_i (x_i-\bar x)^2}, \qquad
   \mathrm{se}(m)^2 = \frac{\sum_i r_i^2}{(n-2)\sum_i (x_i-\bar x)^2}, $$

with the residuals $r_i = y_i - c - m x_i$ (any textbook on regression; here Draper and Smith,
*Applied Regression Analysis*, third edition, section 1.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learnmech.numerics.arrays import ArrayLike

__all__ = ["LineFit", "fit_line", "fit_power_law"]

_FEWEST_POINTS = 3


@dataclass(frozen=True)
class LineFit:
    """A fitted straight line ``intercept + slope * x``."""

    slope: float  # units of y per unit of x
    intercept: float  # units of y
    slope_standard_error: float  # one standard error of the slope, from the residuals
    residual_rms: float  # root mean square of the residuals, units of y


def fit_line(x: ArrayLike, y: ArrayLike) -> LineFit:
    """Fit ``y = intercept + slope * x`` by least squares.

    Args:
        x: positions, shape ``(n,)`` with n at least 3, not all equal.
        y: values, shape ``(n,)``.

    Returns:
        The fit with the standard error of its slope.

    Raises:
        ValueError: if the shapes differ, a value is not finite, there are fewer than three
            points, or all positions coincide.

    Examples:
        >>> fit = fit_line([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
        >>> round(fit.slope, 12), round(fit.intercept, 12)
        (2.0, 1.0)
    """
    positions = np.asarray(x, dtype=np.float64)
    values = np.asarray(y, dtype=np.float64)
    if positions.ndim != 1 or positions.shape != values.shape:
        raise ValueError(
            f"a line is fitted to two lists of equal length, but x has shape {positions.shape} "
            f"and y has shape {values.shape}"
        )
    if positions.size < _FEWEST_POINTS:
        raise ValueError(
            f"a slope with a standard error needs {_FEWEST_POINTS} points or more, "
            f"got {positions.size}"
        )
    if not (np.isfinite(positions).all() and np.isfinite(values).all()):
        raise ValueError("a line can only be fitted to finite numbers; remove NaN and infinity")
    centred = positions - positions.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        raise ValueError("all positions coincide, so no slope can be fitted; vary x")
    slope = float(centred @ values) / spread
    intercept = float(values.mean() - slope * positions.mean())
    residuals = values - intercept - slope * positions
    squares = float(residuals @ residuals)
    return LineFit(
        slope=slope,
        intercept=intercept,
        slope_standard_error=float(np.sqrt(squares / (positions.size - 2) / spread)),
        residual_rms=float(np.sqrt(squares / positions.size)),
    )


def fit_power_law(x: ArrayLike, y: ArrayLike) -> LineFit:
    r"""Fit $y = A x^m$ by least squares of $\ln y$ against $\ln x$.

    Args:
        x: positive positions, shape ``(n,)``.
        y: positive values, shape ``(n,)``.

    Returns:
        The line in natural-log coordinates, where ``slope`` is m and ``intercept`` is ln A.

    Raises:
        ValueError: if a number is not positive, or as :func:`fit_line` does.

    Examples:
        >>> round(fit_power_law([1.0, 2.0, 4.0], [3.0, 12.0, 48.0]).slope, 12)
        2.0
    """
    positions = np.asarray(x, dtype=np.float64)
    values = np.asarray(y, dtype=np.float64)
    if not ((positions > 0).all() and (values > 0).all()):
        raise ValueError("a power law is fitted in logarithms, so every x and y must be positive")
    return fit_line(np.log(positions), np.log(values))
