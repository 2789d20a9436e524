r"""The gradient of the sharpness with respect to the parameters.

For a simple largest eigenvalue with unit eigenvector u (Hellmann and Feynman),

$$ \nabla_\theta \lambda_1
   = \nabla_\theta \big( u^\top H(\theta)\, u \big) \big|_{u \text{ fixed}}, $$

a third derivative, by three reverse sweeps with normalisation layers in elementary operations (see
`evaluation`: PyTorch's fused ones are wrong at third order, in every mode). An error $\varphi$ of u
as an angle changes it by a relative amount of that order, and $\varphi$ is at most the norm of the
residual over the gap $\lambda_1 - \lambda_2$: where there is no gap, there is no gradient.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.curvature.eigenvalues import solve
from learnmech.practice.curvature.evaluation import Loss
from learnmech.practice.curvature.operator import HessianOperator
from learnmech.practice.curvature.solver import (
    ConvergenceError,
    Solver,
    check_settings,
    random_generator,
)

__all__ = ["SharpnessGradient", "sharpness_gradient"]


@dataclass(frozen=True)
class SharpnessGradient:
    """The sharpness and its gradient, with the dtype and device of the parameters."""

    sharpness: Float[Tensor, ""]  # lambda_1, units of loss per squared parameter
    gradient: tuple[Tensor, ...]  # d lambda_1 / d theta, one tensor for each parameter
    eigenvector: tuple[Tensor, ...]  # u, one tensor for each parameter; unit over all together
    gap: float  # lambda_1 - lambda_2, infinite where there is one parameter only
    angle: float  # bound on the angle between u and the eigenvector, radians
    products: int  # Hessian products used, the third derivative not counted


def sharpness_gradient(
    loss: Loss,
    parameters: Iterable[Tensor],
    *,
    tol: float = 1e-6,
    max_products: int = 1000,
    generator: torch.Generator | None = None,
) -> SharpnessGradient:
    r"""Return the sharpness, its gradient and its eigenvector.

    LayerNorm, BatchNorm (in both modes), InstanceNorm, GroupNorm and RMSNorm of `torch.nn` are
    replaced while the loss is evaluated; a fused normalisation called in another way is refused.

    Args:
        loss: As for `hessian_eigenvalues`.
        parameters: Distinct tensors that require a gradient.
        tol: Bound on the angle between the vector used and the eigenvector, in radians, to which
            the relative error of the gradient is proportional.
        max_products: Number of products after which to give up.
        generator: Draws starting vectors; without one they are fixed.

    Returns:
        Sharpness, gradient, eigenvector, gap and the bound on the angle.

    Raises:
        ValueError: On a tol, parameter, weight or loss that cannot be used.
        FloatingPointError: If the loss or a product is not finite.
        ConvergenceError: If the largest eigenvalue is not simple within the resolution, or the
            tolerance is not reached.
        RuntimeError: If a fused normalisation could not be replaced.

    Cost: some 30 products, and about 3 more for the third derivative.

    Reference: Damian, Nichani and Lee, "Self-stabilization", arXiv:2209.15594, where it decides on
    progressive sharpening and self-stabilisation.

    >>> w = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    >>> found = sharpness_gradient(lambda: (w**4).sum() / 12, [w])  # lambda_1 is w_2 squared
    >>> found.gradient[0].round(decimals=9).abs()
    tensor([0., 4.], dtype=torch.float64)
    """
    operator = HessianOperator(loss, parameters, elementary=True)
    count = min(2, operator.dimension)
    check_settings(operator, 1, tol)
    rough = max(1e-4, 64.0 * torch.finfo(operator.dtype).eps)
    solver = Solver(
        operator,
        count,
        tol=rough,
        generator=random_generator(generator),
        max_products=max_products,
    )
    bounds = solve(solver)
    values = solver.space.ritz().values
    gap = float(values[0] - values[1]) if count == 2 else float("inf")
    if gap <= 2.0 * float(bounds.max()):
        raise ConvergenceError(
            f"the two largest eigenvalues differ by {gap:.1e}, which is not resolved; a repeated "
            "eigenvalue has no gradient."
        )
    angle = _sharpen(solver, gap, tol)
    ritz = solver.space.ritz()
    vector = solver.space.vectors(ritz, slice(1))[0]
    return SharpnessGradient(
        operator.like(ritz.values[0]),
        operator.split(operator.form_gradient(vector)),
        operator.split(vector),
        gap,
        angle,
        operator.products,
    )


def _sharpen(solver: Solver, gap: float, tol: float) -> float:
    """Grow by the residual of the first pair until it is within tol of the gap."""
    while True:
        state = solver.state()
        residual = float(state.norms[0])
        if residual <= tol * gap or residual == 0.0:
            return residual / gap
        if solver.space.complete:
            raise ConvergenceError(
                f"rounding leaves an angle of {residual / gap:.1e}, more than tol={tol:g}; raise "
                "tol or use float64."
            )
        solver.add(state.residuals[0])
