r"""The whole product W_2 W_1 over time, from a random, unaligned start: all modes coupled.

With Q = [W_1^T; W_2] and F = [[0, Sigma^T], [Sigma, 0]], gradient flow on whitened inputs is

    dQ/dt = F Q - 1/2 Q Q^T Q + 1/2 J Q Lambda,     J = diag(I, -I),
    Lambda = W_1 W_1^T - W_2^T W_2  (conserved).

For a balanced start, Lambda = 0, the Gram matrix X = Q Q^T obeys dX/dt = F X + X F - X^2,
a matrix Riccati equation, whose solution is closed:

    X(t) = e^(Ft) Q_0 N(t)^-1 Q_0^T e^(Ft),     N(t) = I + Q_0^T (int_0^t e^(2Fs) ds) Q_0,

and the product W_2 W_1 is its lower left block. For other starts the relative error is of first
order in Lambda / s. If only the r growing directions of F are kept, with S their singular
values, P = (W_1 V + W_2^T U)^T / sqrt(2) the start in them and G = P P^T invertible, then
W_2 W_1 = U M(t) V^T with

    2 M(t) = [e^(-St) G^-1 e^(-St) + (1 - e^(-2St)) / (2S)]^-1.

Shapes: W_1 (h, d_in), W_2 (d_out, h), Sigma = E y x^T (d_out, d_in), t (T,) in steps times
learning rate. Loss: HALF squared, 1/2 E|y - W_2 W_1 x|^2, with E x x^T = I.

References: Fukumizu, "Effect of batch learning in multilayer neural networks" (ICONIP 1998),
the matrix Riccati solution for balanced starts; Braun et al., "Exact learning dynamics of deep
linear networks with prior knowledge" (NeurIPS 2022), the dynamics of Q Q^T. Both are rederived
here from the first display, which is Saxe et al., arXiv:1312.6120v3, equation (2).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular

from learnmech.numerics import ArrayLike

__all__ = [
    "CoupledSolution",
    "check_layers",
    "coupled_solution",
    "initial_strengths",
    "singular_modes",
]

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class CoupledSolution:
    """A two-layer linear network along gradient flow."""

    t: Float[np.ndarray, " T"]  # steps times learning rate
    product: Float[np.ndarray, "T d_out d_in"]  # W_2 W_1, units of Sigma
    input_gram: Float[np.ndarray, "T d_in d_in"]  # W_1^T W_1, units of Sigma
    output_gram: Float[np.ndarray, "T d_out d_out"]  # W_2 W_2^T, units of Sigma


def coupled_solution(
    t: ArrayLike,
    correlation: Float[np.ndarray, "..."],
    first_layer: Float[np.ndarray, "..."],
    second_layer: Float[np.ndarray, "..."],
    *,
    growing_only: bool = False,
) -> CoupledSolution:
    r"""Product and Gram matrices of a two-layer linear network along gradient flow.

    X(t) = e^(Ft) Q_0 N(t)^-1 Q_0^T e^(Ft), with the symbols of this module's first lines. Exact
    for balanced starts, W_1 W_1^T = W_2^T W_2, of any size, width and rank; otherwise with an
    error of first order in the imbalance. Neither large t nor a hidden layer narrower than the
    rank of Sigma overflows or loses accuracy. Cost O(T h^2 (d_in + d_out + h)).

    Args:
        t: Times, (T,), at least zero, in steps times learning rate.
        correlation: Sigma = E y x^T, (d_out, d_in).
        first_layer: W_1 at t = 0, (h, d_in).
        second_layer: W_2 at t = 0, (d_out, h).
        growing_only: Keep only the directions that grow, as the small-start form does. The
            start is then the projection on them and not the full product.

    Returns:
        The product W_2 W_1 and both Gram matrices at every time, in units of Sigma.

    Raises:
        ValueError: On values that are not finite, a negative time, a product s t beyond the
            doubles, or shapes that do not fit.

    Loss convention: half squared loss; inputs whitened.

    Reference: Fukumizu 1998, the matrix Riccati solution; Braun et al. 2022, the dynamics of
    Q Q^T.

    >>> start = np.sqrt(0.25) * np.eye(1)
    >>> solution = coupled_solution([0.5 * np.log(3.0)], np.eye(1), start, start)
    >>> round(float(solution.product[0, 0, 0]), 12)  # the sigmoid: odds 1/3 times 3
    0.5
    """
    times = _check_times(t)
    sigma, w1, w2 = check_layers(correlation, first_layer, second_layer)
    d_out, d_in = sigma.shape
    basis, rates = _symmetric_modes(sigma)
    if not np.isfinite(2.0 * float(np.max(rates)) * float(np.max(times, initial=0.0))):
        raise ValueError("t times the largest singular value is beyond the largest double.")
    if growing_only:
        basis, rates = basis[:, rates > 0.0], rates[rates > 0.0]
    start = basis.T @ np.concatenate([w1.T, w2], axis=0)
    gram = np.empty((times.size, d_in + d_out, d_in + d_out))
    for i, time in enumerate(times):
        root = basis @ _riccati_root(start, rates, float(time))
        gram[i] = root @ root.T
    return CoupledSolution(
        t=times,
        product=gram[:, d_in:, :d_in],
        input_gram=gram[:, :d_in, :d_in],
        output_gram=gram[:, d_in:, d_in:],
    )


def initial_strengths(
    correlation: Float[np.ndarray, "..."],
    first_layer: Float[np.ndarray, "..."],
    second_layer: Float[np.ndarray, "..."],
    *,
    separated: bool = False,
) -> Float[np.ndarray, " r"]:
    r"""Effective start of each mode's sigmoid, from random weights of a two-layer network.

    Only the growing half of a random start matters: mode k starts at
    a_k(0) = 1/4 |W_1 v_k + W_2^T u_k|^2. If the modes are well separated, a slower mode
    first loses the hidden directions that faster ones have taken; its start is then what
    Gram-Schmidt leaves, R_kk^2 with Q R = 1/2 (W_1 V + W_2^T U), fastest mode first.

    Args:
        correlation: Sigma = U S V^T, (d_out, d_in).
        first_layer: W_1 at t = 0, (h, d_in).
        second_layer: W_2 at t = 0, (d_out, h).
        separated: Apply Gram-Schmidt in the order of decreasing singular values.

    Returns:
        One strength per nonzero singular value, largest singular value first, (r,), in units
        of Sigma. Where singular values coincide, U and V, and so the single strengths, are the
        linear-algebra library's choice.

    Raises:
        ValueError: On values that are not finite, shapes that do not fit, or `separated`
            with a hidden layer narrower than r, where the last modes have no direction left.

    Loss convention: half squared loss; inputs whitened.

    Reference: linearisation at zero of Saxe et al., arXiv:1312.6120v3, equation (2); the
    Gram-Schmidt form is the limit of well separated S in the growing form of Q Q^T.

    >>> initial_strengths(np.eye(1), np.full((1, 1), 0.3), np.full((1, 1), 0.3)).round(12)
    array([0.09])
    """
    sigma, w1, w2 = check_layers(correlation, first_layer, second_layer)
    u, _, v = singular_modes(sigma)
    growing = 0.5 * (w1 @ v + w2.T @ u)
    if not separated:
        return np.asarray(np.sum(growing**2, axis=0))
    if growing.shape[0] < growing.shape[1]:
        raise ValueError(
            f"a hidden layer of width {growing.shape[0]} cannot separate {growing.shape[1]} "
            "modes; use separated=False or coupled_solution."
        )
    return np.asarray(np.diag(np.linalg.qr(growing, mode="r")) ** 2)


def singular_modes(
    correlation: Float[np.ndarray, "..."],
) -> tuple[Float[np.ndarray, "d_out r"], Float[np.ndarray, " r"], Float[np.ndarray, "d_in r"]]:
    """Modes of Sigma = U diag(s) V^T above rounding, largest singular value first.

    A singular value counts if it exceeds max(d_out, d_in) times 2^-52 times the largest.

    Args:
        correlation: Sigma, (d_out, d_in).

    Returns:
        U (d_out, r), s (r,) in units of Sigma, and V (d_in, r).

    Raises:
        ValueError: On what is not a matrix with entries, or values that are not finite.

    >>> singular_modes(np.diag([3.0, 0.0]))[1]
    array([3.])
    """
    correlation = np.asarray(correlation, dtype=np.float64)
    if correlation.ndim != 2 or correlation.size == 0:
        raise ValueError(f"correlation must be a matrix with entries, not {correlation.shape}.")
    if not np.all(np.isfinite(correlation)):
        raise ValueError("correlation holds NaN or infinity; give finite numbers.")
    u, s, vt = np.linalg.svd(correlation, full_matrices=False)
    kept = s > max(correlation.shape) * EPSILON * s[0]
    return u[:, kept], s[kept], vt[kept].T


def check_layers(
    correlation: Float[np.ndarray, "..."],
    first_layer: Float[np.ndarray, "..."],
    second_layer: Float[np.ndarray, "..."],
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return Sigma, W_1 and W_2 as float64 matrices whose shapes fit each other.

    Args:
        correlation: Sigma, (d_out, d_in).
        first_layer: W_1, (h, d_in).
        second_layer: W_2, (d_out, h).

    Raises:
        ValueError: On what is not a matrix with entries, values that are not finite, or shapes
            that do not fit; the message names the matrix.

    >>> [m.shape for m in check_layers(np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4)))]
    [(2, 3), (4, 3), (2, 4)]
    """
    sigma, w1, w2 = (
        np.asarray(m, dtype=np.float64) for m in (correlation, first_layer, second_layer)
    )
    for name, matrix in (("correlation", sigma), ("first_layer", w1), ("second_layer", w2)):
        if matrix.ndim != 2 or matrix.size == 0:
            raise ValueError(f"{name} must be a matrix with entries, not shape {matrix.shape}.")
        if not np.all(np.isfinite(matrix)):
            raise ValueError(f"{name} holds NaN or infinity; give finite numbers.")
    if (w2.shape[0], w1.shape[1]) != sigma.shape or w2.shape[1] != w1.shape[0]:
        raise ValueError(
            f"shapes do not fit: correlation {sigma.shape} needs first_layer "
            f"(h, {sigma.shape[1]}) and second_layer ({sigma.shape[0]}, h), "
            f"not {w1.shape} and {w2.shape}."
        )
    return sigma, w1, w2


def _check_times(t: ArrayLike) -> Float[np.ndarray, " T"]:
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if times.ndim != 1 or not np.all(np.isfinite(times)) or np.any(times < 0.0):
        raise ValueError("t must be one row of finite times, (T,), all at least zero.")
    return times


def _symmetric_modes(
    sigma: Float[np.ndarray, "d_out d_in"],
) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, " N"]]:
    """Eigenvectors (columns) and eigenvalues of F: (v, u) and (v, -u) at +s and -s, and nulls."""
    d_out, d_in = sigma.shape
    u, s, vt = np.linalg.svd(sigma, full_matrices=True)
    r = int(np.sum(s > max(sigma.shape) * EPSILON * s[0]))
    paired = np.concatenate([vt[:r].T, u[:, :r]]) / np.sqrt(2.0)
    flipped = np.concatenate([vt[:r].T, -u[:, :r]]) / np.sqrt(2.0)
    null_in = np.concatenate([vt[r:].T, np.zeros((d_out, d_in - r))])
    null_out = np.concatenate([np.zeros((d_in, d_out - r)), u[:, r:]])
    basis = np.concatenate([paired, flipped, null_in, null_out], axis=1)
    return basis, np.concatenate([s[:r], -s[:r], np.zeros(d_in + d_out - 2 * r)])


def _riccati_root(
    start: Float[np.ndarray, "N h"], rates: Float[np.ndarray, " N"], t: float
) -> Float[np.ndarray, "N h"]:
    """A square root of X(t) in the eigenbasis of F, with no exponential ever formed alone.

    N(t) = B^T B, where B stacks I (h rows) on the rows sqrt(g_j) P_j, whose sizes range from
    1 to e^(st). Rows are eliminated in the order of their size (Gram-Schmidt on the rows of
    B, sizes kept as logarithms), and each hidden direction is measured in units of the row
    that claimed it. What is left is a trapezoidal matrix with entries of at most one.
    """
    if t == 0.0:
        return start
    h = start.shape[1]
    speed = np.abs(rates)
    still = 2.0 * speed * t < 1e-16  # too slow to differ from rate zero, and perhaps to divide
    saturated = np.where(still, t, -np.expm1(-2.0 * speed * t) / np.where(still, 1.0, 2.0 * speed))
    half_log = 0.5 * np.log(saturated)
    log_size = np.concatenate([np.zeros(h), np.maximum(rates, 0.0) * t + half_log])
    residual = np.concatenate([np.eye(h), start])
    lower = np.empty_like(residual)  # rows in the basis of claimed directions
    log_unit = np.empty(h)
    for k in range(h):
        norm = np.linalg.norm(residual, axis=1)
        with np.errstate(divide="ignore"):
            pivot = int(np.argmax(log_size + np.log(norm)))
        lower[:, k] = residual @ (residual[pivot] / norm[pivot])
        residual = residual - np.outer(lower[:, k], residual[pivot] / norm[pivot])
        residual[pivot] = 0.0
        lower[:, k] /= norm[pivot]
        log_unit[k] = log_size[pivot]
    exponent = np.where(lower == 0.0, 0.0, log_size[:, None] - log_unit)
    with np.errstate(over="ignore"):  # infinite only against a zero of the rows claimed earlier
        b = np.where(lower == 0.0, 0.0, lower * np.exp(np.minimum(exponent, 700.0)))
    # e^(rate t) / sqrt(g) is all that tells e^(Ft) Q_0 from the rows of B.
    a = b[h:] * np.exp(np.minimum(rates, 0.0) * t - half_log)[:, None]
    r = np.linalg.qr(b, mode="r")
    return np.asarray(solve_triangular(r, a.T, trans="T").T)
