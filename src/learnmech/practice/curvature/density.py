r"""The density of the Hessian's spectrum by stochastic Lanczos quadrature.

For a random unit vector v, a Lanczos run of m steps gives Ritz values $\theta_i$ and weights
$\omega_i = (v \cdot u_i)^2$ that sum to one and integrate polynomials of degree $2m - 1$ exactly,

$$ v^\top f(H)\, v \approx \sum_i \omega_i f(\theta_i), \qquad
   \mathbb{E}\, v^\top f(H)\, v = \tfrac1n \operatorname{tr} f(H). $$

With f a Gaussian of width $\sigma$ around each point of a grid this is the smoothed density

$$ \phi_\sigma(x) = \tfrac1n \sum_j \mathcal{N}(x;\, \lambda_j, \sigma^2), $$

which integrates to one. Reference: Lin, Saad and Yang, "Approximating spectral densities of large
matrices", arXiv:1308.5467 (Lanczos methods); Ghorbani, Krishnan and Xiao, arXiv:1901.10159.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.curvature.evaluation import Loss
from learnmech.practice.curvature.krylov import Subspace
from learnmech.practice.curvature.operator import HessianOperator

__all__ = ["SpectralDensity", "spectral_density"]

_POINTS = 1001
_WIDTH_SHARE = 0.02


@dataclass(frozen=True)
class SpectralDensity:
    """A smoothed spectral density, in float64 on the device of the parameters."""

    grid: Float[Tensor, " g"]  # x, units of loss per squared parameter
    density: Float[Tensor, " g"]  # phi at x, per unit of x; its integral over all x is one
    standard_error: Float[Tensor, " g"]  # of the mean over starting vectors, one sigma
    width: float  # standard deviation of the Gaussian that smooths, units of x
    nodes: Float[Tensor, "v m"]  # Ritz values of each starting vector
    weights: Float[Tensor, "v m"]  # their weights; each row sums to one
    products: int  # Hessian products used


def spectral_density(
    loss: Loss,
    parameters: Iterable[Tensor],
    *,
    generator: torch.Generator,
    starts: int = 10,
    steps: int = 80,
    width: float | None = None,
    grid: Float[Tensor, " g"] | None = None,
    preconditioner: Iterable[Tensor] | None = None,
) -> SpectralDensity:
    r"""Estimate the smoothed density of the Hessian's eigenvalues, with its standard error.

    The error band holds the spread over random starting vectors. The quadrature's own error is
    about $e^{-2 (m \sigma / h)^2}$ of a peak, with h half the spectral range, and is kept below
    1e-3: a width too small for the number of steps is refused.

    Args:
        loss: As for `hessian_eigenvalues`.
        parameters: Distinct tensors that require a gradient.
        generator: Draws the starting vectors.
        starts: Number of starting vectors, at least two.
        steps: Lanczos steps m for each; fewer are taken where the Krylov space ends.
        width: Gaussian width; without it, 2 % of the range of the Ritz values.
        grid: Where to evaluate; without it, 1001 points from six widths below the lowest to six
            above the highest Ritz value.
        preconditioner: As for `hessian_eigenvalues`.

    Returns:
        The density on the grid, its standard error, and the quadrature it is made of.

    Raises:
        ValueError: On settings that cannot be used, or a width that the steps do not resolve.
        FloatingPointError: If the loss or a product is not finite.

    Cost: `starts` times `steps` products; memory for 2 `steps` vectors of all parameters.

    Reference: Lin, Saad and Yang, arXiv:1308.5467.

    >>> w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    >>> found = spectral_density(
    ...     lambda: (w**2).sum(), [w], generator=torch.Generator().manual_seed(0), width=0.1
    ... )
    >>> peak = found.density.max() * 0.1 * math.sqrt(2 * math.pi)  # all eigenvalues are two
    >>> round(float(peak), 12), round(float(found.grid[found.density.argmax()]), 12)
    (1.0, 2.0)
    """
    if starts < 2 or steps < 1:
        raise ValueError("give at least two starts, for an error band, and at least one step.")
    operator = HessianOperator(loss, parameters, preconditioner=preconditioner)
    runs = [_quadrature(operator, steps, generator) for _ in range(starts)]
    exact = all(ended for *_, ended in runs)
    longest = max(len(nodes) for nodes, *_ in runs)
    nodes = torch.stack([_padded(n, longest, float(n[-1])) for n, *_ in runs])
    weights = torch.stack([_padded(w, longest, 0.0) for _, w, _ in runs])
    low, high = float(nodes.min()), float(nodes.max())
    rounding = 100.0 * torch.finfo(operator.dtype).eps * max(abs(low), abs(high))
    if width is None:
        width = _WIDTH_SHARE * (high - low) if high - low > rounding else 0.0
    if not 0.0 < width < float("inf"):
        raise ValueError(f"the eigenvalues span {high - low:.1g}; give a positive, finite width.")
    needed = math.ceil((high - low) / width)
    if not exact and steps < needed:
        raise ValueError(
            f"{steps} steps do not resolve a width of {width:g} on a range of {high - low:g}; take "
            f"{needed} steps or a larger width."
        )
    if grid is None:
        grid = torch.linspace(low - 6 * width, high + 6 * width, _POINTS, dtype=torch.float64)
    x = grid.to(torch.float64).cpu()
    kernel = torch.exp(-0.5 * ((x - nodes[..., None]) / width) ** 2)
    each = (weights[..., None] * kernel).sum(1) / (width * math.sqrt(2.0 * math.pi))
    error = each.std(0) / math.sqrt(starts)
    on = operator.device
    return SpectralDensity(
        x.to(on),
        each.mean(0).to(on),
        error.to(on),
        width,
        nodes.to(on),
        weights.to(on),
        operator.products,
    )


def _quadrature(
    operator: HessianOperator, steps: int, generator: torch.Generator
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], bool]:
    """One Lanczos run: nodes, weights, and whether its Krylov space ended."""
    space = Subspace(
        operator.__matmul__,
        operator.dimension,
        capacity=steps,
        dtype=operator.dtype,
        device=operator.device,
    )
    start = torch.randn(
        operator.dimension, generator=generator, dtype=operator.dtype, device=generator.device
    )
    unit, left = space.orthogonal(start.to(operator.device))
    while left > 0.0 and not space.full:
        space.append(unit)
        unit, left = space.orthogonal(space.images[-1])
    ritz = space.ritz()
    return ritz.values, ritz.mixing[0] ** 2, left == 0.0 or space.complete


def _padded(values: Float[Tensor, " m"], length: int, fill: float) -> Float[Tensor, " {length}"]:
    return torch.nn.functional.pad(values, (0, length - len(values)), value=fill)
