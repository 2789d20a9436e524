r"""What a data set is, and how it is parted: n rows of inputs (n, d) and targets (n, C)."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Dataset", "choose", "required", "split"]


@dataclass(frozen=True)
class Dataset:
    """Inputs and targets, one row per sample."""

    name: str  # the name it was loaded by
    inputs: Float[Tensor, "n d"] | Int[Tensor, "n d"]  # (n, d); integers are tokens
    targets: Float[Tensor, "n C"]  # (n, C)
    labels: Int[Tensor, " n"] | None = None  # class of each sample, 0 to C - 1, if it has one

    def moments(
        self,
    ) -> tuple[Float[Tensor, "C d"], Float[Tensor, "d d"], float]:
        """Sigma_yx = Y^T X / n, Sigma_xx = X^T X / n and E|y|^2, all that a linear net sees.

        >>> Dataset("line", torch.ones(4, 1), 2 * torch.ones(4, 1)).moments()
        (tensor([[2.]]), tensor([[1.]]), 4.0)
        """
        n = self.inputs.shape[0]
        inputs = self.inputs.to(self.targets.dtype)
        correlation = self.targets.mT @ inputs / n
        covariance = inputs.mT @ inputs / n
        return correlation, covariance, float((self.targets**2).sum() / n)

    def rows(self, index: Int[Tensor, " m"]) -> "Dataset":
        """Return the data set of the samples with the given numbers, in that order.

        >>> data = Dataset("line", torch.arange(3.0)[:, None], torch.ones(3, 1))
        >>> data.rows(torch.tensor([2, 0])).inputs
        tensor([[2.],
                [0.]])
        """
        index = index.to(self.inputs.device)
        labels = None if self.labels is None else self.labels[index]
        return replace(self, inputs=self.inputs[index], targets=self.targets[index], labels=labels)

    def to(self, device: torch.device | str) -> "Dataset":
        """Return the data set on another device.

        >>> Dataset("line", torch.ones(4, 1), torch.ones(4, 1)).to("cpu").inputs.device
        device(type='cpu')
        """
        labels = None if self.labels is None else self.labels.to(device)
        return replace(
            self, inputs=self.inputs.to(device), targets=self.targets.to(device), labels=labels
        )


def split(
    dataset: Dataset, share: float | int | np.integer[Any], *, generator: torch.Generator
) -> tuple[Dataset, Dataset]:
    """Part a data set at random into two that have no sample in common.

    Rows are taken as they are: what was centred or whitened over all samples is so only
    approximately over a part. From generators with the same seed, the first parts for growing
    shares are nested, as a learning curve wants them.

    Args:
        dataset: n samples.
        share: Share of the first part, a float between 0 and 1 (rounded to whole samples), or
            its number of samples, an integer from 1 to n - 1.
        generator: Source of randomness, on any device.

    Returns:
        The first part (usually for training) and the rest, each in random order.

    Raises:
        ValueError: On a share that leaves one part empty.

    >>> data = Dataset("line", torch.arange(10.0)[:, None], torch.ones(10, 1))
    >>> train, test = split(data, 0.8, generator=torch.Generator().manual_seed(0))
    >>> len(train.inputs), len(test.inputs)
    (8, 2)
    >>> torch.equal(torch.cat([train.inputs, test.inputs]).sort(0).values, data.inputs)
    True
    """
    n = len(dataset.inputs)
    if isinstance(share, int | np.integer):
        first = int(share)
    elif 0.0 < share < 1.0:
        first = round(share * n)
    else:
        raise ValueError(f"a float share must lie between 0 and 1, not {share}.")
    if not 1 <= first <= n - 1:
        raise ValueError(
            f"{first} of {n} samples leave one part empty; take from 1 to {n - 1} samples."
        )
    order = torch.randperm(n, generator=generator, device=generator.device)
    return dataset.rows(order[:first]), dataset.rows(order[first:])


def required(generator: torch.Generator | None, name: str) -> torch.Generator:
    """Return the generator, or say that the data set `name` needs one.

    Args:
        generator: What the caller was given.
        name: Name of the data set, or of the choice that is random, for the message.

    Raises:
        ValueError: Where there is no generator.
    """
    if generator is None:
        raise ValueError(f"{name!r} is random; pass generator=torch.Generator().manual_seed(...).")
    return generator


def choose(
    n: int, samples: int | None, generator: torch.Generator | None, name: str
) -> Int[Tensor, " m"]:
    """Return the numbers of `samples` of n rows, drawn without replacement, or of all of them.

    Args:
        n: Number of rows there are.
        samples: Number of rows to draw, from 1 to n; None takes all, in order.
        generator: Source of randomness, needed unless `samples` is None.
        name: Name of the data set, for messages.

    Raises:
        ValueError: On more samples than there are, fewer than one, or no generator.

    >>> choose(3, None, None, "line")
    tensor([0, 1, 2])
    """
    if samples is None:
        return torch.arange(n)
    if not 1 <= samples <= n:
        raise ValueError(f"{name!r} has {n} samples here; samples={samples} cannot be drawn.")
    source = required(generator, f"a subset of {name}")
    return torch.randperm(n, generator=source, device=source.device)[:samples].cpu()
