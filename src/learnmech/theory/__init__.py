"""What should happen: closed forms, differential equations and fixed points. NumPy, no torch."""

from learnmech.theory.infinite_width import InfiniteKernels, infinite_kernels
from learnmech.theory.kernel_dynamics import (
    KernelDynamics,
    kernel_gradient_descent,
    kernel_gradient_flow,
)
from learnmech.theory.kernel_regression import (
    CrossValidation,
    KernelRegressionCurve,
    eigenframework,
    generalised_cross_validation,
    held_out_error,
)
from learnmech.theory.kernel_ridge import effective_ridge
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
from learnmech.theory.parametrizations import (
    PARAMETRIZATIONS,
    coordinate_slopes,
    stable_learning_rate_exponent,
    width_exponents,
)
from learnmech.theory.random_matrices import (
    CovarianceSpike,
    LowRankSpike,
    MarchenkoPastur,
    Semicircle,
    SingularValueLaw,
    SymmetricSpike,
    covariance_spike,
    low_rank_spike,
    symmetric_spike,
)
from learnmech.theory.stability import (
    effective_learning_rate,
    largest_stable_learning_rate,
    stability_threshold,
)

__all__ = [
    "PARAMETRIZATIONS",
    "CoupledSolution",
    "CovarianceSpike",
    "CrossValidation",
    "Flow",
    "InfiniteKernels",
    "KernelDynamics",
    "KernelRegressionCurve",
    "LowRankSpike",
    "MarchenkoPastur",
    "Semicircle",
    "SingularValueLaw",
    "SymmetricSpike",
    "coordinate_slopes",
    "coupled_solution",
    "covariance_spike",
    "crossing_times",
    "decayed_imbalance",
    "descent_half_time",
    "descent_strength",
    "effective_learning_rate",
    "effective_rank",
    "effective_ridge",
    "eigenframework",
    "final_product",
    "generalised_cross_validation",
    "gradient_flow",
    "growth_rate",
    "half_time",
    "held_out_error",
    "imbalance",
    "infinite_kernels",
    "initial_strengths",
    "kernel_gradient_descent",
    "kernel_gradient_flow",
    "largest_stable_learning_rate",
    "loss_curve",
    "low_rank_spike",
    "mode_strength",
    "singular_modes",
    "stability_threshold",
    "stable_learning_rate_exponent",
    "strengths",
    "subspace_overlap",
    "symmetric_spike",
    "width_exponents",
]
