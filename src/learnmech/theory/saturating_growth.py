r"""One curve behind every mode: x' = x^p (1 - x), solved for any start and any time.

With x = a/s, p = 2 - 2/L and tau = L s^p t, a mode of a deep linear network of depth L obeys

    dx/dtau = x^p (1 - x),        F(x(tau)) = F(x_0) + tau,        F'(x) = 1 / (x^p (1 - x)).

F is elementary only at a few depths, so it is evaluated from series and a quadrature, each
in the region where it converges geometrically, and inverted by Newton steps in a variable
for which F is nearly a straight line and convex (or concave). Started on the right side,
such steps approach the root from one side only, so no bracket is needed:

    ==================  ===========================  =======================
    region              F                            unknown of Newton
    ==================  ===========================  =======================
    0 < x <= 1/2        power series in x            integral of u^-p du
    1/2 <= x < 1        -ln(1-x) + smooth integral   -ln(1-x)
    1 < x <= 2          -ln(x-1) + smooth integral   -ln(x-1)
    x >= 2              power series in 1/x          x^-p - x_0^-p
    ==================  ===========================  =======================

For L > 2 a small start waits a time of order x_0^(1-p), which can be 1e100, and then rises
within a time of order one. Close to that moment F(x_0) + tau is a small difference of huge
numbers, so there, and only there, it is formed in decimal arithmetic with enough digits.

Shapes: every array here is one-dimensional, (M,). Nothing is checked here: call
`learnmech.theory.linear_networks.mode_strength`, which checks its input and broadcasts.
Loss convention: half squared loss. Reference: the integral of Saxe et al., arXiv:1312.6120v3,
equation (15); the expansions are derived in the functions that use them.
"""

import math
from decimal import Decimal, localcontext

import numpy as np
from jaxtyping import Float

__all__ = ["fall", "rise", "rise_integral"]

Vector = Float[np.ndarray, " M"]

TERMS = 64  # 2^-64 is below the rounding of a double
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
NEWTON_STEPS = 60
CANCELLATION = 1e-4  # below this share of |F(x_0)|, the difference is formed in decimals


def rise_integral(log_x: Vector, p: float) -> Vector:
    """F(x) - F(1/2) for x <= 1/2: minus the time from x to one half, in units of tau.

    Args:
        log_x: ln x, (M,), at most ln(1/2).
        p: Exponent of the growth, 0 <= p < 2.

    >>> rise_integral(np.log([0.25]), 1.0).round(12)  # the logit of 1/4: -ln 3
    array([-1.09861229])
    """
    return np.asarray(_leading(log_x, p) + _rise_rest(np.exp(log_x), p))


def rise(
    *,
    log_x0: Vector,
    one_minus_x0: Vector,
    start: Vector,
    scale: Vector,
    t: Vector,
    growth_rate: Vector,
    depth: float,
) -> Vector:
    """x after time t from a start 0 < x_0 < 1.

    Args:
        log_x0: ln x_0, (M,), negative.
        one_minus_x0: 1 - x_0, (M,), computed without cancellation.
        start: Numerator of x_0 (the initial strength), (M,); used in decimal arithmetic.
        scale: Denominator of x_0 (the singular value), (M,).
        t: Time, (M,), at least zero.
        growth_rate: L s^p, (M,), so that tau = growth_rate * t.
        depth: L > 1.

    >>> one = np.ones(1)
    >>> start = dict(log_x0=np.log(one / 4), one_minus_x0=0.75 * one, start=one / 4, scale=one)
    >>> rise(**start, t=0.5 * np.log(3.0 * one), growth_rate=2.0 * one, depth=2.0).round(12)
    array([0.5])
    """
    p = 2.0 - 2.0 / depth
    low = log_x0 <= -math.log(2.0)
    phase = np.empty_like(log_x0)
    with np.errstate(over="ignore", invalid="ignore"):
        tau = growth_rate * t
        phase[low] = rise_integral(log_x0[low], p)
        phase[~low] = _near_one(-np.log(one_minus_x0[~low]), -1.0, p) - _value_at_half(p)
        target = phase + tau
        fragile = low & ~(np.abs(target) > CANCELLATION * np.abs(phase))
    fragile &= t > 0.0
    if p > 1.0:
        for i in np.flatnonzero(fragile):
            exact = _decimal_leading_plus_time(start[i], scale[i], t[i], depth)
            target[i] = exact + float(_rise_rest(np.exp(log_x0[i : i + 1]), p)[0])
    x: Vector = np.empty_like(target)
    below = target <= 0.0
    x[below] = _invert_low(np.maximum(target[below], -1e300), p)
    x[~below] = -np.expm1(-_invert_near_one(target[~below] + _value_at_half(p), -1.0, p))
    return x


def fall(x0: Vector, tau: Vector, p: float) -> Vector:
    """x after time tau from a start x_0 > 1, for p > 0; x sinks to 1.

    Args:
        x0: Start, (M,), above one.
        tau: Time in units of 1 / (L s^p), (M,).
        p: Exponent of the growth, 0 < p < 2.

    >>> fall(np.array([2.0]), np.log([2.0]), 1.0).round(12)  # x / (x - 1) doubles, from 2 to 4
    array([1.33333333])
    """
    x: Vector = np.empty_like(x0)
    log_2 = np.full(1, math.log(2.0))
    to_two = np.where(x0 > 2.0, _fall_integral(log_2, p) - _fall_integral(np.log(x0), p), 0.0)
    far = tau < to_two
    x[far] = _invert_far(x0[far], tau[far], p)
    phase = np.where(
        x0[~far] > 2.0,
        _near_one(np.zeros(1), 1.0, p),
        _near_one(-np.log(np.minimum(x0[~far], 2.0) - 1.0), 1.0, p),
    )
    x[~far] = 1.0 + np.exp(-_invert_near_one(phase + (tau - to_two)[~far], 1.0, p))
    return x


def _leading(log_x: Vector, p: float) -> Vector:
    """Integral of u^-p from 1/2 to x, by expm1 so that p near 1 loses nothing."""
    alpha = 1.0 - p
    log_2x = log_x + math.log(2.0)
    if alpha == 0.0:
        return log_2x
    return np.asarray(2.0**-alpha * np.expm1(alpha * log_2x) / alpha)


def _rise_rest(x: Vector, p: float) -> Vector:
    """Integral of u^(1-p) / (1-u) from 1/2 to x, by its power series."""
    coefficients = 1.0 / (np.arange(TERMS) + 2.0 - p)

    def series(u: Vector) -> Vector:
        return np.asarray(u ** (2.0 - p) * np.polynomial.polynomial.polyval(u, coefficients))

    return np.asarray(series(x) - series(np.full(1, 0.5)))


def _fall_rest(log_x: Vector, p: float) -> Vector:
    """Integral from x to infinity of u^-(p+1) / (u-1), by its power series in 1/x."""
    coefficients = 1.0 / (np.arange(TERMS) + 1.0 + p)
    polynomial = np.polynomial.polynomial.polyval(np.exp(-log_x), coefficients)
    return np.asarray(np.exp(-(1.0 + p) * log_x) * polynomial)


def _fall_integral(log_x: Vector, p: float) -> Vector:
    """Time from x = infinity down to x >= 2."""
    return np.asarray(np.exp(-p * log_x) / p + _fall_rest(log_x, p))


def _near_one(z: Vector, side: float, p: float) -> Vector:
    """F at x = 1 + side * exp(-z), counted so that F + ln|1-x| vanishes at x = 1."""
    v = side * np.exp(-z)[..., None] * 0.5 * (NODES + 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        integrand = np.where(v == 0.0, p, -np.expm1(-p * np.log1p(v)) / v)
    return np.asarray(z + 0.5 * side * np.exp(-z) * (integrand @ WEIGHTS))


def _value_at_half(p: float) -> float:
    return float(_near_one(np.full(1, math.log(2.0)), -1.0, p)[0])


def _invert_low(target: Vector, p: float) -> Vector:
    """x <= 1/2 with F(x) - F(1/2) = target <= 0; the start x = 1/2 lies right of the root."""
    alpha = 1.0 - p
    log_half = -math.log(2.0)
    m = np.zeros_like(target)
    log_x = np.full_like(target, log_half)
    for _ in range(NEWTON_STEPS):
        x = np.exp(log_x)
        step = (m + _rise_rest(x, p) - target) * (1.0 - x)
        m = m - step
        log_x = log_half + np.log1p(np.maximum(alpha * m * 2.0**alpha, -1.0 + 1e-300)) / alpha
        if np.all(np.abs(step) <= 4e-16 * (1.0 + np.abs(target))):
            break
    return np.asarray(np.exp(log_x))


def _invert_near_one(target: Vector, side: float, p: float) -> Vector:
    """Return z = -ln|1-x| with F(x) = target, between 1/2 and 1 (side -1) or 1 and 2 (+1)."""
    # Below one F is concave in z, so start left of the root; above one it is convex.
    z: Vector = np.full_like(target, math.log(2.0)) if side < 0.0 else np.maximum(target, 0.0)
    for _ in range(NEWTON_STEPS):
        slope = (1.0 + side * np.exp(-z)) ** -p
        step = (_near_one(z, side, p) - target) / slope
        z = z - step
        if np.all(np.abs(step) <= 4e-16 * (1.0 + np.abs(target))):
            break
    return z


def _invert_far(x0: Vector, tau: Vector, p: float) -> Vector:
    """x >= 2 a time tau after x_0 >= x; the unknown is m = (x^-p - x_0^-p) / p."""
    log_x0 = np.log(x0)
    rest0 = _fall_rest(log_x0, p)
    m = tau
    log_x = log_x0
    for _ in range(NEWTON_STEPS):
        with np.errstate(divide="ignore"):
            log_x = log_x0 - np.logaddexp(0.0, np.log(p * m) + p * log_x0) / p
        step = (m + _fall_rest(log_x, p) - rest0 - tau) * -np.expm1(-log_x)
        m = np.maximum(m - step, 0.0)
        if np.all(np.abs(step) <= 4e-16 * np.abs(tau)):
            break
    return np.asarray(np.exp(log_x))


def _decimal_leading_plus_time(start: float, scale: float, t: float, depth: float) -> float:
    """Return `_leading`(x_0) + L s^p t for p > 1, with digits to spare after the cancellation."""
    with localcontext() as context:
        context.prec = 60
        s, x0, length = Decimal(scale), Decimal(start) / Decimal(scale), Decimal(depth)
        context.prec = 60 + abs(x0.adjusted())
        s, x0 = Decimal(scale), Decimal(start) / Decimal(scale)
        p = 2 - 2 / length
        waited = (x0 ** (1 - p) - Decimal(2) ** (p - 1)) / (p - 1)
        return float(length * s**p * Decimal(t) - waited)
