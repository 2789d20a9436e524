r"""How far sharpness swings about the edge of stability while training holds it there.

Near the edge, let $x$ be the size of the oscillation along the leading eigenvector and
$\varepsilon = S/S_* - 1$ the sharpness relative to the threshold $S_*$ of the optimiser. Above
the threshold the oscillation grows, and its square pushes the sharpness down again, while training
by itself would raise the sharpness at the relative rate $a$ per step:

$$ \frac{d \ln x}{dk} = c\,\varepsilon, \qquad
   \frac{d\varepsilon}{dk} = a\,\Big(1 - \frac{x^2}{\delta^2}\Big), $$

with $\delta$ the size at which the two balance, and $c$ the growth rate of the oscillation per
unit of relative excess, from the characteristic polynomial of the optimiser (see `stability`). The
orbits are closed, with $\tfrac{c}{2a}\varepsilon^2 + \tfrac12 x^2/\delta^2 - \ln(x/\delta)$
conserved, the mean of $\varepsilon$ over one is zero, and the unit of $\varepsilon$ is
$\varepsilon_* = \sqrt{a/c}$, which does not depend on $\delta$.

Reference: Damian, Nichani and Lee, "Self-stabilization: the implicit bias of gradient descent at
the edge of stability", arXiv:2209.15594, for gradient descent and one unstable direction; the
growth rates of the other optimisers were derived here, from the polynomials of `stability`.
"""

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from learnmech.numerics import ArrayLike
from learnmech.theory.stability import Optimizer, stability_threshold

__all__ = ["fluctuation_scale", "oscillation_growth", "self_stabilized_orbit"]

Array = Float[np.ndarray, "..."]


def oscillation_growth(
    *, optimizer: Optimizer = "gradient descent", momentum: ArrayLike = 0.0
) -> Array:
    r"""Growth rate c of the oscillation per step and per unit of relative excess curvature.

    With curvature $(1+\varepsilon)S_*$ the root of $z^2 - Tz + D$ that was at -1 moves to
    $-(1 + c\,\varepsilon)$, where $c = -(T' + D')/(1 - D)$ and the primes are derivatives by
    $\varepsilon$: 2 for gradient descent, $2(1+\beta)/(1-\beta)$ for heavy ball and Adam, and
    $2(1+\beta)(1+2\beta)/(1+3\beta)$ for Nesterov.

    Args:
        optimizer: As for `stability_threshold`, in its conventions.
        momentum: Beta, at least 0 and below 1; Adam's beta_1. Zero for gradient descent.

    Returns:
        The rates, per step.

    Raises:
        ValueError: On an unknown optimiser, or a momentum that `stability_threshold` refuses.

    Reference: derived here from the polynomials of `learnmech.theory.stability`.

    >>> float(oscillation_growth())
    2.0
    >>> float(oscillation_growth(optimizer="heavy ball", momentum=0.5))
    6.0
    """
    stability_threshold(1.0, optimizer=optimizer, momentum=momentum)  # refuses what it refuses
    beta = np.asarray(momentum, dtype=np.float64)
    if optimizer == "nesterov":
        return np.asarray(2.0 * (1.0 + beta) * (1.0 + 2.0 * beta) / (1.0 + 3.0 * beta))
    return np.asarray(2.0 * (1.0 + beta) / (1.0 - beta))


def fluctuation_scale(sharpening: ArrayLike, growth: ArrayLike) -> Array:
    r"""The unit $\sqrt{a/c}$ in which sharpness swings about its threshold, relative to it.

    Args:
        sharpening: a, positive: relative rise of the sharpness per step at the threshold, if there
            were no oscillation.
        growth: c, positive, from `oscillation_growth`; broadcasts with `sharpening`.

    Returns:
        Relative deviations of the sharpness from the threshold.

    Raises:
        ValueError: On arguments that are not positive and finite.

    Reference: the equations of this module; Damian et al., arXiv:2209.15594.

    >>> float(fluctuation_scale(0.02, 2.0))
    0.1
    """
    a, c = (np.asarray(value, dtype=np.float64) for value in (sharpening, growth))
    if not (np.all(np.isfinite(a) & (a > 0.0)) and np.all(np.isfinite(c) & (c > 0.0))):
        raise ValueError("sharpening and growth must be positive and finite.")
    return np.asarray(np.sqrt(a / c))


def self_stabilized_orbit(
    steps: ArrayLike, *, sharpening: float, growth: float, start: float
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:
    r"""Relative excess and oscillation after the sharpness has risen through its threshold.

    Solves the two equations of this module from $\varepsilon = 0$ and $x = x_0 < \delta$.

    Args:
        steps: Increasing numbers of steps since the crossing, (T,), the first at least zero.
        sharpening: a, positive, per step.
        growth: c, positive, per step.
        start: $x_0/\delta$, between 0 and 1: the oscillation at the crossing in units of the one
            that balances.

    Returns:
        $\varepsilon$ and $x/\delta$ at those steps, (T,) each.

    Raises:
        ValueError: On steps that do not increase from zero or later, rates that are not positive,
            or a start outside (0, 1).

    Reference: the equations of this module; Damian et al., arXiv:2209.15594.

    >>> excess, size = self_stabilized_orbit([0.0, 10.0], sharpening=0.01, growth=2.0, start=1e-6)
    >>> np.round(excess, 6)  # without an oscillation it rises at the rate a
    array([0. , 0.1])
    """
    k = np.asarray(steps, dtype=np.float64)
    if (
        k.ndim != 1
        or k.size == 0
        or not np.all(np.isfinite(k))
        or k[0] < 0
        or np.any(np.diff(k) <= 0)
    ):
        raise ValueError("steps must be one list that increases from zero or later.")
    scale = float(fluctuation_scale(sharpening, growth))
    if not 0.0 < start < 1.0:
        raise ValueError("start must lie between 0 and 1: the oscillation over the balanced one.")
    pace = float(np.sqrt(sharpening * growth))  # of the dimensionless equations, per step

    def rates(_: float, state: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        return np.array([1.0 - np.exp(2.0 * state[1]), state[0]])

    solution = solve_ivp(
        rates,
        (0.0, pace * float(k[-1])),
        [0.0, np.log(start)],
        method="DOP853",
        t_eval=pace * k,
        rtol=1e-10,
        atol=1e-12,
    )
    return scale * solution.y[0], np.exp(solution.y[1])
