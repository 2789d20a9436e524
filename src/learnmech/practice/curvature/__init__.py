"""Curvature of the loss: eigenvalues of its Hessian, their course, density and gradient.

All take the loss as a closure without arguments that returns one number for the whole data, or as
a sequence of (closure, weight) pairs for data in batches, and any parameters that it depends on.
They call the closures and leave everything else as it was: parameters, `.grad`, modes, running
statistics and random states.
"""

from learnmech.practice.curvature.adam import adam_preconditioner
from learnmech.practice.curvature.density import SpectralDensity, spectral_density
from learnmech.practice.curvature.eigenvalues import HessianEigenvalues, hessian_eigenvalues
from learnmech.practice.curvature.operator import HessianOperator
from learnmech.practice.curvature.sharpness_gradient import SharpnessGradient, sharpness_gradient
from learnmech.practice.curvature.solver import ConvergenceError
from learnmech.practice.curvature.tracking import SharpnessReading, SharpnessTracker

__all__ = [
    "ConvergenceError",
    "HessianEigenvalues",
    "HessianOperator",
    "SharpnessGradient",
    "SharpnessReading",
    "SharpnessTracker",
    "SpectralDensity",
    "adam_preconditioner",
    "hessian_eigenvalues",
    "sharpness_gradient",
    "spectral_density",
]
