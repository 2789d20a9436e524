r"""Inner products of gradients that are given in factors, without writing the gradients out.

A layer with gradients $g_{nct}$ at its outputs and inputs $a_{nt}$ at positions t gives

$$ \Big\langle \frac{\partial f_{nc}}{\partial W}, \frac{\partial f_{md}}{\partial W} \Big\rangle
   = \sum_{t,s} (g_{nct}\cdot g_{mds})\,(a_{nt}\cdot a_{ms})
   = \Big\langle \sum_t g_{nct} a_{nt}^\top, \sum_s g_{mds} a_{ms}^\top \Big\rangle . $$

Shapes: n and m samples, C outputs, k groups (1 but for grouped convolutions), t and s positions
(1 for a plain layer), o outputs and i inputs of the layer per group. Kernels are `(n, m)`, summed
over c = d, or `(n, m, C, C)` if `full`. Blocks keep intermediate arrays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "by_gradients",
    "by_positions",
    "costs",
    "flat_kernel",
    "gram",
    "position_squares",
    "squares_by_gradients",
    "squares_of",
    "summed_over_groups",
]

Left = Float[Tensor, "n C k t o"]  # gradients at the layer's outputs
Right = Float[Tensor, "n k t i"]  # inputs of the layer

_BLOCK = 2**21
"""Numbers in one block of an intermediate array."""


def gram(
    mine: Float[Tensor, "n C k x"], theirs: Float[Tensor, "m C k x"], full: bool
) -> Float[Tensor, "k n ..."]:
    """Inner products within groups: (k, n, m) summed over outputs, or (k, n, C, m, C)."""
    one, other = (
        x.permute(2, 0, 1, 3).flatten(1, 2) if full else x.movedim(2, 0).flatten(2)
        for x in (mine, theirs)
    )
    products = _with_itself(one) if theirs is mine else one @ other.mT
    if not full:
        return products
    return products.reshape(len(one), len(mine), mine.shape[1], len(theirs), mine.shape[1])


def summed_over_groups(kernel: Float[Tensor, "k n ..."], full: bool) -> Float[Tensor, "n m *CC"]:
    """Turn what `gram` gives into a kernel."""
    summed = kernel[0] if len(kernel) == 1 else kernel.sum(0)
    return summed.movedim(1, 2) if full else summed


def flat_kernel(
    mine: Float[Tensor, "n C p"], theirs: Float[Tensor, "m C p"], full: bool
) -> Float[Tensor, "n m *CC"]:
    """The kernel of gradients that are written out."""
    one = mine[:, :, None]
    other = one if theirs is mine else theirs[:, :, None]
    return summed_over_groups(gram(one, other, full), full)


def costs(
    left: Left, right: Right, other: Float[Tensor, "m C k s o"], full: bool
) -> tuple[int, int]:
    """Multiplications of `by_gradients` and of `by_positions`."""
    n, c, k, t, o = left.shape
    m, s, i = len(other), other.shape[3], right.shape[-1]
    pairs = c * c if full else c
    written = k * o * i * (c * (n * t + m * s) + pairs * n * m)
    paired = k * n * t * m * s * (pairs * (o + 4) + i)
    return written, paired


def by_gradients(
    mine: tuple[Left, Right], theirs: tuple[Tensor, Tensor], full: bool
) -> Float[Tensor, "n m *CC"]:
    """Sum over positions first, for some of the layer's outputs at a time."""
    n, c, k, _, o = mine[0].shape
    m, i = len(theirs[0]), mine[1].shape[-1]
    parts = []
    for outs in _blocks(o, max(n, m) * c * k * i):
        one = _gradients(*mine, outs, full)
        other = one if theirs[0] is mine[0] else _gradients(*theirs, outs, full)
        parts.append(one @ other.mT)
    kernel = torch.stack(parts).sum(0)
    return kernel.reshape(n, c, m, c).movedim(1, 2) if full else kernel


def by_positions(
    left: Left,
    other: Float[Tensor, "m C k s o"],
    rights: Callable[[slice], Float[Tensor, "k nt ms"]],
    full: bool,
) -> Float[Tensor, "n m *CC"]:
    """Products of the Grams over pairs of positions; `rights` gives that of some samples."""
    n, c, k, t, _ = left.shape
    m, s = len(other), other.shape[3]
    blocks = []
    for rows in _blocks(n, k * t * m * s):
        inputs = rights(rows)
        shape = (k, -1, t, m, s)
        if full:
            mine, theirs = (x.permute(1, 2, 0, 3, 4).flatten(2, 3) for x in (left[rows], other))
            pairs = [
                (inputs * (one @ another.mT)).reshape(shape).sum((0, 2, 4))
                for one in mine
                for another in theirs
            ]
            blocks.append(torch.stack(pairs, -1).unflatten(-1, (c, c)))
        else:
            mine, theirs = (
                x.permute(2, 0, 3, 1, 4).flatten(1, 2).flatten(2) for x in (left[rows], other)
            )
            blocks.append((inputs * (mine @ theirs.mT)).reshape(shape).sum((0, 2, 4)))
    return torch.cat(blocks)


def squares_of(x: Float[Tensor, "*n x"]) -> Float[Tensor, "*n"]:
    """Squared lengths."""
    squares: Tensor = torch.linalg.vecdot(x, x)
    return squares


def squares_by_gradients(left: Float[Tensor, "n k t o"], right: Right) -> Float[Tensor, " n"]:
    """Squared norms of the gradients, summed over positions first."""
    each = left.shape[1] * left.shape[-1] * right.shape[-1]
    parts = [
        squares_of((left[rows].mT @ right[rows]).flatten(1)) for rows in _blocks(len(left), each)
    ]
    return torch.cat(parts)


def position_squares(
    left: Float[Tensor, "n k t o"], rights: Callable[[slice], Float[Tensor, "m k t t"]]
) -> Float[Tensor, " n"]:
    """Squared norms of the gradients, from the Grams over pairs of positions."""
    _, k, t, _ = left.shape
    parts = [
        (rights(rows) * (left[rows] @ left[rows].mT)).sum((1, 2, 3))
        for rows in _blocks(len(left), 2 * k * t * t)
    ]
    return torch.cat(parts)


def _with_itself(x: Float[Tensor, "k n x"]) -> Float[Tensor, "k n n"]:
    """The Gram matrix of rows with themselves, from blocks on and above its diagonal."""
    n = x.shape[1]
    products = x.new_empty(len(x), n, n)
    step = max(64, -(-n // 8))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        products[:, rows, start:] = x[:, rows] @ x[:, start:].mT
        below = slice(start + step, None)
        products[:, below, rows] = products[:, rows, below].mT
    return products


def _gradients(left: Left, right: Right, outs: slice, full: bool) -> Float[Tensor, "rows _"]:
    chosen = left[..., outs].permute(0, 2, 1, 4, 3)  # (n, k, C, o, t)
    gradients = (chosen.flatten(2, 3) @ right).unflatten(2, chosen.shape[2:4])  # (n, k, C, o, i)
    rows: Tensor = gradients.movedim(2, 1).flatten(0, 1) if full else gradients
    return rows.flatten(1)


def _blocks(length: int, each: int) -> Iterator[slice]:
    """Slices of 0..length that hold at most _BLOCK numbers, `each` per index."""
    step = max(1, _BLOCK // max(1, each))
    return (slice(start, start + step) for start in range(0, length, step))
