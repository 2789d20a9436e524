r"""Principal components as inputs, whitened or less so.

With C the covariance of the d components kept, of samples in the rows of X,

$$ X^\top X / n = C^c / \mathrm{mean}(\mathrm{diag}\, C^c), $$

diagonal, so that c = 0 is whitened exactly and c = 1 keeps the data's own spectrum.

Reference: Kessy, Lewin and Strimmer, The American Statistician 72 (2018) 309, arXiv:1512.00809
(PCA whitening, section 3).
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["principal_components"]


def principal_components(
    x: Float[Tensor, "n p"], components: int, covariance_power: float, name: str
) -> Float[Tensor, "n d"]:
    """Return the leading components of `x`, scaled as the module says.

    Args:
        x: Samples in rows; they are centred here.
        components: Number of leading principal components d.
        covariance_power: c from 0 to 1.
        name: What an error calls the data.

    Raises:
        ValueError: On a power outside [0, 1], or more components than `x` has.
    """
    if not 0.0 <= covariance_power <= 1.0:
        raise ValueError(f"covariance_power must lie in [0, 1], not {covariance_power}.")
    n = x.shape[0]
    left, scale, right = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    rank = int((scale > 1e-10 * scale[0]).sum())
    if not 1 <= components <= rank:
        raise ValueError(f"{name} have {rank} principal components; components={components}.")
    # The sign of a singular vector is the linear-algebra library's choice; fix it.
    largest = torch.take_along_dim(right, right.abs().argmax(1, keepdim=True), 1)[:, 0]
    left = left[:, :components] * torch.sign(largest[:components])
    spectrum = (scale[:components] ** 2 / n) ** covariance_power
    inputs: Tensor = n**0.5 * left * (spectrum / spectrum.mean()).sqrt()
    return inputs
