r"""How many of a sample's nearest neighbours two representations share.

With $\mathcal N_k(x_i)$ the k samples nearest to sample i, itself left out,

$$ m = \frac1n \sum_i \frac{|\mathcal N_k(x_i) \cap \mathcal N_k(y_i)|}{k}, \qquad
   \mathrm{E}\,m = \frac{k}{n-1} \text{ for unrelated representations.} $$

References: Huh et al., "The platonic representation hypothesis", arXiv:2405.07987, where it is
called the mutual nearest-neighbour metric and k = 10, with cosines as similarities.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from learnmech.practice.representations.centring import paired, power_of_two

__all__ = ["NeighbourOverlap", "mutual_neighbours"]

BLOCK = 2**24  # similarities held at once


@dataclass(frozen=True)
class NeighbourOverlap:
    """Shared nearest neighbours of two representations."""

    overlap: float  # mean over samples of the shared share of k neighbours, 0 to 1
    chance: float  # its expectation for unrelated representations, k / (n - 1)
    per_sample: Float[Tensor, " n"]  # shared share for each sample, float64


@torch.no_grad()
def mutual_neighbours(
    x: Float[Tensor, "n p"],
    y: Float[Tensor, "m q"],
    k: int = 10,
    *,
    metric: Literal["cosine", "euclidean"] = "cosine",
) -> NeighbourOverlap:
    r"""Share of the k nearest neighbours that two representations have in common.

    A sample is never its own neighbour, also where others coincide with it. Of samples that are
    equally near, those of lower index come first, so the result does not depend on a library's
    choice. Nearness is computed in float64; Euclidean distances between features that are
    integers are exact, and so are their ties.

    Args:
        x: Features, (n, p), one row per sample.
        y: Features of the same samples in the same order, (n, q).
        k: Number of neighbours, from 1 to n - 1.
        metric: "cosine", invariant to rotations and to the length of each row, as in the
            reference; or "euclidean", invariant to rotations, scale and shift.

    Returns:
        The overlap, its chance level, and the shares of single samples.

    Raises:
        ValueError: On different numbers of samples, features that are not finite floating-point
            numbers, a k that is not from 1 to n - 1, or a row of zeros, which has no direction,
            under "cosine".

    Reference: Huh et al., arXiv:2405.07987. Cost: O(n^2 (p + q)), memory O(n).

    >>> line = torch.arange(6.0)[:, None]
    >>> result = mutual_neighbours(line, line**3, k=2, metric="euclidean")
    >>> round(result.overlap, 12), result.chance  # 9 of the 12 neighbours
    (0.75, 0.4)
    """
    paired(x, y, "x", "y", fewest=2)
    n = len(x)
    if not 1 <= k <= n - 1:
        raise ValueError(f"k must lie between 1 and n - 1 = {n - 1}, not be {k}.")
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f'metric must be "cosine" or "euclidean", not {metric!r}.')
    sides = [_prepared(x, "x", metric), _prepared(y, "y", metric)]
    rows = max(1, BLOCK // n)
    shared = [
        (_nearest(sides[0], start, rows, k) & _nearest(sides[1], start, rows, k)).sum(1)
        for start in range(0, n, rows)
    ]
    per_sample = torch.cat(shared).to(torch.float64) / k
    return NeighbourOverlap(float(per_sample.mean()), k / (n - 1), per_sample)


def _prepared(features: Float[Tensor, "n p"], name: str, metric: str) -> Float[Tensor, "n p"]:
    values = features.to(torch.float64)
    if metric == "euclidean":
        values = values - values[0]
        return values / power_of_two(values.abs().max())
    largest = values.abs().amax(1, keepdim=True)
    if not bool((largest > 0).all()):
        raise ValueError(f"{name} has a row of zeros, which has no direction; use euclidean.")
    values = values / power_of_two(largest)
    directions: Tensor = values / torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return directions


def _nearest(values: Float[Tensor, "n p"], start: int, rows: int, k: int) -> Bool[Tensor, "rows n"]:
    """Which samples are the k nearest to some, by distance and then by index."""
    some = values[start : start + rows]
    # |a - b|^2 without |a|^2, which is the same for a whole row; for unit rows, minus a cosine.
    distance = 0.5 * (values**2).sum(1) - some @ values.mT
    own = torch.arange(len(some), device=values.device)
    distance[own, start + own] = torch.inf
    last = distance.kthvalue(k, dim=1, keepdim=True).values
    nearer, tied = distance < last, distance == last
    room = k - nearer.sum(1, keepdim=True)
    return nearer | (tied & (tied.cumsum(1) <= room))
