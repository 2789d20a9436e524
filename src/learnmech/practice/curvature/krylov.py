r"""Rayleigh-Ritz in a growing subspace, and how far its values can be trusted.

With orthonormal rows $q_1 \dots q_m$, their images $H q_j$ and $T = Q H Q^\top = S \Theta S^\top$,
the Ritz values are $\theta_1 \ge \theta_2 \ge \dots$, and $\theta_i \le \lambda_i$ always. Where it
grows from one vector by the residual of any Ritz pair this is Lanczos with full
reorthogonalisation; as every new vector is orthogonalised twice against all others and all of T is
measured, it also serves warm starts, restarts and several starting vectors.

**Bound.** Let $\rho = \lVert R_k \rVert_2$ be the norm of the k leading residuals and c a cap: no
eigenvalue of H on the complement of the k Ritz vectors exceeds c. Then the Schur complement gives

$$ 0 \le \lambda_i - \theta_i \le \delta, \qquad \delta\,(\theta_i + \delta - c) = \rho^2, $$

which is quadratic in the residual where there is a gap and linear where there is none (Parlett,
*The Symmetric Eigenvalue Problem*, chapters 10 and 11).

**Cap.** What a Lanczos run from a random unit vector w has not found it can rule out: with the
orthonormal polynomials $p_j$ of that run, an eigenvector x whose eigenvalue is at least a level
$\tau$ above all Ritz values obeys $(w \cdot x)^2 \sum_j p_j(\tau)^2 \le 1$, and in d dimensions
$|w \cdot x| \le s$ has a probability of at most $s\sqrt{2d/\pi}$. So the run overlooks it with
probability at most $(2d / \pi \sum_j p_j(\tau)^2)^{1/2}$, whatever the spectrum. Second copies of
an eigenvalue, which one Krylov space cannot hold, are ruled out by a run in its complement.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Ritz", "Subspace", "error_bounds", "overlook_probability"]


_FIRST = 32  # vectors that memory is first taken for; doubled when they are used up


@dataclass(frozen=True)
class Ritz:
    """Ritz values of a subspace of m vectors, on the CPU in float64."""

    values: Float[Tensor, " m"]  # theta, largest algebraic first, in units of H
    mixing: Float[Tensor, "m m"]  # column i: Ritz vector i in the basis of the subspace


class Subspace:
    """Orthonormal vectors and their images under a symmetric operator.

    Args:
        product: v -> H v, on flat vectors (n,).
        dimension: n.
        capacity: Largest number of vectors that is held, at most n.
        dtype: Of the vectors; T is kept in float64.
        device: Of the vectors.
    """

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        dimension: int,
        *,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._product = product
        self.dimension = dimension
        self.capacity = min(capacity, dimension)
        self.size = 0
        self.asymmetry = 0.0  # largest difference of u.Hv and v.Hu seen, in units of H
        self._basis = torch.empty(min(self.capacity, _FIRST), dimension, dtype=dtype, device=device)
        self._images = torch.empty_like(self._basis)
        self._t = torch.zeros(self.capacity, self.capacity, dtype=torch.float64)

    @property
    def basis(self) -> Float[Tensor, "m n"]:
        """The vectors q_j as rows."""
        return self._basis[: self.size]

    @property
    def images(self) -> Float[Tensor, "m n"]:
        """The images H q_j as rows."""
        return self._images[: self.size]

    @property
    def projected(self) -> Float[Tensor, "m m"]:
        """T = Q H Q^T, on the CPU in float64."""
        return self._t[: self.size, : self.size]

    @property
    def complete(self) -> bool:
        """Whether the subspace is the whole space."""
        return self.size == self.dimension

    @property
    def full(self) -> bool:
        """Whether no further vector can be held."""
        return self.size == self.capacity

    def orthogonal(self, vector: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], float]:
        """Return the part of a vector outside the subspace, as a unit vector, and its norm.

        The norm is zero where nothing is left but rounding; the unit vector is then useless.
        """
        norm = float(torch.linalg.vector_norm(vector))
        left, unit = norm, vector / norm if norm > 0.0 else vector
        for _ in range(2):  # twice is enough (Parlett, section 6.9)
            unit = unit - self.basis.mT @ (self.basis @ unit)
            remaining = float(torch.linalg.vector_norm(unit))
            left *= remaining
            if left <= 100.0 * torch.finfo(vector.dtype).eps * norm:
                return unit, 0.0
            unit = unit / remaining
        return unit, left

    def append(self, unit: Float[Tensor, " n"]) -> None:
        """Take in a unit vector that is orthogonal to the subspace; costs one product.

        Raises:
            FloatingPointError: If the product is not finite.
        """
        m = self.size
        if m == len(self._basis):
            more = self._basis.new_empty(min(m, self.capacity - m), self.dimension)
            self._basis, self._images = (torch.cat([x, more]) for x in (self._basis, self._images))
        self._basis[m], self._images[m] = unit, self._product(unit)
        self.size = m + 1
        column = (self.basis @ self._images[m]).double().cpu()
        row = (self.images @ unit).double().cpu()
        if not bool(torch.isfinite(column).all()):
            raise FloatingPointError("a Hessian product is not finite at these parameters.")
        self.asymmetry = max(self.asymmetry, float((column - row).abs().max()))
        self._t[m, : m + 1] = self._t[: m + 1, m] = (column + row) / 2

    def ritz(self) -> Ritz:
        """Return all Ritz values and how the vectors mix."""
        values, mixing = torch.linalg.eigh(self.projected)
        return Ritz(values.flip(0), mixing.flip(1))

    def vectors(self, ritz: Ritz, keep: slice) -> Float[Tensor, "k n"]:
        """Return Ritz vectors, as rows."""
        return self._mix(ritz, keep).mT @ self.basis

    def images_of(self, ritz: Ritz, keep: slice) -> Float[Tensor, "k n"]:
        """Return H u for Ritz vectors u, as rows."""
        return self._mix(ritz, keep).mT @ self.images

    def residuals(self, ritz: Ritz, keep: slice) -> Float[Tensor, "k n"]:
        """Return the residuals H u - theta u of Ritz pairs, as rows."""
        values = ritz.values[keep, None].to(self.basis)
        return self.images_of(ritz, keep) - values * self.vectors(ritz, keep)

    def restart(self, keep: int) -> None:
        """Keep the leading Ritz vectors only; no product is needed."""
        ritz = self.ritz()
        basis, images = self.vectors(ritz, slice(keep)), self.images_of(ritz, slice(keep))
        self._basis[:keep], self._images[:keep] = basis, images
        self._t[:keep, :keep] = torch.diag(ritz.values[:keep])
        self.size = keep

    def _mix(self, ritz: Ritz, keep: slice) -> Float[Tensor, "m k"]:
        return ritz.mixing[:, keep].to(self.basis)


def error_bounds(values: Float[Tensor, " k"], residual: float, cap: float) -> Float[Tensor, " k"]:
    """Return delta with delta (theta + delta - c) = rho^2, the error of each Ritz value.

    Args:
        values: The leading Ritz values theta, (k,).
        residual: Spectral norm rho of their residuals.
        cap: Largest eigenvalue c that the complement may have.

    >>> error_bounds(torch.tensor([3.0, 1.0]), 2.0, 3.0)  # no gap: rho; a cap above: more
    tensor([2.0000, 3.2361])
    """
    gap = values - cap
    root = torch.sqrt(gap**2 + 4.0 * residual**2)
    above = 2.0 * residual**2 / (gap + root).clamp(min=torch.finfo(values.dtype).tiny)
    return torch.where(gap > 0.0, above, (root - gap) / 2.0)


def overlook_probability(
    diagonal: Sequence[float], off_diagonal: Sequence[float], level: float, dimension: int
) -> float:
    """Return a bound on the probability that a Lanczos run overlooks an eigenvalue.

    Args:
        diagonal: The diagonal of the run's tridiagonal matrix, m numbers.
        off_diagonal: The numbers beside it, m of them; the last leads out of the run.
        level: tau; the eigenvalue is at least this, which must exceed the run's Ritz values.
        dimension: d, of the space that the starting vector was drawn from.

    >>> round(overlook_probability([0.0], [0.1], 10.0, 2), 6)  # p_0 is 1, p_1 is (10 - 0) / 0.1
    0.011283
    """
    before, now, total = 0.0, 1.0, 1.0
    for j, (alpha, beta) in enumerate(zip(diagonal, off_diagonal, strict=True)):
        step = (level - alpha) * now - (off_diagonal[j - 1] * before if j else 0.0)
        before, now = now, step / beta
        total += now * now
        if total > 1e100:
            break
    return min(1.0, math.sqrt(2.0 * dimension / (math.pi * total)))
