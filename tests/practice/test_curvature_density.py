"""Spectral densities against exact spectra, and what the quadrature promises."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from learnmech.practice.curvature import spectral_density


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def diagonal(spectrum: Tensor):
    w = torch.ones_like(spectrum, requires_grad=True)
    return (lambda: 0.5 * spectrum @ w**2), [w]


def smoothed(spectrum: Tensor, grid: Tensor, width: float) -> Tensor:
    kernel = torch.exp(-0.5 * ((grid[:, None] - spectrum) / width) ** 2)
    return kernel.mean(1) / (width * math.sqrt(2 * math.pi))


TWO_GROUPS = torch.cat(
    [
        torch.linspace(-1.0, 1.0, 900, dtype=torch.float64) ** 3,
        torch.linspace(3.0, 4.0, 100, dtype=torch.float64),
    ]
)


def test_density_within_its_band_of_the_exact_one() -> None:
    """Independent: the sum of Gaussians over the exact spectrum. 95 % of the grid at two sigma."""
    loss, parameters = diagonal(TWO_GROUPS)
    found = spectral_density(loss, parameters, generator=seeded(0), starts=20, width=0.1)
    exact = smoothed(TWO_GROUPS, found.grid, 0.1)
    inside = (found.density - exact).abs() <= 2.5 * found.standard_error + 1e-3 * exact.max()
    assert float(inside.double().mean()) > 0.95
    assert float((found.density - exact).abs().max()) < 0.1 * float(exact.max())
    assert float(torch.trapezoid(found.density, found.grid)) == pytest.approx(1.0, abs=1e-8)
    assert found.products == 20 * 80


def test_mean_over_many_starts_is_unbiased() -> None:
    """z-scores of 400 starts: the mean of (estimate - exact) / se is small everywhere."""
    spectrum = torch.cat([torch.zeros(30), torch.linspace(0.5, 2.0, 10)]).double()
    loss, parameters = diagonal(spectrum)
    found = spectral_density(loss, parameters, generator=seeded(1), starts=400, width=0.2)
    exact = smoothed(spectrum, found.grid, 0.2)
    bulk = exact > 1e-2 * exact.max()
    scores = ((found.density - exact) / found.standard_error)[bulk]
    assert float(scores.abs().max()) < 4.0
    assert float((scores**2).mean()) < 3.0


def test_quadrature_has_the_moments_of_its_starting_vectors() -> None:
    """Degree 2 m - 1 exactly: the same vectors drawn again, and powers of the matrix on them."""
    spectrum = torch.linspace(-1.0, 2.0, 50, dtype=torch.float64)
    loss, parameters = diagonal(spectrum)
    found = spectral_density(loss, parameters, generator=seeded(2), starts=3, steps=4, width=0.8)
    g = seeded(2)
    for nodes, weights in zip(found.nodes, found.weights, strict=True):
        v = torch.randn(50, generator=g, dtype=torch.float64)
        v /= v.norm()
        for power in range(8):
            moment = float((v**2 * spectrum**power).sum())
            assert float((weights * nodes**power).sum()) == pytest.approx(moment, abs=1e-12)
        assert float((weights * nodes**8).sum()) != pytest.approx(
            float((v**2 * spectrum**8).sum()), abs=1e-6
        )


def test_short_krylov_spaces_are_exact() -> None:
    """Three distinct eigenvalues end every run after three steps, whatever the width."""
    spectrum = torch.tensor([1.0] * 20 + [2.0] * 10 + [5.0], dtype=torch.float64)
    loss, parameters = diagonal(spectrum)
    found = spectral_density(loss, parameters, generator=seeded(3), starts=4, width=1e-3)
    assert found.products == 12
    for nodes in found.nodes:
        torch.testing.assert_close(nodes.sort().values, torch.tensor([1.0, 2.0, 5.0]).double())
    torch.testing.assert_close(found.weights.sum(1), torch.ones(4, dtype=torch.float64))


def test_default_width_and_a_grid_of_ones_own() -> None:
    loss, parameters = diagonal(TWO_GROUPS)
    grid = torch.linspace(3.2, 3.8, 7)
    found = spectral_density(loss, parameters, generator=seeded(4), starts=4, grid=grid)
    assert found.width == pytest.approx(0.02 * 5.0, rel=1e-2)
    assert torch.equal(found.grid, grid.double())
    exact = smoothed(TWO_GROUPS, found.grid, found.width)
    assert bool(((found.density - exact).abs() < 5 * found.standard_error).all())


def test_single_precision_and_preconditioner() -> None:
    spectrum = torch.linspace(1.0, 2.0, 40)
    loss, parameters = diagonal(spectrum)
    found = spectral_density(
        loss,
        parameters,
        generator=seeded(5),
        starts=3,
        width=0.1,
        preconditioner=[spectrum],  # makes it the identity
    )
    assert found.density.dtype == torch.float64
    np.testing.assert_allclose(found.nodes.numpy(), 1.0, atol=1e-5)


W = torch.ones(3, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"starts": 1}, "at least two starts"),
        ({"steps": 0}, "at least one step"),
        ({"width": math.nan}, "positive, finite width"),
        ({"width": -1.0}, "positive, finite width"),
        ({}, "give a positive, finite width"),
    ],
)
def test_refuses_in_a_sentence(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spectral_density(lambda: W.pow(2).sum(), [W], generator=seeded(0), **settings)


def test_a_width_that_the_steps_do_not_resolve_is_refused() -> None:
    loss, parameters = diagonal(TWO_GROUPS)
    with pytest.raises(ValueError, match=r"take 50[01] steps"):
        spectral_density(loss, parameters, generator=seeded(0), starts=2, steps=20, width=0.01)
