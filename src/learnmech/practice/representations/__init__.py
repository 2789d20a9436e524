"""Instruments that read representations: their likeness, their collapse, and what they use."""

from learnmech.practice.representations.collapse import (
    NeuralCollapse,
    SimplexDeviation,
    neural_collapse,
    simplex_deviation,
)
from learnmech.practice.representations.gradient_outer_product import (
    average_gradient_outer_product,
)
from learnmech.practice.representations.neighbours import NeighbourOverlap, mutual_neighbours
from learnmech.practice.representations.procrustes import (
    procrustes_angle,
    procrustes_distance,
    procrustes_similarity,
)
from learnmech.practice.representations.ranks import effective_rank
from learnmech.practice.representations.similarity import kernel_cka, linear_cka

__all__ = [
    "NeighbourOverlap",
    "NeuralCollapse",
    "SimplexDeviation",
    "average_gradient_outer_product",
    "effective_rank",
    "kernel_cka",
    "linear_cka",
    "mutual_neighbours",
    "neural_collapse",
    "procrustes_angle",
    "procrustes_distance",
    "procrustes_similarity",
    "simplex_deviation",
]
