r"""The leading eigenpairs of a symmetric operator, none of them overlooked.

For one pair, a Lanczos run goes on until it has itself ruled out, with the probability of `krylov`,
a larger eigenvalue. Residuals and gaps alone do not: two close eigenvalues that the run has not
separated yet look like one, of a small residual and far from the next.

For more pairs, Lanczos with full reorthogonalisation and thick restarts grows by residuals until
their bound is met. A second run then starts from a fresh random vector in the complement: it either
finds something missed, above all a second copy of an eigenvalue, and the first step is taken up
again, or it rules out that there is anything.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.curvature.complement import OVERLOOK, Complement, largest_eigenvalue
from learnmech.practice.curvature.krylov import Subspace, error_bounds, overlook_probability
from learnmech.practice.curvature.operator import HessianOperator

__all__ = ["ConvergenceError", "Solver", "State", "check_settings", "random_generator"]

_SEED = 20260421
_HALVINGS = 8  # of the tolerance, to see how much less a run proves
_ROOM = 30  # vectors that a second run should have room for
_VECTORS, _NUMBERS = 256, 2**27  # held before a restart, unless fewer would be too few


class ConvergenceError(RuntimeError):
    """Eigenvalues did not reach their tolerance, or are not resolved well enough to be used."""


@dataclass(frozen=True)
class State:
    """The k leading Ritz pairs of a subspace, and the next; numbers in float64 on the CPU."""

    values: Float[Tensor, " k"]  # leading Ritz values theta, largest first
    residuals: Float[Tensor, "j n"]  # H u - theta u, of all pairs there are up to k + 1
    norms: Float[Tensor, " j"]  # their norms
    spectral: float  # rho, spectral norm of the first k residuals together
    guard: float  # next Ritz value plus its residual norm; -infinity if there is none
    gap: float  # last leading Ritz value minus the next one
    scale: float  # largest |Ritz value| of the subspace

    def bounds(self, cap: float) -> Float[Tensor, " k"]:
        """Errors of the leading values if the complement has no eigenvalue above a cap."""
        return error_bounds(self.values, self.spectral, cap)

    def guarded_bound(self) -> float:
        """Largest of those errors if the next Ritz pair leads the complement."""
        return float(self.bounds(self.guard).max())


class Solver:
    """A subspace that is grown until its k leading Ritz pairs are good.

    Args:
        operator: The Hessian.
        k: Number of pairs, from one to the operator's dimension.
        tol: Bound to be reached, as a share of the largest |eigenvalue| found.
        generator: Draws starting vectors.
        max_products: Number of products of the operator after which to give up.
    """

    def __init__(
        self,
        operator: HessianOperator,
        k: int,
        *,
        tol: float,
        generator: torch.Generator,
        max_products: int = 1000,
    ) -> None:
        self.k, self.tol = k, tol
        self._operator, self._generator = operator, generator
        self._max_products = max_products
        self.space = Subspace(
            operator.__matmul__,
            operator.dimension,
            capacity=max(4 * k + 2 * _ROOM, min(_VECTORS, _NUMBERS // operator.dimension)),
            dtype=operator.dtype,
            device=operator.device,
        )

    @property
    def noise(self) -> float:
        """What rounding adds to the error of a Ritz value, as far as it can be seen."""
        scale = float(self.space.projected.abs().max())
        return 8.0 * max(self.space.asymmetry, torch.finfo(self._operator.dtype).eps * scale)

    def state(self) -> State:
        """Look at the leading pairs."""
        k, ritz = self.k, self.space.ritz()
        residuals = self.space.residuals(ritz, slice(k + 1))
        gram = (residuals.double() @ residuals.double().mT).cpu()
        norms = gram.diagonal().sqrt()
        spectral = float(torch.linalg.eigvalsh(gram[:k, :k])[-1].clamp(min=0.0).sqrt())
        guard, gap = -float("inf"), float("inf")
        if self.space.size > k:
            guard = float(ritz.values[k] + norms[k])
            gap = float(ritz.values[k - 1] - ritz.values[k])
        scale = float(ritz.values.abs().max())
        return State(ritz.values[:k], residuals, norms, spectral, guard, gap, scale)

    def draw(self) -> Float[Tensor, " n"]:
        """Return a fresh Gaussian vector, drawn on the generator's device."""
        source, like = self._generator, self.space.basis
        drawn = torch.randn(
            self.space.dimension, generator=source, dtype=like.dtype, device=source.device
        )
        return drawn.to(like.device)

    def add(self, vector: Float[Tensor, " n"]) -> None:
        """Grow by a vector, or by a random one where it lies in the subspace already."""
        self._check_budget()
        if self.space.full:
            self.space.restart(self.k + (self.space.capacity - self.k) // 3)
        unit, left = self.space.orthogonal(vector)
        while left == 0.0:
            unit, left = self.space.orthogonal(self.draw())
        self.space.append(unit)

    def converge(self, bound: Callable[[State], float] = State.guarded_bound) -> State:
        """Grow by residuals until a bound of the leading values is within the tolerance."""
        if self.space.size == 0:
            self.add(self.draw())
        while True:
            state = self.state()
            goal = self.tol * state.scale
            if self.space.size >= min(self.k + 1, self._operator.dimension):
                if bound(state) <= goal:
                    return state
                if self.space.complete:
                    raise ConvergenceError(
                        f"rounding leaves a residual of {state.spectral:.1e}, more than "
                        f"tol={self.tol:g} allows; raise tol or use float64."
                    )
            blurred = state.norms[-1] > max(state.gap / 2, state.spectral)
            worst = self.k if blurred else int(state.norms[: self.k].argmax())
            self.add(state.residuals[worst])

    def single_run(self) -> float | None:
        """Lanczos until an eigenvalue above the first Ritz value by the tolerance is ruled out.

        Returns:
            A bound on the error of the first Ritz value that the run itself proves, except with
            probability 1e-3; or None where it has filled the subspace before.
        """
        space = self.space
        diagonal: list[float] = []
        beside: list[float] = []
        vector = self.draw()
        while True:
            unit, beta = space.orthogonal(vector)
            if beta == 0.0:  # the run has seen every distinct eigenvalue
                return 0.0
            if space.size > 0:
                beside.append(beta)
                values = space.ritz().values
                goal = self.tol * float(values.abs().max())
                proven: list[float] = []
                for bound in (goal / 2**halvings for halvings in range(_HALVINGS)):
                    level, dimension = float(values[0]) + bound, space.dimension
                    if overlook_probability(diagonal, beside, level, dimension) <= OVERLOOK:
                        proven.append(bound)
                if proven:
                    return min(proven)
                if space.full:
                    return None
            self._check_budget()
            space.append(unit)
            if space.complete:
                return 0.0
            diagonal.append(float(space.projected[-1, -1]))
            vector = space.images[-1]

    def certify(self, state: State) -> float | None:
        """Search the complement of the leading Ritz vectors from a fresh random vector.

        Args:
            state: The leading pairs of the present subspace.

        Returns:
            A cap that no eigenvalue of the complement exceeds, except with probability 1e-3, and
            that gives bounds within the tolerance; or None where there is something above it.
        """
        space, k, goal = self.space, self.k, self.tol * state.scale
        top = float(state.values[-1]) + (goal - state.spectral**2 / goal if goal > 0.0 else 0.0)
        while True:
            ritz = space.ritz()
            rest = ritz.values[k:]
            if space.complete:
                return float(rest[0]) if len(rest) else -float("inf")
            cramped = space.capacity < space.dimension and space.size + _ROOM > space.capacity
            if len(rest) and cramped:
                space.restart(k)
                continue
            residuals = space.residuals(ritz, slice(k, None))
            squares = residuals.double().square().sum(1).cpu()
            complement = Complement(rest, residuals, squares, top)
            decided, cap = self._second_run(complement)
            if decided:
                return cap
            space.restart(k + (space.capacity - k) // 3)

    def _second_run(self, complement: Complement) -> tuple[bool, float | None]:
        """Lanczos in the complement: whether it decided anything, and the cap if there is one."""
        space, start = self.space, self.space.size
        diagonal: list[float] = []
        beside: list[float] = []
        self.add(self.draw())
        while True:
            if space.complete:
                return True, float(space.ritz().values[self.k])
            last, image = space.basis[-1], space.images[-1]
            added, energy = complement.coupled(last)
            diagonal.append(float(space.projected[-1, -1]) + energy)
            highest = largest_eigenvalue(diagonal, beside)
            if highest > complement.top:
                return True, None
            unit, beta = space.orthogonal(image + added)
            if beta == 0.0:  # the run has seen every eigenvalue of the complement
                return True, complement.top
            beside.append(beta)
            cap = complement.cap(diagonal, beside, highest, space.dimension - start)
            if cap is not None or space.full:
                return cap is not None, cap
            self._check_budget()
            space.append(unit)

    def _check_budget(self) -> None:
        if self._operator.products >= self._max_products:
            raise ConvergenceError(
                f"the eigenvalues did not reach tol={self.tol:g} in {self._max_products} products; "
                "raise tol or max_products, or use float64."
            )


def random_generator(generator: torch.Generator | None) -> torch.Generator:
    """Return the given generator, or a new one that is always the same."""
    return torch.Generator().manual_seed(_SEED) if generator is None else generator


def check_settings(operator: HessianOperator, k: int, tol: float) -> None:
    """Refuse a k that the Hessian does not have, or a tol that its dtype cannot give."""
    if not 1 <= k <= operator.dimension:
        raise ValueError(f"k must lie between 1 and the {operator.dimension} parameters, not {k}.")
    finest = 32.0 * torch.finfo(operator.dtype).eps
    if not finest <= tol < 1.0:
        raise ValueError(
            f"tol must lie between {finest:.1e}, which is what {operator.dtype} resolves, and 1, "
            f"not {tol}."
        )
