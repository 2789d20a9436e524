"""Layers without parameters: activations by name, and a multiplier.

They act on every entry alone, so an ensemble's leading axes pass through them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "Activation", "Erf", "Multiplier", "activation"]

Activation = str | Callable[[], nn.Module]


class Erf(nn.Module):
    """The error function of every entry.

    >>> Erf()(torch.tensor([0.0, 10.0]))
    tensor([0., 1.])
    """

    def forward(self, inputs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return erf of every entry."""
        return torch.erf(inputs)


class Multiplier(nn.Module):
    """Multiplication by a fixed number, which is no parameter and does not train.

    >>> Multiplier(3.0)(torch.ones(2))
    tensor([3., 3.])
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, inputs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the inputs times the factor."""
        return self.factor * inputs

    def extra_repr(self) -> str:
        """Show the factor where the module is printed."""
        return repr(self.factor)


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "linear": nn.Identity,
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "erf": Erf,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "softplus": nn.Softplus,
        "sigmoid": nn.Sigmoid,
    }
)
"""Activations by name; "gelu" is the exact one, with erf."""


def activation(choice: Activation) -> nn.Module:
    """Return a new activation, from its name in `ACTIVATIONS` or from a function that makes one.

    Raises:
        ValueError: On an unknown name.

    >>> activation("relu")
    ReLU()
    """
    if not isinstance(choice, str):
        return choice()
    if choice not in ACTIVATIONS:
        raise ValueError(
            f"no activation is called {choice!r}; choose from {', '.join(ACTIVATIONS)} or give "
            "a function that makes a module."
        )
    return ACTIVATIONS[choice]()
