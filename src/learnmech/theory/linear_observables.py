r"""What a product of layers looks like from outside: loss, strengths, alignment, rank, stages.

For a path of products M(t), (T, d_out, d_in), and Sigma = E y x^T = U S V^T on whitened inputs:

    loss        1/2 E|y|^2 - 1/2 |Sigma|^2 + 1/2 |Sigma - M|^2      (HALF squared loss)
    strength    a_k = u_k^T M v_k
    overlap     (|U_k^T U'_k|^2 + |V_k^T V'_k|^2) / (2 k), with M's own leading k vectors
    rank        exp(-sum p ln p), p the singular values of M over their sum

Reference: loss and strengths: Saxe et al., arXiv:1312.6120, section 1; effective rank: Roy
and Vetterli, "The effective rank" (EUSIPCO 2007), definition 1.
"""

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike
from learnmech.theory.linear_coupled import singular_modes

Path = Float[np.ndarray, "T d_out d_in"]


def loss_curve(
    product: Path,
    correlation: Float[np.ndarray, "d_out d_in"],
    target_power: float,
    input_covariance: Float[np.ndarray, "d_in d_in"] | None = None,
) -> Float[np.ndarray, " T"]:
    """Half squared loss 1/2 E|y - M x|^2 along a path of products.

    Args:
        product: M, (T, d_out, d_in).
        correlation: Sigma_yx = E y x^T.
        target_power: E|y|^2.
        input_covariance: Sigma_xx; the identity if None.

    >>> loss_curve(np.zeros((1, 1, 1)), np.eye(1), 3.0)
    array([1.5])
    """
    _check(product, correlation)
    quadratic = product if input_covariance is None else product @ input_covariance
    cross = np.einsum("tij,ij->t", product, correlation)
    return np.asarray(0.5 * target_power - cross + 0.5 * np.sum(quadratic * product, axis=(1, 2)))


def strengths(
    product: Path, correlation: Float[np.ndarray, "d_out d_in"]
) -> Float[np.ndarray, "r T"]:
    """Mode strengths u_k^T M v_k along a path, largest singular value first, (r, T).

    >>> strengths(np.eye(2)[None] / 2, np.diag([3.0, 1.0]))
    array([[0.5],
           [0.5]])
    """
    _check(product, correlation)
    u, _, v = singular_modes(correlation)
    return np.asarray(np.einsum("ik,tij,jk->kt", u, product, v))


def subspace_overlap(
    product: Path, correlation: Float[np.ndarray, "d_out d_in"], modes: int
) -> Float[np.ndarray, " T"]:
    """Overlap, 0 to 1, of the leading singular subspaces of M and Sigma, both sides averaged.

    Args:
        product: M, (T, d_out, d_in).
        correlation: Sigma; its singular value number `modes` must exceed the next one.
        modes: Number of leading modes, at least one and at most the rank of Sigma.

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

    >>> effective_rank(np.eye(3)[None]).round(12)
    array([3.])
    """
    values = np.linalg.svd(product, compute_uv=False)
    if not np.all(np.isfinite(values)) or np.any(values[:, 0] == 0.0):
        raise ValueError("effective rank needs finite products that are not zero.")
    share = values / values.sum(axis=1, keepdims=True)
    logs = np.log(np.where(share > 0.0, share, 1.0))
    return np.asarray(np.exp(-np.sum(share * logs, axis=1)))


def crossing_times(
    t: ArrayLike, curves: Float[np.ndarray, "K T"], levels: Float[np.ndarray, " K"]
) -> Float[np.ndarray, " K"]:
    """First times at which each curve rises through its level, by linear interpolation.

    With curves the strengths and levels half the singular values: the times of the stages.
    A curve that starts at its level or never reaches it raises ValueError.

    >>> crossing_times(np.array([0.0, 1.0]), np.array([[0.0, 4.0]]), np.array([1.0]))
    array([0.25])
    """
    times = np.asarray(t, dtype=np.float64)
    above = curves >= np.asarray(levels)[:, None]
    if np.any(above[:, 0]) or not np.all(above.any(axis=1)):
        raise ValueError("every curve must start below its level and reach it; extend the times.")
    k = np.argmax(above, axis=1)
    rows = np.arange(len(curves))
    low, high = curves[rows, k - 1], curves[rows, k]
    share = (levels - low) / (high - low)
    return np.asarray(times[k - 1] + share * (times[k] - times[k - 1]))


def _check(product: Path, correlation: Float[np.ndarray, "d_out d_in"]) -> None:
    if product.ndim != 3 or product.shape[1:] != correlation.shape:
        raise ValueError(
            f"product must be (T, d_out, d_in) with the shape of the correlation "
            f"{correlation.shape}, not {product.shape}."
        )
    if not (np.all(np.isfinite(product)) and np.all(np.isfinite(correlation))):
        raise ValueError("product or correlation holds NaN or infinity; give finite numbers.")
