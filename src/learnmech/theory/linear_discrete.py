r"""Gradient descent instead of gradient flow: what a finite learning rate changes.

From an aligned, balanced start every layer carries a_k^(1/L) in mode k, and one step of
gradient descent with learning rate eta on the half squared loss (whitened inputs) is exactly

    w <- w + eta w^(L-1) (s - w^L),     a = w^L;       L = 2:  a <- a (1 + eta (s - a))^2.

Near zero a depth-two mode grows by (1 + eta s)^2 in a step, so that log(1 + eta s) / eta
replaces s in e^(2 s t), and from a small start the half-time is late by the factor
eta s / log(1 + eta s), up to a relative correction of order 1 / log(s / a_0). Only growth is
slowed: near saturation, for eta s < 1/2, the distance s - a shrinks by 1 - 2 eta s in a step,
which is faster than the flow's e^(-2 eta s).

Shapes and units: s, a_0 and a in units of Sigma = E y x^T; eta in units of time.
Reference: gradient descent whose small-step limit is Saxe et al., arXiv:1312.6120v3, equation
(2), here for one mode; the map and the growth rate are derived above.
"""

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike
from learnmech.theory.linear_networks import broadcast_modes, half_time

__all__ = ["descent_half_time", "descent_strength", "growth_rate"]


def descent_strength(
    steps: int,
    singular_value: ArrayLike,
    initial_strength: ArrayLike,
    learning_rate: float,
    depth: int = 2,
) -> Float[np.ndarray, "*modes T"]:
    """Mode strengths after 0, 1, ..., `steps` steps of gradient descent, aligned start.

    The exact map w <- w + eta w^(L-1) (s - w^L) of every layer's w, with a = w^L.

    Args:
        steps: Number of steps; the result has T = steps + 1 columns.
        singular_value: s, positive; broadcasts with `initial_strength`.
        initial_strength: a_0, positive.
        learning_rate: eta, positive.
        depth: Number of layers L, an integer of at least one.

    Returns:
        The strengths a, in units of s: the common shape of s and a_0, then (T,); column k is
        at time k eta.

    Raises:
        ValueError: On input that is not positive and finite, a depth below one, a negative
            number of steps, shapes that do not broadcast, or a map that diverges (the learning
            rate is too large for this singular value).

    Loss convention: half squared loss, 1/2 E|y - f(x)|^2; inputs whitened.

    Reference: the small-step limit is Saxe et al., arXiv:1312.6120v3, equation (15).

    >>> descent_strength(1, 1.0, 0.25, 0.4).round(12)  # 0.25 * 1.3^2
    array([0.25  , 0.4225])
    """
    s, a0 = broadcast_modes(singular_value, initial_strength)
    positive = all(np.all(np.isfinite(x)) and np.all(x > 0.0) for x in (s, a0))
    if not positive or not (np.isfinite(learning_rate) and learning_rate > 0.0):
        raise ValueError("singular value, start and learning rate must be positive and finite.")
    if not depth >= 1 or depth % 1 != 0 or steps < 0:
        raise ValueError("depth must be an integer of at least one, and steps at least zero.")
    w = a0 ** (1.0 / depth)
    path = np.empty((*s.shape, steps + 1))
    path[..., 0] = a0
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(1, steps + 1):
            w = w + learning_rate * w ** (depth - 1) * (s - w**depth)
            path[..., k] = w**depth
    if not np.all(np.isfinite(path)):
        raise ValueError("gradient descent diverges here; lower the learning rate.")
    return path


def growth_rate(singular_value: ArrayLike, learning_rate: float) -> Float[np.ndarray, "..."]:
    """Return log(1 + eta s) / eta, which takes the place of s in e^(2 s t) at depth two.

    Args:
        singular_value: s, positive, any shape.
        learning_rate: eta, positive.

    Returns:
        The rate, in units of 1 / t, with the shape of s; below s by s eta s / 2 at leading order.

    Raises:
        ValueError: On input that is not positive and finite.

    Loss convention: half squared loss; inputs whitened.

    Reference: one step multiplies a small a by (1 + eta s)^2 = e^(2 rate eta), exactly.

    >>> float(growth_rate(np.e - 1.0, 1.0))
    1.0
    """
    s = np.asarray(singular_value, dtype=np.float64)
    if not np.all((s > 0.0) & (s < np.inf)) or not 0.0 < learning_rate < np.inf:
        raise ValueError("singular value and learning rate must be positive and finite.")
    return np.asarray(np.log1p(learning_rate * s) / learning_rate)


def descent_half_time(
    singular_value: ArrayLike, initial_strength: ArrayLike, learning_rate: float, depth: int = 2
) -> Float[np.ndarray, "..."]:
    """Time (steps times learning rate) at which the descent map crosses s/2, interpolated.

    Iterates the exact map up to s/2 and interpolates the logarithm of the strength between
    the two steps around it. A start that already has s/2 gives zero. Divide by `half_time`
    and subtract one for the relative error of the uncorrected flow.

    Args:
        singular_value: s, positive; broadcasts with `initial_strength`.
        initial_strength: a_0, positive.
        learning_rate: eta, positive.
        depth: Number of layers L, an integer of at least one.

    Returns:
        The times, in the common shape of s and a_0.

    Raises:
        ValueError: As `descent_strength`, where s/2 is not reached, or where it takes more
            than ten million steps.

    Loss convention: half squared loss; inputs whitened.

    Reference: the flow's half-time is Saxe et al., arXiv:1312.6120v3, equation (11), with
    u_f = s/2.

    >>> float(descent_half_time(1.0, 0.5, 0.1))
    0.0
    """
    if not 0.0 < learning_rate < np.inf:
        raise ValueError("learning_rate must be positive and finite.")
    s, a0 = broadcast_modes(singular_value, initial_strength)
    flow = half_time(s, a0, depth)
    late = 1.5 + learning_rate * float(np.max(s))
    longest = np.max(flow, initial=0.0) * late / learning_rate + 2.0
    if not longest < 1e7:
        raise ValueError(f"the half-time needs {longest:.1e} steps; raise the learning rate.")
    path = descent_strength(int(longest), s, a0, learning_rate, depth)
    above = path >= s[..., None] / 2
    if not np.all(np.any(above, axis=-1)):
        raise ValueError("a mode does not reach s/2; the learning rate is too large for it.")
    after = np.argmax(above, axis=-1)
    before = np.maximum(after - 1, 0)
    low, high = (
        np.log(np.take_along_axis(path, k[..., None], axis=-1)[..., 0]) for k in (before, after)
    )
    share = np.where(after > 0, (np.log(s / 2) - low) / np.where(after > 0, high - low, 1.0), 0.0)
    return np.asarray(learning_rate * (before + share))
