"""Laws of large random matrices: the bulk of their spectra, and what a spike adds to it."""

from learnmech.theory.random_matrices.bulk import MarchenkoPastur, Semicircle, SingularValueLaw
from learnmech.theory.random_matrices.spikes import (
    CovarianceSpike,
    LowRankSpike,
    SymmetricSpike,
    covariance_spike,
    low_rank_spike,
    symmetric_spike,
)

__all__ = [
    "CovarianceSpike",
    "LowRankSpike",
    "MarchenkoPastur",
    "Semicircle",
    "SingularValueLaw",
    "SymmetricSpike",
    "covariance_spike",
    "low_rank_spike",
    "symmetric_spike",
]
