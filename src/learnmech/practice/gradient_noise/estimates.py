r"""Unbiased estimates of gradient noise and signal, with standard errors, from few numbers.

$$ S = \frac{1}{n-1} \sum_i |g_i - \bar g|^2, \qquad
   N = |\bar g|^2 - \frac{S}{n} = \frac{1}{n(n-1)} \sum_{i \ne j} g_i \cdot g_j $$

estimate $\operatorname{tr}\Sigma$ and $|G|^2$ from n independent gradients $g_i$ with mean $G$,
covariance $\Sigma$ and sample mean $\bar g$. All that enters is $|g_i|^2$, $g_i\cdot\bar g$ and
$|\bar g|^2$, and so it is when a gradient is left out: the standard errors are the jackknife's.
For many samples they are right where $G$ stands out of the noise and too large where it does
not, by $\sqrt 2$ at most (N is a U-statistic, degenerate at $G = 0$). Added to them in squares is
rounding, of size $\epsilon \sqrt n$ times the mean of $|g_i|^2$ with the $\epsilon$ of the
gradients' dtype: S is a difference of such numbers, and noise far below the signal drowns in it.

Reference: McCandlish, Kaplan, Amodei et al., arXiv:1812.06162, appendix A.1, equation (A.2) for
batches of 1 and n. Jackknife: Efron and Stein, "The jackknife estimate of variance", Annals of
Statistics 9 (1981).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["NoiseScale", "estimate_noise_scale"]

_RESOLVED = 2.0
"""Standard errors that the squared gradient must be above zero for a ratio to mean anything."""


@dataclass(frozen=True)
class NoiseScale:
    """Unbiased estimates of noise and signal with standard errors, the jackknife's and rounding."""

    noise: float  # tr $\Sigma$, or tr $H\Sigma$: squared units of the gradient (times those of H)
    noise_standard_error: float  # the same units
    signal: float  # $|G|^2$, or $G^\top H G$: the same units; may be negative if not resolved
    signal_standard_error: float  # the same units
    ratio_standard_error: float  # of noise_scale, samples; infinity where it is not resolved
    count: int  # gradients that went in: samples, or batches for `hessian_noise_scale`

    @property
    def resolved(self) -> bool:
        """Whether the signal is more than two standard errors above zero."""
        return self.signal > _RESOLVED * self.signal_standard_error

    @property
    def noise_scale(self) -> float:
        """Noise over signal, in samples.

        Raises:
            ValueError: Where the signal is not resolved, so that the ratio could be anything.
        """
        if not self.resolved:
            raise ValueError(
                f"{self.count} gradients do not resolve their mean: its square is "
                f"{self.signal:.3g} with a standard error of {self.signal_standard_error:.3g}. "
                "Give more samples, or report the noise alone."
            )
        return self.noise / self.signal


def estimate_noise_scale(
    squares: Float[Tensor, " n"],
    inner: Float[Tensor, " n"],
    square_of_mean: float,
    *,
    samples_per_gradient: int = 1,
    precision: torch.dtype | None = None,
) -> NoiseScale:
    """Estimate from squared norms, inner products with the mean, and the mean's square.

    Gradients that are means over batches of `samples_per_gradient` have so much less noise; the
    estimates are those for single samples. `precision` is the dtype that the numbers were computed
    in, None for their own.
    """
    epsilon = torch.finfo(precision or squares.dtype).eps
    squares, inner = squares.double(), inner.double()
    n, total = len(squares), squares.sum()
    noise, signal = _estimates(total, torch.full_like(total, square_of_mean), n)
    left = (n * n * square_of_mean - 2.0 * n * inner + squares) / (n - 1) ** 2
    noises, signals = _estimates(total - squares, left, n - 1)
    rounding = epsilon * n**0.5 * float(squares.abs().mean())
    resolving = bool((signals > 0.0).all())
    return NoiseScale(
        noise=samples_per_gradient * float(noise),
        noise_standard_error=samples_per_gradient * math.hypot(_jackknife(noises), rounding),
        signal=float(signal),
        signal_standard_error=math.hypot(_jackknife(signals), rounding),
        ratio_standard_error=(
            samples_per_gradient
            * math.hypot(_jackknife(noises / signals), rounding / float(signal))
            if resolving
            else math.inf
        ),
        count=n,
    )


def _estimates(total: Tensor, square_of_mean: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """S and N of the module's formula, from the sum of squared norms."""
    noise = (total - n * square_of_mean) / (n - 1)
    return noise, square_of_mean - noise / n


def _jackknife(leaving_one_out: Float[Tensor, " n"]) -> float:
    n = len(leaving_one_out)
    deviations = leaving_one_out - leaving_one_out.mean()
    return float(((n - 1) / n * deviations.square().sum()).sqrt())
