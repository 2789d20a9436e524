r"""Gradient flow of a two-layer linear network from any start, integrated, and what it keeps.

For the half squared loss 1/2 E|y - W_2 W_1 x|^2 + (decay/2) (|W_1|^2 + |W_2|^2), with
Sigma_yx = E y x^T and Sigma_xx = E x x^T,

    dW_1/dt = W_2^T (Sigma_yx - W_2 W_1 Sigma_xx) - decay W_1,
    dW_2/dt = (Sigma_yx - W_2 W_1 Sigma_xx) W_1^T - decay W_2.

The imbalance Lambda = W_1 W_1^T - W_2^T W_2, (h, h), obeys dLambda/dt = -2 decay Lambda, for
any input covariance. One step of gradient descent with learning rate eta gives, exactly,

    Lambda' = (1 - eta decay)^2 Lambda + eta^2 (G_1 G_1^T - G_2^T G_2),

where G_i is the gradient of the squared loss alone by W_i. Without decay, Lambda therefore
drifts by eta times the integral of that bracket over t along the flow, up to order eta^2.

Shapes: W_1 (h, d_in), W_2 (d_out, h), Sigma_yx (d_out, d_in), Sigma_xx (d_in, d_in), t (T,).
References: Saxe et al., arXiv:1312.6120v3, equations (2) and (3), where sums over samples stand
for means; Du, Hu and Lee, "Algorithmic regularization in learning deep homogeneous models:
layers are automatically balanced", arXiv:1806.00900, the conservation law of linear layers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from learnmech.numerics import ArrayLike
from learnmech.theory.linear_coupled import check_layers

__all__ = ["Flow", "decayed_imbalance", "final_product", "gradient_flow", "imbalance"]


@dataclass(frozen=True)
class Flow:
    """A two-layer linear network along integrated gradient flow."""

    t: Float[np.ndarray, " T"]  # steps times learning rate
    first_layer: Float[np.ndarray, "T h d_in"]  # W_1
    second_layer: Float[np.ndarray, "T d_out h"]  # W_2
    product: Float[np.ndarray, "T d_out d_in"]  # W_2 W_1
    # int_0^t (G_1 G_1^T - G_2^T G_2); without weight decay, eta times this is Lambda's drift.
    drift_integral: Float[np.ndarray, "T h h"]


def gradient_flow(
    t: ArrayLike,
    correlation: Float[np.ndarray, "..."],
    first_layer: Float[np.ndarray, "..."],
    second_layer: Float[np.ndarray, "..."],
    *,
    input_covariance: Float[np.ndarray, "..."] | None = None,
    weight_decay: float = 0.0,
    tolerance: float = 1e-10,
) -> Flow:
    """Integrate gradient flow with an explicit Runge-Kutta method of order eight.

    dW_1/dt = W_2^T (Sigma_yx - W_2 W_1 Sigma_xx) - decay W_1, and likewise for W_2. It
    needs no balance and no whitening, and gives the weights themselves, so it says how much of a
    deviation from `coupled_solution` is due to the imbalance of the start.

    Args:
        t: Increasing times, (T,), the first at least zero, in steps times learning rate. The
            flow starts at zero whether or not zero is among them.
        correlation: Sigma_yx, (d_out, d_in).
        first_layer: W_1 at t = 0, (h, d_in).
        second_layer: W_2 at t = 0, (d_out, h).
        input_covariance: Sigma_xx, (d_in, d_in), symmetric; the identity (whitened inputs) if
            None.
        weight_decay: Coefficient of half the squared norm of the weights, at least zero.
        tolerance: Relative tolerance of each step, between zero and one.

    Returns:
        Weights, product and integrated drift at every time.

    Raises:
        ValueError: On times that do not increase from zero or more, values that are not
            finite, shapes that do not fit, or a covariance that is not symmetric.
        RuntimeError: If the integrator gives up.

    Loss convention: half squared loss, 1/2 E|y - W_2 W_1 x|^2.

    Reference: Saxe et al., arXiv:1312.6120v3, equation (2).

    >>> flow = gradient_flow([0.0, 0.5 * np.log(3.0)], np.eye(1), *2 * [np.eye(1) / 2])
    >>> round(float(flow.product[-1, 0, 0]), 9)
    0.5
    """
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if times.ndim != 1 or times.size == 0 or not np.all(np.isfinite(times)):
        raise ValueError("t must be one row of finite times, (T,), at least one.")
    if times[0] < 0.0 or np.any(np.diff(times) <= 0.0):
        raise ValueError("t must be increasing, and its first time at least zero.")
    sigma, w1, w2 = check_layers(correlation, first_layer, second_layer)
    (d_out, d_in), h = sigma.shape, w1.shape[0]
    covariance = np.eye(d_in) if input_covariance is None else np.asarray(input_covariance)
    if covariance.shape != (d_in, d_in) or not np.all(np.isfinite(covariance)):
        raise ValueError(f"input_covariance must be finite and of shape ({d_in}, {d_in}).")
    if not np.allclose(covariance, covariance.T):
        raise ValueError("input_covariance must be symmetric: it is E x x^T.")
    if not (np.isfinite(weight_decay) and weight_decay >= 0.0):
        raise ValueError("weight_decay must be a finite number of at least zero.")
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance must lie between zero and one, not {tolerance}.")
    ends = np.cumsum([h * d_in, d_out * h])

    def velocity(_: float, state: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        a, b = state[: ends[0]].reshape(h, d_in), state[ends[0] : ends[1]].reshape(d_out, h)
        error = sigma - b @ a @ covariance
        down1, down2 = b.T @ error, error @ a.T
        drift = down1 @ down1.T - down2.T @ down2
        moves = (down1 - weight_decay * a, down2 - weight_decay * b, drift)
        return np.concatenate([move.ravel() for move in moves])

    start = np.concatenate([w1.ravel(), w2.ravel(), np.zeros(h * h)])
    states = start[None]
    if times[-1] > 0.0:
        span, atol = (0.0, times[-1]), tolerance * 1e-2
        result = solve_ivp(velocity, span, start, "DOP853", times, rtol=tolerance, atol=atol)
        if not result.success:
            raise RuntimeError(f"gradient flow could not be integrated: {result.message}")
        states = result.y.T
    first = states[:, : ends[0]].reshape(-1, h, d_in)
    second = states[:, ends[0] : ends[1]].reshape(-1, d_out, h)
    drift = states[:, ends[1] :].reshape(-1, h, h)
    return Flow(times, first, second, second @ first, drift)


def imbalance(
    first_layer: Float[np.ndarray, "..."],
    second_layer: Float[np.ndarray, "..."],
) -> Float[np.ndarray, "*batch h h"]:
    """Return Lambda = W_1 W_1^T - W_2^T W_2, which gradient flow conserves.

    Args:
        first_layer: W_1, (..., h, d_in).
        second_layer: W_2, (..., d_out, h), with the same leading axes.

    Returns:
        Lambda, (..., h, h), in units of the weights squared, which are those of Sigma.

    Raises:
        ValueError: On what are not matrices, or hidden widths or leading axes that differ.

    Reference: Du, Hu and Lee, arXiv:1806.00900, the conservation law of linear layers.

    >>> imbalance(np.array([[2.0]]), np.array([[1.0]]))
    array([[3.]])
    """
    w1, w2 = np.asarray(first_layer), np.asarray(second_layer)
    if w1.ndim < 2 or w2.ndim < 2:
        raise ValueError(f"give matrices, (..., h, d_in) and (..., d_out, h), not {w1.shape}.")
    if w1.shape[-2] != w2.shape[-1] or w1.shape[:-2] != w2.shape[:-2]:
        raise ValueError(f"hidden widths or leading axes differ: {w1.shape} against {w2.shape}.")
    return np.asarray(w1 @ w1.swapaxes(-1, -2) - w2.swapaxes(-1, -2) @ w2)


def decayed_imbalance(
    t: ArrayLike, initial_imbalance: Float[np.ndarray, "h h"], weight_decay: float
) -> Float[np.ndarray, "T h h"]:
    """Lambda(t) = e^(-2 decay t) Lambda(0) along gradient flow with weight decay.

    Args:
        t: Times, (T,), in steps times learning rate.
        initial_imbalance: Lambda(0), (h, h).
        weight_decay: Coefficient of half the squared norm of the weights, at least zero.

    Returns:
        Lambda at every time, (T, h, h), in the units of Lambda(0).

    Raises:
        ValueError: On times that are not one row of finite numbers, or a weight decay that is
            negative or not finite.

    Loss convention: half squared loss plus decay/2 times the squared norm of all weights.

    Reference: the first lines of this module; without decay, Du, Hu and Lee, arXiv:1806.00900.

    >>> decayed_imbalance(np.array([np.log(2.0)]), np.eye(1), 0.5).round(12)
    array([[[0.5]]])
    """
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if times.ndim != 1 or not np.all(np.isfinite(times)) or not 0.0 <= weight_decay < np.inf:
        raise ValueError("give one row of finite times and a finite weight decay of at least zero.")
    return np.asarray(np.exp(-2.0 * weight_decay * times)[:, None, None] * initial_imbalance)


def final_product(
    correlation: Float[np.ndarray, "..."], input_covariance: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "d_out d_in"]:
    """Return Sigma_yx Sigma_xx^-1, where training on any inputs ends; Sigma_yx on whitened ones.

    The hidden layer must be wide enough for the rank of Sigma_yx, there must be no weight decay,
    and the start must not lie on the way into a saddle. A covariance without an inverse is
    refused, because the end then depends on the start.

    Args:
        correlation: Sigma_yx, (d_out, d_in).
        input_covariance: Sigma_xx, (d_in, d_in).

    Returns:
        The product W_2 W_1 of zero gradient, (d_out, d_in), in units of outputs per input.

    Raises:
        ValueError: On values that are not finite, shapes that do not fit, or a covariance that
            has no inverse to double precision.

    Loss convention: any multiple of the squared loss, whose minimum this is (least squares).

    Reference: the normal equations; Saxe et al., arXiv:1312.6120v3, equation (2) at rest.

    >>> final_product(np.array([[1.0]]), np.array([[4.0]]))
    array([[0.25]])
    """
    correlation, covariance = (
        np.asarray(m, dtype=np.float64) for m in (correlation, input_covariance)
    )
    if correlation.ndim != 2 or covariance.shape != 2 * correlation.shape[-1:]:
        raise ValueError(f"shapes {correlation.shape} and {covariance.shape} do not fit.")
    if not (np.all(np.isfinite(correlation)) and np.all(np.isfinite(covariance))):
        raise ValueError("a moment holds NaN or infinity; give finite numbers.")
    if not np.linalg.cond(covariance) < 1e14:
        raise ValueError("input_covariance has no inverse; remove directions that no input has.")
    return np.asarray(np.linalg.solve(covariance.T, correlation.T).T)
