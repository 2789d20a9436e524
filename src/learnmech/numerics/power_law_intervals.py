r"""Bootstrap intervals for power laws, with a floor and without.

Intervals come from refitting resampled data. *Residuals*: positions are kept, and the fit's
residuals, divided by the points' own standard errors, centred, and scaled by $\sqrt{n/(n-q)}$,
are drawn again; right if the noise has one law. *Pairs*: whole points are drawn again; right
also if the noise varies along x, but with few points the intervals are too wide. Intervals are
expanded percentiles: with n points and q parameters, the tail $\alpha/2$ is cut at the level
$\Phi(-t_{n-q}(\alpha/2))$, and for pairs at $\Phi(-\sqrt{n/(n-q)}\,t_{n-q}(\alpha/2))$, without
which 95 % intervals of three parameters from ten points would cover about 91 %.

References: Hesterberg, "What teachers should know about the bootstrap", arXiv:1411.5279, on the
expanded percentile interval; Davison and Hinkley, *Bootstrap Methods and their Application*,
chapter 6, on resampling in regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, stdtrit

from learnmech.numerics.arrays import ArrayLike
from learnmech.numerics.fits import LineFit, fit_line, fit_power_law
from learnmech.numerics.power_laws import (
    SaturatingPowerLaw,
    checked_points,
    ends_at_bound,
    fit_saturating_power_law,
    solve,
)

__all__ = [
    "PowerLawBootstrap",
    "SaturatingBootstrap",
    "bootstrap_power_law",
    "bootstrap_saturating_power_law",
]

Resampling = Literal["residuals", "pairs"]
Points = Float[np.ndarray, " n"]

BEYOND = 5  # resamples that must lie outside each end of an interval


@dataclass(frozen=True)
class PowerLawBootstrap:
    """A power law fitted in logarithms, with bootstrap intervals."""

    fit: LineFit  # in natural logarithms: slope is the exponent m of x^m, intercept is ln A
    exponent_interval: tuple[float, float]  # of m
    amplitude_interval: tuple[float, float]  # of A
    resamples: int  # number of refits


@dataclass(frozen=True)
class SaturatingBootstrap:
    """A power law with a floor, with bootstrap intervals."""

    fit: SaturatingPowerLaw  # the fit to the data themselves
    exponent_interval: tuple[float, float]  # of b
    amplitude_interval: tuple[float, float]  # of A
    offset_interval: tuple[float, float]  # of c
    resamples: int  # number of refits
    # Refits whose exponent ended at an end of its bounds; few, or the fit was refused
    at_bounds: int


def bootstrap_saturating_power_law(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rng: np.random.Generator,
    standard_errors: ArrayLike | None = None,
    nonnegative_offset: bool = True,
    exponent_bounds: tuple[float, float] = (0.01, 10.0),
    resampling: Resampling = "residuals",
    resamples: int = 2000,
    confidence: float = 0.95,
) -> SaturatingBootstrap:
    r"""Fit $y = A x^{-b} + c$ and give bootstrap intervals of all three parameters.

    An offset that the fit puts at zero lies on a boundary, where bootstrap intervals are known
    to be only approximate: read its interval as an upper bound.

    Args:
        x: as `fit_saturating_power_law`.
        y: as `fit_saturating_power_law`.
        rng: source of the resampling; the result is determined by its state.
        standard_errors: as `fit_saturating_power_law`.
        nonnegative_offset: as `fit_saturating_power_law`.
        exponent_bounds: as `fit_saturating_power_law`.
        resampling: "residuals" or "pairs", as in this module's docstring.
        resamples: number of refits.
        confidence: of each interval, between 0 and 1.

    Returns:
        The fit with its intervals.

    Raises:
        ValueError: as `fit_saturating_power_law`; if there are too few points or
            resamples for the tails of the interval (the defaults need 7 points for residuals
            and 11 for pairs); or if the interval of the exponent is
            unbounded, which is when it reaches an end of ``exponent_bounds``.

    Reference: Hesterberg, arXiv:1411.5279; Davison and Hinkley, chapter 6. Cost:
    O(resamples n) for each of about 150 exponents, all resamples at once.

    Examples:
        >>> x = 2.0 ** np.arange(8)
        >>> result = bootstrap_saturating_power_law(x, 1.0 / x, rng=np.random.default_rng(0))
        >>> [round(end, 9) for end in result.exponent_interval]  # without noise, a point
        [1.0, 1.0]
    """
    positions, values, weights = checked_points(x, y, standard_errors, exponent_bounds)
    level = _tail(values.size, 3, resampling, resamples, confidence)
    fit = fit_saturating_power_law(
        positions,
        values,
        standard_errors=standard_errors,
        nonnegative_offset=nonnegative_offset,
        exponent_bounds=exponent_bounds,
    )
    log_x, shape = np.log(positions), (resamples, values.size)
    if resampling == "pairs":
        refit = np.broadcast_to(values, shape)
        weight = weights * _drawn_counts(rng, resamples, log_x, needed=3)
    else:
        curve, spread = fit.at(positions), 1.0 / np.sqrt(weights)
        noise = _drawn_residuals(rng, resamples, (values - curve) / spread, parameters=3)
        refit, weight = curve + spread * noise, np.broadcast_to(weights, shape)
    amplitude, exponent, offset, at_bound = solve(
        log_x, refit, weight, nonnegative_offset, exponent_bounds
    )
    interval = _percentiles(exponent, level)
    if np.any(ends_at_bound(np.array(interval), exponent_bounds)):
        raise ValueError(
            f"the interval of the exponent is unbounded: {int(at_bound.sum())} of {resamples} "
            f"resamples end at the bounds {exponent_bounds}; give more points, a wider range of "
            "x, or wider bounds."
        )
    return SaturatingBootstrap(
        fit=fit,
        exponent_interval=interval,
        amplitude_interval=_percentiles(amplitude, level),
        offset_interval=_percentiles(offset, level),
        resamples=resamples,
        at_bounds=int(at_bound.sum()),
    )


def bootstrap_power_law(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rng: np.random.Generator,
    resampling: Resampling = "residuals",
    resamples: int = 2000,
    confidence: float = 0.95,
) -> PowerLawBootstrap:
    r"""Fit $y = A x^m$ by `fit_power_law` and give bootstrap intervals of m and A.

    Residuals are those of $\ln y$, so the noise is relative.

    Args:
        x: positive positions, shape ``(n,)``.
        y: positive values, shape ``(n,)``.
        rng: source of the resampling; the result is determined by its state.
        resampling: "residuals" or "pairs", as in this module's docstring.
        resamples: number of refits.
        confidence: of each interval, between 0 and 1.

    Returns:
        The fit with its intervals.

    Raises:
        ValueError: as `fit_power_law`, and if there are too few points or resamples for
            the tails of the interval (the defaults need 6 points for residuals and 9 for pairs).

    Reference: Hesterberg, arXiv:1411.5279; Davison and Hinkley, chapter 6.

    Examples:
        >>> x = 2.0 ** np.arange(8)
        >>> result = bootstrap_power_law(x, 5.0 * x**-2, rng=np.random.default_rng(0))
        >>> [round(end, 9) for end in result.exponent_interval]  # without noise, a point
        [-2.0, -2.0]
    """
    fit = fit_power_law(x, y)
    log_x, log_y = (np.log(np.asarray(z, dtype=np.float64)) for z in (x, y))
    level = _tail(log_x.size, 2, resampling, resamples, confidence)
    refits: list[LineFit]
    if resampling == "pairs":
        counts = _drawn_counts(rng, resamples, log_x, needed=2)
        refits = [fit_line(np.repeat(log_x, k), np.repeat(log_y, k)) for k in counts]
    else:
        line = fit.intercept + fit.slope * log_x
        drawn = _drawn_residuals(rng, resamples, log_y - line, parameters=2)
        refits = [fit_line(log_x, line + noise) for noise in drawn]
    return PowerLawBootstrap(
        fit=fit,
        exponent_interval=_percentiles(np.array([f.slope for f in refits]), level),
        amplitude_interval=_percentiles(np.exp([f.intercept for f in refits]), level),
        resamples=resamples,
    )


def _tail(n: int, parameters: int, resampling: str, resamples: int, confidence: float) -> float:
    """Level at which an expanded percentile interval is cut on each side."""
    if resampling not in ("residuals", "pairs"):
        raise ValueError(f'resampling must be "residuals" or "pairs", not {resampling!r}.')
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}.")
    freedom = n - parameters
    level = 0.0
    if freedom > 0:
        deviation = stdtrit(freedom, 0.5 + 0.5 * confidence)
        level = float(ndtr(-deviation * np.sqrt(n / freedom if resampling == "pairs" else 1.0)))
    if level * resamples < BEYOND:
        raise ValueError(
            f"the tails of a {confidence:.0%} interval from {n} points hold {level:.1e} of the "
            f"resamples, so {resamples} do not resolve them; give more points, more resamples, "
            "or a lower confidence."
        )
    return level


def _percentiles(values: Float[np.ndarray, " B"], level: float) -> tuple[float, float]:
    # The estimator under which a new draw falls outside with probability `level` on average.
    low, high = np.quantile(values, [level, 1.0 - level], method="weibull")
    return float(low), float(high)


def _drawn_residuals(
    rng: np.random.Generator, resamples: int, residuals: Points, *, parameters: int
) -> Float[np.ndarray, "B n"]:
    """Residuals drawn with replacement, centred and with the variance of the noise."""
    n = residuals.size
    scaled = (residuals - residuals.mean()) * np.sqrt(n / (n - parameters))
    return np.asarray(scaled[rng.integers(n, size=(resamples, n))])


def _drawn_counts(
    rng: np.random.Generator, resamples: int, positions: Points, *, needed: int
) -> Int[np.ndarray, "B n"]:
    """How often each point is drawn; draws with too few different positions are drawn again."""
    n = positions.size
    _, place = np.unique(positions, return_inverse=True)
    member = place[:, None] == np.arange(place.max() + 1)  # (n, number of positions)
    counts = np.zeros((resamples, n), dtype=np.int64)
    redraw = np.arange(resamples)
    while redraw.size:
        counts[redraw] = rng.multinomial(n, np.full(n, 1.0 / n), size=redraw.size)
        redraw = redraw[((counts[redraw] @ member) > 0).sum(1) < needed]
    return counts
