"""Per-sample gradients of any module, layer by layer: what tangent kernels and noise scales share.

`recording` watches a forward pass by the `rules` it knows, `per_sample` makes `factors` of
gradients of it, with exact Jacobians where no rule holds, and `products` takes inner products of
factors without writing gradients out; `running` calls models and leaves them as they are.
"""

from learnmech.practice.layers.factors import Factor, Weight
from learnmech.practice.layers.per_sample import per_sample_factors
from learnmech.practice.layers.running import (
    refuse_coupled_samples,
    refuse_difference,
    sample_chunks,
    trained_parameters,
    undisturbed,
)

__all__ = [
    "Factor",
    "Weight",
    "per_sample_factors",
    "refuse_coupled_samples",
    "refuse_difference",
    "sample_chunks",
    "trained_parameters",
    "undisturbed",
]
