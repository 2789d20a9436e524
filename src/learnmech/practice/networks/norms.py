r"""Normalisation layers in elementary operations, so that derivatives of every order are right.

With a mean and a variance over some axes of the input $x$,

$$ y = \frac{x - \mathrm{mean}(x)}{\sqrt{\mathrm{var}(x) + \epsilon}} \, g + b, $$

where the variance divides by the number of entries, and $g$ and $b$, one per feature, start at one
and zero. Features are the last axis. The values are those of `torch.nn`; its layer norm and its
batch norm in training mode, however, are fused operations whose third derivatives in reverse mode
PyTorch (2.13) gets wrong without a word (pytorch issues 175754, 186256, 196699). These are built of
sums, products and a root.

References: Ba, Kiros and Hinton, arXiv:1607.06450 (layer); Ioffe and Szegedy, arXiv:1502.03167
(batch); Zhang and Sennrich, arXiv:1910.07467 (root mean square); Wu and He, arXiv:1803.08494
(group).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["NORMS", "Affine", "BatchNorm", "GroupNorm", "LayerNorm", "Norm", "RMSNorm", "norm"]


class Affine(nn.Module):
    """Gain and shift of every feature; subclasses say what is normalised.

    Args:
        features: Size of the last axis.
        eps: Added to the variance.
        affine: Whether there are a gain and a shift to train.
        dtype: Floating type of both.
        device: Where they lie.

    Raises:
        ValueError: On no feature, or an eps that is not positive.
    """

    has_shift = True

    def __init__(
        self,
        features: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if features < 1 or not 0.0 < eps < float("inf"):
            raise ValueError("a norm needs at least one feature and a positive eps.")
        self.features, self.eps = features, eps
        self.weight: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if affine:
            self.weight = nn.Parameter(torch.ones(features, dtype=dtype, device=device))
            if self.has_shift:
                self.bias = nn.Parameter(torch.zeros(features, dtype=dtype, device=device))

    def normalised(self, x: Tensor) -> Tensor:
        """Return the input normalised, before gain and shift."""
        raise NotImplementedError

    def forward(self, inputs: Float[Tensor, "*n features"]) -> Float[Tensor, "*n features"]:
        """Return the normalised inputs times the gain plus the shift."""
        y = self.normalised(inputs)
        if self.weight is not None:
            y = y * self.weight
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Show the number of features where the module is printed."""
        return str(self.features)


def _standardised(x: Tensor, axis: int, eps: float) -> Tensor:
    centred = x - x.mean(axis, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(axis, keepdim=True) + eps)


class LayerNorm(Affine):
    """Mean and variance over the features of each sample; `torch.nn.LayerNorm`.

    >>> LayerNorm(2, eps=1e-12, dtype=torch.float64)(torch.tensor([[1.0, 3.0]])).detach()
    tensor([[-1.,  1.]], dtype=torch.float64)
    """

    def normalised(self, x: Tensor) -> Tensor:
        """Standardise each sample."""
        return _standardised(x, -1, self.eps)


class BatchNorm(Affine):
    """Mean and variance of each feature over the samples of the batch, the axis before the last.

    It always uses the batch that it is given, in training and in evaluation, and keeps no running
    averages: the network is a function of its parameters and its batch, and nothing else. It is
    `torch.nn.BatchNorm1d` with `track_running_stats=False`.

    >>> BatchNorm(1, eps=1e-12)(torch.tensor([[1.0], [3.0]])).detach()
    tensor([[-1.],
            [ 1.]])
    """

    def normalised(self, x: Tensor) -> Tensor:
        """Standardise each feature; refuse a batch of one, whose variance is zero."""
        if x.ndim < 2 or x.shape[-2] < 2:
            raise ValueError(
                "batch norm needs inputs (..., n, features) with at least two samples n."
            )
        return _standardised(x, -2, self.eps)


class RMSNorm(Affine):
    """Root mean square over the features of each sample, no mean and no shift.

    It is `torch.nn.RMSNorm`, with the same eps for every dtype.

    >>> RMSNorm(2, eps=1e-12)(torch.tensor([[1.0, -1.0]])).detach()
    tensor([[ 1., -1.]])
    """

    has_shift = False

    def normalised(self, x: Tensor) -> Tensor:
        """Divide each sample by its root mean square."""
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + self.eps)


class GroupNorm(Affine):
    """Mean and variance over groups of neighbouring features; `torch.nn.GroupNorm`.

    Args:
        groups: Number of groups, which divides the number of features.
        features: Size of the last axis.
        eps: Added to the variance.
        affine: Whether there are a gain and a shift to train.
        dtype: Floating type of both.
        device: Where they lie.

    Raises:
        ValueError: On groups that do not divide the features, or as the other norms.

    >>> GroupNorm(2, 4, eps=1e-12)(torch.tensor([[1.0, 3.0, 5.0, 9.0]])).detach()
    tensor([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self,
        groups: int,
        features: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(features, eps=eps, affine=affine, dtype=dtype, device=device)
        if groups < 1 or features % groups:
            raise ValueError(f"{features} features do not divide into {groups} groups.")
        self.groups = groups

    def normalised(self, x: Tensor) -> Tensor:
        """Standardise each group of each sample."""
        grouped = x.unflatten(-1, (self.groups, -1))
        return _standardised(grouped, -1, self.eps).flatten(-2)


Norm = str | Callable[[int], nn.Module]

NORMS: Mapping[str, type[Affine]] = MappingProxyType(
    {"layer": LayerNorm, "batch": BatchNorm, "rms": RMSNorm}
)
"""Norms by name; for groups give a function such as `lambda width: GroupNorm(4, width)`."""


def norm(choice: Norm, features: int, *, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """Return a new norm, from its name in `NORMS` or from a function of the number of features.

    Raises:
        ValueError: On an unknown name.

    >>> norm("rms", 3, dtype=torch.float64, device=torch.device("cpu"))
    RMSNorm(3)
    """
    if not isinstance(choice, str):
        return choice(features).to(dtype=dtype, device=device)
    if choice not in NORMS:
        raise ValueError(
            f"no norm is called {choice!r}; choose from {', '.join(NORMS)} or give a function of "
            "the number of features."
        )
    return NORMS[choice](features, dtype=dtype, device=device)
