"""Per-sample gradient norms and the noise scales, layer by layer.

`measurement` reads them off a model and its losses; `estimates` makes unbiased estimates with
standard errors of them.
"""

from learnmech.practice.gradient_noise.estimates import NoiseScale
from learnmech.practice.gradient_noise.measurement import (
    GradientNoise,
    hessian_noise_scale,
    measure_gradient_noise,
    squared_gradient_norms,
)

__all__ = [
    "GradientNoise",
    "NoiseScale",
    "hessian_noise_scale",
    "measure_gradient_noise",
    "squared_gradient_norms",
]
