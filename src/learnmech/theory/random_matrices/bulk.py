r"""Where the eigenvalues and singular values of large random matrices lie.

Let X be (n, p) with independent entries of mean zero and variance $\sigma^2$, and
$\gamma = p/n$ its aspect ratio, fixed while n and p grow. The eigenvalues of the (p, p) matrix
$S = X^\top X/n$ follow the Marchenko-Pastur law

$$ \rho(x) = \frac{\sqrt{(b-x)(x-a)}}{2\pi\gamma\sigma^2 x}, \quad a \le x \le b, \qquad
   a, b = \sigma^2 (1 \mp \sqrt\gamma)^2, $$

with an atom of weight $1 - 1/\gamma$ at zero where $\gamma > 1$. Its singular-value version
belongs to $X/\sqrt n$. A symmetric (N, N) matrix whose entries have variance $\sigma^2/N$ off
the diagonal follows the semicircle law, $\rho(x) = \sqrt{4\sigma^2 - x^2}/(2\pi\sigma^2)$.

Cumulative distributions are closed forms. With $r = \sqrt\gamma \le 1$ and
$x = \sigma^2 (1 + r^2 - 2r\cos\psi)$, $0 \le \psi \le \pi$, the Marchenko-Pastur one is

$$ F(x) = \frac1\pi\Big[\psi + A + \frac{r\sin\psi - A}{r^2}\Big], \qquad
   A = \arctan\frac{r\sin\psi}{1 - r\cos\psi} = \sum_{k\ge1} \frac{r^k \sin k\psi}{k}; $$

it follows by integrating $\sin^2$ over the Poisson kernel, and $\gamma > 1$ reduces to
$1/\gamma$ because X and its transpose share their singular values. Absolute errors are below
1e-14, also at the edges and for very small $\gamma$, where the last term is summed as a series.

The largest eigenvalue is off the edge b by a random amount of order $N^{-2/3}$, and the
empirical distribution function is off by order $1/N$.

References: Marchenko and Pastur, "Distribution of eigenvalues for some sets of random matrices",
Math. USSR-Sbornik 1 (1967) 457; Wigner, Ann. Math. 67 (1958) 325; textbook: Bai and Silverstein,
*Spectral Analysis of Large Dimensional Random Matrices*, second edition, chapters 2 and 3.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike

__all__ = ["MarchenkoPastur", "Semicircle", "SingularValueLaw"]

Array = Float[np.ndarray, "..."]

SERIES_BELOW = 0.05  # below this root of the aspect ratio, ORDERS terms leave an error of 1e-17
ORDERS = 12


@dataclass(frozen=True)
class MarchenkoPastur:
    r"""Law of all p eigenvalues of $X^\top X/n$, X (n, p) with entries of variance $\sigma^2$.

    Args:
        aspect_ratio: Gamma = p/n, positive: columns over rows.
        variance: sigma^2, positive.

    Raises:
        ValueError: On an aspect ratio or a variance that is not positive and finite.

    Reference: Marchenko and Pastur (1967); Bai and Silverstein, chapter 3.

    >>> law = MarchenkoPastur(0.25)
    >>> law.edges
    (0.25, 2.25)
    >>> round(law.moment(2), 12)  # 1 + gamma
    1.25
    """

    aspect_ratio: float  # gamma = p/n, columns over rows
    variance: float = 1.0  # of the entries of X, sigma^2

    def __post_init__(self) -> None:
        _check(self)

    @property
    def edges(self) -> tuple[float, float]:
        r"""Both ends of the continuous part, $\sigma^2 (1 \mp \sqrt\gamma)^2$."""
        low, high = _unit_edges(self.aspect_ratio)
        return self.variance * low**2, self.variance * high**2

    @property
    def atom(self) -> float:
        """Share of the eigenvalues that are zero because X has fewer rows than columns."""
        return max(0.0, 1.0 - 1.0 / self.aspect_ratio)

    def density(self, x: ArrayLike) -> Array:
        r"""Density of the continuous part at x, of mass $\min(1, 1/\gamma)$; zero outside.

        At $\gamma = 1$ it grows as $x^{-1/2}$ towards zero, and is infinite there.
        """
        x = _real(x)
        low, high = self.edges
        inside = (x >= low) & (x <= high)
        at = np.where(inside, x, high)
        with np.errstate(divide="ignore"):
            over_x = at**-0.5 if low == 0.0 else np.sqrt(at - low) / at
        value = np.sqrt(high - at) * over_x
        scale = 2.0 * math.pi * self.aspect_ratio * self.variance
        return np.asarray(np.where(inside, value, 0.0) / scale)

    def cdf(self, x: ArrayLike) -> Array:
        """Share of the eigenvalues at or below x, the atom at zero included."""
        x = _real(x)
        continuous = _nonzero_cdf(x / self.variance, self.aspect_ratio)
        return np.asarray(self.atom * (x >= 0.0) + (1.0 - self.atom) * continuous)

    def moment(self, order: int) -> float:
        r"""Mean of $x^k$ over all eigenvalues: $\sigma^{2k} \sum_j N(k, j) \gamma^{j-1}$.

        $N(k, j) = \binom{k}{j}\binom{k}{j-1}/k$ are the Narayana numbers.

        Args:
            order: k, at least 0.

        Raises:
            ValueError: On an order that is negative or not whole.
        """
        _check_order(order)
        if order == 0:
            return 1.0
        narayana = [
            math.comb(order, j) * math.comb(order, j - 1) // order for j in range(1, order + 1)
        ]
        powers = (self.aspect_ratio**j for j in range(order))
        return self.variance**order * math.fsum(map(math.prod, zip(narayana, powers, strict=True)))


@dataclass(frozen=True)
class SingularValueLaw:
    r"""Law of the min(n, p) singular values of $X/\sqrt n$, X (n, p) with variance $\sigma^2$.

    They are what an SVD returns: for $\gamma > 1$ the zeros that $X^\top X$ has and the SVD
    leaves out are not counted. At $\gamma = 1$ this is the quarter circle on $[0, 2\sigma]$.
    For a layer (out, in) at its usual start, entries of variance $\sigma^2$/in, take the
    transpose: $\gamma$ = out/in.

    Args:
        aspect_ratio: Gamma = p/n, positive: columns over rows.
        variance: sigma^2, positive.

    Raises:
        ValueError: On an aspect ratio or a variance that is not positive and finite.

    Reference: Bai and Silverstein, chapter 3, with the eigenvalue $x = s^2$.

    >>> law = SingularValueLaw(1.0)
    >>> round(float(law.density(0.0)) * math.pi, 12), float(law.cdf(2.0))
    (2.0, 1.0)
    """

    aspect_ratio: float  # gamma = p/n, columns over rows
    variance: float = 1.0  # of the entries of X, sigma^2

    def __post_init__(self) -> None:
        _check(self)

    @property
    def edges(self) -> tuple[float, float]:
        r"""Both ends, $\sigma |1 - \sqrt\gamma|$ and $\sigma (1 + \sqrt\gamma)$."""
        low, high = _unit_edges(self.aspect_ratio)
        return math.sqrt(self.variance) * low, math.sqrt(self.variance) * high

    def density(self, s: ArrayLike) -> Array:
        r"""Density $2 s \rho(s^2)$ at s, scaled to mass one; zero outside the edges."""
        s = _real(s)
        low, high = self.edges
        inside = (s >= low) & (s <= high)
        at = np.where(inside, s, high)
        over_s = np.ones_like(at) if low == 0.0 else np.sqrt((at - low) * (at + low)) / at
        value = np.sqrt((high - at) * (high + at)) * over_s
        scale = math.pi * self.variance * min(1.0, self.aspect_ratio)
        return np.asarray(np.where(inside, value, 0.0) / scale)

    def cdf(self, s: ArrayLike) -> Array:
        """Share of the singular values at or below s."""
        s = _real(s)
        square = np.where(s > 0.0, s**2, -1.0) / self.variance
        return _nonzero_cdf(square, self.aspect_ratio)


@dataclass(frozen=True)
class Semicircle:
    r"""Law of the eigenvalues of a symmetric (N, N) matrix with entries of variance $\sigma^2/N$.

    Args:
        variance: sigma^2, positive: N times the variance of an entry off the diagonal.

    Raises:
        ValueError: On a variance that is not positive and finite.

    Reference: Wigner (1958); Bai and Silverstein, chapter 2.

    >>> law = Semicircle()
    >>> law.edges, float(law.cdf(0.0)), law.moment(4)
    ((-2.0, 2.0), 0.5, 2.0)
    """

    variance: float = 1.0  # N times the variance of an entry

    def __post_init__(self) -> None:
        _check(self)

    @property
    def edges(self) -> tuple[float, float]:
        """Both ends, minus and plus two sigma."""
        return -2.0 * math.sqrt(self.variance), 2.0 * math.sqrt(self.variance)

    def density(self, x: ArrayLike) -> Array:
        """Density at x, of mass one; zero outside the edges."""
        low, high = self.edges
        x = _real(x).clip(low, high)
        return np.asarray(np.sqrt((high - x) * (x - low)) / (2.0 * math.pi * self.variance))

    def cdf(self, x: ArrayLike) -> Array:
        """Share of the eigenvalues at or below x."""
        low, high = self.edges
        x = _real(x).clip(low, high)
        psi = 2.0 * np.arctan2(np.sqrt(x - low), np.sqrt(high - x))
        return np.asarray((psi - 0.5 * np.sin(2.0 * psi)) / math.pi)

    def moment(self, order: int) -> float:
        r"""Mean of $x^k$: $\sigma^k$ times a Catalan number for even k, zero for odd k.

        Args:
            order: k, at least 0.

        Raises:
            ValueError: On an order that is negative or not whole.
        """
        _check_order(order)
        if order % 2:
            return 0.0
        half = order // 2
        return self.variance**half * float(math.comb(order, half) // (half + 1))


def _unit_edges(aspect_ratio: float) -> tuple[float, float]:
    """Smallest and largest singular value for unit variance, the first without cancellation."""
    high = 1.0 + math.sqrt(aspect_ratio)
    return abs(1.0 - aspect_ratio) / high, high


def _nonzero_cdf(x: ArrayLike, aspect_ratio: float) -> Array:
    """Marchenko-Pastur distribution function of the min(n, p) eigenvalues, unit variance."""
    x = np.asarray(x)
    if aspect_ratio > 1.0:
        x, aspect_ratio = x / aspect_ratio, 1.0 / aspect_ratio
    r = math.sqrt(aspect_ratio)
    low, high = _unit_edges(aspect_ratio)
    below, x = x < high**2, x.clip(low**2, high**2)
    # Both edges are one double where gamma is tiny, and the arctangent then knows no side.
    psi = np.where(below, 2.0 * np.arctan2(np.sqrt(x - low**2), np.sqrt(high**2 - x)), math.pi)
    harmonic = np.arctan2(r * np.sin(psi), 1.0 - r * np.cos(psi))
    if r < SERIES_BELOW:
        orders = np.arange(2, 2 + ORDERS)
        rest = -np.sin(psi[..., None] * orders) @ (r ** (orders - 2) / orders)
    else:
        rest = (r * np.sin(psi) - harmonic) / r**2
    return np.asarray(((psi + harmonic + rest) / math.pi).clip(0.0, 1.0))


def _real(value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if np.any(np.isnan(array)):
        raise ValueError("a law is evaluated at numbers, and one of them is NaN.")
    return array


def _check(law: MarchenkoPastur | SingularValueLaw | Semicircle) -> None:
    """Make floats of the parameters, which NumPy's single precision is not, or refuse them."""
    for field in fields(law):
        value = float(getattr(law, field.name))
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{field.name} must be positive and finite, not {value}.")
        object.__setattr__(law, field.name, value)


def _check_order(order: int) -> None:
    if not isinstance(order, int | np.integer) or order < 0:
        raise ValueError(f"a moment has a whole order of at least 0, not {order}.")
