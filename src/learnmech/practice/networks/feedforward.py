r"""Multilayer perceptrons and residual networks with Gaussian weights.

A perceptron with hidden layers of sizes $n_1, \dots, n_{L-1}$ is

$$ h_1 = W_1 x + b_1, \qquad h_{l+1} = W_{l+1}\,\phi(N(h_l)) + b_{l+1}, \qquad f(x) = h_L, $$

with an activation $\phi$ and a norm $N$ (or none). A residual network of width $n$ is

$$ h_0 = W_0 x + b_0, \qquad h_{k+1} = h_k + s\,(W_{k+1}\,\phi(N(h_k)) + b_{k+1}), \qquad
   f(x) = V\,\phi(N(h_K)) + c, $$

with a branch scale $s$, often $1/\sqrt{K}$ (Bordelon et al., arXiv:2309.16620; Yang et al.,
arXiv:2310.02244). All weights are Gaussian with variance (weight std)² over the fan-in: the
standard parametrisation. For others see `learnmech.practice.parametrization`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from learnmech.practice.networks.layers import Activation, Multiplier, activation
from learnmech.practice.networks.norms import Norm, norm

__all__ = ["ResidualBlock", "mlp", "residual_mlp"]


def mlp(
    sizes: Sequence[int],
    *,
    activation: Activation = "relu",
    norm: Norm | None = None,
    bias: bool = True,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    readout_weight_std: float = 1.0,
    ntk_multipliers: bool = False,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> nn.Sequential:
    r"""Return a multilayer perceptron as a plain `nn.Sequential` with named children.

    They are called "layer1", "norm1", "activation1", "layer2", and so on to "readout".

    Args:
        sizes: Input size, hidden widths, output size.
        activation: A name of `ACTIVATIONS`, or a function that makes a module.
        norm: A name of `NORMS`, or a function that makes a module for a width; it stands
            between a hidden layer and its activation. None for none.
        bias: Whether layers have biases.
        weight_std: Standard deviation of hidden layers' weights times the root of the fan-in
            (He's choice for ReLU is the root of two).
        bias_std: Standard deviation of all biases.
        readout_weight_std: As `weight_std`, for the last layer.
        ntk_multipliers: Write the NTK parametrisation out: weights and biases are standard normal
            and fixed multipliers beside each layer make up for it. The function at the start
            is the same; gradients with respect to the parameters are those of the NTK
            parametrisation. Needs `bias_std` positive, or `bias=False`.
        generator: Source of randomness; weights, then biases, first layer to last. The
            network lies on its device.
        dtype: Floating type of the parameters.

    Returns:
        A network that maps (n, d) to (n, C).

    Raises:
        ValueError: On fewer than two sizes, a size below one, a standard deviation that is
            negative or not finite, or an unknown activation or norm.

    >>> net = mlp((3, 5, 2), generator=torch.Generator().manual_seed(0))
    >>> [name for name, _ in net.named_children()]
    ['layer1', 'activation1', 'readout']
    >>> net(torch.zeros(4, 3, dtype=torch.float64)).shape
    torch.Size([4, 2])
    """
    _check(sizes, weight_std, bias_std, readout_weight_std)
    if ntk_multipliers and bias and bias_std == 0.0:
        raise ValueError(
            "a bias with bias_std=0 has no multiplier in NTK parametrisation; give bias=False or "
            "a positive bias_std."
        )
    draw = _Layers(activation, norm, bias_std if bias else None, generator, dtype)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, len(sizes)):
        last = i == len(sizes) - 1
        name, index = ("readout", "_readout") if last else (f"layer{i}", str(i))
        std = (readout_weight_std if last else weight_std) / sizes[i - 1] ** 0.5
        if ntk_multipliers:
            # sigma_b (W (std / sigma_b) x + b): the layer itself stays a plain nn.Linear.
            outer = bias_std if bias else 1.0
            layers[f"multiplier{index}"] = Multiplier(std / outer)
            layers[name] = replace(draw, bias_std=1.0 if bias else None).linear(
                sizes[i - 1], sizes[i], 1.0
            )
            if bias:
                layers[f"bias_multiplier{index}"] = Multiplier(outer)
        else:
            layers[name] = draw.linear(sizes[i - 1], sizes[i], std)
        if not last:
            layers |= draw.nonlinearity(sizes[i], str(i))
    return nn.Sequential(layers)


class ResidualBlock(nn.Module):
    """A block h + scale * branch(h), its branch any module that keeps the shape.

    >>> ResidualBlock(nn.Identity(), scale=0.5)(torch.ones(1, 2))
    tensor([[1.5000, 1.5000]])
    """

    def __init__(self, branch: nn.Module, *, scale: float = 1.0) -> None:
        super().__init__()
        self.branch, self.scale = branch, scale

    def forward(self, hidden: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Return the hidden state plus the scaled branch."""
        changed: Tensor = hidden + self.scale * self.branch(hidden)
        return changed

    def extra_repr(self) -> str:
        """Show the branch scale where the module is printed."""
        return f"scale={self.scale:g}"


def residual_mlp(
    sizes: tuple[int, int, int],
    *,
    blocks: int,
    branch_scale: float = 1.0,
    activation: Activation = "relu",
    norm: Norm | None = None,
    bias: bool = True,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    readout_weight_std: float = 1.0,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> nn.Sequential:
    """Return a residual network: an embedding, blocks of one layer each, and a readout.

    Its children are called "embedding", "block1", and so on, "norm", "activation", "readout".

    Args:
        sizes: Input size, width, output size.
        blocks: Number of blocks K; zero leaves a perceptron with one hidden layer.
        branch_scale: s, by which every branch is multiplied.
        activation: As in `mlp`.
        norm: As in `mlp`; it stands before each activation.
        bias: As in `mlp`.
        weight_std: As in `mlp`, for the embedding and the blocks.
        bias_std: As in `mlp`.
        readout_weight_std: As in `mlp`.
        generator: As in `mlp`.
        dtype: As in `mlp`.

    Returns:
        A network that maps (n, d) to (n, C).

    Raises:
        ValueError: On a negative number of blocks, or as `mlp`.

    >>> g = torch.Generator().manual_seed(0)
    >>> net = residual_mlp((3, 4, 2), blocks=2, branch_scale=0.0, bias=False, generator=g)
    >>> x = torch.ones(1, 3, dtype=torch.float64)
    >>> bool((net(x) == net.readout(net.embedding(x).relu())).all())
    True
    """
    _check(sizes, weight_std, bias_std, readout_weight_std)
    if blocks < 0:
        raise ValueError(f"a network cannot have {blocks} blocks.")
    inputs, width, outputs = sizes
    draw = _Layers(activation, norm, bias_std if bias else None, generator, dtype)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["embedding"] = draw.linear(inputs, width, weight_std / inputs**0.5)
    for k in range(1, blocks + 1):
        branch = draw.nonlinearity(width)
        branch["layer"] = draw.linear(width, width, weight_std / width**0.5)
        layers[f"block{k}"] = ResidualBlock(nn.Sequential(branch), scale=branch_scale)
    layers |= draw.nonlinearity(width)
    layers["readout"] = draw.linear(width, outputs, readout_weight_std / width**0.5)
    return nn.Sequential(layers)


def _check(sizes: Sequence[int], *deviations: float) -> None:
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError("give at least an input and an output size, all of at least one.")
    if not all(0.0 <= std < float("inf") for std in deviations):
        raise ValueError("standard deviations must be finite and not negative.")


@dataclass(frozen=True)
class _Layers:
    """What all layers of one network have in common, and how each is made."""

    activation: Activation
    norm: Norm | None
    bias_std: float | None  # None for no biases
    generator: torch.Generator
    dtype: torch.dtype

    def linear(self, fan_in: int, fan_out: int, std: float) -> nn.Linear:
        """Return a layer with Gaussian weights, and biases where there are any."""
        # nn.Linear itself would draw from the global random state.
        layer = nn.utils.skip_init(
            nn.Linear,
            fan_in,
            fan_out,
            bias=self.bias_std is not None,
            dtype=self.dtype,
            device=self.generator.device,
        )
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():
            layer.weight.copy_(std * self._normal(fan_out, fan_in))
            if self.bias_std is not None:
                layer.bias.copy_(self.bias_std * self._normal(fan_out))
        return layer

    def nonlinearity(self, width: int, index: str = "") -> OrderedDict[str, nn.Module]:
        """Return norm and activation, named with an index."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if self.norm is not None:
            device = self.generator.device
            layers[f"norm{index}"] = norm(self.norm, width, dtype=self.dtype, device=device)
        layers[f"activation{index}"] = activation(self.activation)
        return layers

    def _normal(self, *shape: int) -> Tensor:
        generator = self.generator
        return torch.randn(*shape, generator=generator, dtype=self.dtype, device=generator.device)
