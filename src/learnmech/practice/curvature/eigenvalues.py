r"""The leading eigenvalues of the Hessian, largest algebraic first, with true multiplicities.

$$ H u_i = \lambda_i u_i, \qquad \lambda_1 \ge \lambda_2 \ge \dots $$

$\lambda_1$ is the sharpness; with a diagonal preconditioner P, of $P^{-1/2} H P^{-1/2}$, it is the
preconditioned sharpness that decides on the stability of Adam (Cohen et al., "Adaptive gradient
methods at the edge of stability", arXiv:2207.14484).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.curvature.evaluation import Loss
from learnmech.practice.curvature.operator import HessianOperator
from learnmech.practice.curvature.solver import Solver, check_settings, random_generator

__all__ = ["HessianEigenvalues", "hessian_eigenvalues"]


@dataclass(frozen=True)
class HessianEigenvalues:
    """The leading eigenpairs of a Hessian, with the dtype and device of the parameters."""

    eigenvalues: Float[Tensor, " k"]  # largest first, units of loss per squared parameter
    eigenvectors: tuple[Tensor, ...]  # per parameter (k, *shape); orthonormal over all together
    bounds: Float[Tensor, " k"]  # on |error| of each eigenvalue, in the same units
    products: int  # Hessian products used


def hessian_eigenvalues(
    loss: Loss,
    parameters: Iterable[Tensor],
    k: int = 1,
    *,
    tol: float = 1e-4,
    preconditioner: Iterable[Tensor] | None = None,
    max_products: int = 1000,
    generator: torch.Generator | None = None,
) -> HessianEigenvalues:
    r"""Return the k algebraically largest eigenvalues of the Hessian of a loss.

    Repeated eigenvalues are returned as often as they occur: of 12, 12, 8 the leading two are 12
    and 12. Lanczos alone never sees a second copy; so for k above one a second run through the
    complement looks for it. A run stops when it would have overlooked an eigenvalue above the
    tolerance with a probability below 1e-3, whatever the spectrum is.

    `bounds` hold the error of each eigenvalue, to which rounding adds what asymmetry it leaves in
    the products; every one is at most `tol` times the largest |eigenvalue| found, up to that.
    They are usually far from tight: errors are of second order in what is left of the residuals.

    Args:
        loss: Closure without arguments that returns the scalar loss of the whole data (called
            once), or a sequence of (closure, weight) pairs, whose weighted sum is the loss (called
            once for each product). Any loss convention: the eigenvalues are those of this loss.
        parameters: Distinct tensors that require a gradient.
        k: Number of eigenvalues, from one to the number of parameters' entries.
        tol: Bound on the error, as a share of the largest |eigenvalue| found.
        preconditioner: Diagonal P, one positive tensor for each parameter; then the eigenpairs are
            those of $P^{-1/2} H P^{-1/2}$, and $P^{-1/2} u$ is an eigenvector of $P^{-1} H$.
        max_products: Number of products after which to give up.
        generator: Draws starting vectors; without one they are fixed. The result depends on them
            within its bounds only.

    Returns:
        Eigenvalues, eigenvectors, bounds and the number of products.

    Raises:
        ValueError: On a k, tol, parameter, weight, loss or preconditioner that cannot be used.
        FloatingPointError: If the loss or a product is not finite.
        ConvergenceError: If the tolerance is not reached.

    Cost: a product is 1.5 to 2 gradients; an outlier takes some 15 products, a cluster 30, a dense
    edge hundreds. Memory for two vectors of all parameters per product, up to 256, and fewer for
    models above half a million parameters, but at least 4 k + 60.

    Reference: Parlett, *The Symmetric Eigenvalue Problem*, SIAM 1998, chapters 11 and 13.

    >>> w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    >>> half = torch.tensor([6.0, 6.0, 4.0], dtype=torch.float64)
    >>> hessian_eigenvalues(lambda: half @ w**2, [w], k=3).eigenvalues.round(decimals=9)
    tensor([12., 12.,  8.], dtype=torch.float64)
    """
    operator = HessianOperator(loss, parameters, preconditioner=preconditioner)
    check_settings(operator, k, tol)
    source = random_generator(generator)
    solver = Solver(operator, k, tol=tol, generator=source, max_products=max_products)
    bounds = solve(solver)
    ritz = solver.space.ritz()
    return HessianEigenvalues(
        operator.like(ritz.values[:k]),
        operator.split(solver.space.vectors(ritz, slice(k))),
        operator.like(bounds),
        operator.products,
    )


def solve(solver: Solver) -> Float[Tensor, " k"]:
    """Make the leading Ritz pairs good, none of them overlooked, and return their bounds."""
    if solver.k == 1:
        bound = solver.single_run()
        if bound is not None:
            return torch.tensor([bound + solver.noise], dtype=torch.float64)
    while True:
        state = solver.converge(lambda state: min(state.guarded_bound(), 2.0 * state.spectral))
        cap = solver.certify(state)
        if cap is not None:
            break
    if solver.space.complete:
        state = solver.state()
        cap = state.guard
    return state.bounds(cap) + solver.noise
