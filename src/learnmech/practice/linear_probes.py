r"""Instruments for linear networks: the product of the layers and what it has learned.

They read a model or a recorded product M, (..., C, d), and change nothing. Results have the
dtype and the device of what is read. Leading axes, of members or of times, are kept.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.networks import DeepLinear

__all__ = ["product", "strengths", "subspace_overlap"]


def product(model: DeepLinear) -> Float[Tensor, "*E C d"]:
    """End-to-end matrix W_L ... W_1, (C, d), or (E, C, d) for an ensemble, without gradient.

    >>> product(DeepLinear([2 * torch.eye(2), torch.eye(2)]))
    tensor([[2., 0.],
            [0., 2.]])
    """
    with torch.no_grad():
        result: Tensor = model.weights[0].detach().clone()
        for weight in list(model.weights)[1:]:
            result = weight.detach() @ result
    return result


def strengths(
    products: Float[Tensor, "*T C d"], left: Float[Tensor, "C r"], right: Float[Tensor, "d r"]
) -> Float[Tensor, "*T r"]:
    """Strength u_k^T M v_k of every mode.

    Args:
        products: M, (..., C, d).
        left: Columns u_k, (C, r).
        right: Columns v_k, (d, r).

    Returns:
        The strengths, (..., r), in units of M.

    >>> strengths(torch.eye(2), torch.eye(2), 3 * torch.eye(2))
    tensor([3., 3.])
    """
    projected: Tensor = torch.einsum("ck,...cd,dk->...k", left, products, right)
    return projected


def subspace_overlap(
    products: Float[Tensor, "*T C d"], left: Float[Tensor, "C k"], right: Float[Tensor, "d k"]
) -> Float[Tensor, "*T"]:
    """Share, 0 to 1, of the given k-dimensional subspaces in M's own leading k directions.

    Args:
        products: M, (..., C, d). Where its singular value number k does not exceed the next
            one, its subspace is the linear-algebra library's choice.
        left: Orthonormal basis of a subspace of the outputs, (C, k).
        right: Orthonormal basis of a subspace of the inputs, (d, k).

    Returns:
        The mean squared cosine of the principal angles, both sides averaged, (...).

    Raises:
        ValueError: On no direction, or more than M has.

    >>> subspace_overlap(torch.diag(torch.tensor([1.0, 2.0])), *2 * [torch.eye(2)[:, 1:]])
    tensor(1.)
    """
    k = left.shape[1]
    if not 1 <= k <= min(products.shape[-2:]):
        raise ValueError(f"M of shape {tuple(products.shape)} has no {k} leading directions.")
    u, _, vt = torch.linalg.svd(products, full_matrices=False)
    on_left = ((left.mT @ u[..., :k]) ** 2).sum((-2, -1))
    on_right = ((vt[..., :k, :] @ right) ** 2).sum((-2, -1))
    overlap: Tensor = (on_left + on_right) / (2 * k)
    return overlap
