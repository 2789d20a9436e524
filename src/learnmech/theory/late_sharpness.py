r"""How sharpness falls with the loss once cross-entropy has separated the training data.

When every sample is on its right side, the Gauss-Newton part of the Hessian is made of
probabilities $p(1-p)$, each about as large as the loss of its sample, times squared gradients of
margins. A network that is homogeneous of degree D in its parameters has margins
$m \propto \rho^D$ and their gradients $\propto \rho^{D-1}$ at parameter norm $\rho$, while its
direction settles. With $m \approx \ln(1/L)$,

$$ S \;\propto\; L\, \Big(\ln \frac1L\Big)^{2 - 2/D}, $$

the exponent of L itself being one, approached from below and slowly. Here the loss is the mean
cross-entropy in nats and S the largest eigenvalue of its Hessian.

References: Cohen et al., arXiv:2103.00065, for the fall of the sharpness; Lyu and Li,
arXiv:1906.05890, for margins and directions of homogeneous networks. The power of the logarithm was
derived here.
"""

import numpy as np

__all__ = ["late_sharpness_exponent"]


def late_sharpness_exponent(
    first_loss: float, last_loss: float, degree: int, *, margin_shift: float = 0.0
) -> float:
    r"""Slope of ln S against ln L between two losses, logarithm included.

    $1 - (2 - 2/D)\, \ln(m_2/m_1) / \ln(L_1/L_2)$ with $m_i = \ln(1/L_i) + s$.

    Args:
        first_loss: L_1, the larger loss.
        last_loss: L_2, smaller than L_1; both are positive.
        degree: D, at least 1: the number of layers of a ReLU network without biases.
        margin_shift: s, what factors of order one inside the logarithm would add to the margins.

    Returns:
        The exponent, at most one.

    Raises:
        ValueError: On losses out of order, margins that are not positive, or a degree below one.

    Loss convention: mean cross-entropy in nats.

    Reference: the first lines of this module.

    >>> late_sharpness_exponent(1e-2, 1e-4, degree=1)  # a linear classifier has no logarithm
    1.0
    """
    if not 0.0 < last_loss < first_loss < np.inf:
        raise ValueError("losses must be positive, and last_loss smaller than first_loss.")
    if degree < 1:
        raise ValueError(f"degree must be at least 1, not {degree}.")
    first, last = (np.log(1.0 / loss) + margin_shift for loss in (first_loss, last_loss))
    if not first > 0.0:
        raise ValueError("margins ln(1/L) + margin_shift must be positive: the loss is too large.")
    power = 2.0 - 2.0 / degree
    return float(1.0 - power * np.log(last / first) / np.log(first_loss / last_loss))
