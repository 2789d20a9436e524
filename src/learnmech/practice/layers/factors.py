r"""Gradients of every sample with respect to one layer's parameters, kept in factors.

A layer that multiplies by a matrix at positions $t$ gives sample $n$ and output $c$ the gradient

$$ \frac{\partial f_{nc}}{\partial W_{oi}} = \sum_t g_{ncto}\, a_{nti}, $$

with the layer's inputs $a$ (activations; patches of them for a convolution) and the gradient $g$
of $f_{nc}$ at the layer's outputs. `Outer` keeps $g$ and $a$; `Lookup` keeps indices in place of
one-hot $a$; `Rows` keeps gradients themselves, where they are few (biases, norms) or where the
layer is not known. Shapes as in `learnmech.practice.layers.products`.

Reference: Goodfellow, "Efficient per-example gradient computations", arXiv:1510.01799 (norms,
one position); Novak, Sohl-Dickstein and Schoenholz, "Fast finite width neural tangent kernel",
arXiv:2206.08720 (kernels, structured derivatives).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from learnmech.practice.layers import products

__all__ = ["Factor", "Lookup", "Outer", "Rows", "Weight", "added"]

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Weight:
    """A parameter W as a layer saw it: `scale` times W, or times its transpose."""

    name: str
    shape: tuple[int, ...]  # of W itself
    transposed: bool = False
    scale: float = 1.0


class Factor(ABC):
    """Per-sample gradients with respect to one layer's parameters; results go by their names."""

    weights: tuple[Weight, ...]

    @abstractmethod
    def kernels(self, other: Factor, full: bool) -> Named:
        """Inner products with another batch's gradients, (n, m), or (n, m, C, C) if `full`."""

    @abstractmethod
    def squares(self) -> Named:
        """Squared norms, (n,), of the gradients summed over outputs."""

    @abstractmethod
    def totals(self) -> Named:
        """Sums over samples and outputs, in the parameters' own shapes."""

    @abstractmethod
    def inner(self, directions: Mapping[str, Tensor]) -> Named:
        """Inner products, (n,), of the gradients summed over outputs with given directions."""


@dataclass(frozen=True)
class Rows(Factor):
    """Gradients written out."""

    rows: Mapping[str, Float[Tensor, "n C _"]]  # by name; the parameter's axes are flattened
    weights: tuple[Weight, ...]

    def kernels(self, other: Factor, full: bool) -> Named:
        """Implement `Factor`."""
        assert isinstance(other, Rows)
        return {n: products.flat_kernel(rows, other.rows[n], full) for n, rows in self.rows.items()}

    def squares(self) -> Named:
        """Implement `Factor`."""
        return {n: products.squares_of(_over_outputs(rows)) for n, rows in self.rows.items()}

    def totals(self) -> Named:
        """Implement `Factor`."""
        return {w.name: self.rows[w.name].sum((0, 1)).reshape(w.shape) for w in self.weights}

    def inner(self, directions: Mapping[str, Tensor]) -> Named:
        """Implement `Factor`."""
        return {n: _over_outputs(rows) @ directions[n].flatten() for n, rows in self.rows.items()}


@dataclass(frozen=True)
class Outer(Factor):
    """Gradients of a matrix and of the bias added to its products; None if not trained."""

    left: Float[Tensor, "n C k t o"]  # gradients of f at the layer's outputs
    right: Float[Tensor, "n k t i"]  # inputs of the layer
    matrix: Weight | None
    bias: Weight | None = None

    @property
    def weights(self) -> tuple[Weight, ...]:  # type: ignore[override]  # read-only, and derived
        """The parameters that are trained."""
        return tuple(w for w in (self.matrix, self.bias) if w is not None)

    def kernels(self, other: Factor, full: bool) -> Named:
        """Implement `Factor`."""
        assert isinstance(other, Outer)
        if self.left.shape[3] == other.left.shape[3] == 1:
            return self._kernels_of_one_position(other, full)
        named: Named = {}
        if self.matrix is not None:
            written, paired = products.costs(self.left, self.right, other.left, full)
            if written < paired:
                mine, theirs = (self.left, self.right), (other.left, other.right)
                kernel = products.by_gradients(mine, theirs, full)
            else:
                ahead = other.right.movedim(0, 1).flatten(1, 2).mT
                kernel = products.by_positions(
                    self.left,
                    other.left,
                    lambda rows: self.right[rows].movedim(0, 1).flatten(1, 2) @ ahead,
                    full,
                )
            named[self.matrix.name] = self.matrix.scale**2 * kernel
        return named | self._bias_rows.kernels(other._bias_rows, full)

    def squares(self) -> Named:
        """Implement `Factor`."""
        left, right = _over_outputs(self.left), self.right
        _, _, t, o = left.shape
        i = right.shape[-1]
        if t == 1:
            lefts, rights = products.squares_of(left[:, :, 0]), products.squares_of(right[:, :, 0])
            squares = {self.matrix: (lefts * rights).sum(1), self.bias: lefts.sum(1)}
            return {w.name: w.scale**2 * square for w, square in squares.items() if w is not None}
        named: Named = {}
        if self.matrix is not None:
            square = (
                products.squares_by_gradients(left, right)
                if o * i < t * (o + i)
                else products.position_squares(left, lambda rows: right[rows] @ right[rows].mT)
            )
            named[self.matrix.name] = self.matrix.scale**2 * square
        return named | self._bias_rows.squares()

    def totals(self) -> Named:
        """Implement `Factor`."""
        named = self._bias_rows.totals()
        if self.matrix is not None:
            left, right = (
                x.movedim(0, 1).flatten(1, 2) for x in (_over_outputs(self.left), self.right)
            )
            summed = self.matrix.scale * (left.mT @ right).flatten(0, 1)
            turned = summed.mT if self.matrix.transposed else summed
            named[self.matrix.name] = turned.reshape(self.matrix.shape)
        return named

    def inner(self, directions: Mapping[str, Tensor]) -> Named:
        """Implement `Factor`."""
        named = self._bias_rows.inner(directions)
        if self.matrix is not None:
            direction = directions[self.matrix.name]
            turned = direction.mT if self.matrix.transposed else direction
            n, k, t, i = self.right.shape
            pushed = self.right.movedim(0, 1).reshape(k, n * t, i) @ turned.reshape(k, -1, i).mT
            left = _over_outputs(self.left).movedim(0, 1).reshape(pushed.shape)
            along = (pushed * left).reshape(k, n, -1).sum((0, 2))
            named[self.matrix.name] = self.matrix.scale * along
        return named

    def _kernels_of_one_position(self, other: Outer, full: bool) -> Named:
        """Matrix and bias share the Gram matrix of g."""
        left = self.left.flatten(3)
        lefts = products.gram(left, left if other is self else other.left.flatten(3), full)
        named: Named = {}
        if self.matrix is not None:
            ahead, back = self.right[:, :, 0].movedim(1, 0), other.right[:, :, 0].movedim(0, 2)
            rights = self.matrix.scale**2 * (ahead @ back)
            both = lefts * (rights[:, :, None, :, None] if full else rights)
            named[self.matrix.name] = products.summed_over_groups(both, full)
        if self.bias is not None:
            kernel = products.summed_over_groups(lefts, full)
            named[self.bias.name] = self.bias.scale**2 * kernel
        return named

    @property
    def _bias_rows(self) -> Rows:
        if self.bias is None:
            return Rows({}, ())
        rows = self.bias.scale * self.left.sum(3).flatten(2)
        return Rows({self.bias.name: rows}, (self.bias,))


@dataclass(frozen=True)
class Lookup(Factor):
    """Gradients of a table of rows to look up."""

    left: Float[Tensor, "n C 1 t o"]  # gradients of f at what was looked up
    index: Int[Tensor, "n t"]  # which rows
    table: Weight

    @property
    def weights(self) -> tuple[Weight, ...]:  # type: ignore[override]  # read-only, and derived
        """The table."""
        return (self.table,)

    def kernels(self, other: Factor, full: bool) -> Named:
        """Implement `Factor`."""
        assert isinstance(other, Lookup)
        theirs = other.index.flatten()

        def same(rows: slice) -> Tensor:
            return (self.index[rows].flatten()[None, :, None] == theirs).to(self.left.dtype)

        kernel = products.by_positions(self.left, other.left, same, full)
        return {self.table.name: self.table.scale**2 * kernel}

    def squares(self) -> Named:
        """Implement `Factor`."""

        def same(rows: slice) -> Tensor:
            index = self.index[rows, None]
            return (index[..., None] == index[..., None, :]).to(self.left.dtype)

        square = products.position_squares(_over_outputs(self.left), same)
        return {self.table.name: self.table.scale**2 * square}

    def totals(self) -> Named:
        """Implement `Factor`."""
        summed = self.table.scale * self.left.sum((1, 2)).flatten(0, 1)
        table = summed.new_zeros(self.table.shape)
        return {self.table.name: table.index_add(0, self.index.flatten(), summed)}

    def inner(self, directions: Mapping[str, Tensor]) -> Named:
        """Implement `Factor`."""
        looked_up = directions[self.table.name][self.index]
        inner = (looked_up * self.left.sum((1, 2))).sum((1, 2))
        return {self.table.name: self.table.scale * inner}


def added(calls: Sequence[Factor]) -> Factor:
    """Return the sum of the gradients that several calls of one layer give, as one factor."""
    first = calls[0]
    if len(calls) == 1:
        return first
    if isinstance(first, Rows):
        rows = {
            name: torch.stack([call.rows[name] for call in calls if isinstance(call, Rows)]).sum(0)
            for name in first.rows
        }
        return replace(first, rows=rows)
    if isinstance(first, Outer):
        outers = [call for call in calls if isinstance(call, Outer)]
        left = torch.cat([call.left for call in outers], 3)
        return replace(first, left=left, right=torch.cat([call.right for call in outers], 2))
    lookups = [call for call in calls if isinstance(call, Lookup)]
    left = torch.cat([call.left for call in lookups], 3)
    return replace(lookups[0], left=left, index=torch.cat([call.index for call in lookups], 1))


def _over_outputs(left: Float[Tensor, "n C ..."]) -> Float[Tensor, "n ..."]:
    return left[:, 0] if left.shape[1] == 1 else left.sum(1)
