"""Noise and signal from few numbers: definitions, leaving one out, and known distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from learnmech.practice.gradient_noise import NoiseScale
from learnmech.practice.gradient_noise.estimates import estimate_noise_scale


def estimated(gradients: Tensor, **settings: int) -> NoiseScale:
    mean = gradients.mean(0)
    squares = gradients.square().sum(1)
    return estimate_noise_scale(squares, gradients @ mean, float(mean @ mean), **settings)


def by_definition(gradients: np.ndarray) -> tuple[float, float]:
    """Independent: the trace of NumPy's covariance, and the sum over all pairs of samples."""
    n = len(gradients)
    pairs = gradients @ gradients.T
    off_diagonal = (pairs.sum() - np.trace(pairs)) / (n * (n - 1))
    return float(np.trace(np.cov(gradients.T))), float(off_diagonal)


def test_definitions_and_leaving_one_out() -> None:
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(9, 4)) * [1.0, 2.0, 0.5, 0.1] + [1.0, 3.0, 0.0, -2.0]
    found = estimated(torch.tensor(gradients))
    noise, signal = by_definition(gradients)
    left = np.array([by_definition(np.delete(gradients, i, axis=0)) for i in range(9)])

    def jackknife(values: np.ndarray) -> float:
        return math.sqrt(8 / 9 * np.sum((values - values.mean()) ** 2))

    assert found.noise == pytest.approx(noise)
    assert found.signal == pytest.approx(signal)
    assert found.noise_scale == pytest.approx(noise / signal)
    assert found.noise_standard_error == pytest.approx(jackknife(left[:, 0]))
    assert found.signal_standard_error == pytest.approx(jackknife(left[:, 1]))
    assert found.ratio_standard_error == pytest.approx(jackknife(left[:, 0] / left[:, 1]))
    assert found.count == 9


@pytest.mark.parametrize(("size", "excess"), [(2.0, (0.9, 1.12)), (0.0, (1.25, 1.6))])
def test_unbiased_with_honest_standard_errors(size: float, excess: tuple[float, float]) -> None:
    r"""Independent: Gaussian gradients of known mean and covariance, 1500 draws of 60 samples.

    The signal's standard error is right where the mean stands out, and sqrt(2) too large where
    there is none: N is then a degenerate U-statistic.
    """
    rng = np.random.default_rng(1)
    std, mean = np.array([0.5, 1.0, 2.0, 1.5, 1.0]), size * np.array([1.0, -1.0, 0.5, 0.0, 1.0])
    draws = torch.tensor(mean + std * rng.normal(size=(1500, 60, 5)))
    found = [estimated(gradients) for gradients in draws]
    for name, truth, bounds in (
        ("noise", float(np.sum(std**2)), (0.9, 1.12)),
        ("signal", float(np.sum(mean**2)), excess),
    ):
        values = np.array([getattr(f, name) for f in found])
        errors = np.array([getattr(f, f"{name}_standard_error") for f in found])
        assert abs(values.mean() - truth) < 4.0 * values.std() / math.sqrt(1500)
        ratio = math.sqrt(np.mean(errors**2)) / values.std()
        assert bounds[0] < ratio < bounds[1]
    if size > 0.0:
        ratios = np.array([f.noise_scale for f in found])
        errors = np.array([f.ratio_standard_error for f in found])
        assert np.median(errors) == pytest.approx(ratios.std(), rel=0.15)


def test_batch_gradients_have_less_noise() -> None:
    rng = np.random.default_rng(2)
    singles = torch.tensor(rng.normal(size=(4000, 3)) + 1.0)
    batches = singles.reshape(500, 8, 3).mean(1)
    one, many = estimated(singles), estimated(batches, samples_per_gradient=8)
    assert many.noise == pytest.approx(one.noise, rel=0.15)
    assert abs(many.noise - one.noise) < 4.0 * many.noise_standard_error
    assert many.signal == pytest.approx(one.signal, rel=1e-3)
    assert abs(many.noise_scale - one.noise_scale) < 4.0 * many.ratio_standard_error


def test_refuses_a_ratio_that_could_be_anything() -> None:
    rng = np.random.default_rng(3)
    lost = estimated(torch.tensor(rng.normal(size=(20, 50))))
    assert not lost.resolved
    assert math.isfinite(lost.noise)
    with pytest.raises(ValueError, match="20 gradients do not resolve their mean"):
        _ = lost.noise_scale


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-6, 0.0])
def test_standard_errors_hold_rounding(spread: float) -> None:
    """Independent: the same gradients in double precision. S is a difference of large numbers."""
    rng = np.random.default_rng(5)
    gradients = torch.tensor(rng.normal(size=8) + spread * rng.normal(size=(300, 8))).float()
    double, single = estimated(gradients.double()), estimated(gradients)
    rounding = 300**0.5 * 2.0**-23 * float(gradients.square().sum(1).mean())
    for name in ("noise", "signal"):
        error = getattr(single, f"{name}_standard_error")
        assert abs(getattr(single, name) - getattr(double, name)) < 3.0 * error
        own = getattr(double, f"{name}_standard_error")
        assert error == pytest.approx(math.hypot(own, rounding), rel=1e-2)
    if spread == 0.0:
        assert 0.0 < single.noise_standard_error < 1e-5 * single.signal
    assert single.ratio_standard_error >= rounding / single.signal * (1 - 1e-9)


def test_single_precision_is_enough_to_come_in() -> None:
    rng = np.random.default_rng(4)
    gradients = torch.tensor(rng.normal(size=(50, 8)) + 1.0)
    double, single = estimated(gradients), estimated(gradients.float())
    for name in NoiseScale.__dataclass_fields__:
        assert getattr(single, name) == pytest.approx(getattr(double, name), rel=1e-5), name
