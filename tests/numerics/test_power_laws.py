"""Saturating power laws and bootstrap intervals: exactness, oracles, coverage, refusals."""

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import t as student

from learnmech.numerics import fit_power_law
from learnmech.numerics.power_law_intervals import (
    bootstrap_power_law,
    bootstrap_saturating_power_law,
)
from learnmech.numerics.power_laws import fit_saturating_power_law

X = np.geomspace(3.0, 3000.0, 14)


def curve(x, amplitude, exponent, offset):
    return amplitude * x**-exponent + offset


def noisy(seed: int, size: float = 0.01, x=X) -> np.ndarray:
    return curve(x, 2.0, 0.6, 0.3) + size * np.random.default_rng(seed).standard_normal(x.size)


@pytest.mark.parametrize("amplitude", [3.0, -3.0, 1e-12, 1e12])
@pytest.mark.parametrize("exponent", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.2, 50.0])
@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_exact_data_give_the_exact_parameters(amplitude, exponent, share, scale) -> None:
    offset = share * abs(amplitude)
    x = scale * X
    y = curve(x / scale, amplitude, exponent, offset)
    fit = fit_saturating_power_law(x, y)
    # An offset that is 50 times the amplitude costs its digits.
    rel = 1e-9 * (1.0 + share) / min(1.0, exponent)
    assert fit.exponent == pytest.approx(exponent, rel=rel)
    assert fit.amplitude == pytest.approx(amplitude * scale**exponent, rel=30 * rel)
    assert fit.offset == pytest.approx(offset, rel=rel, abs=30 * rel * abs(amplitude))
    np.testing.assert_allclose(fit.at(x), y, rtol=1e-12, atol=1e-12 * abs(amplitude))


@pytest.mark.parametrize("seed", range(5))
def test_the_optimum_agrees_with_levenberg_marquardt(seed: int) -> None:
    """Independent: scipy's curve_fit walks in all three parameters, started at the truth."""
    y, errors = noisy(seed), 0.01 * (1.0 + np.arange(X.size))
    for sigma in (None, errors):
        best, _ = curve_fit(curve, X, y, p0=(2.0, 0.6, 0.3), sigma=sigma, xtol=1e-12, ftol=1e-12)
        fit = fit_saturating_power_law(X, y, standard_errors=sigma, nonnegative_offset=False)
        assert (fit.amplitude, fit.exponent, fit.offset) == pytest.approx(tuple(best), rel=1e-6)
        weighted = (y - fit.at(X)) / (1.0 if sigma is None else sigma)
        assert fit.residual_rms == pytest.approx(np.sqrt(np.mean(weighted**2)), rel=1e-12)


def test_the_gradient_vanishes_at_the_optimum() -> None:
    """Independent: finite differences of the squares in all three parameters."""
    y = noisy(1)
    fit = fit_saturating_power_law(X, y, nonnegative_offset=False)
    at = np.array([fit.amplitude, fit.exponent, fit.offset])

    def squares(parameters):
        return np.sum((y - curve(X, *parameters)) ** 2)

    for k in range(3):
        step = np.eye(3)[k] * 1e-5
        assert squares(at + step) > squares(at) < squares(at - step)
        assert abs(squares(at + step) - squares(at - step)) / 2e-5 < 1e-6


def test_an_offset_that_may_not_be_negative() -> None:
    y = curve(X, 2.0, 0.4, -0.05)
    free = fit_saturating_power_law(X, y, nonnegative_offset=False)
    bound = fit_saturating_power_law(X, y)
    assert free.offset == pytest.approx(-0.05, rel=1e-9)
    assert bound.offset == 0.0
    # Independent: the best pure power law by curve_fit.
    best, _ = curve_fit(lambda x, a, b: a * x**-b, X, y, p0=(2.0, 0.4), xtol=1e-12, ftol=1e-12)
    assert (bound.amplitude, bound.exponent) == pytest.approx(tuple(best), rel=1e-7)


def test_a_fit_does_not_depend_on_units_or_order() -> None:
    y = noisy(2)
    fit = fit_saturating_power_law(X, y)
    order = np.random.default_rng(0).permutation(X.size)
    scaled = fit_saturating_power_law(1e6 * X[order], 1e-3 * y[order])
    assert scaled.exponent == pytest.approx(fit.exponent, rel=1e-9)
    assert scaled.offset == pytest.approx(1e-3 * fit.offset, rel=1e-9)
    repeated = fit_saturating_power_law(np.tile(X, 3), np.tile(y, 3))
    assert repeated.exponent == pytest.approx(fit.exponent, rel=1e-9)
    heavy = fit_saturating_power_law(X, y, standard_errors=np.full(X.size, 7.0))
    assert heavy.exponent == pytest.approx(fit.exponent, rel=1e-9)


@pytest.mark.parametrize("unit", [1e-200, 1e-160, 1e200])
def test_squares_of_any_unit_are_within_range(unit: float) -> None:
    """Values whose squares under- or overflow; noise of a relative size that survives."""
    y = noisy(2)
    fit, scaled = fit_saturating_power_law(X, y), fit_saturating_power_law(X, unit * y)
    assert scaled.exponent == pytest.approx(fit.exponent, rel=1e-9)
    for name in ("amplitude", "offset", "residual_rms"):
        assert getattr(scaled, name) / unit == pytest.approx(getattr(fit, name), rel=1e-9)


@pytest.mark.parametrize("nonnegative", [True, False])
def test_a_narrow_range_does_not_mislead_the_search(nonnegative: bool) -> None:
    """Over 1000 to 1001 powers of x differ by parts in a thousand, or hardly at all."""
    x = np.linspace(1000.0, 1001.0, 12)
    for exponent in (2.0, 6.0):
        y = curve(x / 1000.0, 3.0, exponent, 0.2)
        fit = fit_saturating_power_law(x, y, nonnegative_offset=nonnegative)
        assert fit.exponent == pytest.approx(exponent, rel=1e-3)


@pytest.mark.parametrize("lowest", [1e-6, 1e-9, 1e-12, 1e-18])
def test_bounds_may_begin_at_any_small_exponent(lowest: float) -> None:
    """Where x^-b is one to a rounding, sums of squares of it must not be rounding alone."""
    y = curve(X, 2.0, 0.7, -0.2)
    fit = fit_saturating_power_law(X, y, nonnegative_offset=False, exponent_bounds=(lowest, 10.0))
    assert fit.exponent == pytest.approx(0.7, rel=1e-9)


def test_a_curve_is_evaluated_in_double_precision() -> None:
    fit = fit_saturating_power_law(X, curve(X, 2.0, 0.6, 0.3))
    for x in (X.astype(np.float32), [3, 300], np.array([3, 300])):
        value = fit.at(x)
        assert value.dtype == np.float64
        np.testing.assert_array_equal(value, fit.at(np.asarray(x, dtype=np.float64)))


@pytest.mark.parametrize("resampling", ["residuals", "pairs"])
def test_intervals_are_determined_by_the_generator(resampling) -> None:
    y = noisy(3)
    runs = [
        function(X, y, rng=np.random.default_rng(seed), resampling=resampling)
        for function in (bootstrap_saturating_power_law, bootstrap_power_law)
        for seed in (5, 5, 6)
    ]
    assert runs[0] == runs[1]
    assert runs[0].exponent_interval != runs[2].exponent_interval
    assert runs[3] == runs[4]
    assert runs[3].exponent_interval != runs[5].exponent_interval
    assert runs[0].fit == fit_saturating_power_law(X, y)
    assert runs[3].fit == fit_power_law(X, y)
    assert runs[0].exponent_interval[0] < runs[0].fit.exponent < runs[0].exponent_interval[1]


def test_plain_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Simulation: of 400 data sets, 90 % intervals hold the truth in 90 % +- binomial error."""
    rng = np.random.default_rng(11)
    x = np.geomspace(1.0, 100.0, 10)
    inside = np.zeros(2)
    for _ in range(400):
        y = 3.0 * x**-0.7 * np.exp(0.1 * rng.standard_normal(10))
        result = bootstrap_power_law(x, y, rng=rng, confidence=0.9, resamples=200)
        for k, (ends, truth) in enumerate(
            [(result.exponent_interval, -0.7), (result.amplitude_interval, 3.0)]
        ):
            inside[k] += ends[0] < truth < ends[1]
    assert np.all(np.abs(inside / 400 - 0.9) < 3.0 * np.sqrt(0.9 * 0.1 / 400))


@pytest.mark.parametrize("resampling", ["residuals", "pairs"])
def test_saturating_intervals_cover_the_truth_as_often_as_they_say(resampling) -> None:
    """Simulation, as above. From 14 points, pairs cover more than they say, never less."""
    rng = np.random.default_rng(12)
    inside = np.zeros(3)
    for _ in range(200):
        y = curve(X, 2.0, 0.6, 0.3) + 0.01 * rng.standard_normal(X.size)
        result = bootstrap_saturating_power_law(
            X, y, rng=rng, confidence=0.9, resamples=400, resampling=resampling
        )
        for k, (ends, truth) in enumerate(
            [
                (result.exponent_interval, 0.6),
                (result.amplitude_interval, 2.0),
                (result.offset_interval, 0.3),
            ]
        ):
            inside[k] += ends[0] < truth < ends[1]
    error = inside / 200 - 0.9
    binomial = np.sqrt(0.9 * 0.1 / 200)
    assert np.all(error > -3.0 * binomial)
    assert np.all(error < 3.0 * binomial + (0.05 if resampling == "pairs" else 0.0))


def test_a_line_gets_the_textbook_interval() -> None:
    """Independent: Student's interval of a regression slope, from scipy's t distribution."""
    rng = np.random.default_rng(13)
    x = np.geomspace(1.0, 100.0, 12)
    y = 3.0 * x**-0.7 * np.exp(0.1 * rng.standard_normal(12))
    result = bootstrap_power_law(x, y, rng=rng, resamples=10_000)
    half = student.ppf(0.975, 10) * result.fit.slope_standard_error
    low, high = result.exponent_interval
    assert 0.5 * (high - low) == pytest.approx(half, rel=0.06)  # residuals are not quite normal
    assert 0.5 * (high + low) == pytest.approx(result.fit.slope, abs=0.06 * half)


def test_standard_errors_weigh_noise_that_falls_along_x() -> None:
    """Simulation: coverage with noise known up to a factor, for which its errors are given."""
    rng = np.random.default_rng(14)
    x = np.geomspace(3.0, 3000.0, 30)
    sigma = 0.02 * x**-0.5
    weighted = []
    for _ in range(100):
        y = curve(x, 2.0, 0.6, 0.3) + sigma * rng.standard_normal(30)
        result = bootstrap_saturating_power_law(
            x, y, rng=rng, standard_errors=5.0 * sigma, confidence=0.9, resamples=200
        )
        weighted.append(result.exponent_interval[0] < 0.6 < result.exponent_interval[1])
    assert abs(np.mean(weighted) - 0.9) < 3.0 * np.sqrt(0.9 * 0.1 / 100)


def test_repeated_positions_are_resampled_whole() -> None:
    """Three seeds at four sizes: pairs that leave fewer than three sizes are drawn again."""
    x = np.repeat([1.0, 10.0, 100.0, 1000.0], 3)
    y = noisy(7, size=0.002, x=x)
    result = bootstrap_saturating_power_law(
        x, y, rng=np.random.default_rng(0), resampling="pairs", resamples=4000
    )
    assert result.exponent_interval[0] < 0.6 < result.exponent_interval[1]
    assert result.at_bounds < 40


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(14, 0.7), "not identified"),
        (1.0 - 0.1 * np.log(X), "not identified"),  # a logarithm: b goes to zero
        (np.where(X < 4.0, 1.0, 0.5), "not identified"),  # one point apart: b goes to infinity
    ],
)
def test_refuses_exponents_that_are_not_identified(y, message) -> None:
    with pytest.raises(ValueError, match=message):
        fit_saturating_power_law(X, y, nonnegative_offset=False)


def test_refuses_an_interval_without_end() -> None:
    y = curve(X, 0.02, 0.5, 0.3) + 0.003 * np.random.default_rng(4).standard_normal(X.size)
    fit_saturating_power_law(X, y)  # there is a best fit, and nothing holds it
    with pytest.raises(ValueError, match="interval of the exponent is unbounded"):
        bootstrap_saturating_power_law(X, y, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1.0, 2.0]}, "equal length"),
        ({"x": X[:3], "y": noisy(0)[:3]}, "four points or more"),
        ({"x": np.repeat([1.0, 2.0], 7)}, "three different positions|different positions"),
        ({"y": np.full(14, np.nan)}, "must be finite"),
        ({"x": -X}, "must be positive"),
        ({"standard_errors": np.zeros(14)}, "must be positive"),
        ({"exponent_bounds": (0.0, 1.0)}, "exponent_bounds"),
        ({"exponent_bounds": (2.0, 1.0)}, "exponent_bounds"),
    ],
)
def test_refuses_bad_points(change, message) -> None:
    arguments = {"x": X, "y": noisy(0)} | change
    with pytest.raises(ValueError, match=message):
        fit_saturating_power_law(**arguments)
    with pytest.raises(ValueError, match=message):
        bootstrap_saturating_power_law(**arguments, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:6], "y": noisy(0)[:6]}, "do not resolve them"),
        ({"resamples": 100}, "do not resolve them"),
        ({"confidence": 1.0}, "between 0 and 1"),
    ],
)
def test_refuses_tails_it_cannot_see(change, message) -> None:
    arguments = {"x": X, "y": noisy(0), "rng": np.random.default_rng(0)} | change
    with pytest.raises(ValueError, match=message):
        bootstrap_saturating_power_law(**arguments)


def test_a_plain_law_refuses_what_its_fit_refuses() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="positive"):
        bootstrap_power_law(X, -X, rng=rng)
    with pytest.raises(ValueError, match="do not resolve them"):
        bootstrap_power_law(X[:4], X[:4], rng=rng)
