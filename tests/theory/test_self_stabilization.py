"""Growth rates against eigenvalues of the update matrix, orbits against their conserved energy."""

import numpy as np
import pytest

from learnmech.theory import (
    fluctuation_scale,
    late_sharpness_exponent,
    oscillation_growth,
    self_stabilized_orbit,
    stability_threshold,
)


def spectral_radius(optimizer: str, lam: float, beta: float) -> float:
    """Of the update with learning rate one, written down from the rules of torch.optim."""
    if optimizer == "adam":
        average = np.array([(1.0 - beta) * lam, beta])
        rows = np.stack([np.array([1.0, 0.0]) - average, average])
    else:
        velocity = np.array([lam, beta])
        plain = 1.0 if optimizer == "nesterov" else 0.0
        move = plain * np.array([lam, 0.0]) + (beta if plain else 1.0) * velocity
        rows = np.stack([np.array([1.0, 0.0]) - move, velocity])
    return float(np.max(np.abs(np.linalg.eigvals(rows))))


@pytest.mark.parametrize(
    ("optimizer", "beta"),
    [
        ("gradient descent", 0.0),
        *((name, b) for name in ("heavy ball", "nesterov", "adam") for b in (0.0, 0.4, 0.9)),
    ],
)
def test_growth_is_the_slope_of_the_spectral_radius(optimizer, beta) -> None:
    """Independent: numerical eigenvalues just above the threshold."""
    threshold = float(stability_threshold(1.0, optimizer=optimizer, momentum=beta))
    excess = 1e-6
    slope = np.log(spectral_radius(optimizer, threshold * (1 + excess), beta)) / excess
    growth = float(oscillation_growth(optimizer=optimizer, momentum=beta))
    assert growth == pytest.approx(slope, rel=1e-3)


def test_orbits_conserve_their_energy_close_and_average_to_zero() -> None:
    a, c = 0.013, 3.0
    steps = np.linspace(0.0, 400.0, 40001)
    excess, size = self_stabilized_orbit(steps, sharpening=a, growth=c, start=0.05)
    energy = 0.5 * c / a * excess**2 + 0.5 * size**2 - np.log(size)
    assert np.ptp(energy) < 1e-7
    rises = np.flatnonzero((excess[:-1] <= 0.0) & (excess[1:] > 0.0))
    assert len(rises) >= 3
    cycle = excess[rises[1] : rises[2]]
    assert abs(cycle.mean()) < 1e-3 * abs(cycle).max()


def test_small_orbits_are_harmonic() -> None:
    """Independent: near the balance they are a harmonic oscillator of frequency (2ac)^½."""
    a, c, start = 0.01, 2.0, 0.999
    steps = np.arange(0.0, 200.0)
    excess, _ = self_stabilized_orbit(steps, sharpening=a, growth=c, start=start)
    omega = np.sqrt(2 * a * c)
    amplitude = (1 - start) * omega / c
    assert np.allclose(excess, amplitude * np.sin(omega * steps), atol=0.01 * amplitude)


def test_the_orbit_is_that_of_the_discrete_map_for_small_rates() -> None:
    a, c, x, e = 1e-4, 2.0, 0.3, 0.0
    path = []
    for _ in range(2000):
        path.append(e)
        x = x * np.exp(c * e)
        e = e + a * (1 - x**2)  # with the new x the map is symplectic and stays on its orbit
    excess, _ = self_stabilized_orbit(np.arange(2000.0), sharpening=a, growth=c, start=0.3)
    assert np.max(np.abs(excess - path)) < 0.05 * np.max(np.abs(path))


def test_scale_and_its_units() -> None:
    assert np.allclose(fluctuation_scale([0.01, 0.04], 4.0), [0.05, 0.1])


def test_late_exponent_matches_the_law_it_comes_from() -> None:
    """Independent: the slope of L ln(1/L)^(2-2/D) written out."""
    for degree in (1, 2, 3, 7):
        loss = np.array([1e-2, 1e-5])
        law = loss * np.log(1 / loss) ** (2 - 2 / degree)
        slope = np.diff(np.log(law))[0] / np.diff(np.log(loss))[0]
        assert late_sharpness_exponent(1e-2, 1e-5, degree) == pytest.approx(slope, rel=1e-12)
    assert late_sharpness_exponent(1e-200, 1e-300, 3) > 0.997


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: oscillation_growth(optimizer="adam", momentum=1.0), "momentum"),
        (lambda: oscillation_growth(momentum=0.5), "momentum"),
        (lambda: fluctuation_scale(0.0, 2.0), "positive"),
        (lambda: self_stabilized_orbit([1, 1], sharpening=1, growth=1, start=0.5), "increases"),
        (lambda: self_stabilized_orbit([], sharpening=1, growth=1, start=0.5), "increases"),
        (lambda: self_stabilized_orbit([0, 1], sharpening=1, growth=1, start=1.5), "start"),
        (lambda: late_sharpness_exponent(1e-3, 1e-2, 3), "smaller"),
        (lambda: late_sharpness_exponent(1e-2, 1e-3, 0), "degree"),
        (lambda: late_sharpness_exponent(0.9, 1e-3, 3, margin_shift=-1.0), "margins"),
    ],
)
def test_refusals(call, words) -> None:
    with pytest.raises(ValueError, match=words):
        call()
