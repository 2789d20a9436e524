r"""Gradient flow of a two-layer linear network from any start, integrated, and what it keeps.

For the half squared loss 1/2 E|y - W_2 W_1 x|^2 + (decay/2) (|W_1|^2 + |W_2|^2), with
Sigma_yx = E y x^T and Sigma_xx = E x x^T,

    dW_1/dt = W_2^T (Sigma_yx - W_2 W_1 Sigma_xx) - decay W_1,
    dW_2/dt = (Sigma_yx - W_2 W_1 Sigma_xx) W_1^T - decay W_2.

The imbalance Lambda = W_1 W_1^T - W_2^T W_2, (h, h), obeys dLambda/dt = -2 decay Lambda, for
any input covariance. Gradient descent with step eta breaks this at second order, exactly by

    Lambda' - Lambda = eta^2 (G_1 G_1^T - G_2^T G_2)       (G_i: gradients, no decay),

so that along the flow Lambda drifts by eta times the integral of that bracket over t.

Reference: Saxe et al., arXiv:1312.6120, equations (3)-(4); Du, Hu and Lee, "Algorithmic
regularization in learning deep homogeneous models", arXiv:1806.00900, theorem 2.2.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from learnmech.numerics import ArrayLike
from learnmech.theory.linear_coupled import check_layers


@dataclass(frozen=True)
class Flow:
    """A two-layer linear network along integrated gradient flow."""

    t: Float[np.ndarray, " T"]  # steps times learning rate
    first_layer: Float[np.ndarray, "T h d_in"]  # W_1
    second_layer: Float[np.ndarray, "T d_out h"]  # W_2
    product: Float[np.ndarray, "T d_out d_in"]  # W_2 W_1
    drift_rate: Float[np.ndarray, "T h h"]  # int_0^t (G_1 G_1^T - G_2^T G_2); times eta: drift


def gradient_flow(
    t: ArrayLike,
    correlation: Float[np.ndarray, "d_out d_in"],
    first_layer: Float[np.ndarray, "h d_in"],
    second_layer: Float[np.ndarray, "d_out h"],
    *,
    input_covariance: Float[np.ndarray, "d_in d_in"] | None = None,
    weight_decay: float = 0.0,
    tolerance: float = 1e-10,
) -> Flow:
    """Integrate gradient flow with an explicit Runge-Kutta method of order eight.

    It needs no balance and no whitening, and gives the weights themselves, so it says how
    much of a deviation from `coupled_solution` is due to the imbalance of the start.

    Args:
        t: Increasing times from zero, (T,), in steps times learning rate.
        correlation: Sigma_yx.
        first_layer: W_1 at t = 0.
        second_layer: W_2 at t = 0.
        input_covariance: Sigma_xx; the identity (whitened inputs) if None.
        weight_decay: Coefficient of half the squared norm of the weights, at least zero.
        tolerance: Relative tolerance of each step.

    Raises:
        ValueError: On times that do not increase from zero or more, values that are not
            finite, or shapes that do not fit.
        RuntimeError: If the integrator gives up.

    Loss convention: half squared loss.

    >>> flow = gradient_flow([0.0, 0.5 * np.log(3.0)], np.eye(1), *2 * [np.eye(1) / 2])
    >>> round(float(flow.product[-1, 0, 0]), 9)
    0.5
    """
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if times.ndim != 1 or np.any(np.diff(times) <= 0.0) or not 0.0 <= times[0] < np.inf:
        raise ValueError("t must be one row of increasing times, (T,), the first at least zero.")
    sigma, w1, w2 = check_layers(correlation, first_layer, second_layer)
    (d_out, d_in), h = sigma.shape, w1.shape[0]
    covariance = np.eye(d_in) if input_covariance is None else np.asarray(input_covariance)
    if covariance.shape != (d_in, d_in) or not np.all(np.isfinite(covariance)):
        raise ValueError(f"input_covariance must be finite and of shape ({d_in}, {d_in}).")
    if not (np.isfinite(weight_decay) and weight_decay >= 0.0):
        raise ValueError("weight_decay must be a finite number of at least zero.")
    ends = np.cumsum([h * d_in, d_out * h])

    def velocity(_: float, state: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        a, b = state[: ends[0]].reshape(h, d_in), state[ends[0] : ends[1]].reshape(d_out, h)
        error = sigma - b @ a @ covariance
        down1, down2 = b.T @ error, error @ a.T
        drift = down1 @ down1.T - down2.T @ down2
        moves = (down1 - weight_decay * a, down2 - weight_decay * b, drift)
        return np.concatenate([move.ravel() for move in moves])

    start = np.concatenate([w1.ravel(), w2.ravel(), np.zeros(h * h)])
    result = solve_ivp(
        velocity, (0.0, times[-1]), start, "DOP853", times, rtol=tolerance, atol=tolerance * 1e-2
    )
    if not result.success:
        raise RuntimeError(f"gradient flow could not be integrated: {result.message}")
    states = result.y.T
    first = states[:, : ends[0]].reshape(-1, h, d_in)
    second = states[:, ends[0] : ends[1]].reshape(-1, d_out, h)
    drift = states[:, ends[1] :].reshape(-1, h, h)
    return Flow(times, first, second, second @ first, drift)


def imbalance(
    first_layer: Float[np.ndarray, "*batch h d_in"],
    second_layer: Float[np.ndarray, "*batch d_out h"],
) -> Float[np.ndarray, "*batch h h"]:
    """Return Lambda = W_1 W_1^T - W_2^T W_2, which gradient flow conserves.

    >>> imbalance(np.array([[2.0]]), np.array([[1.0]]))
    array([[3.]])
    """
    w1, w2 = np.asarray(first_layer), np.asarray(second_layer)
    if w1.shape[-2] != w2.shape[-1]:
        raise ValueError(f"hidden widths differ: {w1.shape} against {w2.shape}.")
    return np.asarray(w1 @ w1.swapaxes(-1, -2) - w2.swapaxes(-1, -2) @ w2)


def decayed_imbalance(
    t: ArrayLike, initial_imbalance: Float[np.ndarray, "h h"], weight_decay: float
) -> Float[np.ndarray, "T h h"]:
    """Lambda(t) = e^(-2 decay t) Lambda(0) along gradient flow with weight decay.

    >>> decayed_imbalance(np.array([np.log(2.0)]), np.eye(1), 0.5).round(12)
    array([[[0.5]]])
    """
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if weight_decay < 0.0 or not np.all(np.isfinite(times)):
        raise ValueError("give finite times and a weight decay of at least zero.")
    return np.asarray(np.exp(-2.0 * weight_decay * times)[:, None, None] * initial_imbalance)


def final_product(
    correlation: Float[np.ndarray, "d_out d_in"], input_covariance: Float[np.ndarray, "d_in d_in"]
) -> Float[np.ndarray, "d_out d_in"]:
    """Return Sigma_yx Sigma_xx^-1, where training on any inputs ends; Sigma_yx on whitened ones.

    The hidden layer must be wide enough for the rank of Sigma_yx. A covariance without an
    inverse raises ValueError, because the end then depends on the start.

    >>> final_product(np.array([[1.0]]), np.array([[4.0]]))
    array([[0.25]])
    """
    covariance = np.asarray(input_covariance, dtype=np.float64)
    if not np.linalg.cond(covariance) < 1e14:
        raise ValueError("input_covariance has no inverse; remove constant input directions.")
    return np.asarray(np.linalg.solve(covariance, np.asarray(correlation).T).T)
