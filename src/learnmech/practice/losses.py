r"""Losses in elementary operations, one number per member of an ensemble.

$$ L = \tfrac12\,\mathrm{mean}_i\,|y_i - f(x_i)|^2, \qquad
   L = \mathrm{mean}_i\Bigl(\ln \sum_c e^{f_c(x_i)} - f_{y_i}(x_i)\Bigr). $$

Means run over samples, and the sum of squares over outputs. Being built of sums, products and
exponentials, their derivatives of any order and in any mode are right; those of PyTorch's fused
squared loss are not (pytorch issue 112013).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["cross_entropy", "half_squared_loss"]


def half_squared_loss(
    outputs: Float[Tensor, "*E n C"], targets: Float[Tensor, "*#E n C"]
) -> Float[Tensor, "*E"]:
    """Return 1/2 mean_i |y_i - f(x_i)|^2, one number per member of an ensemble.

    Args:
        outputs: f(x_i), (n, C), or (E, n, C) for an ensemble.
        targets: y_i, (n, C), or (E, n, C) where members have their own.

    Returns:
        The loss, () or (E,), with the dtype and device of the arguments.

    Raises:
        ValueError: On targets of another shape, which would be broadcast without a word.

    >>> half_squared_loss(torch.zeros(2, 3), torch.ones(2, 3))
    tensor(1.5000)
    """
    if outputs.ndim < 2 or targets.shape[-2:] != outputs.shape[-2:]:
        raise ValueError(
            f"outputs must be (n, C) and targets of the same shape, not {tuple(outputs.shape)} and "
            f"{tuple(targets.shape)}; for one output give targets (n, 1)."
        )
    return 0.5 * ((outputs - targets) ** 2).sum(-1).mean(-1)


def cross_entropy(
    outputs: Float[Tensor, "*E n C"], labels: Int[Tensor, "*#E n"]
) -> Float[Tensor, "*E"]:
    """Return the mean of -ln softmax(f(x_i)) at the label, one number per member, in nats.

    Args:
        outputs: Logits f(x_i), (n, C), or (E, n, C) for an ensemble.
        labels: Classes from 0 to C - 1, (n,), or (E, n) where members have their own.

    Returns:
        The loss, () or (E,), with the dtype and device of the outputs.

    Raises:
        ValueError: On labels of another shape, such as (n, 1) or one-hot rows.

    >>> cross_entropy(torch.zeros(3, 4, dtype=torch.float64), torch.tensor([0, 1, 3])).exp()
    tensor(4., dtype=torch.float64)
    """
    if labels.shape[-1:] != outputs.shape[-2:-1] or labels.ndim >= outputs.ndim:
        raise ValueError(
            f"logits must be (n, C) and labels classes (n,), not {tuple(outputs.shape)} and "
            f"{tuple(labels.shape)}."
        )
    picked = outputs.gather(-1, labels.expand(outputs.shape[:-1])[..., None])[..., 0]
    return (torch.logsumexp(outputs, -1) - picked).mean(-1)
