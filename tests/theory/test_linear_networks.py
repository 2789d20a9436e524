"""Mode strengths against independent oracles, their identities, and refused input."""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from learnmech.theory.linear_networks import half_time, mode_strength

DEPTHS = [1, 1.3, 2, 2.5, 3, 4, 10, 100]
positive = st.floats(1e-3, 1e3)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("start", [1e-6, 1e-3, 0.2, 0.5, 0.9, 1.1, 2.0, 40.0])
def test_against_integration_in_the_logarithm(depth: float, start: float) -> None:
    """Independent: a general Runge-Kutta integrator on ln a knows no closed or implicit form."""
    s = 0.7
    end = 2.0 * float(half_time(s, min(start * s, 0.3), depth)) + 2.0
    flow = solve_ivp(
        lambda _, y: depth * np.exp((1.0 - 2.0 / depth) * y) * (s - np.exp(y)),
        (0.0, end),
        [math.log(start * s)],
        method="Radau" if start < 1e-2 or start > 10 else "DOP853",
        rtol=1e-10,
        atol=1e-12,
        t_eval=np.linspace(0.0, end, 15),
    )
    expected = np.exp(flow.y[0])
    error = np.abs(mode_strength(flow.t, s, start * s, depth) - expected)
    assert np.max(error / np.maximum(expected, s)) < 1e-7  # Radau's own error


@pytest.mark.parametrize("depth", [1.3, 2.5, 3, 4, 10])
@pytest.mark.parametrize("start", [1e-9, 1e-4, 0.3])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999, 1.0, 1.001, 1.2])
def test_elapsed_time_is_the_integral(depth: float, start: float, share: float) -> None:
    """Independent: adaptive quadrature of dt = da / (L a^p (s-a)) in the logit of a/s."""
    s = 1.7
    t = share * float(half_time(s, start * s, depth))
    a = float(mode_strength(t, s, start * s, depth))
    saturated = a / s > 1.0 - 1e-9  # then the time to get this close must not exceed t
    low, high = (math.log(x / (1.0 - x)) for x in (start, min(a / s, 1.0 - 1e-9)))
    cuts = np.linspace(low, high, 30)
    elapsed = sum(
        quad(lambda w: (1.0 + math.exp(-w)) ** (1.0 - 2.0 / depth), *ends, epsrel=1e-13)[0]
        for ends in itertools.pairwise(cuts)
    ) / (depth * s ** (2.0 - 2.0 / depth))
    if saturated:
        assert elapsed <= t * (1.0 + 1e-12)
        return
    speed = depth * a ** (2.0 - 2.0 / depth) * (s - a)
    assert abs(elapsed - t) * speed / s < 1e-8


def test_depths_one_and_two_are_the_textbook_formulas() -> None:
    t = np.linspace(0.0, 5.0, 11)
    np.testing.assert_allclose(mode_strength(t, 2.0, 0.5, 1), 2.0 - 1.5 * np.exp(-t), rtol=1e-14)
    sigmoid = 2.0 / (1.0 + (2.0 / 0.5 - 1.0) * np.exp(-4.0 * t))
    np.testing.assert_allclose(mode_strength(t, 2.0, 0.5), sigmoid, rtol=1e-13)


def test_depth_is_continuous_at_two() -> None:
    t = np.linspace(0.0, 10.0, 21)
    for start in (1e-5, 0.6, 3.0):
        gap = mode_strength(t, 1.0, start, 2.0 + 1e-9) - mode_strength(t, 1.0, start, 2)
        assert np.max(np.abs(gap)) < 1e-6


def test_depth_three_and_a_tiny_start_wait_exactly() -> None:
    """Independent: exact rational arithmetic of the waiting time, whose digits doubles lose."""
    a0, s = 1e-300, 1.0
    with localcontext() as context:
        context.prec = 400
        t = float(Decimal(a0) ** (-Decimal(1) / 3))
    # At depth 3 the rise takes a time of order one after a wait of 1e100 (spacing 1e84): only
    # the sign of t minus the exact wait decides; one spacing before is start, after is end.
    before, after = np.nextafter(t, 0.0), np.nextafter(t, np.inf)
    values = mode_strength(np.array([before, after]), s, a0, 3)
    assert values[0] < 1e-80
    assert values[1] > 1.0 - 1e-12
    assert float(half_time(s, a0, 3)) == pytest.approx(t, rel=1e-12)


@given(positive, st.floats(1e-12, 50.0), st.sampled_from(DEPTHS), positive, positive)
@settings(max_examples=200, deadline=None)
def test_semigroup(s: float, share: float, depth: float, t1: float, t2: float) -> None:
    """Going on from where one was is the same as going all the way."""
    unit = 1.0 / (depth * s ** (2.0 - 2.0 / depth))
    t1, t2 = t1 * unit, t2 * unit
    halfway = mode_strength(t1, s, share * s, depth)
    direct = float(mode_strength(t1 + t2, s, share * s, depth))
    assert abs(float(mode_strength(t2, s, halfway, depth)) - direct) <= 1e-8 * max(s, direct)


@given(positive, positive, st.sampled_from(DEPTHS), positive)
@settings(max_examples=100, deadline=None)
def test_scaling_and_fixed_point(s: float, c: float, depth: float, t: float) -> None:
    """The equation's only scale is s; a = s rests."""
    assert float(mode_strength(t, s, s, depth)) == s
    slower = t * c ** (2.0 / depth - 2.0)
    scaled = float(mode_strength(slower, c * s, c * s / 50, depth))
    assert scaled == pytest.approx(c * float(mode_strength(t, s, s / 50, depth)), rel=1e-7)


@pytest.mark.parametrize("depth", DEPTHS)
def test_extremes_stay_finite_and_monotone(depth: float) -> None:
    t = np.concatenate([[0.0], np.logspace(-300, 300, 61)])
    for start in (5e-324, 1e-300, 1e-8, 0.3, 1.0, 1e8, 1e300):
        a = mode_strength(t, 0.5, start, depth)
        assert np.all(np.isfinite(a))
        assert np.all(np.diff(a) * np.sign(0.5 - start) >= 0.0)
        assert a[0] == start
        assert np.all((a >= min(start, 0.5)) & (a <= max(start, 0.5)))


@pytest.mark.parametrize("depth", DEPTHS)
def test_half_time_is_where_the_mode_is_half(depth: float) -> None:
    s, a0 = np.array([0.2, 1.0, 3.0]), np.array([1e-4, 1e-2, 1.0])
    times = half_time(s, a0, depth)
    np.testing.assert_allclose(mode_strength(times[:, None], s, a0, depth)[:, 0], s / 2, rtol=1e-9)
    assert half_time(1.0, 0.5, depth) == 0.0
    assert half_time(1.0, 7.0, depth) == 0.0


def test_shapes() -> None:
    t, s = np.linspace(0.0, 1.0, 7), np.array([1.0, 2.0, 3.0])
    assert mode_strength(0.5, 1.0, 0.1).shape == ()
    assert mode_strength(t, 1.0, 0.1).shape == (7,)
    assert mode_strength(0.5, s, 0.1).shape == (3,)
    assert mode_strength(t, s, 0.1).shape == (3, 7)
    assert mode_strength(t, s, np.full((5, 1), 0.1), 3).shape == (5, 3, 7)
    own = mode_strength(np.stack([t, 2 * t, 3 * t]), s, 0.1)
    np.testing.assert_array_equal(own[1], mode_strength(2 * t, 2.0, 0.1))
    assert half_time(s, np.full((5, 1), 0.1)).shape == (5, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 1.0, 0.0), "initial_strength must be positive"),
        ((1.0, 1.0, -0.1), "initial_strength must be positive"),
        ((1.0, 0.0, 0.1), "singular_value must be positive"),
        ((-1.0, 1.0, 0.1), "t >= 0"),
        ((math.nan, 1.0, 0.1), "t holds NaN"),
        ((1.0, math.inf, 0.1), "singular_value holds NaN or infinity"),
        ((1.0, 1.0, math.nan), "initial_strength holds NaN"),
        ((1.0, 1.0, 0.1, 0.5), "depth must be"),
        ((1.0, 1.0, 0.1, math.nan), "depth must be"),
        ((1.0, [1.0, 2.0], [0.1, 0.1, 0.1]), "do not broadcast"),
        (([[0.0, 1.0], [0.0, 1.0]], [1.0, 2.0, 3.0], 0.1), "does not fit modes"),
    ],
)
def test_refuses(arguments: tuple, message: str) -> None:
    arguments = tuple(np.asarray(x) if isinstance(x, list) else x for x in arguments)
    with pytest.raises(ValueError, match=message):
        mode_strength(*arguments)
