"""What does happen: data, networks, training and instruments. PyTorch, and no formula.

Training itself is imported from :mod:`learnmech.practice.training`, and only from there: that is
how the book recognises it and refuses a prediction that stands behind it.
"""

from learnmech.practice.data import Dataset, load, orthonormal
from learnmech.practice.linear_probes import effective_rank, product, strengths, subspace_overlap
from learnmech.practice.networks import DeepLinear, aligned_linear, gaussian_linear

__all__ = [
    "Dataset",
    "DeepLinear",
    "aligned_linear",
    "effective_rank",
    "gaussian_linear",
    "load",
    "orthonormal",
    "product",
    "strengths",
    "subspace_overlap",
]
