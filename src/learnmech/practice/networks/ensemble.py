r"""Many small perceptrons of one shape as one module, their weights stacked.

Member $e$ computes

$$ h^{e}_{1} = W^{e}_1 x + b^{e}_1, \qquad
   h^{e}_{l+1} = W^{e}_{l+1}\,\phi(h^{e}_l) + b^{e}_{l+1}, $$

with stacked weights (E, out, in) and biases (E, out, 1). Inside, samples are the last axis: on
shared inputs the first layer of all members is then one matrix product, and the others are batched
products. On one core this is several times faster than E separate modules at width 32, and no
faster at width 256.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from learnmech.practice.networks.layers import ACTIVATIONS, Multiplier

__all__ = ["EnsembleMLP"]

_ENTRYWISE = (*(kind for kind in ACTIVATIONS.values() if isinstance(kind, type)), Multiplier)


class EnsembleMLP(nn.Module):
    """An ensemble of perceptrons; its members never interact.

    Args:
        members: Networks as `mlp` makes them: `nn.Sequential`s of `nn.Linear`s and activations,
            without norms, all of one shape and one floating type. They are copied.

    Raises:
        ValueError: On no members, other layers, or members of different shapes.

    >>> from learnmech.practice.networks.feedforward import mlp
    >>> nets = [mlp((3, 4, 2), generator=torch.Generator().manual_seed(s)) for s in range(5)]
    >>> x = torch.ones(7, 3, dtype=torch.float64)
    >>> outputs = EnsembleMLP(nets)(x)
    >>> outputs.shape
    torch.Size([5, 7, 2])
    >>> torch.allclose(outputs[3], nets[3](x))
    True
    """

    def __init__(self, members: Sequence[nn.Sequential]) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one member.")
        for layer in members[0]:
            if type(layer) is not nn.Linear and not isinstance(layer, _ENTRYWISE):
                raise ValueError(
                    f"an ensemble stacks nn.Linear layers and activations, not "
                    f"{type(layer).__name__}; train such networks one by one."
                )
        shapes = {str(member) for member in members}
        dtypes = {p.dtype for member in members for p in member.parameters()}
        if len(shapes) > 1 or len(dtypes) > 1:
            raise ValueError("members must have the same layers, sizes and floating type.")
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layers in zip(*members, strict=True):
            if isinstance(layers[0], nn.Linear):
                self.weights.append(nn.Parameter(torch.stack([m.weight.detach() for m in layers])))
                if layers[0].bias is not None:
                    biases = torch.stack([m.bias.detach() for m in layers])
                    self.biases.append(nn.Parameter(biases[..., None]))
        # The shared structure; in a list, so that its parameters are not the ensemble's.
        self._structure = [deepcopy(members[0]).to("meta")]

    def __len__(self) -> int:
        return int(self.weights[0].shape[0])

    def forward(self, inputs: Float[Tensor, "*E n d"]) -> Float[Tensor, "E n C"]:
        """Outputs of all members, (E, n, C), for shared inputs (n, d) or own inputs (E, n, d)."""
        hidden = inputs.mT
        weights, biases = iter(self.weights), iter(self.biases)
        for layer in self._structure[0]:
            if not isinstance(layer, nn.Linear):
                hidden = layer(hidden)
                continue
            weight, bias = next(weights), None if layer.bias is None else next(biases)
            if hidden.ndim == 2:
                rows = weight.flatten(0, 1)
                if bias is None:
                    hidden = rows @ hidden
                else:
                    hidden = torch.addmm(bias.flatten(0, 1), rows, hidden)
                hidden = hidden.unflatten(0, weight.shape[:2])
            elif bias is None:
                hidden = torch.bmm(weight, hidden)
            else:
                hidden = torch.baddbmm(bias, weight, hidden)
        return hidden.mT

    def member(self, index: int) -> nn.Sequential:
        """Return a copy of one member as a plain network, with its present weights."""
        copy = deepcopy(self._structure[0])
        weights, biases = iter(self.weights), iter(self.biases)
        for layer in copy:
            if isinstance(layer, nn.Linear):
                layer.weight = nn.Parameter(next(weights)[index].detach().clone())
                if layer.bias is not None:
                    layer.bias = nn.Parameter(next(biases)[index, :, 0].detach().clone())
        return copy
