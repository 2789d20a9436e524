r"""The sharpness at every step of training, predicted from the steps before and then measured.

The k leading eigenvectors move smoothly while a network is trained, or swing with period two at the
edge of stability. Both are linear recurrences: with the changes $d_t = U_t - U_{t-1}$ of the
aligned eigenvectors, the next ones are predicted as

$$ U_{t+1} \approx U_t + a\, d_t + b\, d_{t-1}, \qquad (a, b) = \arg\min
   \lVert d_t - a\, d_{t-1} - b\, d_{t-2} \rVert^2 + \epsilon^2 (a^2 + b^2), $$

with $\epsilon$ the relative residual of $U_t$, below which changes are noise. A Rayleigh-Ritz step
at the new parameters, k products, measures what became of them, and the bound
$\delta\,(\theta_i + \delta - c) = \rho^2$ of `krylov` is of second order in the error of the
prediction.

The cap c on the rest of the spectrum comes from guards, the two next Ritz vectors, which are held
as well and measured every few steps: until then the first is trusted to move at most twice as fast
as it did between the last two measurements, or to close half its gap. Where the bound is not met,
the guards are measured at once and the subspace grows until it is. So a crossing is harmless: the
eigenvector that overtakes is held already. What has overtaken both guards is found by the count
check, a run from a fresh random vector through the complement as in `hessian_eigenvalues`: every
`check_every` steps, and at once when the eigenvectors have turned by more than half a radian.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.curvature.evaluation import Loss
from learnmech.practice.curvature.operator import HessianOperator
from learnmech.practice.curvature.solver import Solver, check_settings, random_generator

__all__ = ["SharpnessReading", "SharpnessTracker"]

_GUARDS = 2  # vectors held beside the leading ones
_GUARD_STEPS = 5  # they are measured at least this often
_REMEMBERED = 4  # steps of which eigenvectors are kept
_TURNED = 0.5  # a change of the eigenvectors after which nothing held is trusted, radians


@dataclass(frozen=True)
class SharpnessReading:
    """The leading eigenvalues at one step, with the dtype and device of the parameters."""

    step: int  # number of readings before this one
    eigenvalues: Float[Tensor, " k"]  # largest first, units of loss per squared parameter
    bounds: Float[Tensor, " k"]  # on |error| of each eigenvalue, in the same units
    products: int  # Hessian products used
    checked: bool  # whether the count of eigenvalues was checked at this step


class SharpnessTracker:
    r"""Tracks the k largest eigenvalues of the Hessian while the parameters are trained.

    Args:
        loss: Closure without arguments that returns the scalar loss of the whole data, or a
            sequence of (closure, weight) pairs. It must read the same parameters at every step.
        parameters: Distinct tensors that require a gradient; training changes them in place.
        k: Number of eigenvalues.
        tol: Bound on their error, as a share of the largest |eigenvalue| found.
        check_every: Number of steps between two count checks; the first step is always checked, and
            so is one over which the eigenvectors have turned by more than half a radian.
        generator: Draws the random vectors; without one they are fixed. Readings depend on them
            within their bounds only.

    Between two checks a bound assumes that no eigenvector from outside has overtaken both guards.

    Cost of a reading: one gradient and, in smooth training, k products of 1.5 to 2 gradients each,
    two more at every fifth reading, and about 12 for a check. Memory for 4 k + 2 vectors of all
    parameters between readings.

    >>> w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    >>> tracker = SharpnessTracker(lambda: (w**4).sum() / 12, [w])
    >>> for value in (1.0, 2.0):
    ...     w.data[0] = value
    ...     float(tracker.update().eigenvalues[0].round(decimals=9))
    1.0
    4.0
    """

    def __init__(
        self,
        loss: Loss,
        parameters: Iterable[Tensor],
        k: int = 1,
        *,
        tol: float = 1e-3,
        check_every: int = 40,
        generator: torch.Generator | None = None,
    ) -> None:
        if check_every < 1:
            raise ValueError(f"check_every must be at least one step, not {check_every}.")
        self._loss, self._parameters = loss, tuple(parameters)
        self._k, self._tol, self._check_every = k, tol, check_every
        self._generator = random_generator(generator)
        self._steps = 0
        self._past: list[Float[Tensor, "k n"]] = []  # aligned eigenvectors, newest last
        self._guards: Float[Tensor, "j n"] | None = None
        self._cap, self._value = 0.0, 0.0  # on the rest, and the first guard's, when last measured
        self._speed, self._age = float("inf"), 0  # of that guard, and steps since it was measured

    def update(self, *, preconditioner: Iterable[Tensor] | None = None) -> SharpnessReading:
        r"""Read the leading eigenvalues at the present parameters.

        Args:
            preconditioner: Diagonal P at this step, one positive tensor for each parameter; then
                the eigenvalues are those of $P^{-1/2} H P^{-1/2}$.

        Returns:
            The reading of this step.

        Raises:
            ValueError: On a k, tol, parameter, loss or preconditioner that cannot be used.
            FloatingPointError: If the loss or a product is not finite.
            ConvergenceError: If the tolerance is not reached.
        """
        operator = HessianOperator(self._loss, self._parameters, preconditioner=preconditioner)
        check_settings(operator, self._k, self._tol)
        solver = Solver(operator, self._k, tol=self._tol, generator=self._generator)
        for vector in self._predicted():
            solver.add(vector)
        self._age += 1
        checked = self._steps % self._check_every == 0
        bounds = None if checked else self._assumed_bounds(solver)
        if bounds is None:
            bounds = self._measured_bounds(solver, checked)
        leading, guards = self._vectors(solver)
        if not checked and float((leading - self._past[-1]).norm()) > _TURNED:
            bounds, checked = self._measured_bounds(solver, True), True
            leading, guards = self._vectors(solver)
        self._past = [*self._past[1 - _REMEMBERED :], leading]
        self._guards = guards if len(guards) else self._guards
        self._steps += 1
        return SharpnessReading(
            self._steps - 1,
            operator.like(solver.state().values),
            operator.like(bounds + solver.noise),
            operator.products,
            checked,
        )

    def _predicted(self) -> Sequence[Tensor]:
        """Continue the recurrence that the remembered eigenvectors obey, if they obey one."""
        if len(self._past) < _REMEMBERED:
            return list(self._past[-1]) if self._past else []
        oldest, middle, newest = (self._past[i + 1] - self._past[i] for i in range(_REMEMBERED - 1))
        before = torch.stack([middle.reshape(-1), oldest.reshape(-1)]).double()
        gram, target = before @ before.mT, before @ newest.reshape(-1).double()
        gram = gram.cpu() + self._blur * torch.eye(2, dtype=torch.float64)
        a, b = (torch.linalg.pinv(gram, hermitian=True) @ target.cpu()).tolist()
        change = a * newest + b * middle
        trusted = float(change.norm()) <= min(2.0 * float(newest.norm()), _TURNED)
        return list(self._past[-1] + change if trusted else self._past[-1])

    def _assumed_bounds(self, solver: Solver) -> Float[Tensor, " k"] | None:
        """Go without the guards where they may be trusted for one more step."""
        state = solver.state()
        halfway = (self._cap + float(state.values[-1])) / 2
        bounds = state.bounds(max(halfway, self._cap + 2 * self._age * self._speed))
        good = float(bounds.max()) <= self._tol * state.scale
        return bounds if good and self._age < _GUARD_STEPS else None

    def _measured_bounds(self, solver: Solver, checked: bool) -> Float[Tensor, " k"]:
        """Measure the guards and converge with them, and check the count if asked."""
        if self._age > 0 and self._guards is not None:
            for vector in self._guards:
                solver.add(vector)
        while True:
            state = solver.converge()
            cap = solver.certify(state) if checked else state.guard
            if cap is not None:
                break
        value = float(state.values[-1]) - state.gap
        if self._steps > 0 and self._age > 0 and solver.space.size > self._k:
            self._speed = abs(value - self._value) / self._age
        self._cap, self._value, self._age = cap, value, 0
        return state.bounds(cap)

    def _vectors(self, solver: Solver) -> tuple[Float[Tensor, "k n"], Float[Tensor, "j n"]]:
        """Leading Ritz vectors and guards, improved by the power step that their images give.

        The leading ones are turned among themselves to lie as close as they can to the last ones.
        """
        state, ritz = solver.state(), solver.space.ritz()
        self._blur = (state.spectral / state.scale) ** 2 if state.scale > 0.0 else 0.0
        keep = slice(self._k + _GUARDS)
        residuals = solver.space.residuals(ritz, keep)
        reach = (ritz.values[keep, None] - ritz.values[-1].clamp(max=0.0)).to(residuals)
        smallest = max(0.1 * state.scale, torch.finfo(reach.dtype).tiny)
        vectors = solver.space.vectors(ritz, keep) + residuals / reach.clamp(smallest)
        leading, guards = vectors[: self._k], vectors[self._k :]
        if self._past:
            left, _, right = torch.linalg.svd(self._past[-1] @ leading.mT)
            leading = left @ right @ leading
        return leading, guards
