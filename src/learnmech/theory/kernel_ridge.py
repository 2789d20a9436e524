r"""The effective ridge of kernel regression: how small an eigenvalue n samples still resolve.

$$ S(\kappa) = \sum_i m_i \frac{\lambda_i}{\lambda_i+\kappa} + \frac{\delta}{\kappa} = n $$

has one positive solution, since the left side falls from $\sum m_i$ (or infinity) to zero. It is
bracketed by $\lambda/(\lambda+\kappa) \le \lambda/\kappa$ above, by $\delta/\kappa \le n$ and
$\lambda_i \ge \lambda_{\min}$ below, and found by Newton's method for $\ln S$ as a function of
$\ln\kappa$: for a power-law spectrum that is nearly a straight line. An error of kappa is measured
by the residual $|S(\kappa) - n|/n$, not by the length of a bracket: a steep spectrum has its kappa
far below any absolute tolerance.

Shapes: eigenvalues (modes,), sizes and ridges (B,).
Reference: Simon, Dickens, Karkada and DeWeese, "The eigenlearning framework", arXiv:2110.03922.
"""

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike

__all__ = ["CHUNK", "broadcast_settings", "check_spectrum", "effective_ridge", "solve"]

CHUNK = 1 << 16  # learnabilities worked on at once, so that they stay in the cache
_ENOUGH = 1e-14  # residual at which Newton's method stops
_TRUSTED = 1e-12  # residual above which the result is refused
_WORTH_GROUPING = 1000  # modes from which a merged spectrum is solved first
_MOST_STEPS = 200  # halvings of a bracket as wide as the doubles end well before


def effective_ridge(
    eigenvalues: ArrayLike,
    n: ArrayLike,
    *,
    ridge: ArrayLike = 0.0,
    multiplicities: ArrayLike | None = None,
) -> Float[np.ndarray, "..."]:
    r"""Solve $\sum_i m_i\lambda_i/(\lambda_i+\kappa) + \delta/\kappa = n$ for $\kappa$.

    Newton's method on the logarithm of the left side in log kappa, in which power-law spectra are
    nearly straight lines, inside a bracket that shrinks at every step; all n and ridges at once.

    Args:
        eigenvalues: lambda_i, (modes,), at least zero; those that are zero carry no weight.
        n: Numbers of samples, at least zero; they need not be whole.
        ridge: delta, at least zero, beside the Gram matrix; broadcasts with n.
        multiplicities: m_i, (modes,), positive; all one if None.

    Returns:
        kappa, in the common shape of n and ridge: infinity for n = 0, and zero without a ridge
        once n reaches the number of positive eigenvalues. Its residual is at most 1e-12 n, and
        about 1e-15 n as a rule.

    Raises:
        ValueError: On values that are not finite or negative, or shapes that do not fit.
        RuntimeError: If the residual stays above 1e-12 n.

    Cost: about four passes over (sizes, modes).

    Reference: Simon et al., arXiv:2110.03922, the eigenlearning equations.

    >>> float(effective_ridge(np.full(10, 2.0), 4.0).round(12))  # flat: lambda (M - n) / n
    3.0
    """
    lambdas, m = check_spectrum(eigenvalues, multiplicities)
    size, delta = broadcast_settings(n=n, ridge=ridge)
    kappa, _, _ = solve(lambdas, m, size.ravel(), delta.ravel())
    return kappa.reshape(size.shape)


def solve(
    lambdas: Float[np.ndarray, " modes"],
    m: Float[np.ndarray, " modes"],
    n: Float[np.ndarray, " B"],
    ridge: Float[np.ndarray, " B"],
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Return kappa, n - sum m L^2 and the residual over n, for checked inputs."""
    order = np.argsort(-lambdas)[: np.count_nonzero(lambdas)]
    lambdas, m = lambdas[order], m[order]
    # Without samples, and without a ridge where samples are as many as modes, at an end:
    kappa = np.where(n == 0.0, np.inf, 0.0)
    spread, residual = np.where(n == 0.0, 0.0, n - m.sum()), np.zeros_like(n)
    rest = np.flatnonzero((n > 0.0) & ((ridge > 0.0) | (n < m.sum())))
    start = None
    if lambdas.size >= _WORTH_GROUPING:
        start = _newton(*_grouped(lambdas, m), n[rest], ridge[rest], None)[0]
    found = _newton(lambdas, m, n[rest], ridge[rest], start)
    kappa[rest], spread[rest], residual[rest] = found
    if not residual.max(initial=0.0) <= _TRUSTED:
        worst = int(residual.argmax())
        raise RuntimeError(
            f"the effective ridge could not be found to {_TRUSTED:g}: residual "
            f"{residual[worst]:.1e} at n = {n[worst]:g}, ridge = {ridge[worst]:g}."
        )
    return kappa, spread, residual


def _newton(
    lambdas: Float[np.ndarray, " modes"],
    m: Float[np.ndarray, " modes"],
    n: Float[np.ndarray, " B"],
    ridge: Float[np.ndarray, " B"],
    start: Float[np.ndarray, " B"] | None,
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """`solve` where there is a solution; `start` is a guess, else the bracket's upper end."""
    low, high = _bracket(lambdas, m, n, ridge)
    log_kappa = high.copy() if start is None else np.clip(np.log(start), low, high)
    kappa, spread, residual = np.zeros_like(n), np.zeros_like(n), np.full_like(n, np.inf)
    rest = np.arange(n.size)  # those still to be solved, whose brackets and guesses are kept
    for _ in range(_MOST_STEPS):
        if rest.size == 0:
            break
        size = n[rest]
        kappa[rest] = np.exp(log_kappa)
        total, slope = _sums(lambdas, m, kappa[rest], ridge[rest])
        spread[rest], residual[rest] = slope, np.abs(total - size) / size
        low, high = np.where(total > size, log_kappa, low), np.where(total > size, high, log_kappa)
        with np.errstate(divide="ignore", invalid="ignore"):  # a flat stretch: halve instead
            log_kappa = log_kappa + total / slope * np.log(total / size)
        inside = (log_kappa > low) & (log_kappa < high)
        log_kappa = np.where(inside, log_kappa, 0.5 * (low + high))
        going = (residual[rest] > _ENOUGH) & (log_kappa > low) & (log_kappa < high)
        rest, low, high, log_kappa = rest[going], low[going], high[going], log_kappa[going]
    return kappa, spread, residual


def _grouped(
    lambdas: Float[np.ndarray, " modes"], m: Float[np.ndarray, " modes"]
) -> tuple[Float[np.ndarray, " groups"], Float[np.ndarray, " groups"]]:
    """Merge sorted eigenvalues within 5 %, which moves kappa by about 1e-4: a first guess."""
    bins = np.floor(np.log(lambdas) / 0.05)
    starts = np.flatnonzero(np.diff(bins, prepend=np.inf))
    together = np.add.reduceat(m, starts)
    return np.add.reduceat(m * lambdas, starts) / together, together


def _bracket(
    lambdas: Float[np.ndarray, " modes"],
    m: Float[np.ndarray, " modes"],
    n: Float[np.ndarray, " B"],
    ridge: Float[np.ndarray, " B"],
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Return bounds of log kappa, of which the upper one is close for power laws."""
    below = ridge / n
    above = (ridge + m @ lambdas) / n
    if lambdas.size:
        below = np.maximum(below, lambdas[-1] * (m.sum() - n) / n)
        # The first k <= n/2 modes count at most one each, and all others lambda / kappa.
        counts = np.cumsum(m)
        tails = np.append(np.cumsum((m * lambdas)[::-1])[::-1], 0.0)
        first = np.searchsorted(counts, 0.5 * n, side="right")
        k = np.append(0.0, counts)[first]
        above = np.minimum(above, (ridge + tails[first]) / (n - k))
    return np.log(below) - 1e-9, np.log(above) + 1e-9


def _sums(
    lambdas: Float[np.ndarray, " modes"],
    m: Float[np.ndarray, " modes"],
    kappa: Float[np.ndarray, " B"],
    ridge: Float[np.ndarray, " B"],
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """S and -dS / d ln kappa = n - sum m L^2 (at the solution), a few sizes at a time."""
    total = ridge / kappa
    slope = total.copy()
    step = max(1, CHUNK // max(1, lambdas.size))
    for start in range(0, kappa.size, step):
        rows = slice(start, start + step)
        left = 1.0 / (lambdas + kappa[rows, None])
        learned = left * lambdas
        left *= kappa[rows, None]
        total[rows] += learned @ m
        learned *= left
        slope[rows] += learned @ m
    return total, slope


def check_spectrum(
    eigenvalues: ArrayLike, multiplicities: ArrayLike | None
) -> tuple[Float[np.ndarray, " modes"], Float[np.ndarray, " modes"]]:
    """Return eigenvalues and multiplicities as float64, or a clear ValueError."""
    lambdas = np.asarray(eigenvalues, dtype=np.float64)
    if lambdas.ndim != 1 or lambdas.size == 0:
        raise ValueError(f"eigenvalues must be one row, (modes,), not of shape {lambdas.shape}.")
    if not (np.isfinite(lambdas).all() and (lambdas >= 0.0).all()):
        raise ValueError("eigenvalues must be finite and at least zero; a kernel has no others.")
    m = np.ones_like(lambdas)
    if multiplicities is not None:
        m = np.asarray(multiplicities, dtype=np.float64)
    if m.shape != lambdas.shape or not (np.isfinite(m).all() and (m > 0.0).all()):
        raise ValueError("multiplicities must be positive and finite, one per eigenvalue.")
    return lambdas, m


def broadcast_settings(**settings: ArrayLike) -> list[Float[np.ndarray, "..."]]:
    """Return settings as float64 arrays of one shape, or a ValueError that names the wrong one."""
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in settings.items()}
    for name, array in arrays.items():
        if not (np.isfinite(array).all() and (array >= 0.0).all()):
            raise ValueError(f"{name} must be finite and at least zero.")
    try:
        return [np.array(array) for array in np.broadcast_arrays(*arrays.values())]
    except ValueError as error:
        shapes = ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{shapes} do not broadcast; give one per setting.") from error
