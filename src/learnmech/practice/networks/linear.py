r"""Deep linear networks: f(x) = W_L ... W_1 x, without biases, one or many at once.

Weights may carry leading axes: an ensemble of E networks of the same sizes has W_l of shape
(E, out, in) and maps inputs (n, d) to outputs (E, n, C). Its members never interact.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from learnmech.practice.data import orthonormal

__all__ = ["DeepLinear", "aligned_linear", "gaussian_linear"]


class DeepLinear(nn.Module):
    """A linear network given by its weight matrices, first layer first.

    Args:
        weights: L matrices (..., out, in) with the same leading axes; they are copied, with
            their dtype and device.

    Raises:
        ValueError: On no weights, weights that are not matrices, or shapes that do not fit.

    >>> net = DeepLinear([2 * torch.eye(3), torch.ones(1, 3)])
    >>> net(torch.ones(1, 3)).detach()
    tensor([[6.]])
    """

    def __init__(self, weights: Sequence[Float[Tensor, "..."]]) -> None:
        super().__init__()
        if not weights:
            raise ValueError("a network needs at least one weight matrix.")
        if any(w.ndim < 2 for w in weights):
            raise ValueError("every weight must be a matrix, (..., out, in).")
        for i in range(1, len(weights)):
            below, above = weights[i - 1], weights[i]
            if above.shape[-1] != below.shape[-2] or above.shape[:-2] != below.shape[:-2]:
                raise ValueError(
                    f"layer {i + 1} of shape {tuple(above.shape)} does not fit on layer {i} of "
                    f"shape {tuple(below.shape)}."
                )
        self.weights = nn.ParameterList(nn.Parameter(w.detach().clone()) for w in weights)

    def forward(self, inputs: Float[Tensor, "n d"]) -> Float[Tensor, "*E n C"]:
        """Outputs for all samples, (n, C), or (E, n, C) for an ensemble."""
        hidden = inputs
        for weight in self.weights:
            hidden = hidden @ weight.mT
        return hidden


def gaussian_linear(
    sizes: Sequence[int],
    std: float,
    *,
    generators: Sequence[torch.Generator],
    dtype: torch.dtype = torch.float64,
) -> DeepLinear:
    """Return an ensemble of linear networks with independent Gaussian weights, one per generator.

    Args:
        sizes: Input size, hidden widths, output size.
        std: Standard deviation of every weight.
        generators: One source of randomness per member; layers are drawn first to last.
        dtype: Floating type of the weights.

    Returns:
        A network whose weights have the shape (E, out, in), E the number of generators.

    Raises:
        ValueError: On fewer than two sizes, a size below one, a standard deviation that is not
            positive and finite, or no generator.

    >>> net = gaussian_linear((4, 8, 2), 0.1, generators=[torch.Generator().manual_seed(0)])
    >>> [tuple(w.shape) for w in net.weights]
    [(1, 8, 4), (1, 2, 8)]
    """
    if len(sizes) <= 1 or min(sizes) < 1 or not 0.0 < std < float("inf") or not generators:
        raise ValueError(
            "give at least two sizes of at least one, a positive std and at least one generator."
        )
    members = [
        [
            std * torch.randn(sizes[i + 1], sizes[i], generator=g, dtype=dtype, device=g.device)
            for i in range(len(sizes) - 1)
        ]
        for g in generators
    ]
    return DeepLinear([torch.stack(layer) for layer in zip(*members, strict=True)])


def aligned_linear(
    left: Float[Tensor, "C r"],
    strengths: Float[Tensor, " r"],
    right: Float[Tensor, "d r"],
    *,
    widths: Sequence[int],
    generator: torch.Generator,
) -> DeepLinear:
    """Return a balanced network whose product is U diag(a) V^T: every layer carries a^(1/L).

    Args:
        left: U with orthonormal columns, (C, r).
        strengths: a, positive, (r,), in units of outputs per input.
        right: V with orthonormal columns, (d, r).
        widths: Hidden widths, each at least r; the depth is L = len(widths) + 1.
        generator: Chooses the hidden directions, which the product does not show; its device
            must be that of the matrices.

    Returns:
        A network with the dtype and device of `left`.

    Raises:
        ValueError: On strengths that are not positive and finite, a width below their number,
            or columns that are not orthonormal.

    >>> g = torch.Generator().manual_seed(0)
    >>> net = aligned_linear(torch.eye(2), torch.ones(2), torch.eye(2), widths=[5], generator=g)
    >>> torch.allclose(net.weights[1] @ net.weights[0], torch.eye(2), atol=1e-6)
    True
    """
    positive = bool((strengths > 0).all()) and bool(torch.isfinite(strengths).all())
    if not positive or any(w < strengths.numel() for w in widths):
        raise ValueError(
            "strengths must be positive and finite, and every width at least their number."
        )
    for name, frame in (("left", left), ("right", right)):
        gram = frame.mT @ frame
        eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        if not torch.allclose(gram, eye, atol=1e-5):
            raise ValueError(f"the columns of {name} must be orthonormal.")
    frames = [
        orthonormal(w, strengths.numel(), generator=generator, dtype=left.dtype) for w in widths
    ]
    frames = [right, *frames, left]
    root = strengths ** (1.0 / (len(widths) + 1))
    return DeepLinear([frames[i + 1] * root @ frames[i].mT for i in range(len(widths) + 1)])
