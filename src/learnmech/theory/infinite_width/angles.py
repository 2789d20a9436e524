r"""Angles between inputs, accurate however small they are or however near to a half turn.

With $g = x^\top y$ and a constant $\tau$ appended to both inputs (a bias), the angle between
$(x, \tau)$ and $(y, \tau)$ has

$$ \cos\theta = \frac{g + \tau^2}{\sqrt{(|x|^2+\tau^2)(|y|^2+\tau^2)}}, \qquad
   \sin^2\theta = \frac{|x|^2|y|^2 - g^2 + \tau^2 |x-y|^2}{(|x|^2+\tau^2)(|y|^2+\tau^2)} . $$

The numerator on the right cancels for (anti)parallel inputs, where a matrix product leaves an
error of $10^{-16}$ in $\sin^2\theta$, so of $10^{-8}$ in $\theta$. For those pairs alone, found
by the cancellation itself, it is formed from differences: $|x|^2|y|^2 - g^2 = |x|^2 |r|^2$ with
$r = y - (g/|x|^2)\,x$, whose product is carried in two parts (Dekker, "A floating-point technique
for extending the available precision", Numerische Mathematik 18, 1971).

Shapes: inputs (n, d), angles of a tile (rows, columns).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["Inputs", "angles", "prepare"]

Array = Float[np.ndarray, "..."]

_CANCELLED = 1e-3  # share of the numerator below which it is formed from differences
_PAIR_ELEMENTS = 1 << 16  # numbers handled at once for such pairs
_SPLITTER = 2.0**27 + 1.0


@dataclass(frozen=True)
class Inputs:
    """Inputs times a power of two, which leaves angles and digits as they are."""

    scaled: Float[np.ndarray, "n d"]  # inputs over `scale`, entries of order one
    squares: Float[np.ndarray, " n"]  # squared norms of those
    scale: Float[np.ndarray, " n"]  # powers of two; one for all where there is a bias

    def part(self, rows: slice) -> "Inputs":
        """Return some of the rows."""
        return Inputs(self.scaled[rows], self.squares[rows], self.scale[rows])


def prepare(x: Float[np.ndarray, "n d"], largest: float | None = None) -> Inputs:
    """Divide every row by a power of two near its largest entry, or near `largest` if given."""
    reach = np.abs(x).max(axis=1) if largest is None else np.full(len(x), largest)
    exponents = np.frexp(reach)[1]
    scaled = np.ldexp(x, -exponents[:, None])
    return Inputs(scaled, np.einsum("ij,ij->i", scaled, scaled), np.ldexp(1.0, exponents))


def angles(
    first: Inputs, second: Inputs, bias: float
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]]:
    """Cosines and sines of the angles between rows with the constant `bias` appended.

    Sines have a relative error of about 1e-13, near zero and half a turn too. A row of zeros
    without a bias has no angle: its cosines and sines are zero.
    """
    square = bias * bias
    a, b = first.squares[:, None], second.squares
    product = first.scaled @ second.scaled.T
    sine = a * b
    sine -= product * product
    whole = a * (b + square)
    if square:
        sine += square * ((a + b) - 2.0 * product)
        whole += square * b
    cancelled = sine < _CANCELLED * whole
    lengths = _nonzero_root(a + square) * _nonzero_root(b + square)
    np.sqrt(np.maximum(sine, 0.0, out=sine), out=sine)
    sine /= lengths
    cosine = product
    cosine += square
    cosine /= lengths
    rows, columns = np.nonzero(cancelled)
    step = max(1, _PAIR_ELEMENTS // first.scaled.shape[1])
    for start in range(0, len(rows), step):
        i, j = rows[start : start + step], columns[start : start + step]
        numerator = _from_differences(first.scaled[i], second.scaled[j], first.squares[i], square)
        sine[i, j] = np.sqrt(numerator) / lengths[i, j]
        cosine[i, j] = np.copysign(np.sqrt(1.0 - sine[i, j] ** 2), cosine[i, j])
    return cosine, sine


def _from_differences(
    x: Float[np.ndarray, "m d"],
    y: Float[np.ndarray, "m d"],
    squares: Float[np.ndarray, " m"],
    square: float,
) -> Float[np.ndarray, " m"]:
    """Return the numerator of sin^2 for pairs of rows; `squares` are those of x, not zero."""
    residual = _minus_multiple(y, np.einsum("ij,ij->i", x, y) / squares, x)
    residual -= (np.einsum("ij,ij->i", x, residual) / squares)[:, None] * x
    numerator = squares * np.einsum("ij,ij->i", residual, residual)
    if square:
        numerator += square * ((x - y) ** 2).sum(axis=1)
    return np.asarray(numerator)


def _minus_multiple(
    y: Float[np.ndarray, "m d"], factor: Float[np.ndarray, " m"], x: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "m d"]:
    """Return y - factor x, with the product carried in two parts so that nothing is lost."""
    factor = factor[:, None]
    high = factor * x
    factor_high, x_high = _upper_half(factor), _upper_half(x)
    factor_low, x_low = factor - factor_high, x - x_high
    low = factor_high * x_high - high
    low += factor_high * x_low
    low += factor_low * x_high
    low += factor_low * x_low
    return np.asarray((y - high) - low)


def _upper_half(x: Array) -> Array:
    shifted = _SPLITTER * x
    return np.asarray(shifted - (shifted - x))


def _nonzero_root(x: Array) -> Array:
    root = np.sqrt(x)
    return np.asarray(np.where(root > 0.0, root, 1.0))
