"""Networks: linear, multilayer perceptrons, residual, and many small ones at once."""

from learnmech.practice.networks.ensemble import EnsembleMLP
from learnmech.practice.networks.feedforward import ResidualBlock, mlp, residual_mlp
from learnmech.practice.networks.layers import ACTIVATIONS, Erf, Multiplier
from learnmech.practice.networks.linear import DeepLinear, aligned_linear, gaussian_linear
from learnmech.practice.networks.norms import NORMS, BatchNorm, GroupNorm, LayerNorm, RMSNorm
from learnmech.practice.networks.outputs import ScaledOutput

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "BatchNorm",
    "DeepLinear",
    "EnsembleMLP",
    "Erf",
    "GroupNorm",
    "LayerNorm",
    "Multiplier",
    "RMSNorm",
    "ResidualBlock",
    "ScaledOutput",
    "aligned_linear",
    "gaussian_linear",
    "mlp",
    "residual_mlp",
]
