r"""The first step of a two-hidden-layer ReLU network, with its constants, in any parametrisation.

The network $h_1 = W_1 x$, $h_2 = W_2\phi(h_1)$, $f = W_3\phi(h_2)$ has width $n$, no biases, $C$
outputs and $\phi$ the ReLU. Entries of $W_l$ start with variance $V_l$, and layer $l$ has the
learning rate $\eta_l$; at the base width these are gain²/fan-in and $\eta$, elsewhere the table
of a parametrisation says so. One step is taken on one sample $x$, along the gradient of a loss
with $r = -\partial L/\partial f$ (for the half squared loss $r = y - f$), and small enough that
no neuron switches. With $s = |x|^2$, $q_1 = V_1 s$, $q_2 = \tfrac n2 V_2 q_1$ and
$\beta = \tfrac n2 V_2$ the mean squares over coordinates are

SGD, with $A = \tfrac n2 \eta_2 q_1 + \beta\,\eta_1 s$:

$$ \begin{aligned}
   \Delta_1^2 &= \tfrac12 \beta V_3 |r|^2\, (\eta_1 s)^2, \qquad
   \Delta_2^2 = \tfrac12 V_3 |r|^2 \big( A^2 + 2 (\beta\,\eta_1 s)^2 \big), \\
   \Delta_f^2 &= \tfrac{|r|^2}{C} \Big( \big[\tfrac n2 \eta_3 q_2 + \tfrac n2 V_3 A\big]^2
                 + \tfrac n2 (C + 1) V_3^2 A^2 \Big);
\end{aligned} $$

Adam, with $a = n \eta_2 \sqrt{q_1/2\pi}$, $b = \eta_1 |x|_1 \sqrt{2\beta/\pi}$ and
$u_c = r_c/|r|$:

$$ \begin{aligned}
   \Delta_1^2 &= \tfrac12 (\eta_1 |x|_1)^2, \qquad
   \Delta_2^2 = \tfrac12 \big(a^2 + 2 a b \sqrt{2/\pi} + b^2\big) + \beta (\eta_1 |x|_1)^2, \\
   \Delta_f^2 &= \tfrac1C \sum_c \Big( n \eta_3 \sqrt{q_2/2\pi}\; \mathrm{sign}\, r_c
      + \tfrac n2 \sqrt{V_3}\, u_c \big[a\sqrt{2/\pi} + b\big] \Big)^2
      + \tfrac n2 V_3 \tfrac{C-1}{C} \big(a^2 + 2ab\sqrt{2/\pi} + b^2\big) .
\end{aligned} $$

In each square the power of $n$ that wins at large width is the slope of a coordinate check (see
`parametrizations`); the others say how large "large" is. Left out are relative terms of order
$1/n$. Some come from fluctuations of three sums over neurons: $|\phi(h_1)|^2$, $|\phi(h_2)|^2$ and
the squared readout weights of active neurons, each with the relative variance $5/n$; the outputs
move by the first times a mean of the other two, so the relative variance is at most $10/n$ at
leading order. Another, for SGD, comes from a residual that contains the network's own outputs,
and so the readout: it adds up to $2C/n$ to the mean square of $\partial L/\partial h_2$.

Shapes: residuals (..., C), movements (...,). Reference: the signal-and-noise bookkeeping is
that of Yang et al., "Tensor Programs V", arXiv:2203.03466, where constants are dropped; these
constants were derived for this book.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from learnmech.numerics.scaling import WidthExponents

__all__ = ["FirstStep", "first_step", "start_sharpness"]

Squares = float | Float[np.ndarray, "..."] | np.float64

_KINDS = ("input", "hidden", "readout")


@dataclass(frozen=True)
class FirstStep:
    """Root mean square movements in one small step, per unit of learning rate at the base width."""

    first: Float[np.ndarray, "..."]  # of the first hidden preactivations
    second: Float[np.ndarray, "..."]  # of the second hidden preactivations
    outputs: Float[np.ndarray, "..."]  # of the outputs
    sampling: float  # bound on their relative standard deviation over initial weights


@dataclass(frozen=True)
class _Scales:
    """Variances and learning rates of the three layers at one width."""

    width: int  # n
    variances: tuple[float, float, float]  # V_l, of an entry of each weight matrix
    rates: tuple[float, float, float]  # eta_l over eta


def first_step(
    width: int,
    table: WidthExponents,
    *,
    base_width: int,
    gains: Mapping[str, float],
    sample: Float[np.ndarray, " d"],
    residuals: Float[np.ndarray, "..."],
) -> FirstStep:
    r"""Predict how far one small step on one sample moves each layer.

    Args:
        width: n, of both hidden layers.
        table: Exponents of width, from `width_exponents`, for SGD or Adam.
        base_width: Width at which all parametrisations coincide.
        gains: "input", "hidden" and "readout" -> standard deviation of the initial weights times
            the root of their fan-in, at the base width.
        sample: The input x.
        residuals: r, minus the gradient of the loss with respect to the outputs, (..., C).

    Returns:
        Movements of both hidden layers and the outputs, one for each leading index.

    Raises:
        ValueError: On a width or gain that is not positive, an empty sample or no outputs.

    Reference: the module's docstring; exponents of Yang et al., arXiv:2203.03466.

    >>> from learnmech.theory.parametrizations import width_exponents
    >>> he = {"input": 2**0.5, "hidden": 2**0.5, "readout": 1.0}
    >>> step = first_step(8, width_exponents("standard", "adam"), base_width=8, gains=he,
    ...                   sample=np.array([3.0, -1.0]), residuals=np.array([1.0]))
    >>> round(float(step.first**2), 9)  # half of the neurons are active, and move by |x|_1 = 4
    8.0
    """
    r, x = np.asarray(residuals, dtype=np.float64), np.asarray(sample, dtype=np.float64)
    if r.ndim == 0 or r.size == 0 or x.ndim != 1 or not x.any():
        raise ValueError("give one sample (d,) that is not zero, and residuals (..., C).")
    scales = _scales(width, table, base_width, gains, x.size)
    step = _sgd if table.optimizer == "sgd" else _adam
    squares = step(scales, x, r)
    zeros = np.zeros(r.shape[:-1])
    first, second, outputs = (np.asarray(np.sqrt(part + zeros)) for part in squares)
    return FirstStep(first, second, outputs, math.sqrt(10.0 / width))


def _sgd(
    scales: _Scales, x: Float[np.ndarray, " d"], r: Float[np.ndarray, "... C"]
) -> tuple[Squares, Squares, Squares]:
    n, (v1, v2, v3), (rate1, rate2, rate3) = scales.width, scales.variances, scales.rates
    square, beta, power, count = float(x @ x), n / 2.0 * v2, (r * r).sum(-1), r.shape[-1]
    q1, q2, below = v1 * square, beta * v1 * square, beta * rate1 * square
    aligned = n / 2.0 * rate2 * q1 + below
    first = 0.5 * beta * v3 * power * (rate1 * square) ** 2
    second = 0.5 * v3 * power * (aligned**2 + 2.0 * below**2)
    mean = n / 2.0 * (rate3 * q2 + v3 * aligned)
    spread = n / 2.0 * (count + 1) * (v3 * aligned) ** 2
    return first, second, power / count * (mean**2 + spread)


def _adam(
    scales: _Scales, x: Float[np.ndarray, " d"], r: Float[np.ndarray, "... C"]
) -> tuple[Squares, Squares, Squares]:
    n, (v1, v2, v3), (rate1, rate2, rate3) = scales.width, scales.variances, scales.rates
    reach, beta, count = float(np.abs(x).sum()), n / 2.0 * v2, r.shape[-1]
    q1, tilt = v1 * float(x @ x), math.sqrt(2.0 / math.pi)
    q2 = beta * q1
    a = n * rate2 * math.sqrt(q1 / (2.0 * math.pi))
    b = rate1 * reach * math.sqrt(2.0 * beta / math.pi)
    own = a * a + 2.0 * a * b * tilt + b * b
    first = 0.5 * (rate1 * reach) ** 2
    second = 0.5 * own + beta * (rate1 * reach) ** 2
    unit = r / np.linalg.norm(r, axis=-1, keepdims=True)
    mean = n * rate3 * math.sqrt(q2 / (2.0 * math.pi)) * np.sign(r)
    mean = mean + n / 2.0 * math.sqrt(v3) * unit * (a * tilt + b)
    spread = n / 2.0 * v3 * (count - 1) / count * own
    return first, second, (mean**2).mean(-1) + spread


def start_sharpness(
    inputs: Float[np.ndarray, "N d"],
    width: int,
    table: WidthExponents,
    *,
    base_width: int,
    gains: Mapping[str, float],
) -> float:
    r"""Predict the largest curvature of the half squared loss at the start, at large width.

    It is the largest eigenvalue of $K/N$, with $K$ the sum of the three layers' kernels, each
    weighted by its own learning rate over $\eta$,

    $$ K = n\eta_3 F_2 + n V_3 \dot F_2 \circ
       (n \eta_2 F_1 + n V_2 \eta_1\, \dot F_1 \circ XX^\top), $$

    where $F_l, \dot F_l$ are $E\,\phi\phi$ and $E\,\phi'\phi'$ of two samples' preactivations.
    With the layers' rates inside, $2/\lambda$ is a learning rate at the base width. Finite
    networks lie above it, by a share of order $\sqrt{C/n}$: with $C$ outputs the sharpest
    direction also picks the combination of outputs with the largest readout weights.

    Args:
        inputs: Samples, (N, d), none of them zero.
        width: n, of both hidden layers.
        table: Exponents of width, for SGD.
        base_width: Width at which all parametrisations coincide.
        gains: As in `first_step`.

    Returns:
        lambda, in units of the half squared loss per squared parameter.

    Raises:
        ValueError: On inputs that are not a matrix of samples without zeros, a table that is not
            for SGD, or a width or gain that is not positive.

    Cost: O(N^3); a few hundred samples stand for the rest.

    Reference: Jacot et al., arXiv:1806.07572 (kernel); Cho and Saul, "Kernel methods for deep
    learning", NIPS 2009 (the arc-cosine forms of F).

    >>> from learnmech.theory.parametrizations import width_exponents
    >>> he = {"input": 2**0.5, "hidden": 2**0.5, "readout": 1.0}
    >>> top = start_sharpness(np.array([[1.0, 1.0]]), 4, width_exponents("standard", "sgd"),
    ...                       base_width=4, gains=he)
    >>> round(top, 9)  # 4 + 4/2 + 2/2
    7.0
    """
    x = np.asarray(inputs, dtype=np.float64)
    if x.ndim != 2 or not x.any(axis=1).all():
        raise ValueError("inputs must be a matrix (N, d) without rows of zeros.")
    if table.optimizer != "sgd":
        raise ValueError("the curvature bounds the learning rate of SGD; give a table for it.")
    scales = _scales(width, table, base_width, gains, x.shape[1])
    (v1, v2, v3), (rate1, rate2, rate3) = scales.variances, scales.rates
    products = x @ x.T
    below, gates1 = _averages(v1 * products)
    above, gates2 = _averages(width * v2 * below)
    moved = width * rate2 * below + width * v2 * rate1 * gates1 * products
    kernel = width * rate3 * above + width * v3 * gates2 * moved
    return float(np.linalg.eigvalsh(kernel / len(x))[-1])


def _averages(
    covariance: Float[np.ndarray, "N N"],
) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, "N N"]]:
    """Return E phi(u) phi(v) and E phi'(u) phi'(v) of Gaussians, for the ReLU."""
    size = np.sqrt(np.diag(covariance))
    lengths = np.outer(size, size)
    cosine = np.clip(covariance / lengths, -1.0, 1.0)
    angle = np.arccos(cosine)
    shape = np.sqrt(1.0 - cosine**2) + (math.pi - angle) * cosine
    return lengths * shape / (2.0 * math.pi), (math.pi - angle) / (2.0 * math.pi)


def _scales(
    width: int, table: WidthExponents, base_width: int, gains: Mapping[str, float], d: int
) -> _Scales:
    if width < 1 or base_width < 1:
        raise ValueError("widths must be at least one.")
    if set(gains) != set(_KINDS) or not all(gain > 0 for gain in gains.values()):
        raise ValueError("give a positive gain for each of input, hidden and readout.")
    rows, scale = table.without_multipliers().rows, width / base_width
    fan_in = {"input": d, "hidden": base_width, "readout": base_width}
    variances = [gains[k] ** 2 / fan_in[k] * scale ** (-2.0 * rows[k].initial_std) for k in _KINDS]
    rates = [scale ** -rows[k].learning_rate for k in _KINDS]
    return _Scales(
        width, (variances[0], variances[1], variances[2]), (rates[0], rates[1], rates[2])
    )
