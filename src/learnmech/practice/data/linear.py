r"""Regression that a linear map solves, whitened exactly: low-rank teachers and hierarchies.

$$ Y = X V \mathrm{diag}(s) U^\top, \qquad X^\top X / n = I_d, $$

with X of shape (n, d), orthonormal columns in V (d, r) and U (C, r), and singular values s (r,)
of $\Sigma_{yx} = Y^\top X / n = U \mathrm{diag}(s) V^\top$. "Whitened" is meant exactly, over the
n samples given, not in expectation.

Reference: Saxe, McClelland and Ganguli, arXiv:1312.6120 and arXiv:1810.10531 (the hierarchy).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.data.dataset import Dataset, required

__all__ = ["hierarchy", "orthonormal", "teacher"]

_SINGULAR_VALUES = (3.0, 1.8, 1.0, 0.6, 0.35)


def orthonormal(
    rows: int, columns: int, *, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "{rows} {columns}"]:
    """Return a random matrix with orthonormal columns, uniform over all of them (Haar).

    Q of the QR decomposition of a Gaussian matrix, each column with the sign that makes the
    diagonal of R positive (Mezzadri, arXiv:math-ph/0609050).

    Args:
        rows: Number of dimensions.
        columns: Number of columns, from one to `rows`.
        generator: Source of randomness; the result lies on its device.
        dtype: Floating type of the result.

    Raises:
        ValueError: On more columns than rows, or none.

    >>> q = orthonormal(5, 2, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(q.mT @ q, torch.eye(2, dtype=torch.float64))
    True
    """
    if not 1 <= columns <= rows:
        raise ValueError(f"{columns} orthonormal columns do not fit into {rows} dimensions.")
    gaussian = torch.randn(rows, columns, generator=generator, dtype=dtype, device=generator.device)
    q, r = torch.linalg.qr(gaussian)
    uniform: Tensor = q * torch.sign(torch.diagonal(r))
    return uniform


def hierarchy(
    *,
    singular_values: Sequence[float] = _SINGULAR_VALUES,
    outputs: int = 12,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Make "hierarchy": 8 items, leaves of a binary tree, one sample each.

    Mode k is the k-th split of the tree, top split first, and its singular value the k-th of
    `singular_values`; inputs are (8, 8), targets (8, C).

    Args:
        singular_values: s, 1 to 7 of them, at most one per output.
        outputs: Number of target dimensions C.
        generator: Source of randomness, required; the result lies on its device.
        dtype: Floating type of the result.

    Raises:
        ValueError: On settings that cannot be met.

    >>> data = hierarchy(singular_values=(2.0,), generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(data.targets[0], -data.targets[7])  # the two sides of the top split
    True
    """
    items = 8
    generator = required(generator, "hierarchy")
    _check_positive(singular_values)
    if not 1 <= len(singular_values) <= min(items - 1, outputs):
        raise ValueError(f"a tree of {items} items has 1 to 7 modes, at most one per output.")
    device = generator.device
    splits = torch.zeros(items, items - 1, dtype=dtype, device=device)
    column = 0
    for size in (8, 4, 2):
        for first in range(0, items, size):
            splits[first : first + size // 2, column] = size**-0.5
            splits[first + size // 2 : first + size, column] = -(size**-0.5)
            column += 1
    v = splits[:, : len(singular_values)]
    u = orthonormal(outputs, len(singular_values), generator=generator, dtype=dtype)
    inputs = items**0.5 * torch.eye(items, dtype=dtype, device=device)
    values = torch.tensor(singular_values, dtype=dtype, device=device)
    return Dataset("hierarchy", inputs, inputs @ v * values @ u.mT)


def teacher(
    *,
    components: int = 30,
    singular_values: Sequence[float] = _SINGULAR_VALUES,
    samples: int = 200,
    outputs: int = 12,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Make "teacher": Gaussian inputs, centred and whitened exactly, and a low-rank linear map.

    Args:
        components: Number of input dimensions d.
        singular_values: s, at most min(d, C) of them; their number is the rank.
        samples: Number of samples n, more than d.
        outputs: Number of target dimensions C.
        generator: Source of randomness, required; the result lies on its device.
        dtype: Floating type of the result.

    Raises:
        ValueError: On settings that cannot be met.

    >>> data = teacher(singular_values=(2.0, 1.0), generator=torch.Generator().manual_seed(0))
    >>> torch.linalg.svdvals(data.moments()[0])[:2]
    tensor([2.0000, 1.0000], dtype=torch.float64)
    """
    generator = required(generator, "teacher")
    _check_positive(singular_values)
    rank = len(singular_values)
    if not 1 <= rank <= min(components, outputs) or samples <= components:
        raise ValueError(
            "a teacher needs at most min(components, outputs) singular values, and more samples "
            "than components."
        )
    device = generator.device
    gaussian = torch.randn(samples, components, generator=generator, dtype=dtype, device=device)
    q, _ = torch.linalg.qr(gaussian - gaussian.mean(0))
    inputs = samples**0.5 * q
    u = orthonormal(outputs, rank, generator=generator, dtype=dtype)
    v = orthonormal(components, rank, generator=generator, dtype=dtype)
    values = torch.tensor(singular_values, dtype=dtype, device=device)
    return Dataset("teacher", inputs, inputs @ v * values @ u.mT)


def _check_positive(values: Sequence[float]) -> None:
    if any(not 0.0 < s < float("inf") for s in values):
        raise ValueError("singular_values must be positive and finite.")
