r"""What a product of layers looks like from outside: loss, strengths, alignment, rank, stages.

For a path of products M(t), (T, d_out, d_in), and Sigma = E y x^T = U S V^T on whitened inputs:

    loss        1/2 E|y|^2 - 1/2 |Sigma|^2 + 1/2 |Sigma - M|^2      (HALF squared loss)
    strength    a_k = u_k^T M v_k
    overlap     (|U_k^T U'_k|^2 + |V_k^T V'_k|^2) / (2 k), with M's own leading k vectors
    rank        exp(-sum p ln p), p the singular values of M over their sum

Shapes: M (T, d_out, d_in), Sigma (d_out, d_in). Strengths are in units of Sigma; overlap and
rank are pure numbers. A mode counts if `singular_modes` counts it.

References: loss and strengths: Saxe et al., arXiv:1312.6120v3, section 1; effective rank: Roy
and Vetterli, "The effective rank: a measure of effective dimensionality" (EUSIPCO 2007).
"""

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike
from learnmech.theory.linear_coupled import singular_modes

__all__ = ["crossing_times", "effective_rank", "loss_curve", "strengths", "subspace_overlap"]

Path = Float[np.ndarray, "..."]  # (T, d_out, d_in); `_check` says in words what does not fit


def loss_curve(
    product: Path,
    correlation: Float[np.ndarray, "..."],
    target_power: float,
    input_covariance: Float[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, " T"]:
    """Half squared loss 1/2 E|y - M x|^2 along a path of products.

    It is 1/2 E|y|^2 - tr(Sigma_yx^T M) + 1/2 tr(M Sigma_xx M^T).

    Args:
        product: M, (T, d_out, d_in).
        correlation: Sigma_yx = E y x^T, (d_out, d_in).
        target_power: E|y|^2, finite and at least zero.
        input_covariance: Sigma_xx, (d_in, d_in); the identity if None.

    Returns:
        The loss at every time, (T,), in units of |y|^2.

    Raises:
        ValueError: On shapes that do not fit, or values that are not finite.

    Loss convention: half squared loss.

    Reference: Saxe et al., arXiv:1312.6120v3, section 1, with means for sums.

    >>> loss_curve(np.zeros((1, 1, 1)), np.eye(1), 3.0)
    array([1.5])
    """
    _check(product, correlation)
    if not 0.0 <= target_power < np.inf:
        raise ValueError(f"target_power is E|y|^2, finite and at least zero, not {target_power}.")
    if input_covariance is not None and (
        input_covariance.shape != 2 * product.shape[2:] or not np.all(np.isfinite(input_covariance))
    ):
        d_in = product.shape[2]
        raise ValueError(f"input_covariance must be finite and of shape ({d_in}, {d_in}).")
    quadratic = product if input_covariance is None else product @ input_covariance
    cross = np.einsum("tij,ij->t", product, correlation)
    return np.asarray(0.5 * target_power - cross + 0.5 * np.sum(quadratic * product, axis=(1, 2)))


def strengths(product: Path, correlation: Float[np.ndarray, "..."]) -> Float[np.ndarray, "r T"]:
    """Mode strengths a_k = u_k^T M v_k along a path, largest singular value first.

    Args:
        product: M, (T, d_out, d_in).
        correlation: Sigma = U S V^T, (d_out, d_in).

    Returns:
        The strengths, (r, T), in units of M.

    Raises:
        ValueError: On shapes that do not fit, or values that are not finite.

    Reference: Saxe et al., arXiv:1312.6120v3, section 1.

    >>> strengths(np.eye(2)[None] / 2, np.diag([3.0, 1.0]))
    array([[0.5],
           [0.5]])
    """
    _check(product, correlation)
    u, _, v = singular_modes(correlation)
    return np.asarray(np.einsum("ik,tij,jk->kt", u, product, v))


def subspace_overlap(
    product: Path, correlation: Float[np.ndarray, "..."], modes: int
) -> Float[np.ndarray, " T"]:
    """Overlap, 0 to 1, of the leading singular subspaces of M and Sigma, both sides averaged.

    It is (|U_k^T U'_k|^2 + |V_k^T V'_k|^2) / (2 k): the mean squared cosine of the principal
    angles between the subspaces. Where M's own singular value number k does not exceed the next
    one, as in M = 0, its subspace is the linear-algebra library's choice.

    Args:
        product: M, (T, d_out, d_in).
        correlation: Sigma, (d_out, d_in); its singular value number `modes` must exceed the
            next one.
        modes: Number k of leading modes, at least one and at most the rank of Sigma.

    Returns:
        The overlap at every time, (T,).

    Raises:
        ValueError: On shapes that do not fit, values that are not finite, or a number of modes
            whose subspace Sigma does not set.

    >>> subspace_overlap(np.diag([1.0, 2.0])[None], np.diag([2.0, 1.0]), 1)
    array([0.])
    """
    _check(product, correlation)
    u, s, v = singular_modes(correlation)
    if not 1 <= modes <= s.size or (modes < s.size and s[modes - 1] - s[modes] < 1e-9 * s[0]):
        raise ValueError(f"{modes} leading modes of a matrix with singular values {s} are not set.")
    left, _, right = np.linalg.svd(product)
    on_left = np.sum((u[:, :modes].T @ left[:, :, :modes]) ** 2, axis=(1, 2))
    on_right = np.sum((right[:, :modes] @ v[:, :modes]) ** 2, axis=(1, 2))
    return np.asarray((on_left + on_right) / (2 * modes))


def effective_rank(product: Path) -> Float[np.ndarray, " T"]:
    """Exponential of the entropy of the normalised singular values, between one and full rank.

    It is exp(-sum p ln p), with p the singular values of M over their sum.

    Args:
        product: M, (T, d_out, d_in).

    Returns:
        The effective rank at every time, (T,).

    Raises:
        ValueError: On what is not (T, d_out, d_in), values that are not finite, or a zero M.

    Reference: Roy and Vetterli, "The effective rank" (EUSIPCO 2007), the definition.

    >>> effective_rank(np.eye(3)[None]).round(12)
    array([3.])
    """
    if product.ndim != 3 or 0 in product.shape[1:]:
        raise ValueError(f"product must be (T, d_out, d_in), not {product.shape}.")
    if not np.all(np.isfinite(product)) or not np.all(np.any(product != 0.0, axis=(1, 2))):
        raise ValueError("effective rank needs finite products that are not zero.")
    values = np.linalg.svd(product, compute_uv=False)
    share = values / values.sum(axis=1, keepdims=True)
    logs = np.log(np.where(share > 0.0, share, 1.0))
    return np.asarray(np.exp(-np.sum(share * logs, axis=1)))


def crossing_times(
    t: ArrayLike, curves: Float[np.ndarray, "..."], levels: Float[np.ndarray, "..."]
) -> Float[np.ndarray, " K"]:
    """First times at which each curve rises through its level, by linear interpolation.

    With curves the strengths and levels half the singular values: the times of the stages.
    The error is of second order in the spacing of the times.

    Args:
        t: Increasing times, (T,).
        curves: One curve per row, (K, T).
        levels: One level per curve, (K,).

    Returns:
        The times, (K,), in units of t.

    Raises:
        ValueError: On shapes that do not fit, values that are not finite, times that do not
            increase, or a curve that starts at its level or above or never reaches it.

    >>> crossing_times(np.array([0.0, 1.0]), np.array([[0.0, 4.0]]), np.array([1.0]))
    array([0.25])
    """
    times, curves, levels = (np.asarray(x, dtype=np.float64) for x in (t, curves, levels))
    if times.size == 0 or curves.shape != (*levels.shape, *times.shape) or curves.ndim != 2:
        raise ValueError(f"curves {curves.shape} must be (K, T) for levels (K,) and times (T,).")
    if not all(np.all(np.isfinite(x)) for x in (times, curves, levels)):
        raise ValueError("times, curves or levels hold NaN or infinity; give finite numbers.")
    if np.any(np.diff(times) <= 0.0):
        raise ValueError("t must be increasing.")
    above = curves >= levels[:, None]
    if np.any(above[:, 0]) or not np.all(above.any(axis=1)):
        raise ValueError("every curve must start below its level and reach it; extend the times.")
    k = np.argmax(above, axis=1)
    rows = np.arange(len(curves))
    low, high = curves[rows, k - 1], curves[rows, k]
    share = (levels - low) / (high - low)
    return np.asarray(times[k - 1] + share * (times[k] - times[k - 1]))


def _check(product: Path, correlation: Float[np.ndarray, "..."]) -> None:
    if product.ndim != 3 or product.shape[1:] != correlation.shape:
        raise ValueError(
            f"product must be (T, d_out, d_in) with the shape of the correlation "
            f"{correlation.shape}, not {product.shape}."
        )
    if not (np.all(np.isfinite(product)) and np.all(np.isfinite(correlation))):
        raise ValueError("product or correlation holds NaN or infinity; give finite numbers.")
