r"""The best learning rate read off a curve of losses, and what a training run costs.

Near its minimum the logarithm of the loss is a parabola in the logarithm of the learning rate,

$$ \ln L(\rho) \approx \ln L_\star + \tfrac12 \kappa\, (\rho - \rho_\star)^2, \qquad
   \rho = \log_2 \eta . $$

It is fitted by least squares to the grid points around the smallest loss, which is steadier than
the smallest loss itself; $\rho_\star$ is trusted no further than half way to the last point used.
Runs that diverged count as the loss at which they are capped.

Shapes: rates (R,), losses (R,). A dense layer of $m$ weights costs $2m$ operations per sample
forward and $4m$ backward, so a run of $T$ steps of $B$ samples costs $6PBT$ (Kaplan et al.,
arXiv:2001.08361, for the count).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import nn

__all__ = ["BestRate", "best_rate", "training_operations"]


@dataclass(frozen=True)
class BestRate:
    """The minimum of a curve of losses over learning rates."""

    log2_rate: float  # rho_star, base-two logarithm of the best learning rate
    log_loss: float  # natural logarithm of the fitted loss there
    curvature: float  # kappa, of the log loss per squared octave; not positive: no minimum inside
    at_edge: bool  # whether the smallest loss lies so near the grid's end that the window moved


def best_rate(
    log2_rates: Float[np.ndarray, " R"],
    losses: Float[np.ndarray, " R"],
    *,
    cap: float,
    reach: int = 2,
) -> BestRate:
    """Fit a parabola to the log loss around its smallest value, and return its lowest point.

    Args:
        log2_rates: Base-two logarithms of the learning rates, evenly spaced and increasing.
        losses: The loss at each; not finite where a run diverged.
        cap: Loss that larger ones, and those that are not finite, count as; positive.
        reach: Number of grid points on each side of the smallest loss that are fitted.

    Returns:
        Place, height and curvature of the minimum, and whether it lies at the edge of the grid.

    Raises:
        ValueError: On fewer rates than the fit needs, rates that are not evenly spaced, losses
            that are not positive, or a cap that is not.

    >>> rates = np.arange(-4.0, 4.0)
    >>> fit = best_rate(rates, np.exp((rates - 0.25) ** 2), cap=1e9)
    >>> round(fit.log2_rate, 9), round(fit.curvature, 9), fit.at_edge
    (0.25, 2.0, False)
    """
    rates, values = np.asarray(log2_rates, float), np.asarray(losses, float)
    steps = np.diff(rates)
    if rates.ndim != 1 or values.shape != rates.shape or reach < 1 or len(rates) < 2 * reach + 1:
        raise ValueError(f"give one loss for each of at least {2 * reach + 1} rates.")
    if not (steps > 0).all() or not np.allclose(steps, steps[0]):
        raise ValueError("the logarithms of the rates must increase in even steps.")
    if not (np.isfinite(cap) and cap > 0) or (values <= 0).any():
        raise ValueError("losses and their cap must be positive; give a loss that is not zero.")
    logs = np.log(np.where(np.isfinite(values), np.minimum(values, cap), cap))
    lowest = int(logs.argmin())
    middle = min(max(lowest, reach), len(rates) - 1 - reach)
    window = slice(middle - reach, middle + reach + 1)
    x, y = rates[window] - rates[middle], logs[window]
    quadratic, linear, constant = (float(c) for c in np.polyfit(x, y, 2))
    furthest = 0.5 * reach * float(steps[0])
    place = furthest if y[0] > y[-1] else -furthest
    if quadratic > 0.0:
        place = float(np.clip(-0.5 * linear / quadratic, -furthest, furthest))
    height = constant + place * (linear + place * quadratic)
    return BestRate(float(rates[middle]) + place, height, 2.0 * quadratic, lowest != middle)


def training_operations(model: nn.Module, *, batch_size: int, steps: int) -> float:
    """Return the floating-point operations of a training run, 6 for each weight and sample.

    Args:
        model: The network; every matrix of weights acts once on each sample.
        batch_size: Samples per step.
        steps: Number of steps.

    Raises:
        ValueError: If there is nothing to count.

    >>> training_operations(nn.Linear(10, 5, bias=False), batch_size=2, steps=3)
    1800.0
    """
    weights = sum(p.numel() for p in model.parameters() if p.ndim > 1)
    if weights * batch_size * steps < 1:
        raise ValueError("a run needs weights, samples and steps.")
    return 6.0 * weights * batch_size * steps
