r"""What a second Lanczos run, in the complement of a first, proves about the spectrum.

The second run stays orthogonal to the whole first one, which makes it short. With the other Ritz
values $\theta_j$, j > k, and their residuals $r_j$, it is a run with the Schur complement

$$ D_c = H + \sum_{j > k} \frac{r_j r_j^\top}{c - \theta_j}, $$

for no eigenvalue of H on the complement of the k leading Ritz vectors exceeds c exactly if none of
$D_c$ on the complement of the whole subspace does. The added part costs no product.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.curvature.krylov import overlook_probability

__all__ = ["OVERLOOK", "Complement", "largest_eigenvalue"]

OVERLOOK = 1e-3
"""Accepted probability that one Lanczos run overlooks an eigenvalue."""


@dataclass(frozen=True)
class Complement:
    """What is known of H on the complement of the k leading Ritz vectors before a second run."""

    rest: Float[Tensor, " r"]  # the other Ritz values theta_j
    residuals: Float[Tensor, "r n"]  # their residuals r_j
    squares: Float[Tensor, " r"]  # squared norms of those
    top: float  # highest cap that is good enough

    def coupled(self, vector: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], float]:
        """Return what the other Ritz vectors add to H v, and to v.Hv, at the top cap."""
        along = self.residuals @ vector
        weighted = along / _above(self.top, self.rest).to(along)
        return self.residuals.mT @ weighted, float(along @ weighted)

    def level(self, cap: float) -> float:
        """Return a level of the run that this cap follows from."""
        more = 1.0 / _above(cap, self.rest) - 1.0 / _above(self.top, self.rest)
        return cap - float(self.squares @ more)

    def cap(
        self, diagonal: list[float], beside: list[float], highest: float, dimension: int
    ) -> float | None:
        """Return the lowest of sixteen caps that a run proves, if it proves any."""
        if overlook_probability(diagonal, beside, self.top, dimension) > OVERLOOK:
            return None
        bottom = max(highest, float(self.rest[0])) if len(self.rest) else highest
        for step in range(1, 16):
            cap = bottom + (self.top - bottom) * step / 16
            level = self.level(cap)
            if level > highest and (
                overlook_probability(diagonal, beside, level, dimension) <= OVERLOOK
            ):
                return cap
        return self.top


def _above(cap: float, values: Float[Tensor, " r"]) -> Float[Tensor, " r"]:
    """Return cap - values, kept positive where a vanishing Hessian makes them coincide."""
    return (cap - values).clamp(min=torch.finfo(values.dtype).tiny)


def largest_eigenvalue(diagonal: list[float], beside: list[float]) -> float:
    """Return the largest eigenvalue of a tridiagonal matrix."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    matrix += torch.diag(torch.tensor(beside, dtype=torch.float64), -1)  # eigvalsh reads the lower
    return float(torch.linalg.eigvalsh(matrix)[-1])
