r"""Exponents of width: how a network's hyperparameters change as it is made wider.

An abc-parametrisation of a network of width $n$ says, for each kind of parameter,

$$ W = n^{-a}\, w, \qquad w \sim \mathcal{N}(0,\, n^{-2b}) \text{ at the start}, \qquad
   \text{learning rate of } w = \eta\, n^{-c}. $$

The kinds are told apart by which sides of the parameter grow with the width:

* ``input``: out only (a first layer, an embedding);
* ``hidden``: both;
* ``readout``: in only (a last layer);
* ``bias``: a vector that grows (a bias, the gain of a norm);
* ``fixed``: nothing grows (the bias of the outputs).

Training is the same under a shift of any kind's exponents by any $\theta$,

$$ a \to a + \theta, \quad b \to b - \theta, \quad c \to c - p\,\theta, \qquad
   p = 2 \text{ for SGD}, \; p = 1 \text{ for Adam}, $$

because SGD moves $W$ by $n^{-2a}$ times its learning rate times $\partial L / \partial W$, and
Adam, whose steps do not depend on the size of the gradient, by $n^{-a}$. It is exact for SGD, with
momentum too; for Adam it is exact if its `eps`, which is compared with gradients of $w$, is
multiplied by $n^{-\theta}$ as well.

Reference: Yang and Hu, "Feature learning in infinite-width neural networks" (Tensor Programs IV),
arXiv:2011.14522, where abc-parametrisations and their symmetry are defined; for Adam, Yang et al.,
"Tensor Programs V", arXiv:2203.03466, and Everett et al., arXiv:2407.05872.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

__all__ = ["KINDS", "OPTIMIZERS", "Exponents", "WidthExponents"]

KINDS = ("input", "hidden", "readout", "bias", "fixed")
"""Kinds of parameters, by which of their sides grow with the width."""

OPTIMIZERS: Mapping[str, int] = MappingProxyType({"sgd": 2, "adam": 1})
"""The power p of a forward multiplier that each optimizer's learning rate is worth."""


@dataclass(frozen=True)
class Exponents:
    """Powers of one over the width for one kind of parameter."""

    multiplier: float  # a: the layer uses n^-a times the parameter
    initial_std: float  # b: entries start with a standard deviation proportional to n^-b
    learning_rate: float  # c: the learning rate is proportional to n^-c

    def shifted(self, theta: float, power: int) -> Exponents:
        """Return the same training written with `theta` more in the multiplier.

        Args:
            theta: Added to a, taken from b, and `power` times taken from c.
            power: p, 2 for SGD and 1 for Adam; see `OPTIMIZERS`.

        Examples:
            >>> Exponents(0.5, 0.0, 0.0).shifted(-0.5, OPTIMIZERS["sgd"])
            Exponents(multiplier=0.0, initial_std=0.5, learning_rate=1.0)
        """
        return Exponents(
            self.multiplier + theta, self.initial_std - theta, self.learning_rate - power * theta
        )


@dataclass(frozen=True)
class WidthExponents:
    """One parametrisation for one optimizer: a row of exponents for each kind of parameter."""

    parametrization: str  # its name
    optimizer: str  # `sgd` or `adam`
    rows: Mapping[str, Exponents]  # one row for each of `KINDS`

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"no exponents are known for {self.optimizer!r}; choose from "
                f"{', '.join(OPTIMIZERS)}."
            )
        if set(self.rows) != set(KINDS):
            raise ValueError(f"a table needs exactly one row for each of {', '.join(KINDS)}.")
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the table be copied and pass between processes, which its read-only rows do not."""
        return WidthExponents, (self.parametrization, self.optimizer, dict(self.rows))

    def shifted(self, theta: Mapping[str, float]) -> WidthExponents:
        """Return the same training with other multipliers.

        Args:
            theta: kind -> what is added to its a; kinds left out stay.

        Raises:
            ValueError: On an unknown kind.
        """
        unknown = sorted(set(theta) - set(KINDS))
        if unknown:
            raise ValueError(
                f"no kind is called {', '.join(unknown)}; choose from {', '.join(KINDS)}."
            )
        power = OPTIMIZERS[self.optimizer]
        rows = {kind: row.shifted(theta.get(kind, 0.0), power) for kind, row in self.rows.items()}
        return replace(self, rows=rows)

    def without_multipliers(self) -> WidthExponents:
        """Return the same training with every multiplier one.

        Examples:
            >>> rows = dict.fromkeys(KINDS, Exponents(0.5, 0.0, 0.0))
            >>> WidthExponents("all NTK", "adam", rows).without_multipliers().rows["hidden"]
            Exponents(multiplier=0.0, initial_std=0.5, learning_rate=0.5)
        """
        return self.shifted({kind: -row.multiplier for kind, row in self.rows.items()})

    def __str__(self) -> str:
        lines = [f"{self.parametrization}, {self.optimizer}: powers of 1/width"]
        lines.append(f"{'kind':8}  multiplier  initial std  learning rate")
        lines += [
            f"{kind:8}  {row.multiplier:10g}  {row.initial_std:11g}  {row.learning_rate:13g}"
            for kind, row in self.rows.items()
        ]
        return "\n".join(lines)
