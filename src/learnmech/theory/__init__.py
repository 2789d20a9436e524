"""What should happen: closed forms, differential equations and fixed points. NumPy, no torch."""

from learnmech.theory.linear_coupled import (
    CoupledSolution,
    coupled_solution,
    initial_strengths,
    singular_modes,
)
from learnmech.theory.linear_discrete import descent_half_time, descent_strength, growth_rate
from learnmech.theory.linear_flow import (
    Flow,
    decayed_imbalance,
    final_product,
    gradient_flow,
    imbalance,
)
from learnmech.theory.linear_networks import half_time, mode_strength
from learnmech.theory.linear_observables import (
    crossing_times,
    effective_rank,
    loss_curve,
    strengths,
    subspace_overlap,
)

__all__ = [
    "CoupledSolution",
    "Flow",
    "coupled_solution",
    "crossing_times",
    "decayed_imbalance",
    "descent_half_time",
    "descent_strength",
    "effective_rank",
    "final_product",
    "gradient_flow",
    "growth_rate",
    "half_time",
    "imbalance",
    "initial_strengths",
    "loss_curve",
    "mode_strength",
    "singular_modes",
    "strengths",
    "subspace_overlap",
]
