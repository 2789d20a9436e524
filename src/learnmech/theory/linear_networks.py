r"""How fast each mode of a deep linear network is learned.

On whitened inputs (E x x^T = I), gradient flow on the half squared loss from an aligned,
balanced start splits into one equation per mode of Sigma = E y x^T = U S V^T:

    da/dt = L a^(2 - 2/L) (s - a),        L = 2:  a(t) = s / (1 + (s/a_0 - 1) e^(-2 s t)).

Here a_k = u_k^T W_L ... W_1 v_k is the strength of mode k, s_k its singular value, L the
depth and t the number of steps times the learning rate. Every function in this module uses
the HALF squared loss 1/2 E|y - f(x)|^2; for E|y - f(x)|^2 replace t by 2t. For random,
unaligned starts of depth two see `learnmech.theory.linear_coupled`.

Reference: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of
learning in deep linear neural networks", arXiv:1312.6120v3, equations (8)-(12) for L = 2 and
(13)-(15) for any number of layers (theirs counts layers of neurons, N_l = L + 1, and tau = 1).
"""

import math

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike
from learnmech.theory import saturating_growth

__all__ = ["half_time", "mode_strength"]

Array = Float[np.ndarray, "..."]


def mode_strength(
    t: ArrayLike, singular_value: ArrayLike, initial_strength: ArrayLike, depth: float | int = 2
) -> Array:
    r"""Strength of a mode at time t: the solution of da/dt = L a^(2-2/L) (s - a).

    Exponential for depth 1, a sigmoid for depth 2, and for other depths the implicit
    solution t(a), inverted. The error is below 1e-8 of s for a start below s, and below
    1e-8 of a for a start above it, however small the start and however long the time.

    Shapes: `singular_value` and `initial_strength` broadcast to a common shape `B`, which
    stands before time. So a scalar with t (T,) gives (T,); K modes, (K,), give (K, T); a
    scalar t gives `B`; and each mode may have its own times, t (K, T).

    Args:
        t: Time in units of steps times learning rate, at least zero; () or (..., T).
        singular_value: s, positive; broadcasts to B.
        initial_strength: a_0, positive; may be above s; broadcasts to B.
        depth: Number of layers L, a real number of at least one.

    Returns:
        The strengths, in the units of s; shape B + (T,) as above.

    Raises:
        ValueError: On an input that is not finite, a negative time, a singular value or
            start that is not positive, a depth below one, or shapes that do not broadcast.

    Loss convention: half squared loss, 1/2 E|y - f(x)|^2.

    Reference: Saxe et al., arXiv:1312.6120v3, equations (12) for L = 2 and (15) for any L.

    >>> round(float(mode_strength(0.5 * math.log(3.0), 1.0, 0.25)), 12)  # odds 1/3 times 3
    0.5
    """
    time = _finite(t, "t")
    s, a0 = _mode_inputs(singular_value, initial_strength, depth)
    if np.any(time < 0.0):
        raise ValueError("mode_strength needs t >= 0; gradient flow is not run backwards here.")
    if time.ndim:
        s, a0 = s[..., None], a0[..., None]
    try:
        time, s, a0 = np.broadcast_arrays(time, s, a0)
    except ValueError as error:
        raise ValueError(
            f"t of shape {time.shape} does not fit modes of shape {s.shape[:-1]}; give t as "
            "(T,) or (..., T) with the modes' shape before T."
        ) from error
    flat = _solve(time.ravel(), s.ravel(), a0.ravel(), float(depth))
    return flat.reshape(s.shape)


def half_time(
    singular_value: ArrayLike, initial_strength: ArrayLike, depth: float | int = 2
) -> Array:
    r"""First time at which a mode has at least half its final strength, s/2.

    For depth 1 this is ln(2 - 2 a_0/s), for depth 2 ln(s/a_0 - 1) / (2 s), and for depth above 2
    and a small start it approaches a_0^(2/L - 1) / ((L - 2) s) instead of growing as ln(1/a_0).
    A start that already has s/2 gives zero.

    Args:
        singular_value: s, positive; broadcasts with `initial_strength`.
        initial_strength: a_0, positive.
        depth: Number of layers L, a real number of at least one.

    Returns:
        The times, in units of steps times learning rate; the common shape of the two inputs.
        Infinity where the time is beyond the largest double (depth above 2, a_0 near 1e-308).

    Raises:
        ValueError: As `mode_strength`.

    Loss convention: half squared loss, 1/2 E|y - f(x)|^2.

    Reference: Saxe et al., arXiv:1312.6120v3, equation (11) with u_f = s/2 for L = 2, and the
    integral of equation (15) for any L.

    >>> round(float(half_time(2.0, 2.0 / (1.0 + math.e**4))), 12)
    1.0
    """
    s, a0 = _mode_inputs(singular_value, initial_strength, depth)
    p = 2.0 - 2.0 / depth
    if depth == 1:
        time = np.log(2.0) + np.log1p(-np.minimum(a0 / s, 0.5))
    elif depth == 2:
        time = np.log((s - a0).clip(min=s / 2)) - np.log(np.minimum(a0, s / 2))
        time = time / (2.0 * s)
    else:
        log_x0 = np.minimum(np.log(a0) - np.log(s), -math.log(2.0))
        with np.errstate(over="ignore"):
            waited = -saturating_growth.rise_integral(log_x0.ravel(), p).reshape(s.shape)
            time = waited / (depth * s**p)
    return np.asarray(np.where(a0 >= s / 2, 0.0, time))


def _solve(t: Array, s: Array, a0: Array, depth: float) -> Array:
    """`mode_strength` on flat arrays of one length."""
    if depth == 1.0:
        decayed = a0 * np.exp(-t) - s * np.expm1(-t)
        return np.asarray(np.clip(decayed, np.minimum(a0, s), np.maximum(a0, s)))
    a = a0.copy()
    moving = (t > 0.0) & (a0 != s)
    t, s, a0 = t[moving], s[moving], a0[moving]
    if depth == 2.0:
        # The odds a0 / |s - a0| grow as e^(2st); kept as a logarithm they cannot overflow.
        log_odds = np.log(a0) - np.log(np.abs(s - a0)) + 2.0 * s * t
        with np.errstate(over="ignore", divide="ignore"):
            rising = s / (1.0 + np.exp(-log_odds))
            falling = s / -np.expm1(-log_odds)
        low, high = np.minimum(a0, s), np.maximum(a0, s)
        a[moving] = np.clip(np.where(a0 < s, rising, falling), low, high)
        return a
    p = 2.0 - 2.0 / depth
    rate = depth * s**p
    up = a0 < s
    solved = np.empty_like(t)
    log_x0, gap = np.log(a0[up]) - np.log(s[up]), (s[up] - a0[up]) / s[up]
    x = saturating_growth.rise(
        log_x0=log_x0,
        one_minus_x0=gap,
        start=a0[up],
        scale=s[up],
        t=t[up],
        growth_rate=rate[up],
        depth=depth,
    )
    solved[up] = np.clip(s[up] * x, a0[up], s[up])
    x = saturating_growth.fall(a0[~up] / s[~up], (rate * t)[~up], p)
    solved[~up] = np.clip(s[~up] * x, s[~up], a0[~up])
    a[moving] = solved
    return a


def broadcast_modes(
    singular_value: ArrayLike, initial_strength: ArrayLike
) -> tuple[Float[np.ndarray, "*modes"], Float[np.ndarray, "*modes"]]:
    """Return singular values and starts as float64 arrays of one shape, or a clear ValueError."""
    s, a0 = (np.asarray(x, dtype=np.float64) for x in (singular_value, initial_strength))
    try:
        s, a0 = np.broadcast_arrays(s, a0)
    except ValueError as error:
        raise ValueError(
            f"singular_value of shape {s.shape} and initial_strength of shape {a0.shape} do not "
            "broadcast; give one start per mode."
        ) from error
    return s, a0


def _finite(value: ArrayLike, name: str) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinity; give finite numbers.")
    return array


def _mode_inputs(
    singular_value: ArrayLike, initial_strength: ArrayLike, depth: float | int
) -> tuple[Array, Array]:
    s = _finite(singular_value, "singular_value")
    a0 = _finite(initial_strength, "initial_strength")
    if np.any(s <= 0.0):
        raise ValueError("singular_value must be positive; leave out modes with s = 0.")
    if np.any(a0 <= 0.0):
        raise ValueError(
            "initial_strength must be positive: zero is a fixed point that gradient flow never "
            "leaves, so give the strength the run really starts from."
        )
    if not (math.isfinite(depth) and depth >= 1):
        raise ValueError(f"depth must be a finite number of at least 1, not {depth}.")
    return broadcast_modes(s, a0)
