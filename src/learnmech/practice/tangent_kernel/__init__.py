"""Empirical kernels of networks, and networks made linear around their parameters.

`empirical` holds the tangent kernel, `features` the kernel of the last hidden features, and
`linearised` the network that trains exactly as its tangent kernel says.
"""

from learnmech.practice.tangent_kernel.empirical import (
    empirical_ntk,
    empirical_ntk_per_parameter,
)
from learnmech.practice.tangent_kernel.features import empirical_nngp
from learnmech.practice.tangent_kernel.linearised import Linearised

__all__ = ["Linearised", "empirical_nngp", "empirical_ntk", "empirical_ntk_per_parameter"]
