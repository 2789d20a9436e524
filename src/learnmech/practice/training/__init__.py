"""Training: runs with probes, optimizers for ensembles, and the coordinate check.

The book recognises training by calls of what is imported from here; losses and networks, which
are also used before anything is trained, come from `learnmech.practice.losses` and
`learnmech.practice.networks`.
"""

from learnmech.practice.training.coordinates import CoordinateCheck, coordinate_check
from learnmech.practice.training.ensembles import EnsembleAdam, EnsembleOptimizer, EnsembleSGD
from learnmech.practice.training.loop import (
    DivergenceError,
    Probe,
    Run,
    gradient_descent,
    train,
)

__all__ = [
    "CoordinateCheck",
    "DivergenceError",
    "EnsembleAdam",
    "EnsembleOptimizer",
    "EnsembleSGD",
    "Probe",
    "Run",
    "coordinate_check",
    "gradient_descent",
    "train",
]
