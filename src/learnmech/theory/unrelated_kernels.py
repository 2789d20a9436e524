r"""What a similarity of representations shows for two that have nothing to do with each other.

Pair the samples of one representation with those of another at random. Over all m! pairings P
the centred kernels K and L, both (m, m), have the mean product

$$ \mathrm E_P\,\langle K, P L P^\top\rangle = \frac{\mathrm{tr} K\,\mathrm{tr} L}{m - 1},
   \qquad\text{so}\qquad
   \mathrm E_P\,\mathrm{CKA} = \frac{\sqrt{r_K\, r_L}}{m - 1}, \qquad
   r_K = \frac{(\mathrm{tr} K)^2}{\lVert K\rVert_F^2}, $$

with $r$ the participation ratio of a kernel's eigenvalues, its effective number of directions.
That is exact, and far from zero unless m is much larger than r. One pairing scatters about it with
a standard deviation of about $\sqrt2/(m - 1)$ or less: eigenvectors of a random pairing have
squared cosines of mean $1/(m-1)$ and variance $2/(m-1)^2$.

References: Song et al., "Feature selection via dependence maximization", JMLR 13 (2012) 1393,
the estimator without this bias; Murphy, Zylberberg and Fyshe, arXiv:2405.01012, the bias in CKA.
"""

import numpy as np
from jaxtyping import Float

from learnmech.theory.kernel_fluctuations import centred_kernel

__all__ = ["participation_ratio", "unrelated_alignment"]


def participation_ratio(kernel: Float[np.ndarray, "..."]) -> float:
    r"""Effective number of directions of a centred kernel, $(\mathrm{tr} K)^2 / \lVert K\rVert^2$.

    Args:
        kernel: K, (m, m), symmetric; it is centred here.

    Returns:
        A number between 1 and m - 1.

    Raises:
        ValueError: On a kernel that is not finite, square, symmetric, or does not vary.

    Reference: the first lines of this module.

    >>> round(participation_ratio(np.eye(4)), 12)  # three directions about the mean
    3.0
    """
    k = centred_kernel(kernel, "kernel")
    return float(np.trace(k) ** 2 / np.sum(k**2))


def unrelated_alignment(
    kernel_x: Float[np.ndarray, "..."], kernel_y: Float[np.ndarray, "..."]
) -> float:
    r"""Mean biased CKA over all ways to pair the samples of two kernels.

    Args:
        kernel_x: K, (m, m), symmetric; it is centred here.
        kernel_y: L, (m, m), likewise.

    Returns:
        $\sqrt{r_K r_L}/(m - 1)$, between $1/(m - 1)$ and 1.

    Raises:
        ValueError: On kernels of different sizes, or as `participation_ratio`.

    Reference: the first lines of this module.

    >>> round(unrelated_alignment(np.eye(5), np.eye(5)), 12)  # more features than samples
    1.0
    """
    if np.shape(kernel_x) != np.shape(kernel_y):
        raise ValueError("both kernels must be of the same number of samples.")
    product = participation_ratio(kernel_x) * participation_ratio(kernel_y)
    return float(np.sqrt(product) / (len(kernel_x) - 1))
