r"""How many directions a matrix, or a covariance, really uses.

$$ \exp\Big(-\sum_k p_k \ln p_k\Big), \qquad p_k = s_k \Big/ \sum_j s_j , $$

with the singular values $s_k$: between one and the rank, and equal to it where all $s_k$ agree.

Reference: Roy and Vetterli, "The effective rank: a measure of effective dimensionality" (EUSIPCO
2007).
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["effective_rank"]


def effective_rank(matrices: Float[Tensor, "*T C d"]) -> Float[Tensor, "*T"]:
    r"""Exponential of the entropy of a matrix's normalised singular values.

    $\exp(-\sum_k p_k \ln p_k)$, with $p$ the singular values over their sum.

    Args:
        matrices: (..., C, d).

    Returns:
        The effective rank, from one to min(C, d), (...).

    Raises:
        ValueError: On a matrix that is zero or not finite.

    Reference: Roy and Vetterli, "The effective rank" (EUSIPCO 2007).

    >>> effective_rank(torch.eye(3, dtype=torch.float64)).round(decimals=12)
    tensor(3., dtype=torch.float64)
    """
    finite = bool(torch.isfinite(matrices).all())
    if not finite or not bool((matrices != 0).any(-1).any(-1).all()):
        raise ValueError("effective rank needs finite matrices that are not zero.")
    values = torch.linalg.svdvals(matrices)
    values = values / values[..., :1]  # their sum then cannot overflow
    share = values / values.sum(-1, keepdim=True)
    return torch.exp(torch.special.entr(share).sum(-1))
