"""What should happen: closed forms, differential equations and fixed points. NumPy, no torch."""

from learnmech.theory.first_step import FirstStep, first_step, start_sharpness
from learnmech.theory.infinite_width import InfiniteKernels, infinite_kernels
from learnmech.theory.kernel_dynamics import (
    KernelDynamics,
    kernel_gradient_descent,
    kernel_gradient_flow,
)
from learnmech.theory.kernel_fluctuations import (
    KernelFluctuation,
    finite_width_alignment,
    kernel_fluctuation,
)
from learnmech.theory.kernel_movement import KernelMovement, kernel_movement
from learnmech.theory.kernel_parts import tangent_kernel_parts, weight_movement
from learnmech.theory.kernel_regression import (
    CrossValidation,
    KernelRegressionCurve,
    eigenframework,
    generalised_cross_validation,
    held_out_error,
)
from learnmech.theory.kernel_ridge import effective_ridge
from learnmech.theory.late_sharpness import late_sharpness_exponent
from learnmech.theory.lazy_neurons import (
    LazyNeurons,
    draw_neurons,
    kernel_distance_constant,
    move_neurons,
    neuron_kernel,
)
from learnmech.theory.linear_coupled import (
    CoupledSolution,
    coupled_solution,
    initial_strengths,
    singular_modes,
)
from learnmech.theory.linear_crossover import (
    linear_kernel_movement,
    linear_movement_spread,
    linear_movement_wear,
)
from learnmech.theory.linear_discrete import descent_half_time, descent_strength, growth_rate
from learnmech.theory.linear_flow import (
    Flow,
    decayed_imbalance,
    final_product,
    gradient_flow,
    imbalance,
)
from learnmech.theory.linear_memory import TrainedKernel, trained_kernel
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
from learnmech.theory.self_stabilization import (
    fluctuation_scale,
    oscillation_growth,
    self_stabilized_orbit,
)
from learnmech.theory.stability import (
    effective_learning_rate,
    largest_stable_learning_rate,
    stability_threshold,
)
from learnmech.theory.unrelated_kernels import participation_ratio, unrelated_alignment

__all__ = [
    "PARAMETRIZATIONS",
    "CoupledSolution",
    "CovarianceSpike",
    "CrossValidation",
    "FirstStep",
    "Flow",
    "InfiniteKernels",
    "KernelDynamics",
    "KernelFluctuation",
    "KernelMovement",
    "KernelRegressionCurve",
    "LazyNeurons",
    "LowRankSpike",
    "MarchenkoPastur",
    "Semicircle",
    "SingularValueLaw",
    "SymmetricSpike",
    "TrainedKernel",
    "coordinate_slopes",
    "coupled_solution",
    "covariance_spike",
    "crossing_times",
    "decayed_imbalance",
    "descent_half_time",
    "descent_strength",
    "draw_neurons",
    "effective_learning_rate",
    "effective_rank",
    "effective_ridge",
    "eigenframework",
    "final_product",
    "finite_width_alignment",
    "first_step",
    "fluctuation_scale",
    "generalised_cross_validation",
    "gradient_flow",
    "growth_rate",
    "half_time",
    "held_out_error",
    "imbalance",
    "infinite_kernels",
    "initial_strengths",
    "kernel_distance_constant",
    "kernel_fluctuation",
    "kernel_gradient_descent",
    "kernel_gradient_flow",
    "kernel_movement",
    "largest_stable_learning_rate",
    "late_sharpness_exponent",
    "linear_kernel_movement",
    "linear_movement_spread",
    "linear_movement_wear",
    "loss_curve",
    "low_rank_spike",
    "mode_strength",
    "move_neurons",
    "neuron_kernel",
    "oscillation_growth",
    "participation_ratio",
    "self_stabilized_orbit",
    "singular_modes",
    "stability_threshold",
    "stable_learning_rate_exponent",
    "start_sharpness",
    "strengths",
    "subspace_overlap",
    "symmetric_spike",
    "tangent_kernel_parts",
    "trained_kernel",
    "unrelated_alignment",
    "weight_movement",
    "width_exponents",
]
