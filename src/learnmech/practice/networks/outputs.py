r"""An output multiplied, and centred at its start: the knob between lazy and rich training.

$$ F(x) = \alpha\,\bigl(f(x) - f_0(x)\bigr), $$

with $f_0$ the network as it was when it was wrapped. Trained with the loss divided by $\alpha^2$,
a large $\alpha$ makes training lazy: parameters move by an amount of order $1/\alpha$ and
the tangent kernel stays (Chizat, Oyallon and Bach, "On lazy training in differentiable
programming", arXiv:1812.07956).
"""

from copy import deepcopy

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ScaledOutput"]


class ScaledOutput(nn.Module):
    """A network times a number, minus its own start if it is centred.

    The network is used, not copied: training the wrapper trains it. The start is a copy whose
    parameters are buffers, so that they move with the module and no optimizer sees them.

    Args:
        model: f, any module with one tensor as output.
        multiplier: alpha, any finite number but zero.
        centred: Whether to subtract the output at the start.

    Raises:
        ValueError: On a multiplier that is zero or not finite.

    >>> import torch
    >>> net = nn.Linear(2, 1)
    >>> scaled = ScaledOutput(net, 10.0, centred=True)
    >>> float(scaled(torch.ones(1, 2)).detach())
    0.0
    >>> len(list(scaled.parameters()))
    2
    """

    def __init__(self, model: nn.Module, multiplier: float = 1.0, *, centred: bool = False) -> None:
        super().__init__()
        if multiplier == 0.0 or not abs(multiplier) < float("inf"):
            raise ValueError(f"the multiplier must be finite and not zero, not {multiplier}.")
        self.model, self.multiplier = model, multiplier
        self.start = _frozen_copy(model) if centred else None

    def forward(self, inputs: Float[Tensor, "*n d"]) -> Float[Tensor, "..."]:
        """Return alpha f(x), or alpha (f(x) - f_0(x))."""
        outputs: Tensor = self.model(inputs)
        if self.start is not None:
            outputs = outputs - self.start(inputs)
        return self.multiplier * outputs

    def extra_repr(self) -> str:
        """Show the multiplier where the module is printed."""
        return f"multiplier={self.multiplier:g}"


def _frozen_copy(model: nn.Module) -> nn.Module:
    """Return a copy in which every parameter is a buffer of the same name."""
    copy = deepcopy(model)
    for module in copy.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    return copy
