"""The test error from training data alone: two formulas that are one, and what it estimates."""

import math

import numpy as np
import pytest

from learnmech.theory.kernel_regression import eigenframework, generalised_cross_validation


def sample(n=40, outputs=None, seed=0):
    """A Gaussian kernel on random inputs, with noisy targets."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    kernel = np.exp(-0.5 * ((x[:, None] - x[None]) ** 2).sum(-1))
    shape = (n,) if outputs is None else (n, outputs)
    return kernel, np.sin(x[:, 0]).reshape(-1, *shape[1:] and (1,)) + 0.3 * rng.normal(size=shape)


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("ridge", [1e-6, 0.1, 5.0])
def test_both_textbook_formulas_agree(ridge, outputs) -> None:
    """Independent: GCV from the smoother and KARE from inverses, written as their papers do."""
    kernel, y = sample(outputs=outputs)
    n = len(y)
    estimate = generalised_cross_validation(kernel, y, ridge)
    smoother = kernel @ np.linalg.inv(kernel + ridge * np.eye(n))
    residuals = y - smoother @ y
    train = np.sum(residuals**2) / n
    gcv = train / (1.0 - np.trace(smoother) / n) ** 2
    inverse = np.linalg.inv(kernel / n + ridge / n * np.eye(n))
    kare = (np.sum((inverse @ y) ** 2) / n) / (np.trace(inverse) / n) ** 2
    digits = 1e-15 * np.linalg.cond(kernel + ridge * np.eye(n)) + 1e-12
    assert estimate.test_error == pytest.approx(gcv, rel=100 * digits)
    assert estimate.test_error == pytest.approx(kare, rel=100 * digits)
    assert estimate.train_error == pytest.approx(train, rel=100 * digits)
    assert estimate.degrees_of_freedom == pytest.approx(np.trace(smoother), rel=100 * digits)


def test_one_decomposition_serves_all_ridges() -> None:
    kernel, y = sample()
    ridges = np.logspace(-8, 3, 12).reshape(3, 4)
    table = generalised_cross_validation(kernel, y, ridges)
    assert table.test_error.shape == table.degrees_of_freedom.shape == (3, 4)
    for at in np.ndindex(3, 4):
        one = generalised_cross_validation(kernel, y, ridges[at])
        assert one.test_error.shape == ()
        assert table.test_error[at] == pytest.approx(float(one.test_error), rel=1e-12)


def test_limits() -> None:
    kernel, y = sample()
    well = kernel + 0.1 * np.eye(len(y))
    zero, small, least = (generalised_cross_validation(well, y, d) for d in (0.0, 1e-9, 1e-300))
    assert zero.test_error == pytest.approx(float(small.test_error), rel=1e-6)
    assert zero.test_error == pytest.approx(float(least.test_error), rel=1e-12)
    assert zero.train_error == 0.0
    assert zero.degrees_of_freedom == pytest.approx(len(y), rel=1e-14)
    huge = generalised_cross_validation(kernel, y, 1e12)
    assert huge.test_error == pytest.approx(np.mean(y**2), rel=1e-6)
    # Singular: 7 features for 40 samples is least squares, with its classical estimate.
    x = np.random.default_rng(1).normal(size=(40, 7))
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    for ridge in (0.0, 1e-10):
        plain = generalised_cross_validation(x @ x.T, y, ridge)
        assert plain.train_error == pytest.approx(np.mean(rest**2), rel=1e-9)
        assert plain.test_error == pytest.approx(np.mean(rest**2) / (1 - 7 / 40) ** 2, rel=1e-9)
        assert plain.degrees_of_freedom == pytest.approx(7.0, rel=1e-9)


@pytest.mark.parametrize(("n", "ridge"), [(60, 0.02), (60, 1.0), (200, 0.5)])
def test_it_estimates_the_test_error_and_the_eigenframework_agrees(n, ridge) -> None:
    """Independent: the exact population error of each regression, on Gaussian features."""
    rng = np.random.default_rng(2)
    j = np.arange(1.0, 151.0)
    eigenvalues, v, noise = j**-1.5, 1.0 / j, 0.2
    estimates, errors = [], []
    for _ in range(100):
        x = rng.normal(size=(n, 150))
        y = x @ v + math.sqrt(noise) * rng.normal(size=n)
        phi = x * np.sqrt(eigenvalues)
        kernel = phi @ phi.T
        dual = np.linalg.solve(kernel + ridge * np.eye(n), y)
        found = np.sqrt(eigenvalues) * (phi.T @ dual)
        errors.append(np.sum((v - found) ** 2) + noise)
        estimates.append(generalised_cross_validation(kernel, y, ridge).test_error)
    predicted = eigenframework(eigenvalues, v, n, ridge=ridge, noise=noise)
    spread = math.hypot(np.std(estimates), np.std(errors)) / 10.0
    tolerance = 4.0 * spread + predicted.test_error / n
    assert abs(np.mean(estimates) - np.mean(errors)) < tolerance
    assert abs(np.mean(estimates) - predicted.test_error) < tolerance
    share = ridge / (n * predicted.kappa)
    assert predicted.train_error / share**2 == pytest.approx(float(predicted.test_error), rel=1e-9)


@pytest.mark.parametrize(
    ("kernel", "targets", "ridge", "message"),
    [
        (np.eye(3), np.ones(2), 0.1, r"kernel must have shape \(2, 2\)"),
        (np.eye(2), np.ones(2), -0.1, "ridge must be finite and at least zero"),
        (np.eye(2), np.array([1.0, np.nan]), 0.1, "targets must be finite"),
        (np.eye(2), np.ones((2, 1, 1)), 0.1, "targets must be finite, of shape"),
        (np.diag([1.0, -1.0]), np.ones(2), 0.1, "positive semi-definite"),
        (np.array([[1.0, 1.0], [0.0, 1.0]]), np.ones(2), 0.1, "kernel must be symmetric"),
    ],
)
def test_refuses(kernel, targets, ridge, message) -> None:
    with pytest.raises(ValueError, match=message):
        generalised_cross_validation(kernel, targets, ridge)
