"""Minibatches: which samples each step sees."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["minibatches"]


def minibatches(
    samples: int,
    batch_size: int,
    generator: torch.Generator | Sequence[torch.Generator],
) -> Iterator[Int[Tensor, "*E b"]]:
    """Yield the indices of one minibatch after another, without end.

    Every epoch is a new random order of all samples, cut into batches of one size; what is left
    over at its end (samples modulo batch size) is not seen in that epoch.

    Args:
        samples: Number of samples n.
        batch_size: Samples per batch b, from one to n.
        generator: Source of randomness, the same batches for all members of an ensemble: (b,); or
            one generator per member, which sees what it would alone: (E, b).

    Raises:
        ValueError: On a batch size out of range, or no generator.

    >>> batches = minibatches(4, 2, torch.Generator().manual_seed(0))
    >>> sorted(torch.cat([next(batches), next(batches)]).tolist())
    [0, 1, 2, 3]
    """
    generators = [generator] if isinstance(generator, torch.Generator) else list(generator)
    if not 1 <= batch_size <= samples or not generators:
        raise ValueError(
            f"batch_size must lie between 1 and the {samples} samples, not {batch_size}, and "
            "there must be a generator."
        )
    while True:
        orders = torch.stack(
            [torch.randperm(samples, generator=g, device=g.device) for g in generators]
        )
        for order in orders.split(batch_size, dim=1):
            if order.shape[1] == batch_size:
                yield order[0] if isinstance(generator, torch.Generator) else order
