"""How a prediction and a measurement are held against each other: one number, the discrepancy.

A measure takes one predicted and one measured array and returns a number that is zero when they
agree. The forms a claim may take:

========================  =====================================================================
``relative_error()``      max |m - p| / |p| over the entries
``largest_deviation(s)``  max |m - p| / s: a curve against a curve, in units of a stated scale
``largest_distance(s)``   max over time of ||m(t) - p(t)|| / s: a path of matrices, time first
``relative_norm()``       ||m - p|| / ||p||, the Euclidean (Frobenius) norm over all entries
``slope_difference(x)``   |slope(m) - p|, the slope fitted to log m against log x
``ratio()``               max(m/p, p/m) - 1 over the entries
========================  =====================================================================

Here p stands for the prediction and m for the measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnmech.numerics import fit_power_law
from learnmech.numerics.arrays import ArrayLike

__all__ = [
    "ClaimError",
    "Measure",
    "largest_deviation",
    "largest_distance",
    "ratio",
    "relative_error",
    "relative_norm",
    "slope_difference",
]

Array = NDArray[np.float64]


class ClaimError(ValueError):
    """A claim, limit, check or figure was stated in a way that cannot be judged."""


@dataclass(frozen=True)
class Measure:
    """A named way to turn (predicted, measured) into one discrepancy."""

    # Words for the ledger, such as `largest deviation over 3`.
    name: str
    # Maps predicted and measured arrays to a non-negative number.
    function: Callable[[Array, Array], float]
    # For measures that fit, maps the measured array to the fitted number and its standard error.
    reduces_measurement: Callable[[Array], tuple[float, float]] | None = None

    def __call__(self, prediction: ArrayLike, measurement: ArrayLike) -> float:
        """Return the discrepancy, refusing what cannot be compared."""
        predicted = np.asarray(prediction, dtype=np.float64)
        measured = np.asarray(measurement, dtype=np.float64)
        if self.reduces_measurement is None and predicted.shape not in ((), measured.shape):
            raise ClaimError(
                f"the prediction has shape {predicted.shape} and the measurement has shape "
                f"{measured.shape}; give both on the same grid"
            )
        return float(self.function(predicted, measured))


def relative_error() -> Measure:
    """Largest relative error, max |m - p| / |p|; the prediction must not be zero."""

    def function(predicted: Array, measured: Array) -> float:
        if not np.all(predicted != 0):
            raise ClaimError(
                "a relative error needs a prediction that is nowhere zero; "
                "use largest_deviation(scale) instead"
            )
        return float(np.max(np.abs(measured - predicted) / np.abs(predicted)))

    return Measure("largest relative error", function)


def largest_deviation(scale: ArrayLike, unit: str = "") -> Measure:
    """Largest deviation of a curve in units of a scale, max |m - p| / scale.

    Args:
        scale: positive number, or an array that broadcasts against the prediction (for instance
            one scale per mode).
        unit: what the scale is, in words, for the ledger.
    """
    scales = np.asarray(scale, dtype=np.float64)
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ClaimError("the scale of a largest deviation must be positive and finite")

    def function(predicted: Array, measured: Array) -> float:
        return float(np.max(np.abs(measured - predicted) / scales))

    words = unit or (f"{float(scales):.4g}" if scales.ndim == 0 else "a scale per curve")
    return Measure(f"largest deviation over {words}", function)


def largest_distance(scale: float, unit: str = "") -> Measure:
    """Largest distance of a path of vectors or matrices, max over t of ||m(t) - p(t)|| / scale.

    Args:
        scale: positive number, for instance the norm of what the path leads to.
        unit: what the scale is, in words, for the ledger.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise ClaimError("the scale of a largest distance must be positive and finite")

    def function(predicted: Array, measured: Array) -> float:
        if measured.ndim < 2:
            raise ClaimError(
                f"a path has time on its first axis and vectors or matrices behind it, but the "
                f"measurement has shape {measured.shape}"
            )
        gap = (measured - predicted).reshape(len(measured), -1)
        return float(np.max(np.linalg.norm(gap, axis=1))) / float(scale)

    return Measure(f"largest distance over {unit or f'{scale:.4g}'}", function)


def relative_norm() -> Measure:
    """Relative distance of whole arrays, ||m - p|| / ||p||."""

    def function(predicted: Array, measured: Array) -> float:
        size = float(np.linalg.norm(predicted))
        if size == 0.0:
            raise ClaimError("a relative distance needs a prediction that is not all zero")
        return float(np.linalg.norm(measured - predicted)) / size

    return Measure("relative distance in norm", function)


def slope_difference(x: ArrayLike) -> Measure:
    """Distance of a fitted log-log slope from the predicted exponent, |slope(m) - p|.

    Args:
        x: positive positions, shape ``(n,)``, at which the measurement was taken.
    """
    positions = np.array(x, dtype=np.float64)

    def reduce(measured: Array) -> tuple[float, float]:
        try:
            fit = fit_power_law(positions, measured)
        except ValueError as error:
            raise ClaimError(str(error)) from None
        return fit.slope, fit.slope_standard_error

    def function(predicted: Array, measured: Array) -> float:
        if predicted.ndim:
            raise ClaimError(
                "a slope is held against one predicted exponent, but the prediction has shape "
                f"{predicted.shape}"
            )
        return abs(reduce(measured)[0] - float(predicted))

    return Measure("difference of the fitted log-log slope", function, reduce)


def ratio() -> Measure:
    """Largest factor between the two, less one: max(m/p, p/m) - 1; both must be positive."""

    def function(predicted: Array, measured: Array) -> float:
        if not ((predicted > 0).all() and (measured > 0).all()):
            raise ClaimError("a ratio needs a positive prediction and a positive measurement")
        return float(np.max(np.maximum(measured / predicted, predicted / measured))) - 1.0

    return Measure("largest ratio less one", function)
