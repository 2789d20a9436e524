r"""What a strong direction in a large random matrix looks like from outside.

A spike of finite rank is seen as an outlier only above a threshold; below it, its eigenvalue
sticks to the edge of the bulk and its eigenvector has no overlap with the planted one. For the
three usual models, with noise of variance $\sigma^2$ set to one:

$$ \begin{array}{llll}
   & \text{seen where} & \text{outlier} & \text{squared overlap} \\
   \text{covariance, } \ell & |\ell - 1| > \sqrt\gamma
     & \ell\,\big(1 + \tfrac{\gamma}{\ell-1}\big)
     & \big(1 - \tfrac{\gamma}{(\ell-1)^2}\big) \big/ \big(1 + \tfrac{\gamma}{\ell-1}\big) \\
   \text{rectangular, } \theta & \theta^4 > \gamma
     & \sqrt{(1+\theta^2)(\gamma+\theta^2)}/\theta
     & \tfrac{\theta^4-\gamma}{\theta^2(\theta^2+1)}
       \text{ and } \tfrac{\theta^4-\gamma}{\theta^2(\theta^2+\gamma)} \\
   \text{symmetric, } \theta & |\theta| > 1 & \theta + 1/\theta & 1 - 1/\theta^2
   \end{array} $$

$\gamma$ is columns over rows, as in `learnmech.theory.random_matrices.bulk`. These are limits
of large matrices: at size N an outlier is off by a random amount of order $N^{-1/2}$, and at
the edge by one of order $N^{-2/3}$. Spikes are assumed to be distinct, few, and independent of
the noise; an update of a trained network is not independent of its initial weights.

References: Baik, Ben Arous and Peche, Ann. Probab. 33 (2005) 1643; Baik and Silverstein,
"Eigenvalues of large sample covariance matrices of spiked population models",
arXiv:math/0408165; Paul, Statistica Sinica 17 (2007) 1617; Benaych-Georges and Nadakuditi,
arXiv:0910.2120 (symmetric) and arXiv:1103.2221 (rectangular).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from learnmech.numerics import ArrayLike

__all__ = [
    "CovarianceSpike",
    "LowRankSpike",
    "SymmetricSpike",
    "covariance_spike",
    "low_rank_spike",
    "symmetric_spike",
]

Array = Float[np.ndarray, "..."]


@dataclass(frozen=True)
class CovarianceSpike:
    """What a spike of the population covariance becomes in the sample covariance."""

    eigenvalue: Float[np.ndarray, "*B"]  # of the sample covariance; an edge where nothing is seen
    overlap: Float[np.ndarray, "*B"]  # squared cosine of sample and population eigenvector
    outlier: Bool[np.ndarray, "*B"]  # whether it leaves the bulk


@dataclass(frozen=True)
class LowRankSpike:
    """What a planted singular value becomes under rectangular noise."""

    singular_value: Float[np.ndarray, "*B"]  # of the sum; the upper edge where nothing is seen
    left_overlap: Float[np.ndarray, "*B"]  # squared cosine on the side of the n rows
    right_overlap: Float[np.ndarray, "*B"]  # squared cosine on the side of the p columns
    outlier: Bool[np.ndarray, "*B"]  # whether it leaves the bulk


@dataclass(frozen=True)
class SymmetricSpike:
    """What a planted eigenvalue becomes under symmetric noise."""

    eigenvalue: Float[np.ndarray, "*B"]  # of the sum; the nearer edge where nothing is seen
    overlap: Float[np.ndarray, "*B"]  # squared cosine of the two eigenvectors
    outlier: Bool[np.ndarray, "*B"]  # whether it leaves the bulk


def covariance_spike(
    population_eigenvalue: ArrayLike, *, aspect_ratio: ArrayLike, variance: ArrayLike = 1.0
) -> CovarianceSpike:
    r"""Sample eigenvalue and eigenvector that belong to one eigenvalue of the covariance.

    n samples of p variables have the covariance $\sigma^2 I$ but for one eigenvalue $\ell$; the
    sample covariance is $X^\top X/n$. Small spikes count as well: $\ell < \sigma^2$ leaves the
    bulk downwards if $\ell < \sigma^2 (1 - \sqrt\gamma)$, which needs $\gamma < 1$.

    Args:
        population_eigenvalue: Ell, positive; all arguments broadcast to B.
        aspect_ratio: Gamma = p/n, positive: variables over samples.
        variance: sigma^2, positive: the other eigenvalues of the covariance.

    Returns:
        The sample eigenvalue, in the units of `population_eigenvalue`, the squared overlap of
        the eigenvectors, and whether there is an outlier at all. Without one, the eigenvalue is
        the edge on the spike's side and the overlap zero.

    Raises:
        ValueError: On an argument that is not positive and finite.

    Reference: Baik and Silverstein, arXiv:math/0408165 (eigenvalues); Paul (2007) and
    Benaych-Georges and Nadakuditi, arXiv:0910.2120 (overlaps).

    >>> seen = covariance_spike(3.0, aspect_ratio=1.0)
    >>> float(seen.eigenvalue), float(seen.overlap)  # 3 (1 + 1/2), (1 - 1/4) / (1 + 1/2)
    (4.5, 0.5)
    """
    ell, gamma, sigma2 = _positive(
        population_eigenvalue=population_eigenvalue, aspect_ratio=aspect_ratio, variance=variance
    )
    excess = ell / sigma2 - 1.0
    outlier = np.asarray((excess**2 > gamma) & ((excess > 0.0) | (gamma < 1.0)))
    safe = np.where(outlier, excess, np.inf)
    seen = ell * (1.0 + gamma / safe)
    edge = sigma2 * (1.0 + np.where(excess < 0.0, -1.0, 1.0) * np.sqrt(gamma)) ** 2
    overlap = (1.0 - gamma / safe**2) / (1.0 + gamma / safe)
    return CovarianceSpike(
        eigenvalue=np.asarray(np.where(outlier, seen, edge)),
        overlap=np.asarray(np.where(outlier, overlap, 0.0)),
        outlier=outlier,
    )


def low_rank_spike(
    strength: ArrayLike, *, aspect_ratio: ArrayLike, variance: ArrayLike = 1.0
) -> LowRankSpike:
    r"""Singular value and vectors of a rank-one matrix plus rectangular noise.

    The matrix is $\theta u v^\top + N$ with unit u (n,) and v (p,), and N (n, p) of independent
    entries of variance $\sigma^2/n$. For noise entries of variance $s^2$ on any shape, take
    `variance` = $n s^2$. The law of N's own singular values is
    `learnmech.theory.random_matrices.SingularValueLaw`. Several spikes with distinct strengths
    do not feel each other.

    Args:
        strength: Theta, positive; all arguments broadcast to B.
        aspect_ratio: Gamma = p/n, positive: columns over rows.
        variance: sigma^2, positive: n times the variance of an entry of the noise.

    Returns:
        The singular value of the sum, in units of `strength`, the squared overlaps of its
        vectors with u and v, and whether there is an outlier: $\theta > \sigma \gamma^{1/4}$.

    Raises:
        ValueError: On an argument that is not positive and finite.

    Reference: Benaych-Georges and Nadakuditi, arXiv:1103.2221, the example of Gaussian noise;
    their c is columns over rows of the transpose.

    >>> seen = low_rank_spike(2.0, aspect_ratio=1.0)  # square: theta + 1/theta, 1 - 1/theta^2
    >>> float(seen.singular_value), float(seen.left_overlap), float(seen.right_overlap)
    (2.5, 0.75, 0.75)
    """
    theta, gamma, sigma2 = _positive(
        strength=strength, aspect_ratio=aspect_ratio, variance=variance
    )
    square = theta**2 / sigma2
    outlier = np.asarray(square**2 > gamma)
    safe = np.where(outlier, square, 1.0)
    seen = np.sqrt((1.0 + safe) * (1.0 + gamma / safe))
    gap = np.where(outlier, safe - gamma / safe, 0.0)
    size = np.sqrt(sigma2) * np.where(outlier, seen, 1.0 + np.sqrt(gamma))
    return LowRankSpike(
        singular_value=np.asarray(size),
        left_overlap=np.asarray(gap / (safe + 1.0)),
        right_overlap=np.asarray(gap / (safe + gamma)),
        outlier=outlier,
    )


def symmetric_spike(strength: ArrayLike, *, variance: ArrayLike = 1.0) -> SymmetricSpike:
    r"""Eigenvalue and eigenvector of a rank-one matrix plus symmetric noise.

    The matrix is $\theta u u^\top + W$ with a unit u and W (N, N) symmetric, its entries of
    variance $\sigma^2/N$ off the diagonal (`learnmech.theory.random_matrices.Semicircle`).

    Args:
        strength: Theta, of either sign and not zero; broadcasts with `variance`.
        variance: sigma^2, positive: N times the variance of an entry.

    Returns:
        The eigenvalue, in units of `strength`, the squared overlap, and whether there is an
        outlier: the modulus of theta is above sigma.

    Raises:
        ValueError: On an argument that is not finite, a variance that is not positive, or a
            strength of zero.

    Reference: Benaych-Georges and Nadakuditi, arXiv:0910.2120, the example of the Gaussian
    Wigner matrix.

    >>> seen = symmetric_spike([2.0, 0.5])
    >>> seen.eigenvalue, seen.overlap
    (array([2.5, 2. ]), array([0.75, 0.  ]))
    """
    sign = np.sign(np.asarray(strength, dtype=np.float64))
    theta, sigma2 = _positive(strength=sign * strength, variance=variance)
    square = theta**2 / sigma2
    outlier = np.asarray(square > 1.0)
    safe = np.where(outlier, square, 1.0)
    size = np.where(outlier, theta * (1.0 + 1.0 / safe), 2.0 * np.sqrt(sigma2))
    return SymmetricSpike(
        eigenvalue=np.asarray(sign * size), overlap=np.asarray(1.0 - 1.0 / safe), outlier=outlier
    )


def _positive(**arguments: ArrayLike) -> list[Array]:
    """Return the arguments as float64 arrays of one shape, all positive, or a ValueError."""
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in arguments.items()}
    for name, array in arrays.items():
        if not np.all(np.isfinite(array) & (array > 0.0)):
            raise ValueError(f"{name} must be positive and finite; leave out spikes of zero.")
    try:
        return [np.asarray(array) for array in np.broadcast_arrays(*arrays.values())]
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"the arguments do not broadcast: {shapes}.") from error
