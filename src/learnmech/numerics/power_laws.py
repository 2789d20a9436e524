r"""Power laws with a floor, $y = A x^{-b} + c$, by variable projection.

For a given exponent the best $A$ and $c$ are a straight-line fit of y against $x^{-b}$, so only
the profile

$$ R(b) = \min_{A, c} \sum_i w_i r_i^2, \qquad r_i = y_i - A x_i^{-b} - c, \qquad
   R'(b) = 2 A \sum_i w_i r_i\, x_i^{-b} \ln x_i, $$

is searched: on a grid of exponents, and then for the root of $R'$ beside the best of them. No
start is guessed, and a curve that is hard in three parameters is easy in one. The same search
fits many data sets at once, (B, n), which is what the intervals of
`learnmech.numerics.power_law_intervals` need.

Reference: Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
problems whose variables separate", SIAM J. Numer. Anal. 10 (1973) 413-432.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from learnmech.numerics.arrays import ArrayLike

__all__ = ["SaturatingPowerLaw", "fit_saturating_power_law"]

Points = Float[np.ndarray, " n"]
Fits = Float[np.ndarray, " B"]
Matrix = Float[np.ndarray, "B n"]

GRID = 96  # exponents of the first search, equally spaced in their logarithm
BISECTIONS = 40  # halve a bracket of the grid to 1e-13 of the exponent
BLOCK = 2**20  # numbers handled at once


@dataclass(frozen=True)
class SaturatingPowerLaw:
    """A fitted curve ``amplitude * x**(-exponent) + offset``."""

    amplitude: float  # A: units of y times units of x to the power b
    exponent: float  # b, positive
    offset: float  # c, the value at infinite x; units of y
    # Root mean square of the residuals; units of y, or of standard errors if they were given
    residual_rms: float

    def at(self, x: ArrayLike) -> Float[np.ndarray, "..."]:
        """Return the curve at x > 0, in the shape of x."""
        positions = np.asarray(x, dtype=np.float64)
        return np.asarray(self.amplitude * np.power(positions, -self.exponent) + self.offset)


def fit_saturating_power_law(
    x: ArrayLike,
    y: ArrayLike,
    *,
    standard_errors: ArrayLike | None = None,
    nonnegative_offset: bool = True,
    exponent_bounds: tuple[float, float] = (0.01, 10.0),
) -> SaturatingPowerLaw:
    r"""Fit $y = A x^{-b} + c$ by least squares in y, with $b > 0$ and A of either sign.

    Args:
        x: positive positions, shape ``(n,)``, at least three of them different.
        y: values, shape ``(n,)``, n at least 4.
        standard_errors: of the values, shape ``(n,)``, up to a common factor; they weigh the
            squares. None weighs all points alike, which lets the largest y decide: for relative
            errors give y itself.
        nonnegative_offset: whether c may not be below zero, as a loss may not.
        exponent_bounds: where b is searched.

    Returns:
        The fit.

    Raises:
        ValueError: if the shapes differ, a number is not finite, a position or standard error
            is not positive, there are too few points, or the exponent is not identified: the
            values are constant, or the best b is an end of the bounds, where the data are as
            well a logarithm of x (lower end) or one point apart from a constant (upper end).

    Reference: Golub and Pereyra (1973). Cost: O(n) for each of about 150 exponents.

    Examples:
        >>> x = np.array([1.0, 4.0, 16.0, 64.0])
        >>> fit = fit_saturating_power_law(x, 3.0 / np.sqrt(x) + 0.5)
        >>> round(fit.amplitude, 9), round(fit.exponent, 9), round(fit.offset, 9)
        (3.0, 0.5, 0.5)
    """
    positions, values, weights = checked_points(x, y, standard_errors, exponent_bounds)
    amplitude, exponent, offset, at_bound = solve(
        np.log(positions), values[None], weights[None], nonnegative_offset, exponent_bounds
    )
    if at_bound[0] or np.ptp(values) == 0.0:
        raise ValueError(
            "the exponent is not identified: the values are constant, or the best exponent is an "
            f"end of the bounds {exponent_bounds}; give a wider range of x, or wider bounds."
        )
    curve = SaturatingPowerLaw(float(amplitude[0]), float(exponent[0]), float(offset[0]), 0.0)
    residuals = np.sqrt(weights) * (values - curve.at(positions))
    return replace(curve, residual_rms=math.hypot(*residuals) / math.sqrt(values.size))


def solve(
    log_x: Points,
    y: Matrix,
    weights: Matrix,
    nonnegative: bool,
    bounds: tuple[float, float],
) -> tuple[Fits, Fits, Fits, Bool[np.ndarray, " B"]]:
    """Amplitudes, exponents and offsets of B fits at once, and whether b ended at a bound."""
    smallest = log_x.min()
    u = log_x - smallest  # powers of x over its smallest value cannot overflow,
    unit = np.abs(y).max() or 1.0  # and neither can squares of y over its largest one
    y = y / unit
    grid = np.geomspace(*bounds, GRID)
    parts = []
    block = max(1, BLOCK // log_x.size)
    for start in range(0, len(y), block):
        rows = slice(start, start + block)
        best = np.argmin(_scan(grid, u, y[rows], weights[rows], nonnegative), axis=1)
        low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, GRID - 1)]
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            rising = _project(middle, u, y[rows], weights[rows], nonnegative)[2] > 0.0
            low, high = np.where(rising, low, middle), np.where(rising, middle, high)
        exponent = 0.5 * (low + high)
        amplitude, offset, _ = _project(exponent, u, y[rows], weights[rows], nonnegative)
        parts.append((unit * amplitude * np.exp(exponent * smallest), exponent, unit * offset))
    amplitude, exponent, offset = (np.concatenate(part) for part in zip(*parts, strict=True))
    return amplitude, exponent, offset, ends_at_bound(exponent, bounds)


def _scan(
    exponents: Float[np.ndarray, " G"], u: Points, y: Matrix, weights: Matrix, nonnegative: bool
) -> Float[np.ndarray, "B G"]:
    """R for every data set and exponent, by sums over points that are matrix products."""
    logarithms = -u[:, None] * exponents
    z, below_one = np.exp(logarithms), np.expm1(logarithms)
    # Where z hardly varies, its mean goes first, and the digits of z - 1 are kept.
    flat, mean = z.min(0) > 0.5, below_one.mean(0)
    centred, middle = np.where(flat, below_one - mean, z), np.where(flat, 1.0 + mean, 0.0)
    total = weights.sum(1, keepdims=True)
    y_mean, shift = (weights * y).sum(1, keepdims=True) / total, weights @ centred / total
    from_mean = weights * (y - y_mean)
    slope_squares, slope = weights @ centred**2 - total * shift**2, from_mean @ centred
    squares = (from_mean * (y - y_mean)).sum(1, keepdims=True) - slope**2 / slope_squares
    if nonnegative:
        zz, zy, z_mean = weights @ z**2, (weights * y) @ z, middle + shift
        through_zero = (weights * y**2).sum(1, keepdims=True) - zy**2 / zz
        squares = np.where(y_mean < slope / slope_squares * z_mean, through_zero, squares)
    return np.asarray(squares)


def _project(
    exponent: Fits, u: Points, y: Matrix, weights: Matrix, nonnegative: bool
) -> tuple[Fits, Fits, Fits]:
    """Best A and c for given exponents, and half of R'."""
    z = np.exp(-exponent[:, None] * u)
    total = weights.sum(1)
    z_mean, y_mean = (weights * z).sum(1) / total, (weights * y).sum(1) / total
    from_mean = weights * (z - z_mean[:, None])
    amplitude = (from_mean * y).sum(1) / (from_mean * z).sum(1)
    offset = y_mean - amplitude * z_mean
    if nonnegative:
        weighted = weights * z
        through_zero = (weighted * y).sum(1) / (weighted * z).sum(1)
        amplitude = np.where(offset < 0.0, through_zero, amplitude)
        offset = np.maximum(offset, 0.0)
    residuals = weights * (y - amplitude[:, None] * z - offset[:, None])
    return amplitude, offset, amplitude * (residuals * z * u).sum(1)


def ends_at_bound(exponent: Fits, bounds: tuple[float, float]) -> Bool[np.ndarray, " B"]:
    """Whether the search ended where it was not allowed to go on."""
    return np.asarray((exponent <= bounds[0] * (1 + 1e-9)) | (exponent >= bounds[1] * (1 - 1e-9)))


def checked_points(
    x: ArrayLike, y: ArrayLike, standard_errors: ArrayLike | None, bounds: tuple[float, float]
) -> tuple[Points, Points, Points]:
    """Positions, values and weights as float64, or a clear ValueError."""
    positions, values = (np.asarray(z, dtype=np.float64) for z in (x, y))
    errors = np.ones_like(values) if standard_errors is None else np.asarray(standard_errors)
    if positions.ndim != 1 or not positions.shape == values.shape == errors.shape:
        raise ValueError(
            f"x, y and standard_errors must be lists of equal length, but have the shapes "
            f"{positions.shape}, {values.shape} and {errors.shape}."
        )
    if values.size < 4 or np.unique(positions).size < 3:
        raise ValueError(
            "a power law with an offset has three parameters: give four points or more, at three "
            "different positions or more."
        )
    if not all(np.isfinite(z).all() for z in (positions, values, errors)):
        raise ValueError("x, y and standard_errors must be finite; remove NaN and infinity.")
    if not ((positions > 0).all() and (errors > 0).all()):
        raise ValueError("every x and every standard error must be positive.")
    if not 0.0 < bounds[0] < bounds[1] < np.inf:
        raise ValueError(f"exponent_bounds must be positive and increasing, not {bounds}.")
    return positions, values, np.asarray(1.0 / errors.astype(np.float64) ** 2)
