r"""From lazy to rich: how far the tangent kernel of a wide linear network moves, exactly.

A network $F(x) = \alpha\,(W_2 W_1 x - W_2^0 W_1^0 x)$ with h hidden units and weights of variance
$\sigma^2$, so that $q = h\sigma^2$ is the size of either layer's start, is trained to the end on
whitened inputs with $\Sigma = \mathrm E\,y x^\top$ of singular values $s_i$. As h grows,
$W_1 W_1^\top - W_2^\top W_2$, which gradient flow conserves, and the overlaps of the random start
fix the end: mode i of $W_1^\top W_1$ and of $W_2 W_2^\top$ rises from q by

$$ \Delta_i = \sqrt{(s_i/\alpha)^2 + q^2} - q . $$

The tangent kernel, summed over the C outputs, is $x^\top\Theta\,x'$ with
$\Theta = \alpha^2(\operatorname{tr}(W_2W_2^\top)\,I + C\,W_1^\top W_1)$. Relative to its start,
$\lVert\Theta_0\rVert_F = 2 q C\alpha^2\sqrt d$, it moves by m with

$$ (2 q C)^2\, d\, m^2 = \sum_{i=1}^{d} \big(\textstyle\sum_j \Delta_j + C \Delta_i\big)^2
   + \frac{\lVert\Sigma\rVert_F^2}{4\alpha^2 h}\,\big(2 C^2 (d + 1) + 4 d + 8 C\big) . $$

The first term is the limit of infinite width: m grows as $1/\alpha$ where $\alpha \ll s/q$ (rich)
and falls as $1/\alpha^2$ where $\alpha \gg s/q$ (lazy). The second is of relative order 1/h: to
first order in $1/\alpha$, $\Delta W_1 = W_2^\top M$ and $\Delta W_2 = M W_1^\top$ with
$M = \Sigma/(2q\alpha)$, and the product $W_2W_1$ of the random start, whose entries have variance
$q^2/h$, makes the kernel move by $1/\alpha$ in the mean square however lazy the network is.

References: Dominé et al., arXiv:2409.14623, exact kernels of networks whose conserved matrix is
a multiple of the identity; Chizat, Oyallon and Bach, arXiv:1812.07956, the multiplier. The
formula for wide networks from a random start is derived here.
"""

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike

__all__ = ["linear_kernel_movement", "linear_movement_spread", "linear_movement_wear"]


def linear_kernel_movement(
    multiplier: ArrayLike,
    correlation: Float[np.ndarray, "..."],
    *,
    start: float,
    width: float = np.inf,
) -> Float[np.ndarray, "..."]:
    r"""Relative movement of the tangent kernel of a two-layer linear network over its training.

    $m = \lVert\Theta_{end} - \Theta_0\rVert_F / \lVert\Theta_0\rVert_F$, the formula of the module.

    Args:
        multiplier: $\alpha$, positive, of any shape.
        correlation: $\Sigma = \mathrm E\,y x^\top$ on whitened inputs, (C, d).
        start: $q = h\sigma^2$, positive: width times the variance of the initial weights.
        width: h; infinity leaves the term of finite width out.

    Returns:
        m, with the shape of `multiplier`; the root mean square over random starts.

    Raises:
        ValueError: On a multiplier, start or width that is not positive, or a correlation that is
            no finite matrix.

    Loss convention: any multiple of the squared loss, trained to its minimum in small steps.

    >>> one = linear_kernel_movement([1e-3, 1e3], np.eye(1), start=0.5)
    >>> one.round(9).tolist()  # one mode, s = 1: sqrt(1 + 4/alpha^2) - 1
    [1999.00025, 2e-06]
    """
    alpha, sigma, s = _checked(multiplier, correlation, start, width)
    outputs, inputs = sigma.shape
    ratio = s / alpha[..., None]
    rise = ratio**2 / (np.sqrt(ratio**2 + start**2) + start)  # Delta without cancellation
    shared = ((rise.sum(-1, keepdims=True) + outputs * rise) ** 2).sum(-1)
    factor = 2.0 * outputs**2 * (inputs + 1) + 4.0 * inputs + 8.0 * outputs
    scatter = np.sum(sigma**2) / (4.0 * alpha**2 * width) * factor
    return np.asarray(np.sqrt((shared + scatter) / inputs) / (2.0 * start * outputs))


def linear_movement_spread(
    multiplier: float,
    correlation: Float[np.ndarray, "..."],
    *,
    start: float,
    width: float,
    rng: np.random.Generator,
    draws: int = 200,
) -> float:
    r"""Relative standard deviation of the movement m over random starts of one width.

    The overlaps $F = W_2W_1$ of the start, with entries of variance $q^2/h$, are drawn; to first
    order they add $C(F^\top M + M^\top F) + 2\operatorname{tr}(FM^\top)\,I$ with
    $M = \Sigma/(2q\alpha)$ to the change that the rises $\Delta_i$ make.

    Args:
        multiplier: $\alpha$, positive.
        correlation: $\Sigma$, (C, d).
        start: q, positive.
        width: h, positive and finite.
        rng: Source of randomness.
        draws: Number of starts drawn, at least two.

    Raises:
        ValueError: As `linear_kernel_movement`, or on fewer than two draws.

    Reference: the first lines of this module. Cost: O(draws C d^2).

    >>> rng = np.random.default_rng(0)
    >>> linear_movement_spread(1e-6, np.eye(2), start=1.0, width=1e12, rng=rng) < 1e-5
    True
    """
    alpha, sigma, s = _checked(multiplier, correlation, start, width)
    if draws < 2:
        raise ValueError(f"draws must be at least two, not {draws}.")
    outputs, inputs = sigma.shape
    rise = np.hypot(s / alpha, start) - start
    flow = np.zeros(sigma.shape)
    np.fill_diagonal(flow, s[: min(sigma.shape)] / (2.0 * start * alpha))
    overlap = rng.normal(size=(draws, outputs, inputs)) * (start / width**0.5)
    turn = overlap.mT @ flow
    trace = np.trace(turn, axis1=1, axis2=2)[:, None, None]
    shared = np.diag(rise.sum() + outputs * rise)
    change = shared + outputs * (turn + turn.mT) + 2.0 * trace * np.eye(inputs)
    moved = np.linalg.norm(change, axis=(1, 2))
    return float(moved.std() / moved.mean())


def linear_movement_wear(
    multiplier: float,
    correlation: Float[np.ndarray, "..."],
    *,
    start: float,
    learning_rate: float,
) -> float:
    r"""Largest share of a mode's rise that finite steps wear off, compared with gradient flow.

    Each step multiplies $a + u$ and $a - u$ by $1 \pm e$ and so lessens what flow conserves, in all
    from q to $q' = q\,e^{-u}$ with
    $u = \tfrac12\eta\alpha^2 [\sigma\operatorname{arsinh}(\sigma/q) - \sqrt{\sigma^2 + q^2} + q]$
    and $\sigma = s/\alpha$; the mode ends at $\sqrt{\sigma^2 + q'^2}$ and not at
    $\sqrt{\sigma^2 + q^2}$.

    Args:
        multiplier: $\alpha$, positive.
        correlation: $\Sigma$, (C, d).
        start: q, positive.
        learning_rate: $\eta$, positive.

    Returns:
        The largest share over the modes that there are to learn.

    Raises:
        ValueError: As `linear_kernel_movement`, on a learning rate that is not positive and finite,
            or if there is nothing to learn.

    Loss convention: half squared loss. Reference: the wear of `linear_memory`, for one mode.

    >>> linear_movement_wear(1.0, np.eye(1), start=1.0, learning_rate=1e-9) < 1e-9
    True
    """
    alpha, _, s = _checked(multiplier, correlation, start, np.inf)
    if not 0.0 < learning_rate < np.inf:
        raise ValueError("learning_rate must be positive and finite.")
    if not s.max() > 0.0:
        raise ValueError("the correlation is zero, so there is nothing to learn.")
    fraction = s[s > 1e-9 * s.max()] / alpha
    total = np.hypot(fraction, start)
    missed = fraction * np.arcsinh(fraction / start) - total + start
    worn = start * np.exp(-0.5 * learning_rate * alpha**2 * missed)
    return float(((total - np.hypot(fraction, worn)) / (total - start)).max())


def _checked(
    multiplier: ArrayLike, correlation: Float[np.ndarray, "..."], start: float, width: float
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "C d"], Float[np.ndarray, " d"]]:
    """Return multiplier, correlation and its singular values, one for each input."""
    alpha, sigma = np.asarray(multiplier, dtype=np.float64), np.asarray(correlation, np.float64)
    if sigma.ndim != 2 or sigma.size == 0 or not np.all(np.isfinite(sigma)):
        raise ValueError("correlation must be a finite matrix, (C, d).")
    if not (np.all(alpha > 0.0) and np.all(np.isfinite(alpha)) and 0.0 < start < np.inf):
        raise ValueError("multiplier and start must be positive and finite.")
    if not width > 0.0:
        raise ValueError(f"width must be positive, not {width}.")
    s = np.zeros(sigma.shape[1])
    values = np.linalg.svd(sigma, compute_uv=False)
    s[: len(values)] = values
    return alpha, sigma, s
