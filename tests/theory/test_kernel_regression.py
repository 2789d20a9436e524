"""The eigenframework: its equation solved to the last digit, its identities, and brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import bisect

from learnmech.theory.infinite_width import infinite_kernels
from learnmech.theory.kernel_regression import eigenframework, held_out_error
from learnmech.theory.kernel_ridge import effective_ridge

MODES = np.arange(1.0, 20_001.0)
SPECTRA = {
    "power 1": 1.0 / MODES,
    "power 3": MODES**-3.0,
    "exponential": np.exp(-MODES / 400.0),
    "flat": np.full(20_000, 2.0),
    "steps": np.repeat([1.0, 1e-4, 1e-12], [100, 5_000, 14_900]),
    "few": np.array([3.0, 1e-5, 1e-200]),
}


def residual(eigenvalues, kappa, n, ridge=0.0, multiplicities=1.0):
    """Independent: the equation itself, summed without rounding by math.fsum."""
    terms = multiplicities * (eigenvalues / (eigenvalues + kappa))
    return abs(math.fsum(terms) + ridge / kappa - n) / n


@pytest.mark.parametrize("ridge", [0.0, 1e-9, 1e-3, 10.0, 1e9])
@pytest.mark.parametrize("name", SPECTRA)
def test_kappa_solves_its_equation(name, ridge) -> None:
    """On steep, flat and broken spectra, from a fraction of a sample to nearly all modes."""
    eigenvalues = SPECTRA[name]
    n = np.array([1e-6, 0.5, 1.0, 3.0, 90.0, 5_000.0, 19_999.0, 19_999.999])
    n = n[n < len(eigenvalues)] if ridge == 0.0 else np.append(n, [2e4, 1e6])
    kappas = effective_ridge(eigenvalues, n, ridge=ridge)
    for size, kappa in zip(n, kappas, strict=True):
        assert residual(eigenvalues, kappa, size, ridge) <= 1e-12


def test_a_bracket_of_absolute_length_is_not_enough() -> None:
    """The steep spectrum on which a bisection's default tolerance breaks the conservation law."""
    eigenvalues, n = MODES**-3.0, 5_000.0
    common = bisect(lambda k: np.sum(eigenvalues / (eigenvalues + k)) - n, 0.0, 1.0)
    assert residual(eigenvalues, common, n) > 1e-2
    curve = eigenframework(eigenvalues, eigenvalues, n)
    assert abs(math.fsum(curve.learnabilities) / n - 1.0) <= 1e-12
    assert curve.residual <= 1e-12


def test_closed_forms() -> None:
    """M equal eigenvalues: linear without a ridge, a quadratic equation with one."""
    m, value, n = 30, 2.5, np.array([1.0, 7.0, 29.0])
    flat = np.full(m, value)
    np.testing.assert_allclose(effective_ridge(flat, n), value * (m - n) / n, rtol=1e-13)
    n, ridge = np.array([[1.0], [29.0], [300.0]]), np.array([0.1, 1.0, 1e4])
    b = value * (n - m) - ridge  # n k^2 + b k - ridge value = 0
    root = (np.sqrt(b * b + 4.0 * n * ridge * value) - b) / (2.0 * n)
    np.testing.assert_allclose(effective_ridge(flat, n, ridge=ridge), root, rtol=1e-11)


def test_power_laws_have_known_limits() -> None:
    """For j^-a, (n + 1/2) kappa^(1/a) -> (pi/a) / sin(pi/a) by Euler-Maclaurin, and E_0 -> a."""
    j = np.arange(1.0, 1_000_001.0)
    for a in (2.0, 3.0):
        curve = eigenframework(j**-a, np.zeros_like(j), 300.0)
        constant = (np.pi / a) / np.sin(np.pi / a)
        assert 300.5 * curve.kappa ** (1.0 / a) == pytest.approx(constant, rel=1e-3)
        assert curve.overfitting == pytest.approx(a, rel=1e-2)


def test_multiplicities_are_repeated_eigenvalues() -> None:
    values, m = np.array([2.0, 0.3, 0.01, 0.0]), np.array([1.0, 8.0, 40.0, 5.0])
    v = np.array([1.0, 0.5, 0.2, 0.1])
    options = {"ridge": [[0.0], [0.2]], "noise": 0.1}
    grouped = eigenframework(values, v, [3.0, 20.0], multiplicities=m, **options)
    spread = np.concatenate([np.append(x, np.zeros(int(c) - 1)) for x, c in zip(v, m, strict=True)])
    single = eigenframework(np.repeat(values, m.astype(int)), spread, [3.0, 20.0], **options)
    for name in ("kappa", "overfitting", "test_error", "train_error"):
        np.testing.assert_allclose(getattr(grouped, name), getattr(single, name), rtol=1e-12)
    starts = np.cumsum(np.append(0, m[:-1])).astype(int)
    learned = single.learnabilities[..., starts]
    np.testing.assert_allclose(grouped.learnabilities, learned, rtol=1e-12)


@given(
    st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30),
    st.floats(0.01, 100.0),
    st.sampled_from([0.0, 1e-6, 0.1, 100.0]),
)
@example([1.0000000000000002e-06], 1.0, 100.0)  # E_0 is one, and was rounded to below it
@settings(max_examples=100, deadline=None)
def test_identities(values, n, ridge) -> None:
    """Conservation of learnability; test error as a sum over modes, and at the optimal ridge."""
    eigenvalues = np.array(values)
    power = np.sqrt(eigenvalues)  # a target drawn from the kernel's own prior
    curve = eigenframework(eigenvalues, power, n, ridge=ridge, noise=ridge)
    learned = curve.learnabilities.sum()
    wanted = n - ridge / curve.kappa if curve.kappa > 0.0 else min(n, len(values))
    assert learned == pytest.approx(wanted, rel=1e-11, abs=1e-11 * n)
    assert np.all((curve.learnabilities >= 0.0) & (curve.learnabilities <= 1.0))
    assert curve.overfitting >= 1.0
    if not np.isfinite(curve.overfitting):
        return
    parts = curve.overfitting * (1.0 - curve.learnabilities) ** 2 * eigenvalues
    whole = parts.sum() + curve.overfitting * ridge
    assert curve.test_error == pytest.approx(float(whole), rel=1e-9, abs=1e-12)
    # With noise = ridge and v_i^2 = lambda_i, sums of (1-L)^2 lambda + noise telescope to n kappa.
    assert curve.test_error == pytest.approx(n * curve.kappa, rel=1e-9, abs=1e-300)
    assert curve.train_error == pytest.approx(
        (ridge / n) ** 2 * n / curve.kappa if curve.kappa > 0.0 else 0.0, rel=1e-9
    )


def test_edges() -> None:
    values, v = np.array([1.0, 0.5, 0.0]), np.array([1.0, 2.0, 3.0])
    none = eigenframework(values, v, 0.0, ridge=[0.0, 0.5], noise=0.25)
    assert np.all(np.isinf(none.kappa))
    np.testing.assert_allclose(none.test_error, 14.25)
    np.testing.assert_allclose(none.train_error, 14.25 * np.array([0.0, (0.5 / 2.0) ** 2]))
    nearly = eigenframework(values, v, 1e-9, ridge=[0.0, 0.5], noise=0.25)
    np.testing.assert_allclose(nearly.test_error, none.test_error, rtol=1e-8)
    np.testing.assert_allclose(nearly.train_error, none.train_error, rtol=1e-8)
    # More samples than modes, no ridge: least squares; what is outside the modes acts as noise.
    many = eigenframework(values, v, 10.0, noise=0.25)
    assert many.kappa == 0.0
    np.testing.assert_array_equal(many.learnabilities, [1.0, 1.0, 0.0])
    assert many.test_error == pytest.approx(9.25 * 10.0 / 8.0, rel=1e-14)
    assert many.train_error == pytest.approx(9.25 * 8.0 / 10.0, rel=1e-14)
    tiny = eigenframework(values, v, 10.0, noise=0.25, ridge=1e-10)
    assert tiny.test_error == pytest.approx(float(many.test_error), rel=1e-9)
    assert tiny.train_error == pytest.approx(float(many.train_error), rel=1e-9)
    # As many samples as modes: the peak, unless there is nothing to be fitted but the modes.
    assert np.isinf(eigenframework(values, v, 2.0).test_error)
    assert eigenframework(values, v, 2.0).train_error == 0.0
    clean = eigenframework(values[:2], v[:2], [2.0, 2.0 - 1e-9])
    assert clean.test_error[0] == 0.0
    assert clean.test_error[1] < 1e-7
    nothing = eigenframework(np.zeros(2), np.ones(2), [0.0, 5.0, 5.0], ridge=[0.0, 0.0, 1.0])
    np.testing.assert_array_equal(nothing.test_error, 2.0)
    np.testing.assert_array_equal(nothing.train_error, 2.0)


def test_batches_and_outputs() -> None:
    """Every shape is a table of single calls; outputs add up."""
    rng = np.random.default_rng(0)
    values, v = rng.uniform(size=50), rng.normal(size=(50, 3))
    n, ridge, noise = np.array([1.0, 20.0, 50.0, 80.0]), np.array([[0.0], [0.3]]), 0.2
    curve = eigenframework(values, v, n, ridge=ridge, noise=noise)
    assert curve.kappa.shape == curve.test_error.shape == (2, 4)
    assert curve.learnabilities.shape == (2, 4, 50)
    for i, j in itertools.product(range(2), range(4)):
        one = eigenframework(values, v, n[j], ridge=ridge[i, 0], noise=noise)
        assert one.kappa.shape == ()
        for name in ("kappa", "learnabilities", "test_error", "train_error"):
            np.testing.assert_allclose(getattr(curve, name)[i, j], getattr(one, name), rtol=1e-11)
    nothing = eigenframework(values, v, [], ridge=0.1)
    assert nothing.test_error.shape == (0,)
    assert nothing.learnabilities.shape == (0, 50)
    parts = [eigenframework(values, v[:, k], n[:2], noise=noise / 3) for k in range(3)]
    whole = eigenframework(values, v, n[:2], noise=noise)
    np.testing.assert_allclose(whole.test_error, sum(part.test_error for part in parts))


@pytest.mark.parametrize(
    ("n", "ridge", "noise"),
    [(40, 0.0, 0.1), (40, 0.05, 0.1), (80, 1.0, 0.3), (300, 0.2, 0.5), (300, 0.0, 0.5)],
)
def test_kernel_regression_on_gaussian_features(n, ridge, noise) -> None:
    """Independent: regressions on drawn data, whose population error is |v - v_hat|^2 exactly.

    Tolerance: four standard errors of the draws and the theory's own correction, of order 1/n.
    """
    rng, draws = np.random.default_rng(n), 120
    j = np.arange(1.0, 201.0)
    eigenvalues, v = j**-1.5, 1.0 / j
    test, train, learned = [], [], []
    for _ in range(draws):
        x = rng.normal(size=(n, 200))
        y = x @ v + math.sqrt(noise) * rng.normal(size=n)
        phi = x * np.sqrt(eigenvalues)
        if ridge:
            weights = np.linalg.solve(phi.T @ phi + ridge * np.eye(200), phi.T @ y)
        else:
            weights = np.linalg.lstsq(phi, y, rcond=None)[0]
        found = np.sqrt(eigenvalues) * weights
        test.append(np.sum((v - found) ** 2) + noise)
        train.append(np.mean((y - x @ found) ** 2))
        learned.append((found / v)[:5])
    curve = eigenframework(eigenvalues, v, n, ridge=ridge, noise=noise)
    for sample, predicted in (
        (np.array(test), curve.test_error),
        (np.array(train), curve.train_error),
        (np.array(learned), curve.learnabilities[:5]),
    ):
        error = sample.std(axis=0) / math.sqrt(draws)
        tolerance = 4.0 * error + predicted / n + 1e-20  # an exact fit leaves its rounding
        assert np.all(np.abs(sample.mean(axis=0) - predicted) < tolerance)


def test_an_infinite_network_on_the_hypercube() -> None:
    """Independent: NTK regression on drawn corners; eigenfunctions are parities, by symmetry.

    Parities are not Gaussian, and there are 512 corners only: agreement to 8 %, seen 6 %.
    """
    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=9)))
    kernel = infinite_kernels(
        corners, activation="relu", hidden_layers=2, weight_std=math.sqrt(2.0), bias_std=0.1
    ).ntk
    first = kernel[0] / 512 * np.cumprod(np.column_stack([np.ones(512), -corners]), axis=1).T
    multiplicities = np.array([math.comb(9, k) for k in range(10)], dtype=float)
    target = 0.8 * corners[:, 0] + 0.6 * corners[:, 1] * corners[:, 2]
    v = np.array([0.0, 0.8, 0.6] + [0.0] * 7)
    rng = np.random.default_rng(1)
    for n in (20, 50):
        errors = []
        for _ in range(150):
            chosen = rng.permutation(512)[:n]
            dual = np.linalg.solve(kernel[np.ix_(chosen, chosen)], target[chosen])
            errors.append((kernel[:, chosen] @ dual - target) ** 2)
            errors[-1][chosen] = 0.0
        curve = eigenframework(first.sum(axis=1), v, n, multiplicities=multiplicities)
        assert np.mean(errors) == pytest.approx(float(curve.test_error), rel=0.08)
        others = held_out_error(curve.test_error, curve.train_error, n, 512)
        measured = np.sum(errors, axis=1).mean() / (512 - n)
        assert measured == pytest.approx(float(others), rel=0.08)


FLAT = np.ones(4)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((FLAT, FLAT, -1.0), {}, "n must be finite and at least zero"),
        ((FLAT, FLAT, math.nan), {}, "n must be finite and at least zero"),
        ((FLAT, FLAT, 1.0), {"ridge": -0.1}, "ridge must be finite"),
        ((FLAT, FLAT, 1.0), {"noise": math.inf}, "noise must be finite"),
        ((-FLAT, FLAT, 1.0), {}, "eigenvalues must be finite and at least zero"),
        ((np.ones((2, 2)), FLAT, 1.0), {}, "eigenvalues must be one row"),
        ((FLAT, np.ones(3), 1.0), {}, r"coefficients must have shape \(4,\)"),
        ((FLAT, np.nan * FLAT, 1.0), {}, "coefficients holds NaN"),
        ((FLAT, FLAT, 1.0), {"multiplicities": np.ones(3)}, "one per eigenvalue"),
        ((FLAT, FLAT, 1.0), {"multiplicities": 0.0 * FLAT}, "multiplicities must be positive"),
        ((FLAT, FLAT, np.ones(2)), {"ridge": np.ones(3)}, "do not broadcast"),
    ],
)
def test_refuses(arguments, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        eigenframework(*arguments, **options)


def test_nothing_is_held_out_of_a_whole_population() -> None:
    with pytest.raises(ValueError, match="n must be below the population"):
        held_out_error(0.5, 0.1, 10, 10)
